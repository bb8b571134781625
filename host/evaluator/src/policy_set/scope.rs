//! Which runs a binding applies to, and whether it decides.

use crate::request::identifier::{DefinitionId, Workspace};
use crate::request::run::Run;

/// Which runs a binding applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every run.
    All,
    /// Runs of every definition of this workspace: a platform team's rules for what it offers.
    DefinitionWorkspace(Workspace),
    /// Runs of this definition.
    Definition(DefinitionId),
    /// Runs of every building block of this workspace, whoever's definition they use.
    OwningWorkspace(Workspace),
}

impl Scope {
    /// Tells whether a run is in the scope. Identifiers are compared byte by byte: `team` is not a
    /// prefix of anything.
    pub fn contains(&self, run: &Run) -> bool {
        match self {
            Self::All => true,
            Self::DefinitionWorkspace(workspace) => *workspace == run.definition.workspace,
            Self::Definition(definition) => *definition == run.definition.id,
            Self::OwningWorkspace(workspace) => *workspace == run.building_block.workspace,
        }
    }
}

/// The mode of a binding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// It decides.
    Enforce,
    /// It is evaluated and recorded, and never changes the decision, whatever it does.
    Shadow,
}

impl Mode {
    /// The manifest's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}
