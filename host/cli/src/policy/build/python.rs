//! A policy in Python: CPython, by `componentize-py` of the folder's own environment.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use countersign::Limits;

use super::tools::{self, Needed};
use crate::progress;
use countersign_deployment::files;

/// Makes a component of `policy.py` and what it imports; and, for editors, the contract's types where they are not there.
pub fn build(folder: &Path, install: bool) -> Result<Vec<u8>> {
    let tool = folder.join(".venv/bin/componentize-py");
    let commands: &[&[&str]] = &[
        &["python3", "-m", "venv", ".venv"],
        &[
            ".venv/bin/pip",
            "install",
            "--quiet",
            "--require-hashes",
            "--requirement",
            "requirements.txt",
        ],
    ];
    Needed { what: "componentize-py", file: &tool, commands }.bring(folder, install)?;
    let python = || {
        let mut command = Command::new(&tool);
        command.args(["--quiet", "--wit-path", "wit", "--world", "token-policy"]);
        command
    };
    let types = folder.join("types");
    if !types.exists() {
        tools::make(folder, &tool, python().arg("bindings").arg(&types))?;
    }
    let out = tempfile::tempdir()?;
    let component = out.path().join("policy.wasm");
    let mut command = python();
    // No imports: what would ask for time, files or random numbers traps.
    command.args(["componentize", "policy", "--stub-wasi", "--output"]).arg(&component);
    progress::with_spinner("making the component", || tools::make(folder, &tool, &mut command))?;
    Ok(files::read(&component, Limits::CEILING.component_bytes)?)
}
