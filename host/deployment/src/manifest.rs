//! `countersign.toml`: the policies that decide, as an operator writes them.

mod file;
mod json_settings;
mod limits;
mod nesting;
mod registries;
mod schema;

use std::collections::BTreeSet;

use countersign::{BindingName, ClaimName, Digest, Limits, Mode, Scope, Settings, SubjectFormats};
use countersign_clouds::AudienceClouds;
use countersign_registry::Reference;

use crate::manifest_files::ManifestFiles;
use crate::subject_migration::{SubjectMigrations, SubjectMigrationsError};

pub use file::ManifestError;
pub use registries::{RegistryEntry, TrustedKeyEntry, TrustedSignerEntry};
pub use schema::{PolicySchema, manifest_schema};

/// The maximum length of a manifest, in bytes.
pub const MAX_MANIFEST_BYTES: usize = 64 << 20;

/// A parsed manifest. It names files and has read none of them.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// `[issuer]`: the issuer of the tokens, where the manifest has it.
    pub issuer: Option<IssuerEntry>,
    /// `[ceilings]`: the highest limits that a binding can have; [`Limits::CEILING`] where not given.
    pub ceilings: Limits,
    /// `[preparation]`: the time when bindings are prepared, and the memory for them.
    pub preparation: PreparationEntry,
    /// `[policy-store] folder`: the folder of policies that came from registries, as written; relative to the manifest.
    pub policy_store: String,
    /// `[[registry]]`: the way to registries.
    pub registries: Vec<RegistryEntry>,
    /// `[[trusted-signer]]`: who may sign the policies of which repositories.
    pub trusted_signers: Vec<TrustedSignerEntry>,
    /// The bindings, in the order of the file.
    pub bindings: Vec<BindingEntry>,
}

/// The table `[issuer]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerEntry {
    /// `url`: the issuer identifier (`iss`). Not parsed here: a signer knows what it must be.
    pub url: Option<String>,
    /// The format of subjects, without the migrations.
    pub subjects: SubjectFormats,
    /// `subject-migrations`: the path of the file of definitions that migrate from one format of subject to the
    /// other, as written; relative to the manifest.
    pub subject_migrations: Option<String>,
    /// `audiences`: the cloud that takes each audience of no usual form.
    pub audiences: AudienceClouds,
}

impl IssuerEntry {
    /// The formats of subjects, with the migrations where the manifest names a file of them.
    ///
    /// # Errors
    /// When that file is not among `files`, has another shape, or a definition is in both places: a guess could give
    /// a token the wrong subject.
    pub fn subjects_with(
        &self,
        files: &ManifestFiles,
    ) -> Result<SubjectFormats, SubjectMigrationsError> {
        let path = self.subject_migrations.as_ref();
        self.subjects_from(path.and_then(|path| files.get(path)).map(Vec::as_slice))
    }

    /// The same, with the bytes of the file that the manifest names.
    pub(crate) fn subjects_from(
        &self,
        migrations: Option<&[u8]>,
    ) -> Result<SubjectFormats, SubjectMigrationsError> {
        if self.subject_migrations.is_none() {
            return Ok(self.subjects.clone());
        }
        let migrations = migrations.ok_or(SubjectMigrationsError::Missing)?;
        self.subjects_after(&SubjectMigrations::parse(migrations)?)
    }

    /// The same, with the migrations parsed.
    pub(crate) fn subjects_after(
        &self,
        migrations: &SubjectMigrations,
    ) -> Result<SubjectFormats, SubjectMigrationsError> {
        let mut subjects = self.subjects.clone();
        for (definition, of) in migrations.iter() {
            if subjects.overrides.insert(definition.clone(), of.state.profile()).is_some() {
                return Err(SubjectMigrationsError::TwoPlaces(definition.clone()));
            }
        }
        Ok(subjects)
    }
}

/// The table `[preparation]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PreparationEntry {
    /// `bindings`: `at-start` unless given.
    pub bindings: PreparationTiming,
    /// `resident-bytes`: the maximum of compiled code in memory, at least 1 MiB; no bound unless
    /// given. For [`EngineConfig::resident_bytes`](countersign::EngineConfig).
    pub resident_bytes: Option<u64>,
}

impl PreparationEntry {
    /// The minimum of `resident-bytes`: less would prepare a binding in every evaluation.
    pub const MIN_RESIDENT_BYTES: u64 = 1 << 20;
}

/// The time when a binding is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PreparationTiming {
    /// `at-start`: before anything is decided. Wrong settings are found then.
    #[default]
    AtStart,
    /// `on-demand`: when a run first needs it. Wrong settings are then a fault, which refuses the run.
    Lazy,
}

/// One `[[binding]]`.
#[derive(Debug, Clone)]
pub struct BindingEntry {
    /// `name`: unique in the manifest.
    pub name: BindingName,
    /// `policy`: path of the component, as written; relative to the manifest. Or a reference to a policy of a registry.
    pub policy: String,
    /// `policy`, where it is a reference. A tag is a name in `countersign.lock`, which says what it means.
    pub reference: Option<Reference>,
    /// `digest`: the digest that the component must have.
    pub digest: Option<Digest>,
    /// `settings` or `settings-file`; without either, `{}`.
    pub settings: SettingsSource,
    /// `scope`: the runs that it applies to.
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

/// The place of a binding's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingsSource {
    /// The manifest itself.
    Inline(Settings),
    /// A JSON file: its path, as written; relative to the manifest.
    File(String),
}

impl BindingEntry {
    /// The reference to a policy of a registry, where `policy` is one.
    pub fn reference(&self) -> Option<&Reference> {
        self.reference.as_ref()
    }

    /// The name, among the files of a manifest, of the settings that came with the policy. A text policy of a registry has
    /// them: its text, with what the binding gives in its place in it. Then they are used, and [`settings`](Self::settings)
    /// are not.
    pub fn text_settings(&self) -> Option<String> {
        self.reference.as_ref().map(|reference| format!("{reference}#{}", self.name))
    }
}

impl Manifest {
    /// Parses a manifest (TOML 1.1, at most [`MAX_MANIFEST_BYTES`]).
    ///
    /// ```
    /// let manifest = countersign_deployment::Manifest::parse(r#"
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
    /// # Ok::<(), countersign_deployment::ManifestError>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not TOML, has a key that is not known, lacks one, or a value is out of
    /// form or bounds; with line and column where there is one. An empty manifest is an error
    /// too: nothing could ever be approved.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        file::parse(text)
    }

    /// The paths of every file that decisions depend on and that the manifest names, each once, as written. References to
    /// policies of registries are among them, and mean their components.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        let issuer = self.issuer.as_ref();
        let migrations = issuer.and_then(|issuer| issuer.subject_migrations.as_deref());
        each_once(migrations.into_iter().chain(self.paths_of_policies()))
    }

    /// The paths of components and settings files, each once, as written.
    #[cfg(feature = "service")]
    pub(crate) fn policy_files(&self) -> impl Iterator<Item = &str> {
        each_once(self.paths_of_policies())
    }

    fn paths_of_policies(&self) -> impl Iterator<Item = &str> {
        self.bindings.iter().flat_map(|binding| {
            let settings = match &binding.settings {
                SettingsSource::File(path) => Some(path.as_str()),
                SettingsSource::Inline(_) => None,
            };
            std::iter::once(binding.policy.as_str()).chain(settings)
        })
    }
}

fn each_once<'p>(paths: impl Iterator<Item = &'p str>) -> impl Iterator<Item = &'p str> {
    paths.collect::<BTreeSet<_>>().into_iter()
}
