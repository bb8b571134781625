//! The build script of a crate that has policies of this workspace as components.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use crate::{Build, Purpose, Toolchain, compile_components};

/// The inputs of every policy. The lock file and the workspace's manifest have the versions and features of what
/// policies depend on; after a change of them the inner cargo finds out whether a policy is concerned.
const SHARED: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "guest-policies/sdk/Cargo.toml",
    "guest-policies/sdk/src",
    "guest-policies/sdk/macros",
    "wit",
];

/// Builds policies to components `NAME.wasm` in the folder that cargo gives a build script, and says what they are made
/// of; or ends the script with the reason. For a crate two folders below the workspace. `folders` are those of the
/// policies, relative to the workspace, each with the name of its package.
#[expect(clippy::print_stderr, reason = "how a build script says why it failed")]
pub fn build_policies(folders: &[&str]) {
    if let Err(error) = build(folders) {
        // Cargo shows the output of a build script only when it fails, and quotes a returned error as Rust code.
        eprintln!("\nerror: the policies could not be built to WebAssembly: {error}");
        std::process::exit(1);
    }
}

#[expect(clippy::print_stdout, reason = "how a build script instructs cargo")]
fn build(folders: &[&str]) -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let workspace = here.ancestors().nth(2).ok_or("no workspace above this crate")?;
    let own = folders.iter().flat_map(|folder| {
        // Its cases and texts are not part of a component, so a change must not rebuild it.
        ["Cargo.toml", "settings.schema.json", "src"].map(|input| format!("{folder}/{input}"))
    });
    for input in SHARED.iter().map(|input| (*input).to_owned()).chain(own) {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-env-changed={}", Toolchain::VARIABLE);

    // A separate target folder: the outer cargo holds the lock of its own.
    let target_dir = out.ancestors().nth(4).ok_or("no target folder above")?.join("guest");
    let packages: Vec<_> = folders.iter().filter_map(|folder| folder.rsplit('/').next()).collect();
    let build = Build {
        folder: workspace,
        root: workspace,
        packages: &packages,
        target_dir: &target_dir,
        locked: true,
        purpose: Purpose::Policy,
        shown: false,
    };
    for (policy, component) in compile_components(Toolchain::find()?, &build)? {
        fs::write(out.join(format!("{policy}.wasm")), component)?;
    }
    Ok(())
}

fn variable(name: &str) -> Result<String, String> {
    env::var(name).map_err(|error| format!("{name}: {error}"))
}
