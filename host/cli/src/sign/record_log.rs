//! The decision log that `sign` writes to.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use countersign_decision_log::LogWriter;
use countersign_deployment::open_record_log;
use countersign_issuer::{CommittedDecision, PendingDecision};

use crate::output;

/// A decision log that is open for one command. Its format is that of a service's log, and it may be one: the lock on
/// the folder excludes a second writer.
pub(super) struct RecordLog {
    path: PathBuf,
    writer: LogWriter,
}

impl RecordLog {
    /// Opens the log in a folder, or creates one. The key of its checkpoints is in `keys` beside it, so that somebody who
    /// can write to the log alone cannot truncate it unnoticed.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let name = || path.display().to_string();
        let Some(parent) = path.parent().filter(|_| path.file_name().is_some()) else {
            bail!("--log {}: expected a folder with a name", name());
        };
        let (writer, recovered) = open_record_log(path, &parent.join("keys"))
            .with_context(|| format!("--log {}: failed to open the decision log", name()))?;
        for recovered in recovered {
            output::warn(&format!(
                "quarantined an incomplete record left by a crash in {}, of {} bytes",
                countersign::visible(&recovered.file),
                recovered.bytes
            ));
        }
        Ok(Self { path: path.to_owned(), writer })
    }

    /// Waits until the record of a decision is durable, and only then returns the decision.
    pub(super) fn commit(&self, pending: PendingDecision) -> Result<CommittedDecision> {
        pending
            .commit_blocking(&self.writer)
            .with_context(|| format!("{}: no durable record, so no token", self.path.display()))
    }
}
