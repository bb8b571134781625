//! Writes every policy that people would deploy as `<name>.wasm` into a folder, for use with the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::{env, fs};

use countersign_policy_artifacts::POLICIES;

#[expect(clippy::print_stderr, reason = "a command")]
fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = env::args_os().skip(1).map(PathBuf::from).collect();
    let [folder] = arguments.as_slice() else {
        eprintln!("usage: countersign-policy-artifacts FOLDER");
        return ExitCode::FAILURE;
    };
    let written = fs::create_dir_all(folder).and_then(|()| {
        POLICIES
            .iter()
            .try_for_each(|(name, bytes)| fs::write(folder.join(format!("{name}.wasm")), bytes))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}: {error}", folder.display());
            ExitCode::FAILURE
        }
    }
}
