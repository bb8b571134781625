//! Builds every policy to a component.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

use countersign_component::{Build, Purpose, Toolchain, compile, component};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The folders beside this one that hold a policy.
const POLICIES: &[&str] = &[
    "allowed-consumers",
    "audience-per-implementation",
    "change-window",
    "same-workspace",
    "scripted",
    "trigger-gate",
    "ttl-ceiling",
];

/// The recipes of the cookbook that are written in Rust.
const COOKBOOK: &[&str] = &["approved-parents", "break-glass", "emergency-stop"];

/// The policies that embed an engine for another language. They have a lock file of their own.
const ENGINES: &[&str] = &["cedar", "rego"];

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
    let recipes = COOKBOOK.iter().flat_map(|recipe| {
        // Their cases and texts are not part of a component, so a change must not rebuild it.
        ["Cargo.toml", "settings.schema.json", "src"].map(|of| format!("cookbook/{recipe}/{of}"))
    });
    let inputs = ["guest-policies", "wit", "Cargo.toml", "Cargo.lock"].map(str::to_owned);
    for input in inputs.into_iter().chain(recipes) {
        println!("cargo::rerun-if-changed={}", workspace.join(input).display());
    }
    println!("cargo::rerun-if-env-changed={}", Toolchain::VARIABLE);

    // A separate target folder: the outer cargo holds the lock of its own.
    let target_dir = out.ancestors().nth(4).ok_or("no target folder above")?.join("guest");
    let toolchain = Toolchain::find()?;
    let engines = workspace.join("guest-policies/engines");
    let packages = [POLICIES, COOKBOOK].concat();
    let policies = Build {
        folder: workspace,
        root: workspace,
        packages: &packages,
        target_dir: &target_dir,
        locked: true,
        purpose: Purpose::Policy,
    };
    let engines = Build {
        folder: &engines,
        root: workspace,
        packages: ENGINES,
        purpose: Purpose::Engine,
        target_dir: &target_dir.join("engines"),
        locked: true,
    };
    for build in [policies, engines] {
        let modules = compile(toolchain, &build)?;
        for policy in build.packages {
            write(&modules, policy, &out).map_err(|error| format!("{policy}: {error}"))?;
        }
    }
    Ok(())
}

fn write(modules: &Path, policy: &str, out: &Path) -> Result<()> {
    let module = fs::read(modules.join(format!("{}.wasm", policy.replace('-', "_"))))?;
    Ok(fs::write(out.join(format!("{policy}.wasm")), component(&module)?)?)
}

fn variable(name: &str) -> Result<String> {
    env::var(name).map_err(|e| format!("{name}: {e}").into())
}
