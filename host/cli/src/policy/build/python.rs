//! Builds policies in Python, with `componentize-py` (CPython) from the folder's own environment.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use countersign::Limits;

use super::tools::{self, Tool};
use crate::progress;
use countersign_deployment::files;

/// Builds a component from `policy.py` and its imports. Also generates the contract's types for editors, once.
pub(super) fn build(folder: &Path, install: bool) -> Result<Vec<u8>> {
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
    Tool { name: "componentize-py", file: &tool, commands }.ensure(folder, install)?;
    let python = || {
        let mut command = Command::new(&tool);
        command.args(["--quiet", "--wit-path", "wit", "--world", "token-policy"]);
        command
    };
    let types = folder.join("types");
    if !types.exists() {
        tools::run_quietly(folder, &tool, python().arg("bindings").arg(&types))?;
    }
    let out = tempfile::tempdir()?;
    let component = out.path().join("policy.wasm");
    let mut command = python();
    // A policy must not import anything: calls for time, files or random numbers trap.
    command.args(["componentize", "policy", "--stub-wasi", "--output"]).arg(&component);
    progress::with_spinner("building the component", || {
        tools::run_quietly(folder, &tool, &mut command)
    })?;
    Ok(files::read(&component, Limits::CEILING.component_bytes)?)
}
