//! The installation of a manifest: its issuer, and the subjects of its definitions.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use countersign::{
    Audience, DefinitionId, IdentifierError, IssuerUrl, RunnerId, Subject, SubjectFormat,
    SubjectFormats, SubjectParts, Workspace,
};
use countersign_clouds::Cloud;

use crate::bundle::missing_migrations;
use crate::error::DeploymentError;
use crate::files::{self, FileError, resolve_relative_to};
use crate::manifest::{IssuerEntry, Manifest};
use crate::read::read_manifest;
use crate::subject_migration::{MAX_MIGRATIONS_BYTES, SubjectMigrations};

/// A definition and the workspace that owns it, as `WORKSPACE/UUID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionArgument {
    /// The definition workspace.
    pub workspace: Workspace,
    /// The definition.
    pub definition: DefinitionId,
}

impl std::str::FromStr for DefinitionArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected WORKSPACE/UUID: the definition workspace, and the definition";
        let (workspace, definition) = text.split_once('/').ok_or(expected)?;
        Ok(Self {
            workspace: Workspace::parse(workspace).map_err(|error| error.to_string())?,
            definition: DefinitionId::parse(definition).map_err(|error| error.to_string())?,
        })
    }
}

/// The installation of a manifest.
#[derive(Debug)]
pub struct Installation {
    /// The issuer identifier.
    pub url: IssuerUrl,
    /// The table `[issuer]`.
    pub entry: IssuerEntry,
    /// The formats of subjects, with the migrations.
    pub subjects: SubjectFormats,
    /// The migrations.
    pub migrations: SubjectMigrations,
    /// The file of migrations, where the manifest names one.
    pub migrations_file: Option<PathBuf>,
}

/// The reason that a definition has no subjects that trust could accept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SubjectsError {
    /// The migration of the definition names another workspace.
    #[error("definition {definition} belongs to workspace {workspace}, as its migration has it")]
    OtherWorkspace {
        /// The definition.
        definition: DefinitionId,
        /// The workspace in its migration.
        workspace: Workspace,
    },
    /// The subject is the runner's, and no runner is given.
    #[error("the subject of definition {0} is the runner's: name the runners by --runner")]
    NoRunner(DefinitionId),
    /// The parts make no subject.
    #[error(transparent)]
    Identifier(#[from] IdentifierError),
}

/// No audience is given, and tokens for the cloud have none by convention.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("name the audience by --audience")]
pub struct NoAudience;

