//! Builds every policy that only tests use to a component.

use std::error::Error;
use std::path::PathBuf;
use std::{env, fs};

use countersign_component::{Build, Purpose, Toolchain, compile_components};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The folders of such policies.
const POLICIES: &[&str] = &[
    "cookbook/approved-parents",
    "cookbook/break-glass",
    "cookbook/emergency-stop",
    "guest-policies/scripted",
];

/// The other inputs of a component. The lock file and the workspace's manifest have the versions and features of what
/// policies depend on; after a change of them the inner cargo finds out whether a policy is concerned, in a second.
const SHARED: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "guest-policies/sdk/Cargo.toml",
    "guest-policies/sdk/src",
    "guest-policies/sdk/macros",
    "wit",
];

#[expect(clippy::print_stderr, reason = "how a build script says why it failed")]
fn main() {
    if let Err(error) = build() {
        // Cargo shows the output of a build script only when it fails, and quotes a returned error as Rust code.
        eprintln!("\nerror: the policies could not be built to WebAssembly: {error}");
        std::process::exit(1);
    }
}

fn build() -> Result<()> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(variable("OUT_DIR")?);
    let workspace = here.ancestors().nth(2).ok_or("no workspace above this crate")?;
    let own = POLICIES.iter().flat_map(|policy| {
        // Its cases and texts are not part of a component, so a change must not rebuild it.
        ["Cargo.toml", "settings.schema.json", "src"].map(|input| format!("{policy}/{input}"))
    });
    for input in SHARED.iter().map(|input| (*input).to_owned()).chain(own) {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-env-changed={}", Toolchain::VARIABLE);

    // A separate target folder: the outer cargo holds the lock of its own.
    let target_dir = out.ancestors().nth(4).ok_or("no target folder above")?.join("guest");
    let packages: Vec<_> = POLICIES.iter().filter_map(|path| path.rsplit('/').next()).collect();
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

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|e| format!("{name}: {e}").into())
}
