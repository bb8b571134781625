//! What a manifest says of the installation: its issuer, and the subjects of its definitions.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use countersign::IssuerUrl;
use countersign::{
    Audience, Cloud, DefinitionId, IssuerEntry, Manifest, ManifestFiles, RunnerId, Subject,
    SubjectMoves, SubjectParts, SubjectProfile, SubjectProfiles, Workspace,
};

use crate::files;
use crate::serve::beside;

/// A definition and the workspace that owns it, as `WORKSPACE/UUID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DefinitionArgument {
    pub workspace: Workspace,
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
pub struct Installation {
    pub url: IssuerUrl,
    pub entry: IssuerEntry,
    /// With the moves.
    pub subjects: SubjectProfiles,
    pub moves: SubjectMoves,
    /// The file of moves, where the manifest names one.
    pub moves_file: Option<PathBuf>,
}

impl Installation {
    /// Reads a manifest, and the moves that it names; no policy.
    pub fn read(path: &Path) -> Result<Self> {
        Self::of(path, files::read_manifest_alone(path)?, false)
    }

    /// The same, where the file of moves may not be there yet.
    pub fn read_at_first(path: &Path) -> Result<Self> {
        Self::of(path, files::read_manifest_alone(path)?, true)
    }

    fn of(path: &Path, manifest: Manifest, at_first: bool) -> Result<Self> {
        let name = || path.display().to_string();
        let entry = manifest
            .issuer
            .context("this needs `[issuer]`, with `url` and `meshstack-id`")
            .with_context(name)?;
        let url = entry.url.as_deref().context("this needs `url` under `[issuer]`");
        let url = IssuerUrl::parse(url.with_context(name)?)
            .with_context(|| format!("{}: issuer.url", path.display()))?;
        let moves_file = entry.subject_moves.as_ref().map(|file| beside(path, file));
        let mut of_moves = ManifestFiles::new();
        let mut moves = SubjectMoves::default();
        if let (Some(written), Some(file)) = (&entry.subject_moves, &moves_file) {
            let is_missing = || {
                fs::symlink_metadata(file).is_err_and(|error| error.kind() == ErrorKind::NotFound)
            };
            let bytes = if at_first && is_missing() {
                moves.to_json()?.into_bytes()
            } else {
                let bytes = files::read_moves(file)?;
                moves = SubjectMoves::parse(&bytes).with_context(|| file.display().to_string())?;
                bytes
            };
            of_moves.insert(written.clone(), bytes);
        }
        let subjects = entry.subjects_with(&of_moves).context("issuer.subject-moves");
        Ok(Self { url, subjects: subjects.with_context(name)?, entry, moves, moves_file })
    }

    /// The audience that was given, or that of tokens for a cloud by convention.
    ///
    /// # Errors
    /// When neither is there.
    pub fn audience_or(&self, given: Option<&Audience>, cloud: Cloud) -> Result<Audience> {
        let audience = given.cloned().or_else(|| self.audience_of(cloud));
        audience.context("name the audience by --audience")
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

    /// The subjects that trust in a definition has to have, and a name for each: one, or both while it is moved. The
    /// runners are those of the move, and those that are given.
    pub fn subjects_of(
        &self,
        of: &DefinitionArgument,
        runners: &BTreeSet<RunnerId>,
    ) -> Result<Vec<(String, Subject)>> {
        let meshstack = self.subjects.meshstack_id.clone();
        let (workspace, definition) = (of.workspace.clone(), of.definition.clone());
        let moved = self.moves.get(&definition);
        if let Some(moved) = moved.filter(|moved| moved.workspace != workspace) {
            bail!(
                "definition {definition} is of workspace {}, as its move has it",
                moved.workspace
            );
        }
        let parts = match moved.cloned() {
            Some(mut moved) => {
                moved.runners.extend(runners.iter().cloned());
                moved.subjects(&meshstack, &definition)
            }
            None => match self.subjects.profile_of(&definition) {
                SubjectProfile::ByDefinition => {
                    vec![SubjectParts::ByDefinition { meshstack, workspace, definition }]
                }
                SubjectProfile::ByRunner if runners.is_empty() => bail!(
                    "the subject of definition {definition} is the runner's: name the runners by --runner"
                ),
                SubjectProfile::ByRunner => runners
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

    /// The definitions that are named, or those that are moved.
    pub fn definitions(&self, named: &[DefinitionArgument]) -> Vec<DefinitionArgument> {
        if !named.is_empty() {
            return named.to_vec();
        }
        let moves = self.moves.iter();
        moves
            .map(|(definition, of)| DefinitionArgument {
                workspace: of.workspace.clone(),
                definition: definition.clone(),
            })
            .collect()
    }
}