impl Installation {
    /// Reads a manifest and the migrations that it names; no policy.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or the manifest has no issuer.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        Self::read_or(path, |_, error| Err(missing_migrations(error.into())))
    }

    /// The same, where the file of migrations may be missing: there is none yet.
    ///
    /// # Errors
    /// Those of [`Installation::read`], but for a missing file of migrations.
    pub fn read_or_create(path: &Path) -> Result<Self, DeploymentError> {
        Self::read_or(path, |file, error| match error.is_missing() {
            // A link to a file that is missing is a mistake, and no first time.
            true if !is_link(file) => Ok(EMPTY.to_vec()),
            _ => Err(missing_migrations(error.into())),
        })
    }

    /// The same, with what stands for a file of migrations that cannot be read.
    fn read_or(
        path: &Path,
        unread: impl FnOnce(&Path, FileError) -> Result<Vec<u8>, DeploymentError>,
    ) -> Result<Self, DeploymentError> {
        let manifest = read_manifest(path)?;
        let named = manifest.issuer.as_ref().and_then(|entry| entry.subject_migrations.as_ref());
        let migrations = named.map(|file| {
            let file = resolve_relative_to(path, file);
            let read = files::read(&file, MAX_MIGRATIONS_BYTES as u64);
            read.or_else(|error| unread(&file, error))
        });
        Self::new(path, &manifest, migrations.transpose()?.as_deref())
    }

    /// The installation of a manifest that was read, with the bytes of the file of migrations that it names.
    pub(crate) fn new(
        path: &Path,
        manifest: &Manifest,
        migrations: Option<&[u8]>,
    ) -> Result<Self, DeploymentError> {
        let name = || path.display().to_string();
        let lacks = |what| DeploymentError::Lacks(what).at(name());
        let needs_issuer = "this needs `[issuer]`, with `url` and `meshstack-id`";
        let entry = manifest.issuer.clone().ok_or_else(|| lacks(needs_issuer))?;
        let url = entry.url.as_deref().ok_or_else(|| lacks("this needs `url` under `[issuer]`"))?;
        let url = IssuerUrl::parse(url).map_err(|error| DeploymentError::from(error).at(name()))?;
        let migrations_file =
            entry.subject_migrations.as_ref().map(|file| resolve_relative_to(path, file));
        let migrations = match (&migrations_file, migrations) {
            (None, _) => SubjectMigrations::default(),
            (Some(file), Some(bytes)) => SubjectMigrations::parse(bytes)
                .map_err(|error| DeploymentError::from(error).at(file.display().to_string()))?,
            (Some(file), None) => return Err(DeploymentError::NotRead(file.clone())),
        };
        let subjects = entry.subjects_after(&migrations).map_err(|error| {
            DeploymentError::from(error).at("issuer.subject-migrations").at(name())
        })?;
        Ok(Self { url, subjects, entry, migrations, migrations_file })
    }

    /// The audience that is given, or that of tokens for a cloud by convention.
    ///
    /// # Errors
    /// When there is neither.
    pub fn audience_or(
        &self,
        given: Option<&Audience>,
        cloud: Cloud,
    ) -> Result<Audience, NoAudience> {
        given.cloned().or_else(|| self.audience_of(cloud)).ok_or(NoAudience)
    }

    /// The audience that tokens for a cloud have by convention.
    pub fn audience_of(&self, cloud: Cloud) -> Option<Audience> {
        let meshstack = &self.subjects.meshstack_id;
        let text = match cloud {
            Cloud::Aws => format!("aws-workload-identity-provider:{meshstack}"),
            Cloud::Gcp => format!("gcp-workload-identity-provider:{meshstack}"),
            Cloud::Azure => "api://AzureADTokenExchange".to_owned(),
            Cloud::Stackit => "sts.accounts.stackit.cloud".to_owned(),
            Cloud::Other => return None,
        };
        Audience::parse(&text).ok()
    }

    /// The subjects that trust in a definition must accept, and a name for each: one, or both while it migrates. The
    /// runners are those of the migration, and those that are given.
    ///
    /// # Errors
    /// When the migration names another workspace, or a runner is needed and none is known.
    pub fn subjects_of(
        &self,
        of: &DefinitionArgument,
        runners: &BTreeSet<RunnerId>,
    ) -> Result<Vec<(String, Subject)>, SubjectsError> {
        let meshstack = self.subjects.meshstack_id.clone();
        let (workspace, definition) = (of.workspace.clone(), of.definition.clone());
        let migration = self.migrations.get(&definition);
        if let Some(other) = migration.filter(|migration| migration.workspace != workspace) {
            let workspace = other.workspace.clone();
            return Err(SubjectsError::OtherWorkspace { definition, workspace });
        }
        let parts = match migration.cloned() {
            Some(mut migration) => {
                migration.runners.extend(runners.iter().cloned());
                migration.subjects(&meshstack, &definition)
            }
            None => match self.subjects.profile_of(&definition) {
                SubjectFormat::ByDefinition => {
                    vec![SubjectParts::ByDefinition { meshstack, workspace, definition }]
                }
                SubjectFormat::ByRunner if runners.is_empty() => {
                    return Err(SubjectsError::NoRunner(definition));
                }
                SubjectFormat::ByRunner => runners
                    .iter()
                    .map(|runner| SubjectParts::ByRunner {
                        meshstack: meshstack.clone(),
                        runner: runner.clone(),
                    })
                    .collect(),
            },
        };
        let named = parts.iter().map(|parts| {
            let name = match parts {
                SubjectParts::ByDefinition { definition, .. } => format!("definition-{definition}"),
                SubjectParts::ByRunner { runner, .. } => format!("runner-{runner}"),
            };
            Ok((name, parts.subject()?))
        });
        named.collect()
    }

    /// The definitions that are named, or those that migrate.
    pub fn definitions(&self, named: &[DefinitionArgument]) -> Vec<DefinitionArgument> {
        if !named.is_empty() {
            return named.to_vec();
        }
        let migrations = self.migrations.iter();
        migrations
            .map(|(definition, of)| DefinitionArgument {
                workspace: of.workspace.clone(),
                definition: definition.clone(),
            })
            .collect()
    }
}

/// A file of no migrations.
const EMPTY: &[u8] = br#"{"version":1,"migrations":[]}"#;

fn is_link(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink())
}
