//! The subject of a token, in the formats that trust policies of clouds match.

use std::collections::BTreeMap;
use std::str::FromStr;

use super::identifier::{DefinitionId, IdentifierError, MeshstackId, RunnerId, Subject, Workspace};
use super::run::Run;

/// The format of a subject. A token has one `sub`, so a definition uses one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectFormat {
    /// `system:serviceaccount:<meshstack-id>:<runner-id>`: the first format. All runs of a shared
    /// runner have one subject.
    ByRunner,
    /// `system:serviceaccount:<meshstack-id>:workspace.<definition-workspace>.buildingblockdefinition.<definition-uuid>`:
    /// today's format.
    ByDefinition,
}

impl SubjectFormat {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::ByDefinition, Self::ByRunner];

    /// The word that manifests, records and metrics have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ByRunner => "by-runner",
            Self::ByDefinition => "by-definition",
        }
    }
}

impl FromStr for SubjectFormat {
    type Err = SubjectFormatError;

    fn from_str(word: &str) -> Result<Self, SubjectFormatError> {
        Self::ALL.into_iter().find(|format| format.as_str() == word).ok_or(SubjectFormatError)
    }
}

/// A word that names no format of subjects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected `by-runner` or `by-definition`")]
pub struct SubjectFormatError;

/// The template of an installation's subjects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectTemplate {
    /// Their format.
    pub profile: SubjectFormat,
    /// The installation that stands in them.
    pub meshstack_id: MeshstackId,
}

/// The format of the subject of each run: one for all, and overrides by definition.
///
/// Trust policies of clouds migrate from one format to the other definition by definition, and a token has
/// one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectFormats {
    /// `meshstack-id`: the installation that stands in every subject.
    pub meshstack_id: MeshstackId,
    /// `subject-profile`: the format of all others.
    pub profile: SubjectFormat,
    /// `subject-profiles`: definitions whose subjects have another format.
    pub overrides: BTreeMap<DefinitionId, SubjectFormat>,
}

/// A subject taken apart.
///
/// Distinct parts give distinct subjects, and a subject gives back its parts: no part can contain
/// what separates them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SubjectParts {
    /// The format of [`SubjectFormat::ByRunner`].
    ByRunner {
        /// The installation.
        meshstack: MeshstackId,
        /// The runner.
        runner: RunnerId,
    },
    /// The format of [`SubjectFormat::ByDefinition`].
    ByDefinition {
        /// The installation.
        meshstack: MeshstackId,
        /// The definition workspace.
        workspace: Workspace,
        /// The definition.
        definition: DefinitionId,
    },
}

/// The reason why a run has no subject of a format, or a text is no subject of either format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// The subject is by runner, and the runner is not known.
    #[error("a subject by runner needs the runner's UUID, which is not given")]
    NoRunner,
    /// The text has neither format.
    #[error(
        "expected `system:serviceaccount:<meshstack-id>:<runner-id>` or `system:serviceaccount:\
         <meshstack-id>:workspace.<workspace>.buildingblockdefinition.<uuid>`"
    )]
    Form,
    /// A part of the text is not an identifier.
    #[error(transparent)]
    Part(#[from] IdentifierError),
}

const PREFIX: &str = "system:serviceaccount:";
const WORKSPACE: &str = "workspace.";
const DEFINITION: &str = ".buildingblockdefinition.";

impl SubjectTemplate {
    /// The subject of a run by this template.
    ///
    /// # Errors
    /// When the subject is by runner and there is none.
    pub fn of(&self, run: &Run, runner: Option<&RunnerId>) -> Result<Subject, SubjectError> {
        let meshstack = self.meshstack_id.clone();
        let parts = match self.profile {
            SubjectFormat::ByRunner => SubjectParts::ByRunner {
                meshstack,
                runner: runner.ok_or(SubjectError::NoRunner)?.clone(),
            },
            SubjectFormat::ByDefinition => SubjectParts::ByDefinition {
                meshstack,
                workspace: run.definition.workspace.clone(),
                definition: run.definition.id.clone(),
            },
        };
        Ok(parts.subject()?)
    }
}

impl SubjectFormats {
    /// The profile that the subjects of a definition's runs have.
    pub fn profile_of(&self, definition: &DefinitionId) -> SubjectFormat {
        self.overrides.get(definition).copied().unwrap_or(self.profile)
    }

    /// The form that the subject of a run has.
    pub fn of(&self, run: &Run) -> SubjectTemplate {
        let profile = self.profile_of(&run.definition.id);
        SubjectTemplate { profile, meshstack_id: self.meshstack_id.clone() }
    }
}

impl SubjectParts {
    /// Puts the parts together.
    ///
    /// # Errors
    /// None of the parts that there can be makes a subject longer than is allowed; the error says
    /// so if that ever changes.
    pub fn subject(&self) -> Result<Subject, IdentifierError> {
        Subject::parse(&match self {
            Self::ByRunner { meshstack, runner } => format!("{PREFIX}{meshstack}:{runner}"),
            Self::ByDefinition { meshstack, workspace, definition } => {
                format!("{PREFIX}{meshstack}:{WORKSPACE}{workspace}{DEFINITION}{definition}")
            }
        })
    }

    /// Takes a subject apart.
    ///
    /// # Errors
    /// When it has neither format.
    pub fn parse(subject: &str) -> Result<Self, SubjectError> {
        let rest = subject.strip_prefix(PREFIX).ok_or(SubjectError::Form)?;
        let (meshstack, rest) = rest.split_once(':').ok_or(SubjectError::Form)?;
        let meshstack = MeshstackId::parse(meshstack)?;
        match rest.strip_prefix(WORKSPACE) {
            None => Ok(Self::ByRunner { meshstack, runner: RunnerId::parse(rest)? }),
            Some(rest) => {
                let (workspace, definition) =
                    rest.split_once(DEFINITION).ok_or(SubjectError::Form)?;
                Ok(Self::ByDefinition {
                    meshstack,
                    workspace: Workspace::parse(workspace)?,
                    definition: DefinitionId::parse(definition)?,
                })
            }
        }
    }
}
