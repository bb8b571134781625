//! A manifest and the files that it names.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use countersign::{Engine, PolicySet, SubjectFormats};
use countersign_registry::{LockFile, Reference};

use crate::error::DeploymentError;
use crate::files::{FileSystem, text_of};
use crate::installation::Installation;
use crate::manifest::{BindingEntry, Manifest, SettingsSource};
use crate::manifest_files::ManifestFiles;
use crate::policies::{PrepareStep, prepare_from};
use crate::snapshot::{Snapshot, SnapshotFile, place_of};

/// A manifest and the bytes of all files that it names: everything that a decision depends on.
#[derive(Debug, Clone)]
pub struct ManifestBundle {
    /// The manifest.
    pub manifest: Arc<Manifest>,
    files: BTreeMap<String, Arc<SnapshotFile>>,
    /// The bytes of the manifest, where it was read from a file.
    text: Option<Arc<SnapshotFile>>,
}

impl ManifestBundle {
    /// Reads a manifest, and every file that it names, once.
    ///
    /// # Errors
    /// When a file cannot be read, or the manifest cannot be parsed.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        Self::of_snapshot(path, &Snapshot::of_manifest(&FileSystem, path))
    }

    /// Reads a manifest, and every file that it names, with other pins of policies than its lock file has.
    ///
    /// # Errors
    /// Those of [`ManifestBundle::read`].
    pub fn read_with(path: &Path, lock: &LockFile) -> Result<Self, DeploymentError> {
        Self::of_snapshot(path, &Snapshot::of_manifest_with(&FileSystem, path, Some(lock)))
    }

    /// Puts a manifest and files together that are in memory.
    pub fn new(manifest: Manifest, files: ManifestFiles) -> Self {
        let files = files.into_iter();
        let files = files.map(|(path, bytes)| (path, Arc::new(SnapshotFile::new(bytes, false))));
        Self { manifest: Arc::new(manifest), files: files.collect(), text: None }
    }

    /// The manifest of a snapshot.
    pub(crate) fn of_snapshot(path: &Path, snapshot: &Snapshot) -> Result<Self, DeploymentError> {
        let name = path.display();
        let manifest = snapshot.manifest(path)?;
        let mut files = BTreeMap::new();
        let file = |file: &str| snapshot.file(&place_of(path, file)).map(Arc::clone);
        let issuer = manifest.issuer.as_ref();
        if let Some(named) = issuer.and_then(|issuer| issuer.subject_migrations.as_ref()) {
            let read = file(named).map_err(|error| {
                missing_migrations(error).at(format!("{name}: issuer.subject-migrations"))
            });
            files.insert(named.clone(), read?);
        }
        for binding in &manifest.bindings {
            let settings = match &binding.settings {
                SettingsSource::File(path) => Some(path),
                SettingsSource::Inline(_) => None,
            };
            for named in [Some(&binding.policy), settings].into_iter().flatten() {
                if !files.contains_key(named) {
                    let place = || format!("{name}: binding `{}`", binding.name);
                    let read = file(named).map_err(|error| error.at(place()));
                    files.insert(named.clone(), read?);
                }
            }
            // Only a text policy has them.
            if let Some(named) = binding.text_settings()
                && snapshot.has(&place_of(path, &named))
            {
                let place = || format!("{name}: binding `{}`", binding.name);
                let read = file(&named).map_err(|error| error.at(place()));
                files.insert(named, read?);
            }
        }
        let text = snapshot.file(path).ok().map(Arc::clone);
        Ok(Self { manifest, files, text })
    }

    /// The bytes of the manifest, where it was read from a file.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        self.text.as_ref().map(|file| file.bytes.as_slice())
    }

    /// The paths of components and settings files, each once, as the manifest has them, and the settings of text policies.
    pub(crate) fn policy_files(&self) -> impl Iterator<Item = &str> {
        // A text policy has settings that the manifest does not name.
        let texts = self
            .files
            .keys()
            .map(String::as_str)
            .filter(|name| Reference::is_meant_by(name) && name.contains('#'));
        self.manifest.policy_files().chain(texts)
    }

    /// The bytes of a file, by the path that the manifest has for it.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(|file| file.bytes.as_slice())
    }

    /// The settings of a binding, as JSON text.
    ///
    /// # Errors
    /// When its settings file is no text.
    pub fn settings_of<'b>(&'b self, entry: &'b BindingEntry) -> Result<&'b str, DeploymentError> {
        if let Some((name, bytes)) = entry
            .text_settings()
            .and_then(|name| Some((self.file(&name)?, name)))
            .map(|(b, n)| (n, b))
        {
            return Ok(text_of(Path::new(&name), bytes)?);
        }
        match &entry.settings {
            SettingsSource::Inline(settings) => Ok(settings.as_json()),
            SettingsSource::File(path) => {
                let bytes = self.file(path);
                let bytes = bytes.ok_or_else(|| DeploymentError::NotRead(path.into()))?;
                Ok(text_of(Path::new(path), bytes)?)
            }
        }
    }

    /// The formats of subjects, with the migrations, where the manifest has an issuer.
    ///
    /// # Errors
    /// When the file of migrations cannot be used.
    pub fn subjects(&self) -> Result<Option<SubjectFormats>, DeploymentError> {
        let Some(issuer) = &self.manifest.issuer else { return Ok(None) };
        let subjects = issuer.subjects_from(self.migrations());
        let at = |error| DeploymentError::Migrations(error).at("issuer.subject-migrations");
        subjects.map(Some).map_err(at)
    }

    /// The installation of the manifest, which is at this path.
    ///
    /// # Errors
    /// When the manifest has no issuer, or the file of migrations cannot be used.
    pub fn installation(&self, path: &Path) -> Result<Installation, DeploymentError> {
        Installation::new(path, &self.manifest, self.migrations())
    }

    fn migrations(&self) -> Option<&[u8]> {
        let issuer = self.manifest.issuer.as_ref();
        issuer
            .and_then(|issuer| issuer.subject_migrations.as_ref())
            .and_then(|path| self.file(path))
    }

    /// Loads and prepares the policies: [`prepare_policies`](crate::prepare_policies).
    ///
    /// # Errors
    /// At the first binding that does not become active.
    pub fn prepare(&self, engine: &Engine) -> Result<PolicySet, DeploymentError> {
        self.prepare_watched(engine, &mut |_| true)
    }

    /// Loads and prepares the policies as [`ManifestBundle::prepare`] does. `watch` is told of each step before it begins,
    /// and tells whether it is to.
    ///
    /// # Errors
    /// At the first binding that does not become active, and at the step that `watch` does not want.
    pub fn prepare_watched(
        &self,
        engine: &Engine,
        watch: &mut dyn FnMut(PrepareStep) -> bool,
    ) -> Result<PolicySet, DeploymentError> {
        Ok(prepare_from(engine, &self.manifest, &|path| self.file(path), watch)?)
    }
}

/// The advice that helps where the file of migrations is missing.
pub(crate) fn missing_migrations(error: DeploymentError) -> DeploymentError {
    match error {
        DeploymentError::File(file) if file.is_missing() => {
            DeploymentError::MigrationsMissing(file)
        }
        error => error,
    }
}
