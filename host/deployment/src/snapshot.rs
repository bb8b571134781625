//! The files of a deployment, each read once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::{Digest, MAX_SETTINGS_BYTES};
use countersign_registry::{LockFile, Reference, StoredPolicy, VerifiedLayer};
use zeroize::Zeroize;

use crate::error::DeploymentError;
use crate::files::{FileError, FileKind, FileSource, resolve_relative_to, text_of};
use crate::manifest::{BindingEntry, MAX_MANIFEST_BYTES, Manifest, SettingsSource};
use crate::policy_source::{
    MAX_KEY_FILE_BYTES, MAX_LOCK_FILE_BYTES, PolicySource, PolicySourceError, lock_path,
    parse_lock, policy_store, text_settings, trust_policy,
};
use crate::service_config::{Config, KeysEntry, MAX_CONFIG_BYTES};
use crate::subject_migration::MAX_MIGRATIONS_BYTES;

/// The maximum length of a file of certificates or keys, in bytes.
pub(crate) const MAX_PEM_FILE_BYTES: u64 = 1 << 20;

/// The bytes of a file and their digest.
pub(crate) struct SnapshotFile {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    /// Wiped when the last snapshot that has it is dropped.
    secret: bool,
}

impl SnapshotFile {
    pub(crate) fn new(bytes: Vec<u8>, secret: bool) -> Self {
        Self { digest: Digest::of(&bytes), bytes, secret }
    }

    /// The bytes of a layer, whose digest is known.
    fn of_layer(layer: &VerifiedLayer) -> Self {
        Self { digest: layer.digest(), bytes: layer.as_bytes().to_vec(), secret: false }
    }
}

impl Drop for SnapshotFile {
    fn drop(&mut self) {
        // Byte by byte, which is too slow for components that are read every few seconds.
        if self.secret {
            self.bytes.zeroize();
        }
    }
}

impl std::fmt::Debug for SnapshotFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SnapshotFile").field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// A file that was read, or why it could not be.
type FileState = Result<Arc<SnapshotFile>, Arc<FileError>>;

/// A file that was parsed, by its path and the digest of its bytes, or why it could not be.
#[derive(Debug)]
struct Parsed<T> {
    path: PathBuf,
    digest: Digest,
    value: Result<Arc<T>, Arc<DeploymentError>>,
}

impl<T> Clone for Parsed<T> {
    fn clone(&self) -> Self {
        Self { path: self.path.clone(), digest: self.digest, value: self.value.clone() }
    }
}

/// `issuer.toml`, the manifest and every file that they name, as they were at one time.
///
/// Each file is read once, also where several bindings name it. A snapshot that is taken after another one shares
/// the bytes and the parsed tables of the files whose digests are the same.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    files: BTreeMap<PathBuf, FileState>,
    config: Option<Parsed<Config>>,
    manifest: Option<Parsed<Manifest>>,
}

/// The fingerprint of each file: its digest, or the error where it cannot be read.
///
/// Lengths and times are no part of it: a file that is written anew with the same length within the clock's
/// resolution is another one, and a file that is touched is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFingerprints(BTreeMap<PathBuf, Result<Digest, String>>);

impl Snapshot {
    /// Reads a configuration and every file that it leads to, and parses what was not parsed `before`.
    ///
    /// A file that cannot be read is an error of whoever needs it, and not of the snapshot: access is replaced
    /// although a policy is missing.
    pub fn take(source: &dyn FileSource, config: &Path, before: &Self) -> Self {
        let mut reader = Reader { source, before, lock: None, snapshot: Self::default() };
        reader.configuration(config);
        reader.snapshot
    }

    /// Reads a manifest and every file that it names.
    pub fn of_manifest(source: &dyn FileSource, manifest: &Path) -> Self {
        Self::of_manifest_with(source, manifest, None)
    }

