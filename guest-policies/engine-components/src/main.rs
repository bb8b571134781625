//! Builds the components of the engines into the folder that belongs to the programs built beside this one, unless they are
//! there. With an argument, also copies them into that place: the folder `lib/countersign/engines` of an installation.

#![forbid(unsafe_code)]

mod build;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use countersign_engines::{EngineFolder, EngineName, beside, in_place};

#[expect(clippy::print_stderr, reason = "a command")]
fn main() -> ExitCode {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let place = match arguments.as_slice() {
        [] => None,
        [place] => Some(place.as_path()),
        _ => {
            eprintln!("usage: countersign-engines [PLACE]");
            return ExitCode::FAILURE;
        }
    };
    match run(place) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "progress")]
fn run(place: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let program = std::env::current_exe()?;
    let built = beside(&program).ok_or("no folder above this program")?;
    if built.is_complete() {
        eprintln!("the engines are up to date in {}", built.path().display());
    } else {
        eprintln!("building the engines: minutes the first time");
        let target = program.ancestors().nth(2).ok_or("no target folder above this program")?;
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = here.ancestors().nth(2).ok_or("no workspace above this crate")?;
        write(&built, &build::build(workspace, &target.join("guest/engines"))?)?;
    }
    let Some(place) = place else { return Ok(()) };
    let copied = in_place(place);
    if copied.is_complete() {
        eprintln!("the engines are up to date in {}", copied.path().display());
        return Ok(());
    }
    let mut components = Vec::new();
    for engine in EngineName::ALL {
        components.push((engine, built.read(engine)?.ok_or("the engines were removed")?));
    }
    write(&copied, &components)
}

/// Writes components, and removes those of other sources beside them.
#[expect(clippy::print_stderr, reason = "progress")]
fn write(
    folder: &EngineFolder,
    components: &[(EngineName, Vec<u8>)],
) -> Result<(), Box<dyn Error>> {
    folder.write(components)?;
    folder.remove_others()?;
    for (engine, bytes) in components {
        eprintln!("{}: {} bytes", engine.as_str(), bytes.len());
    }
    eprintln!("written to {}", folder.path().display());
    Ok(())
}
