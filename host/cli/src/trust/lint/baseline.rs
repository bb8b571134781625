//! Findings that are known, from an earlier output of `--format json`.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result};
use countersign_deployment::files;
use countersign_trust::Finding;
use serde::Deserialize;

/// The maximum length of a baseline, in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Known findings. Lines move, so a finding is known by its code, file and message.
pub(super) struct Baseline(BTreeSet<(String, String, String)>);

#[derive(Deserialize)]
struct Known {
    code: String,
    file: String,
    message: String,
}

/// Reads a baseline.
pub(super) fn read(path: &Path) -> Result<Baseline> {
    let bytes = files::read(path, MAX_BYTES)?;
    let expected =
        || format!("{}: expected the output of `trust lint --format json`", path.display());
    let known: Vec<Known> = serde_json::from_slice(&bytes).with_context(expected)?;
    Ok(Baseline(known.into_iter().map(|one| (one.code, one.file, one.message)).collect()))
}

impl Baseline {
    pub(super) fn contains(&self, finding: &Finding) -> bool {
        self.0.contains(&key(finding))
    }

    /// Counts the known findings that are not among these.
    pub(super) fn gone(&self, findings: &[Finding]) -> usize {
        let found: BTreeSet<_> = findings.iter().map(key).collect();
        self.0.difference(&found).count()
    }
}

fn key(finding: &Finding) -> (String, String, String) {
    (finding.code.to_owned(), finding.file.clone(), finding.message.clone())
}
