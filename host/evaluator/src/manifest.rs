//! `countersign.toml`: what decides, as an operator writes it.

mod file;
mod json_settings;
mod limits;
mod nesting;

use std::collections::BTreeMap;

use crate::cloud::AudienceClouds;
use crate::digest::Digest;
use crate::identifier::{BindingName, ClaimName, DefinitionId, MeshstackId};
use crate::limits::Limits;
use crate::run::Run;
use crate::scope::{Mode, Scope};
use crate::set::ManifestFiles;
use crate::settings::Settings;
use crate::subject::{SubjectForm, SubjectMoves, SubjectMovesError, SubjectProfile};

pub use file::ManifestError;

/// The longest manifest that is parsed, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 64 << 20;

/// A parsed manifest. It names files and has read none of them.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Who issues the tokens, where the manifest says so.
    pub issuer: Option<IssuerEntry>,
    /// `[ceilings]`: the most that a binding can ask for; [`Limits::CEILING`] where not given.
    pub ceilings: Limits,
    /// `[preparation]`: when bindings are prepared, and what is held of them.
    pub preparation: PreparationEntry,
    /// The bindings, in the order of the file.
    pub bindings: Vec<BindingEntry>,
}

/// The table `[issuer]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerEntry {
    /// `url`: the issuer identifier (`iss`). Not parsed here: a signer knows what it must be.
    pub url: Option<String>,
    /// How subjects are made, without what `subject-moves` says.
    pub subjects: SubjectProfiles,
    /// `subject-moves`: the path of the file of definitions that are moved from one form of subject to the
    /// other, as written; relative to the manifest.
    pub subject_moves: Option<String>,
    /// `audiences`: which cloud takes those that have no usual form.
    pub audiences: AudienceClouds,
}

/// Which form the subject of a run has: one for all, and exceptions by definition.
///
/// Trust policies of clouds move from one form to the other definition by definition, and a token has
/// one subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectProfiles {
    /// `meshstack-id`: the installation that stands in every subject.
    pub meshstack_id: MeshstackId,
    /// `subject-profile`: by definition unless given.
    pub profile: SubjectProfile,
    /// `subject-profiles`: definitions that have another profile.
    pub of_definitions: BTreeMap<DefinitionId, SubjectProfile>,
}

impl IssuerEntry {
    /// How subjects are made, with what the file of moves says where the manifest names one.
    ///
    /// # Errors
    /// When that file is not among `files`, has another shape, or a definition is in both places: nobody guesses
    /// which subject a token is to have.
    pub fn subjects_with(
        &self,
        files: &ManifestFiles,
    ) -> Result<SubjectProfiles, SubjectMovesError> {
        let mut subjects = self.subjects.clone();
        let Some(path) = &self.subject_moves else { return Ok(subjects) };
        let moves = SubjectMoves::parse(files.get(path).ok_or(SubjectMovesError::Missing)?)?;
        for (definition, of) in moves.iter() {
            if subjects.of_definitions.insert(definition.clone(), of.state.profile()).is_some() {
                return Err(SubjectMovesError::TwoPlaces(definition.clone()));
            }
        }
        Ok(subjects)
    }
}

impl SubjectProfiles {
    /// The profile that the subjects of a definition's runs have.
    pub fn profile_of(&self, definition: &DefinitionId) -> SubjectProfile {
        self.of_definitions.get(definition).copied().unwrap_or(self.profile)
    }

    /// The form that the subject of a run has.
    pub fn of(&self, run: &Run) -> SubjectForm {
        let profile = self.profile_of(&run.definition.id);
        SubjectForm { profile, meshstack_id: self.meshstack_id.clone() }
    }
}

/// The table `[preparation]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PreparationEntry {
    /// `bindings`: `at-start` unless given.
    pub bindings: When,
    /// `resident-bytes`: the most bytes of compiled code that are held, at least 1 MiB; no bound unless
    /// given. For [`EngineConfig::resident_bytes`](crate::EngineConfig).
    pub resident_bytes: Option<u64>,
}

impl PreparationEntry {
    /// The least that `resident-bytes` can be: less would prepare a binding in every evaluation.
    pub const MIN_RESIDENT_BYTES: u64 = 1 << 20;
}

/// When a binding is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum When {
    /// `at-start`: before anything is decided. What is wrong with settings is found then.
    #[default]
    AtStart,
    /// `when-needed`: when a run first needs it; [`Binding::prepare_when_needed`](crate::Binding) says
    /// what that means.
    WhenNeeded,
}

/// One `[[binding]]`.
#[derive(Debug, Clone)]
pub struct BindingEntry {
    /// `name`: unique in the manifest.
    pub name: BindingName,
    /// `policy`: path of the component, as written; relative to the manifest.
    pub policy: String,
    /// `digest`: the digest that the component must have.
    pub digest: Option<Digest>,
    /// `settings` or `settings-file`; without either, `{}`.
    pub settings: SettingsSource,
    /// `scope`: which runs it applies to.
    pub scope: Scope,
    /// `mode`: `enforce` unless given.
    pub mode: Mode,
    /// `may-permit`: true unless given. Where false, a permit of the policy narrows and no more.
    pub may_permit: bool,
    /// `limits`: [`Limits::DEFAULT`] where not given, or the ceiling where that is lower.
    pub limits: Limits,
    /// `claims`: names of claims that the policy may add; none unless given.
    pub claims: Vec<ClaimName>,
}

/// Where a binding's settings are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsSource {
    /// In the manifest.
    Inline(Settings),
    /// In a JSON file: its path, as written; relative to the manifest.
    File(String),
}

impl Manifest {
    /// Parses a manifest (TOML 1.1, at most [`MAX_MANIFEST_BYTES`]).
    ///
    /// ```
    /// let manifest = countersign::Manifest::parse(r#"
    ///     [issuer]
    ///     url = "https://oidc.example.com"
    ///     meshstack-id = "prod"
    ///
    ///     [[binding]]
    ///     name = "who-may-use-the-network-block"
    ///     policy = "allowed-consumers.wasm"
    ///     scope = { definition = "b23cfb9a-6974-444f-9d33-62134a632373" }
    ///     settings = { workspaces = ["team-a", "team-b"] }
    ///
    ///     [[binding]]
    ///     name = "short-dry-runs"
    ///     policy = "ttl-ceiling.wasm"
    ///     scope = "all"
    ///     mode = "shadow"
    ///     settings = { detect = 900 }
    /// "#)?;
    /// assert_eq!(manifest.bindings.len(), 2);
    /// # Ok::<(), countersign::ManifestError>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not TOML, has a key that is not known, lacks one, or a value is out of
    /// form or bounds; with line and column where there is one. An empty manifest is an error
    /// too: nothing could ever be approved.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        file::parse(text)
    }

    /// The paths of every file that the manifest names, each once, as written.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let moves = self.issuer.iter().filter_map(|issuer| issuer.subject_moves.as_deref());
        let mut paths: Vec<&str> = moves.collect();
        for binding in &self.bindings {
            paths.push(&binding.policy);
            if let SettingsSource::File(path) = &binding.settings {
                paths.push(path);
            }
        }
        paths.sort_unstable();
        paths.dedup();
        paths.into_iter()
    }
}
