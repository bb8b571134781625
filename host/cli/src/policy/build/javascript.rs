//! Builds policies in JavaScript, with `componentize-js` (SpiderMonkey) from the folder's own packages.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use countersign::Limits;

use super::tools::{self, Tool};
use crate::progress;
use countersign_deployment::files;

/// Builds a component from `policy.js` and its imports, TypeScript included.
pub(super) fn build(folder: &Path, install: bool) -> Result<Vec<u8>> {
    let installed = |tool: &str| folder.join("node_modules/.bin").join(tool);
    let (bundler, tool) = (installed("esbuild"), installed("componentize-js"));
    let commands: &[&[&str]] = &[&["npm", "ci", "--no-audit", "--no-fund"]];
    Tool { name: "componentize-js", file: &tool, commands }.ensure(folder, install)?;
    let out = tempfile::tempdir()?;
    let (bundle, component) = (out.path().join("policy.js"), out.path().join("policy.wasm"));
    let mut bundling = Command::new(&bundler);
    bundling.args(["policy.js", "--bundle", "--format=esm", "--log-level=warning"]);
    bundling.arg(format!("--outfile={}", bundle.display()));
    let mut command = Command::new(&tool);
    command.arg(&bundle).args(["--wit", "wit", "--world-name", "token-policy"]);
    // A policy must not import anything: no clock, random numbers, files or network.
    command.args(["--disable", "stdio", "random", "clocks", "http", "fetch-event"]);
    command.arg("--out").arg(&component);
    progress::with_spinner("building the component", || {
        tools::run_quietly(folder, &bundler, &mut bundling)?;
        tools::run_quietly(folder, &tool, &mut command)
    })?;
    Ok(files::read(&component, Limits::CEILING.component_bytes)?)
}
