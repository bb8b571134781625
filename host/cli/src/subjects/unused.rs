//! Definitions that had no token for some time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use countersign::{DefinitionId, RunnerId, SubjectFormat};
use countersign_deployment::{DefinitionArgument, Installation, MigrationState};

use super::report::Counts;
use super::steps::Evidence;
use crate::output::{self, Exit};

/// The definitions with their runner's subject that had no token, and the evidence.
pub(super) struct Unused {
    pub(super) definitions: Vec<DefinitionArgument>,
    /// Those whose migration has not begun, with the runners in their subjects: it begins first.
    pub(super) to_begin: BTreeMap<DefinitionId, BTreeSet<RunnerId>>,
    pub(super) evidence: String,
    /// Those that stay, since the manifest itself says the format of their subjects.
    left: Vec<DefinitionId>,
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
            of.state == MigrationState::Begun && counts.is_none_or(|of| is_unused(of, since))
        });
        let mut definitions: BTreeSet<_> = begun
            .map(|(definition, of)| DefinitionArgument {
                workspace: of.workspace.clone(),
                definition: definition.clone(),
            })
            .collect();
        let mut to_begin = BTreeMap::new();
        for (definition, counts) in &of_log.counts {
            let Some(workspace) = counts.workspace.clone() else { continue };
            if let Some(runners) = runners_of(&installation, definition, counts, since) {
                definitions
                    .insert(DefinitionArgument { workspace, definition: definition.clone() });
                to_begin.insert(definition.clone(), runners);
            }
        }
        let evidence = format!(
            "the log from {} on: no token since {}",
            output::time(first),
            output::time(since)
        );
        let overrides = installation.entry.subjects.overrides.iter();
        let left = overrides.filter(|(definition, format)| {
            let counts = of_log.counts.get(*definition);
            **format == SubjectFormat::ByRunner && counts.is_some_and(|of| is_unused(of, since))
        });
        let left = left.map(|(definition, _)| definition.clone()).collect();
        Ok(Self { definitions: definitions.into_iter().collect(), to_begin, evidence, left })
    }

    /// Says which definitions stay as they are, though they had no token.
    pub(super) fn say_left(&self) {
        for definition in &self.left {
            output::status(&format!(
                "definition {definition} had none either, and stays: it is under `subject-profiles` in the manifest; \
                 remove it there first"
            ));
        }
    }
}

/// Returns true if the last token is older.
fn is_unused(counts: &Counts, since: u64) -> bool {
    counts.old.last.max(counts.new.last) < since
}

/// The runners of a definition whose migration has not begun and can be finished at once; `None` for all others.
///
/// A definition that never had a token is in no log, so nothing says that it exists: its first token has the subject of
/// its format in the manifest.
fn runners_of(
    installation: &Installation,
    definition: &DefinitionId,
    counts: &Counts,
    since: u64,
) -> Option<BTreeSet<RunnerId>> {
    let state = installation.migrations.get(definition).map(|of| of.state);
    let may_begin = matches!(state, None | Some(MigrationState::Abandoned))
        && !installation.entry.subjects.overrides.contains_key(definition)
        && installation.subjects.profile_of(definition) == SubjectFormat::ByRunner;
    let runners: BTreeSet<RunnerId> =
        counts.runners.iter().filter_map(|runner| runner.parse().ok()).collect();
    (may_begin && is_unused(counts, since) && !runners.is_empty()).then_some(runners)
}

/// Prints what would be cut over.
pub(super) fn would_be_cut_over(definitions: &[DefinitionArgument]) -> Result<Exit> {
    for of in definitions {
        output::print(&format!("{} {}: would be cut-over\n", of.workspace, of.definition))?;
    }
    if definitions.is_empty() {
        output::status("no definition with its runner's subject had no token for so long");
    }
    Ok(Exit::Success)
}