    /// Reads a manifest and every file that it names, with other pins than its lock file has.
    pub(crate) fn of_manifest_with(
        source: &dyn FileSource,
        manifest: &Path,
        lock: Option<&LockFile>,
    ) -> Self {
        let before = Self::default();
        let mut reader = Reader { source, before: &before, lock, snapshot: Self::default() };
        reader.manifest(manifest);
        reader.snapshot
    }

    /// The digests of the files.
    pub fn fingerprints(&self) -> FileFingerprints {
        let files = self.files.iter().map(|(path, state)| {
            let state = state.as_ref().map(|file| file.digest).map_err(|error| text(error));
            (path.clone(), state)
        });
        FileFingerprints(files.collect())
    }

    /// The digests of the files that could be read, but for private keys.
    pub(crate) fn digests(&self) -> impl Iterator<Item = (&Path, Digest)> {
        self.files.iter().filter_map(|(path, state)| {
            let file = state.as_ref().ok().filter(|file| !file.secret)?;
            Some((path.as_path(), file.digest))
        })
    }

    /// A file of it.
    pub(crate) fn file(&self, path: &Path) -> Result<&Arc<SnapshotFile>, DeploymentError> {
        match self.files.get(path) {
            Some(Ok(file)) => Ok(file),
            Some(Err(error)) => Err(DeploymentError::File(Arc::clone(error))),
            None => Err(DeploymentError::NotRead(path.to_owned())),
        }
    }

    /// Tells whether it has a file, or the reason that there is none.
    pub(crate) fn has(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }

    /// The configuration, parsed.
    pub(crate) fn config(&self, path: &Path) -> Result<Arc<Config>, DeploymentError> {
        self.parsed(path, self.config.as_ref())
    }

    /// The manifest, parsed.
    pub(crate) fn manifest(&self, path: &Path) -> Result<Arc<Manifest>, DeploymentError> {
        self.parsed(path, self.manifest.as_ref())
    }

    fn parsed<T>(
        &self,
        path: &Path,
        parsed: Option<&Parsed<T>>,
    ) -> Result<Arc<T>, DeploymentError> {
        // Why it could not be read, where it is not parsed.
        let file = self.file(path)?;
        match parsed.filter(|parsed| parsed.path == path && parsed.digest == file.digest) {
            Some(parsed) => parsed.value.clone().map_err(DeploymentError::Shared),
            None => Err(DeploymentError::NotRead(path.to_owned())),
        }
    }
}

/// The error and its causes, without a Rust type.
fn text(error: &FileError) -> String {
    let source = std::error::Error::source(error).map(|source| format!(": {source}"));
    format!("{error}{}", source.unwrap_or_default())
}

/// The key of a file of a manifest: its path, or the reference to a policy of a registry.
pub(crate) fn place_of(manifest: &Path, named: &str) -> PathBuf {
    match Reference::is_meant_by(named) {
        true => PathBuf::from(named),
        false => resolve_relative_to(manifest, named),
    }
}

/// A snapshot while it is taken.
struct Reader<'r> {
    source: &'r dyn FileSource,
    before: &'r Snapshot,
    /// The pins in the place of those of the lock file.
    lock: Option<&'r LockFile>,
    snapshot: Snapshot,
}

