//! Which decisions of a log are looked at.

use countersign::{Claims, DefinitionId, Workspace};

/// Selects decisions. Without anything set, all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only from this time on, in seconds since 1970.
    pub since: Option<u64>,
    /// Only before this time, in seconds since 1970.
    pub until: Option<u64>,
    /// Only runs that concern this workspace: it owns the building block or the definition.
    pub workspace: Option<Workspace>,
    /// Only runs of this definition.
    pub definition: Option<DefinitionId>,
}

impl Filter {
    /// Tells whether a time is within the range.
    pub fn has_time(&self, time: u64) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
    }

    /// Tells whether the run of claims is selected.
    pub fn has_run(&self, claims: &Claims) -> bool {
        let run = claims.run();
        let concerns = |workspace: &Workspace| {
            run.building_block.workspace == *workspace || run.definition.workspace == *workspace
        };
        self.workspace.as_ref().is_none_or(concerns)
            && self.definition.as_ref().is_none_or(|definition| run.definition.id == *definition)
    }
}
