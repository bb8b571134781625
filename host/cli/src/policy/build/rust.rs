//! Builds policies in Rust, with cargo and `wit-component`.

use std::fs;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result};
use countersign_component::{BuildError, Toolchain, component};

use super::tools;
use crate::output;
use crate::policy::freshness;
use crate::policy::language::Language;
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
    if refresh_schema(folder, &package)? {
        output::status("settings.schema.json was not that of the sources, and is written anew");
    }
    Ok(component(&progress::with_spinner("compiling", || package.module(toolchain))?)?)
}

/// Writes the schema of the settings anew where the sources have changed since. True where that changed it.
fn refresh_schema(folder: &Path, package: &RustPackage) -> Result<bool> {
    let schema = folder.join("settings.schema.json");
    let written = freshness::modified(&schema).unwrap_or(SystemTime::UNIX_EPOCH);
    if freshness::newer_than(written, &freshness::sources(Language::Rust, folder)).is_none() {
        return Ok(false);
    }
    let before = fs::read(&schema).ok();
    progress::with_spinner("writing the schema of the settings", || {
        tools::run_quietly(folder, Path::new("cargo"), &mut package.write_schema())
    })
    .with_context(|| schema.display().to_string())?;
    Ok(before != fs::read(&schema).ok())
}
