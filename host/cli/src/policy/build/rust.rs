//! A policy in Rust: cargo, then `wit-component`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use countersign_component::{BuildError, STACK_BYTES, Toolchain, compile, component};

use super::tools;
use crate::{files, progress};

/// Compiles the package in a folder to a component.
pub fn build(folder: &Path, install: bool) -> Result<Vec<u8>> {
    let toolchain = match Toolchain::find() {
        Err(BuildError::NoToolchain) if install => {
            tools::run(folder, "rustup", &["target", "add", "wasm32-unknown-unknown"])?;
            Toolchain::find()?
        }
        found => found.map_err(|error| match error {
            BuildError::NoToolchain => anyhow::anyhow!("{error}. --install runs the first"),
            other => other.into(),
        })?,
    };
    let package = package(folder)?;
    // Without a lock file cargo makes one: a new policy has none.
    let locked = folder.join("Cargo.lock").exists();
    let modules = progress::during("compiling", || {
        let build = countersign_component::Build {
            folder,
            packages: &[&package],
            target_dir: &folder.join("target"),
            locked,
            stack_bytes: STACK_BYTES,
        };
        compile(toolchain, &build)
    })?;
    let module = modules.join(format!("{}.wasm", package.replace('-', "_")));
    let bytes = fs::read(&module).with_context(|| {
        format!("{}: is `crate-type = [\"cdylib\", \"rlib\"]` in Cargo.toml?", module.display())
    })?;
    Ok(component(&bytes)?)
}

/// The name of the package in a folder.
fn package(folder: &Path) -> Result<String> {
    let path = folder.join("Cargo.toml");
    let text = files::read_text(&path, 1 << 20)?;
    let manifest: toml::Table = text.parse().with_context(|| path.display().to_string())?;
    let name = manifest.get("package").and_then(|package| package.get("name")?.as_str());
    Ok(name.with_context(|| format!("{}: no `package.name`", path.display()))?.to_owned())
}
