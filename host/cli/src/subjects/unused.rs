//! Definitions that had no token for some time.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use countersign_deployment::{DefinitionArgument, Installation, MigrationState};

use super::steps::Evidence;
use crate::output::{self, Exit};

/// The definitions whose migration has begun and that had no token, and the evidence.
pub(super) struct Unused {
    pub(super) definitions: Vec<DefinitionArgument>,
    pub(super) evidence: String,
}

impl Unused {
    /// Finds the definitions that had no token for some time, as a log shows.
    ///
    /// # Errors
    /// When the log is damaged, or does not reach back so far: what it does not reach back to, it does not show.
    pub(super) fn of(policies: &Path, unused_for: Duration, log: &Path, now: u64) -> Result<Self> {
        let of_log = Evidence::of(log)?.0;
        let since = now.saturating_sub(unused_for.as_secs());
        let Some(first) = of_log.first.filter(|first| *first <= since) else {
            bail!(
                "{}: the log does not reach back to {}, so it does not show who had no token since",
                log.display(),
                output::time(since)
            );
        };
        let installation = Installation::read(policies)?;
        let begun = installation.migrations.iter().filter(|(definition, of)| {
            let counts = of_log.counts.get(*definition);
            let is_unused =
                counts.is_none_or(|counts| counts.old.last.max(counts.new.last) < since);
            of.state == MigrationState::Begun && is_unused
        });
        let definitions = begun.map(|(definition, of)| DefinitionArgument {
            workspace: of.workspace.clone(),
            definition: definition.clone(),
        });
        let evidence = format!(
            "the log from {} on: no token since {}",
            output::time(first),
            output::time(since)
        );
        Ok(Self { definitions: definitions.collect(), evidence })
    }
}

/// Prints what would be cut over.
pub(super) fn would_be_cut_over(definitions: &[DefinitionArgument]) -> Result<Exit> {
    for of in definitions {
        output::print(&format!("{} {}: would be cut-over\n", of.workspace, of.definition))?;
    }
    if definitions.is_empty() {
        output::status("no definition whose migration has begun had no token for so long");
    }
    Ok(Exit::Success)
}
