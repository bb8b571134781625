//! Builds policies in Rust, with cargo and `wit-component`.

use std::path::Path;

use anyhow::Result;
use countersign_component::{BuildError, Toolchain, component};

use super::tools;
use crate::output;
use crate::policy::rust::RustPackage;
use crate::progress;

/// Compiles the package in a folder to a component.
pub(super) fn build(folder: &Path, install: bool) -> Result<Vec<u8>> {
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
    let package = RustPackage::of(folder)?;
    let changed =
        progress::with_spinner("checking the schema of the settings", || package.refresh_schema())?;
    if changed {
        output::status("settings.schema.json was not that of the sources, and is written anew");
    }
    Ok(component(&progress::with_spinner("compiling", || package.module(toolchain))?)?)
}
