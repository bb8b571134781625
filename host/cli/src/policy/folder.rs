//! The folder of a policy.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{Limits, MAX_RUN_BYTES};
use countersign_authoring::Cases;
use serde_json::Value;

use crate::files;

/// The run that cases change where a folder has none of its own: the published one.
const RUN: &str = include_str!("../../../../examples/run.json");

/// Which policy.
#[derive(Args)]
pub struct FolderArguments {
    /// The folder of the policy
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,

    /// The component [default: policy.wasm in the folder]
    #[arg(long, value_name = "FILE")]
    component: Option<PathBuf>,
}

/// What was read of a folder.
pub struct PolicyFolder {
    pub component: Vec<u8>,
    pub cases: Cases,
    /// The run object that cases change.
    pub run: Value,
}

impl FolderArguments {
    /// Reads the component, `cases.toml`, and `run.json` where there is one.
    pub fn read(&self) -> Result<PolicyFolder> {
        let component = self.component();
        if !component.exists() {
            bail!("{}: no component; build it, or name it by --component", component.display());
        }
        let cases = self.folder.join("cases.toml");
        let text = files::read_text(&cases, 4 << 20)
            .context("a policy's folder has `cases.toml`: what it is to answer")?;
        let run = self.folder.join("run.json");
        let run = if run.exists() {
            let bytes = files::read(&run, MAX_RUN_BYTES as u64)?;
            serde_json::from_slice(&bytes).with_context(|| run.display().to_string())?
        } else {
            serde_json::from_str(RUN)?
        };
        Ok(PolicyFolder {
            component: files::read(&component, Limits::CEILING.component_bytes)?,
            cases: Cases::parse(&text).with_context(|| cases.display().to_string())?,
            run,
        })
    }

    /// What is looked at to see whether anything has changed.
    pub fn looks(&self) -> Vec<Option<(SystemTime, u64)>> {
        let look = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        let (cases, run) = (self.folder.join("cases.toml"), self.folder.join("run.json"));
        [self.component(), cases, run].iter().map(|path| look(path)).collect()
    }

    fn component(&self) -> PathBuf {
        self.component.clone().unwrap_or_else(|| self.folder.join("policy.wasm"))
    }
}
