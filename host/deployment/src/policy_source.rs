//! Policies of registries, as the manifest names them: out of the store, verified, with no look at any network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::{
    BindingName, JsonError, Limits, MAX_SETTINGS_BYTES, MAX_SETTINGS_DEPTH, check_json,
};
use countersign_registry::{
    LOCK_EXTENSION, LoadPolicyError, LockFile, LockFileError, MAX_LOCK_BYTES, PolicyKeyError,
    PolicyStore, Reference, StoredPolicy, TrustPolicy, TrustPolicyError, TrustedKey, TrustedSigner,
    VerificationKey,
};
use serde_json::value::RawValue;

use crate::files::{FileError, resolve_relative_to, text_of};
use crate::manifest::{BindingEntry, Manifest, SettingsSource};

/// The maximum length of a public key, in bytes.
pub(crate) const MAX_KEY_FILE_BYTES: u64 = countersign_registry::MAX_KEY_BYTES as u64;

/// The maximum length of a lock file, in bytes.
pub(crate) const MAX_LOCK_FILE_BYTES: u64 = MAX_LOCK_BYTES as u64;

/// The reason that a policy of a registry cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicySourceError {
    /// It is not in the store, not trusted or damaged.
    #[error(transparent)]
    Load(#[from] LoadPolicyError),
    /// A tag has no entry in the lock file.
    #[error(
        "{reference}: a tag that {} does not pin; `countersign policy lock` does (not-locked)", .lock.display()
    )]
    NotLocked {
        /// The reference.
        reference: Reference,
        /// The lock file.
        lock: PathBuf,
    },
    /// The policy is another one than the lock file says.
    #[error("{reference}: not as {} has it; `countersign policy lock` compares them (lock-mismatch)", .lock.display())]
    OtherThanLocked {
        /// The reference.
        reference: Reference,
        /// The lock file.
        lock: PathBuf,
    },
    /// The lock file is none.
    #[error("{}: {problem}", .lock.display())]
    Lock {
        /// The lock file.
        lock: PathBuf,
        /// The problem.
        problem: LockFileError,
    },
    /// A public key cannot be used.
    #[error("trusted-signer: {file}: {problem}")]
    Key {
        /// The file, as the manifest has it.
        file: String,
        /// The problem.
        problem: PolicyKeyError,
    },
    /// The rules about who may sign contradict each other.
    #[error("trusted-signer: {0}")]
    Trust(#[from] TrustPolicyError),
    /// A file that the rules need cannot be read.
    #[error(transparent)]
    File(Arc<FileError>),
    /// A binding gives settings that a text policy has no place for.
    #[error(
        "binding `{0}`: has settings, and its policy is a text that takes none; remove `settings`"
    )]
    NoOwnSettings(BindingName),
    /// The settings of a text policy are no object.
    #[error("{0}: the settings of the policy are no object")]
    NotObject(Reference),
    /// The settings of a text policy are not JSON that has one meaning.
    #[error("{0}: the settings of the policy: {1}")]
    SettingsForm(Reference, Box<JsonError>),
}

/// The lock file of a manifest.
pub(crate) fn lock_path(manifest: &Path) -> PathBuf {
    manifest.with_extension(LOCK_EXTENSION)
}

/// Parses a lock file.
pub(crate) fn parse_lock(path: &Path, bytes: &[u8]) -> Result<LockFile, PolicySourceError> {
    let text = text_of(path, bytes).map_err(|error| PolicySourceError::File(Arc::new(error)))?;
    LockFile::parse(text)
        .map_err(|problem| PolicySourceError::Lock { lock: path.to_owned(), problem })
}

