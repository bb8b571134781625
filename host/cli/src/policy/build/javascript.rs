//! A policy in JavaScript: QuickJS, by `componentize-qjs` of the folder's own packages.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use countersign::Limits;

use super::tools::{self, Needed};
use crate::{files, progress};

/// Makes a component of `policy.js` and what it imports.
pub fn build(folder: &Path, install: bool) -> Result<Vec<u8>> {
    let tool = folder.join("node_modules/.bin/componentize-qjs");
    let needed = Needed {
        what: "componentize-qjs",
        file: &tool,
        commands: &[&["npm", "ci", "--no-audit", "--no-fund"]],
    };
    needed.bring(folder, install)?;
    let out = tempfile::tempdir()?;
    let component = out.path().join("policy.wasm");
    let mut command = Command::new(&tool);
    // No imports: what would ask for time, files or random numbers traps. And no functions that return later.
    command
        .args([
            "--wit",
            "wit",
            "--world",
            "token-policy",
            "--js",
            "policy.js",
            "--module-root",
            ".",
        ])
        .args(["--stub-wasi", "--sync", "--output"])
        .arg(&component);
    progress::during("making the component", || tools::make(folder, &tool, &mut command))?;
    files::read(&component, Limits::CEILING.component_bytes)
}
