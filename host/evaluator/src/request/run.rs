//! The run that asks for a token.

use super::identifier::{BuildingBlockId, DefinitionId, Platform, Project, RunId, Workspace};

/// The facts of one execution of a building block (a `meshBuildingBlockRun`).
///
/// Parsed by [`Run::parse`]. The secrets of the run object (run token, input values, keys, access
/// tokens of the implementation) are no part of it: they are dropped at the parser, so no field,
/// `Debug` output or error can hold one.
///
/// The types of its fields keep their bounds. Those of numbers, texts and lists hold for a run that
/// [`Run::parse`] made; whoever makes or changes one by hand keeps them.
///
/// A `Run` does not say whether the run is still live, and whether it is genuine. The caller that
/// obtained the run object vouches for both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// `metadata.uuid`.
    pub id: RunId,
    /// `spec.runNumber`, 0 to 2^53 - 1.
    pub number: u64,
    /// `spec.behavior`.
    pub behavior: Behavior,
    /// `spec.buildingBlock`.
    pub building_block: BuildingBlock,
    /// `spec.buildingBlockDefinition`.
    pub definition: Definition,
    /// `spec.trigger`, where the run object has one.
    pub trigger: Option<Trigger>,
}

/// The building block that a run executes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildingBlock {
    /// `uuid`.
    pub id: BuildingBlockId,
    /// `spec.workspaceIdentifier`: the owning workspace.
    pub workspace: Workspace,
    /// `spec.projectIdentifier`.
    pub project: Option<Project>,
    /// `spec.fullPlatformIdentifier`.
    pub platform: Option<Platform>,
    /// `spec.parentBuildingBlocks`; at most 256.
    pub parents: Vec<Parent>,
}

/// A building block that another one depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// `buildingBlockUuid`.
    pub building_block: BuildingBlockId,
    /// `definitionUuid`.
    pub definition: DefinitionId,
}

/// The definition that a building block is a use of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// `uuid`.
    pub id: DefinitionId,
    /// `spec.workspaceIdentifier`: the definition workspace.
    pub workspace: Workspace,
    /// `spec.version`, 0 to 2^53 - 1.
    pub version: u64,
    /// `spec.implementation.type`.
    pub implementation: Implementation,
}

/// Why a run exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trigger {
    /// `reason`: 1 to 1,024 bytes without control characters, for people to read.
    pub reason: Option<String>,
    /// `author.identifier`: 1 to 255 bytes without control characters.
    pub author: String,
    /// `author.type`.
    pub author_kind: AuthorKind,
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$case_doc:meta])* $case:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$case_doc])* #[doc = concat!("(`", $word, "`).")] $case,)*
        }

        impl $name {
            /// Every case.
            pub const ALL: &'static [Self] = &[$(Self::$case),*];

            /// The words of all cases.
            pub(crate) const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word that the run object has for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$case => $word,)*
                }
            }

            /// Finds the case by the run object's word, compared byte by byte.
            pub fn from_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|case| case.as_str() == word)
            }
        }
    )*};
}

words! {
    /// The action of a run. An unknown behavior refuses the run.
    Behavior {
        /// Create or change the resources
        Apply = "APPLY",
        /// A dry run
        Detect = "DETECT",
        /// Delete the resources
        Destroy = "DESTROY",
    }

    /// The implementation of a definition. An unknown type refuses the run.
    Implementation {
        /// Done by people
        Manual = "MANUAL",
        /// OpenTofu or Terraform
        Terraform = "TERRAFORM",
        /// A GitHub Actions workflow
        GithubWorkflow = "GITHUB_WORKFLOW",
        /// A GitLab pipeline
        GitlabCicd = "GITLAB_CICD",
        /// An Azure DevOps pipeline
        AzureDevops = "AZURE_DEVOPS",
    }

    /// The kind of author that triggered a run. An unknown type refuses the run.
    AuthorKind {
        /// A person
        User = "User",
        /// A machine account of a workspace
        ApiKey = "ApiKey",
        /// A machine account of the platform
        ApiUser = "ApiUser",
        /// The platform itself
        System = "System",
    }
}