/// The rules about who may sign. `read` gives the bytes of a public key, by its path as the manifest has it.
pub(crate) fn trust_policy<B: AsRef<[u8]>>(
    manifest: &Manifest,
    read: &mut dyn FnMut(&str) -> Result<B, Arc<FileError>>,
) -> Result<TrustPolicy, PolicySourceError> {
    let mut signers = Vec::new();
    for entry in &manifest.trusted_signers {
        let mut keys = Vec::new();
        for key in &entry.keys {
            let bytes = read(&key.file).map_err(PolicySourceError::File)?;
            let parsed = VerificationKey::from_pem(bytes.as_ref())
                .map_err(|problem| PolicySourceError::Key { file: key.file.clone(), problem })?;
            let (not_before, not_after) = (key.not_before, key.not_after);
            keys.push(TrustedKey { key: parsed, not_before, not_after });
        }
        let (repositories, threshold) = (entry.repository.clone(), entry.threshold);
        signers.push(TrustedSigner { repositories, threshold, keys });
    }
    Ok(TrustPolicy::new(signers)?)
}

/// The store of a manifest.
pub(crate) fn policy_store(path: &Path, manifest: &Manifest) -> PolicyStore {
    PolicyStore::at(&resolve_relative_to(path, &manifest.policy_store))
}

/// Policies out of a store.
pub(crate) struct PolicySource<'s> {
    pub(crate) store: PolicyStore,
    pub(crate) trust: TrustPolicy,
    pub(crate) lock: &'s LockFile,
    pub(crate) lock_path: PathBuf,
    /// The instant by which signatures are judged, in seconds since 1970.
    pub(crate) now: u64,
}

impl PolicySource<'_> {
    /// Loads a policy. Each binding bounds its component again, where it is loaded by the evaluator.
    pub(crate) fn load(&self, reference: &Reference) -> Result<StoredPolicy, PolicySourceError> {
        let pinned = self.lock.pinned(reference).ok_or_else(|| PolicySourceError::NotLocked {
            reference: reference.clone(),
            lock: self.lock_path.clone(),
        })?;
        let policy =
            self.store.load(&pinned, &self.trust, Limits::CEILING.component_bytes, self.now)?;
        if self.lock.get(reference).is_some_and(|locked| !locked.is_of(&policy.manifest)) {
            let (reference, lock) = (reference.clone(), self.lock_path.clone());
            return Err(PolicySourceError::OtherThanLocked { reference, lock });
        }
        Ok(policy)
    }
}

/// The settings of a text policy for a binding: its own, with what the binding gives at the place that the engine has for it.
pub(crate) fn text_settings(
    entry: &BindingEntry,
    reference: &Reference,
    policy: &StoredPolicy,
    file: impl Fn(&str) -> Result<Vec<u8>, Arc<FileError>>,
) -> Result<Option<Vec<u8>>, PolicySourceError> {
    let Some(text) = &policy.settings else { return Ok(None) };
    let given = match &entry.settings {
        SettingsSource::Inline(settings) if settings.as_json() == "{}" => None,
        SettingsSource::Inline(settings) => Some(settings.as_json().as_bytes().to_vec()),
        SettingsSource::File(path) => Some(file(path).map_err(PolicySourceError::File)?),
    };
    let Some(given) = given else { return Ok(Some(text.as_bytes().to_vec())) };
    let not_object = || PolicySourceError::NotObject(reference.clone());
    let key = policy.manifest.policy().engine.as_ref().and_then(|of| of.own_settings.clone());
    let key = key.ok_or_else(|| PolicySourceError::NoOwnSettings(entry.name.clone()))?;
    // Before they are put together: a map drops a key that is there twice.
    check_json(text.as_bytes(), MAX_SETTINGS_BYTES, MAX_SETTINGS_DEPTH)
        .map_err(|problem| PolicySourceError::SettingsForm(reference.clone(), Box::new(problem)))?;
    let mut members: BTreeMap<String, Box<RawValue>> =
        serde_json::from_slice(text.as_bytes()).map_err(|_| not_object())?;
    // Whatever is wrong with these is found where settings are parsed.
    let given = std::str::from_utf8(&given).map_err(|_| not_object())?.to_owned();
    members.insert(key, RawValue::from_string(given).map_err(|_| not_object())?);
    serde_json::to_vec(&members).map(Some).map_err(|_| not_object())
}