impl Reader<'_> {
    fn configuration(&mut self, path: &Path) {
        let Some(file) = self.read(path, MAX_CONFIG_BYTES as u64, FileKind::Plain) else { return };
        let parsed = parse(path, &file, self.before.config.as_ref(), || {
            let text = text_of(path, &file.bytes)?;
            Config::parse(text)
                .map_err(|error| DeploymentError::from(error).at(path.display().to_string()))
        });
        let config = parsed.value.clone();
        self.snapshot.config = Some(parsed);
        let Ok(config) = config else { return };
        if let Some(tls) = &config.listen.tls {
            let [certificate, key] =
                [&tls.certificate, &tls.key].map(|file| resolve_relative_to(path, file));
            self.read(&certificate, MAX_PEM_FILE_BYTES, FileKind::Plain);
            self.read(&key, MAX_PEM_FILE_BYTES, FileKind::Secret);
        }
        let of_issuers = config.trusted_issuers.iter().flat_map(|issuer| {
            let keys = match &issuer.keys {
                KeysEntry::File(file) => Some(file),
                KeysEntry::Discovered | KeysEntry::Url(_) => None,
            };
            keys.into_iter().chain(&issuer.ca_file)
        });
        for file in of_issuers {
            self.read(&resolve_relative_to(path, file), MAX_PEM_FILE_BYTES, FileKind::Plain);
        }
        self.manifest(&resolve_relative_to(path, &config.policies));
    }

    fn manifest(&mut self, path: &Path) {
        let Some(file) = self.read(path, MAX_MANIFEST_BYTES as u64, FileKind::Plain) else {
            return;
        };
        let parsed = parse(path, &file, self.before.manifest.as_ref(), || {
            let text = text_of(path, &file.bytes)?;
            Manifest::parse(text)
                .map_err(|error| DeploymentError::from(error).at(path.display().to_string()))
        });
        let manifest = parsed.value.clone();
        self.snapshot.manifest = Some(parsed);
        let Ok(manifest) = manifest else { return };
        let issuer = manifest.issuer.as_ref();
        if let Some(file) = issuer.and_then(|issuer| issuer.subject_migrations.as_ref()) {
            let limit = MAX_MIGRATIONS_BYTES as u64;
            self.read(&resolve_relative_to(path, file), limit, FileKind::Plain);
        }
        for binding in &manifest.bindings {
            if binding.reference.is_none() {
                let component = resolve_relative_to(path, &binding.policy);
                self.read(&component, binding.limits.component_bytes, FileKind::Component);
            }
            if let SettingsSource::File(file) = &binding.settings {
                let limit = MAX_SETTINGS_BYTES as u64;
                self.read(&resolve_relative_to(path, file), limit, FileKind::Plain);
            }
        }
        let with_reference = |binding| Some((binding, BindingEntry::reference(binding)?));
        let bindings: Vec<_> = manifest.bindings.iter().filter_map(with_reference).collect();
        if !bindings.is_empty() {
            self.references(path, &manifest, &bindings);
        }
    }

    /// Loads the policies that bindings name by a reference, out of the store.
    fn references(
        &mut self,
        path: &Path,
        manifest: &Manifest,
        bindings: &[(&BindingEntry, &Reference)],
    ) {
        let lock_path = lock_path(path);
        let lock = match self.read_or_error(&lock_path, MAX_LOCK_FILE_BYTES, FileKind::Plain) {
            _ if self.lock.is_some() => Ok(self.lock.cloned().unwrap_or_default()),
            Ok(file) => parse_lock(&lock_path, &file.bytes),
            // Without a tag none is needed.
            Err(error) if error.is_missing() => Ok(LockFile::default()),
            Err(error) => Err(PolicySourceError::File(error)),
        };
        let mut read = |file: &str| {
            let path = resolve_relative_to(path, file);
            let read = self.read_or_error(&path, MAX_KEY_FILE_BYTES, FileKind::Plain)?;
            Ok(read.bytes.clone())
        };
        let trust = trust_policy::<Vec<u8>>(manifest, &mut read);
        let (lock, trust) = match (lock, trust) {
            (Ok(lock), Ok(trust)) => (lock, trust),
            (Err(error), _) | (_, Err(error)) => {
                let error = Arc::new(FileError::Policy(Box::new(error)));
                for (_, reference) in bindings {
                    let place = place_of(path, &reference.to_string());
                    self.snapshot.files.insert(place, Err(Arc::clone(&error)));
                }
                return;
            }
        };
        let (store, now) = (policy_store(path, manifest), self.source.now());
        let source = PolicySource { store, trust, lock: &lock, lock_path, now };
        // Once, also where thousands of bindings name it: each load verifies signatures.
        let mut loaded: BTreeMap<&Reference, Option<StoredPolicy>> = BTreeMap::new();
        for (binding, reference) in bindings {
            let policy = loaded.entry(reference).or_insert_with(|| {
                source.load(reference).map_err(|error| self.refuse(path, reference, error)).ok()
            });
            if let Some(policy) = policy {
                self.reference(path, policy, binding, reference);
            }
        }
    }

    /// Puts the files of a loaded policy in their places. Its component has the name of the reference; the settings of a text
    /// policy have one of their own, since each binding can add to them.
    fn reference(
        &mut self,
        path: &Path,
        policy: &StoredPolicy,
        binding: &BindingEntry,
        reference: &Reference,
    ) {
        let settings = text_settings(binding, reference, policy, |file| {
            match self.snapshot.files.get(&resolve_relative_to(path, file)) {
                Some(Ok(file)) => Ok(file.bytes.clone()),
                Some(Err(error)) => Err(Arc::clone(error)),
                None => Ok(Vec::new()),
            }
        });
        let place = place_of(path, &reference.to_string());
        match settings {
            // Whatever is wrong with one binding of it, the set is none.
            Err(error) => self.refuse(path, reference, error),
            Ok(settings) => {
                if !self.snapshot.has(&place) {
                    self.insert(place, SnapshotFile::of_layer(&policy.component));
                }
                if let Some((name, settings)) = binding.text_settings().zip(settings) {
                    self.insert(place_of(path, &name), SnapshotFile::new(settings, false));
                }
            }
        }
    }

    /// Puts the reason that there is no policy in its place.
    fn refuse(&mut self, path: &Path, reference: &Reference, error: PolicySourceError) {
        let error = Arc::new(FileError::Policy(Box::new(error)));
        self.snapshot.files.insert(place_of(path, &reference.to_string()), Err(error));
    }

    /// Puts bytes that were verified in their place.
    fn insert(&mut self, place: PathBuf, file: SnapshotFile) {
        let file = match self.before.files.get(&place) {
            Some(Ok(same)) if same.digest == file.digest => Arc::clone(same),
            _ => Arc::new(file),
        };
        self.snapshot.files.insert(place, Ok(file));
    }

    fn read_or_error(
        &mut self,
        path: &Path,
        limit: u64,
        kind: FileKind,
    ) -> Result<Arc<SnapshotFile>, Arc<FileError>> {
        self.read(path, limit, kind);
        match self.snapshot.files.get(path) {
            Some(state) => state.clone(),
            None => Err(Arc::new(FileError::NotRegular { path: path.to_owned() })),
        }
    }

    /// Reads a file, unless it was read.
    fn read(&mut self, path: &Path, limit: u64, kind: FileKind) -> Option<Arc<SnapshotFile>> {
        if let Some(state) = self.snapshot.files.get(path) {
            return state.clone().ok();
        }
        let state = match self.source.read(path, limit, kind) {
            Ok(bytes) => {
                let file = SnapshotFile::new(bytes, kind == FileKind::Secret);
                Ok(match self.before.files.get(path) {
                    // The bytes of before, so that those that are the same are in memory once.
                    Some(Ok(same)) if same.digest == file.digest => Arc::clone(same),
                    _ => Arc::new(file),
                })
            }
            Err(error) => Err(Arc::new(error)),
        };
        self.snapshot.files.insert(path.to_owned(), state.clone());
        state.ok()
    }
}

/// Parses a file, unless the same bytes were parsed before.
fn parse<T>(
    path: &Path,
    file: &SnapshotFile,
    before: Option<&Parsed<T>>,
    parse: impl FnOnce() -> Result<T, DeploymentError>,
) -> Parsed<T> {
    match before.filter(|before| before.path == path && before.digest == file.digest) {
        Some(before) => before.clone(),
        None => Parsed {
            path: path.to_owned(),
            digest: file.digest,
            value: parse().map(Arc::new).map_err(Arc::new),
        },
    }
}
