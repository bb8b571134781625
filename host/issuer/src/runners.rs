//! The runners of a platform: whose each is, and whom it serves.

use std::collections::{BTreeMap, HashMap};

use countersign::{Facts, FactsError, Reason, ReasonSource, Run, RunnerId, Workspace};

/// A run may have no token: its runner is in no `[[runner]]`, though there are some.
pub(crate) const RUNNER_UNKNOWN: &str = "runner-unknown";
/// A run may have no token: its runner serves its own workspace's definitions alone.
pub(crate) const RUNNER_DEDICATED: &str = "runner-dedicated";

/// The runs that a runner serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerKind {
    /// Those of every workspace's definitions.
    Shared,
    /// Those of the definitions of its own workspace.
    Dedicated,
}

/// A runner, as the platform has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerEntry {
    /// The workspace that owns it.
    pub workspace: Workspace,
    /// The runs that it serves.
    pub kind: RunnerKind,
}

/// The runners that are known. Where there is none, nothing is known of any runner, and none is refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Runners(HashMap<RunnerId, RunnerEntry>);

impl RunnerKind {
    /// The word that the configuration and the fact `runner-kind` have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Dedicated => "dedicated",
        }
    }
}

impl Runners {
    /// Adds a runner. False when it is there already.
    pub fn add(&mut self, id: RunnerId, entry: RunnerEntry) -> bool {
        self.0.insert(id, entry).is_none()
    }

    /// All of them, in the order of their ids.
    pub fn sorted(&self) -> BTreeMap<&RunnerId, &RunnerEntry> {
        self.0.iter().collect()
    }

    /// True when a runner is known, or none is.
    pub fn knows(&self, runner: &RunnerId) -> bool {
        self.0.is_empty() || self.0.contains_key(runner)
    }

    /// The reason for which a run gets no token from a runner, whatever the policies say.
    pub(crate) fn refusal(&self, runner: &RunnerId, run: &Run) -> Option<Reason> {
        let refused = |code: &str, message: String| {
            let (code, source) = (code.to_owned(), ReasonSource::Host);
            Some(Reason { code, message, source, binding: None })
        };
        let definition = &run.definition.workspace;
        match self.0.get(runner) {
            None if self.0.is_empty() => None,
            None => refused(RUNNER_UNKNOWN, format!("the runner {runner} is not configured")),
            Some(entry)
                if entry.kind == RunnerKind::Dedicated && entry.workspace != *definition =>
            {
                let workspace = &entry.workspace;
                refused(
                    RUNNER_DEDICATED,
                    format!(
                        "the runner serves definitions of workspace {workspace} alone, and this one is of {definition}"
                    ),
                )
            }
            Some(_) => None,
        }
    }

    /// The facts that policies see: those that were registered, and those of the runner, where it is known.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn facts(
        &self,
        runner: Option<&RunnerId>,
        registered: &Facts,
    ) -> Result<Facts, FactsError> {
        let entry = runner.and_then(|runner| self.0.get(runner));
        registered.with_runner(entry.map(|entry| (&entry.workspace, entry.kind.as_str())))
    }
}
