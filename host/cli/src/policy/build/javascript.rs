//! A policy in JavaScript: SpiderMonkey, by `componentize-js` of the folder's own packages.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use countersign::Limits;

use super::tools::{self, Needed};
use crate::progress;
use countersign_deployment::files;

/// Makes a component of `policy.js` and what it imports, TypeScript included.
pub fn build(folder: &Path, install: bool) -> Result<Vec<u8>> {
    let of_folder = |tool: &str| folder.join("node_modules/.bin").join(tool);
    let (bundler, tool) = (of_folder("esbuild"), of_folder("componentize-js"));
    let commands: &[&[&str]] = &[&["npm", "ci", "--no-audit", "--no-fund"]];
    Needed { what: "componentize-js", file: &tool, commands }.bring(folder, install)?;
    let out = tempfile::tempdir()?;
    let (bundle, component) = (out.path().join("policy.js"), out.path().join("policy.wasm"));
    let mut bundling = Command::new(&bundler);
    bundling.args(["policy.js", "--bundle", "--format=esm", "--log-level=warning"]);
    bundling.arg(format!("--outfile={}", bundle.display()));
    let mut command = Command::new(&tool);
    command.arg(&bundle).args(["--wit", "wit", "--world-name", "token-policy"]);
    // No imports: neither a clock nor random numbers, files or the network.
    command.args(["--disable", "stdio", "random", "clocks", "http", "fetch-event"]);
    command.arg("--out").arg(&component);
    progress::with_spinner("making the component", || {
        tools::make(folder, &bundler, &mut bundling)?;
        tools::make(folder, &tool, &mut command)
    })?;
    Ok(files::read(&component, Limits::CEILING.component_bytes)?)
}
