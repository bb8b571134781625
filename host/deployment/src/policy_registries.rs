//! Registries, the store, the rules and the lock file of a manifest: everything that fetching its policies needs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::{BindingName, Limits};
use countersign_registry::{
    ClientError, CredentialFiles, FetchPolicyError, Fetcher, LoadPolicyError, LockFile,
    LockedPolicy, PinnedReference, PolicyStore, Reference, RegistryClient, RegistryOptions, Source,
    Timing, TrustPolicy,
};

use crate::error::DeploymentError;
use crate::files::{read, replace, resolve_relative_to, text_of};
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::policy_source::{
    MAX_KEY_FILE_BYTES, MAX_LOCK_FILE_BYTES, lock_path, parse_lock, policy_store, trust_policy,
};
use crate::snapshot::MAX_PEM_FILE_BYTES;

/// The way to the policies of a manifest.
pub struct PolicyRegistries {
    /// The client of registries.
    pub client: RegistryClient,
    /// The store that the manifest names.
    pub store: PolicyStore,
    /// The rules about who may sign.
    pub trust: TrustPolicy,
    /// The lock file; an empty one where there is none.
    pub lock: LockFile,
    lock_path: PathBuf,
    references: Vec<(BindingName, Reference)>,
}

/// The pins of a manifest, as registries have them now.
#[derive(Debug, Default)]
pub struct FollowedPins {
    /// The manifests of the references.
    pub lock: LockFile,
    /// True where a tag leads elsewhere than its entry in the lock file says.
    pub has_moved: bool,
}

/// The cases that were published with a policy.
#[derive(Debug)]
pub struct ShippedCases {
    /// The text of `cases.toml`.
    pub text: Vec<u8>,
    /// The run object that they start from, where it is their own.
    pub run: Option<Vec<u8>>,
    /// The settings of a text policy.
    pub settings: Option<Vec<u8>>,
    /// The key of the settings that cases give.
    pub own_settings: Option<String>,
}

/// The reason that the policies of a manifest were not brought into the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// The registry does not say where a tag leads.
    #[error("{reference}: {problem} ({code})", code = .problem.code())]
    Client {
        /// The tag.
        reference: Reference,
        /// The reason.
        problem: ClientError,
    },
    /// A policy was not fetched.
    #[error(transparent)]
    Fetch(#[from] FetchPolicyError),
    /// A tag leads to an older version than the one that is pinned.
    #[error(
        "{reference}: leads to revision {found}, older than {pinned}, which is pinned (older-than-floor)"
    )]
    Older {
        /// The tag.
        reference: Reference,
        /// The revision that it leads to.
        found: u64,
        /// The revision that is pinned.
        pinned: u64,
    },
}

impl FollowError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Client { problem, .. } => problem.code(),
            Self::Fetch(error) => error.code(),
            Self::Older { .. } => "older-than-floor",
        }
    }
}

impl PolicyRegistries {
    /// Reads a manifest, its lock file and the keys and certificates that it names, and no policy. Credentials are those of
    /// Docker and Podman, by the environment of this process.
    ///
    /// # Errors
    /// When a file cannot be read or parsed, or the rules contradict each other.
    pub fn read(path: &Path) -> Result<Self, DeploymentError> {
        let at = |error: DeploymentError| error.at(path.display().to_string());
        let bytes = read(path, MAX_MANIFEST_BYTES as u64)?;
        let manifest = Manifest::parse(text_of(path, &bytes)?)
            .map_err(|error| at(DeploymentError::from(error)))?;
        let file = |file: &str, limit: u64| {
            read(&resolve_relative_to(path, file), limit).map_err(Arc::new)
        };
        let trust = trust_policy(&manifest, &mut |name| file(name, MAX_KEY_FILE_BYTES))
            .map_err(|error| at(error.into()))?;
        let lock_path = lock_path(path);
        let lock = match read(&lock_path, MAX_LOCK_FILE_BYTES) {
            Ok(bytes) => parse_lock(&lock_path, &bytes)?,
            Err(error) if error.is_missing() => LockFile::default(),
            Err(error) => return Err(error.into()),
        };
        let mut options = Vec::new();
        for entry in &manifest.registries {
            let authorities = entry.ca_file.as_deref().map(|name| file(name, MAX_PEM_FILE_BYTES));
            let authorities = authorities.transpose().map_err(|error| {
                DeploymentError::File(error).at(format!("registry `{}`: ca-file", entry.host))
            })?;
            options.push(RegistryOptions {
                registry: entry.host.clone(),
                mirrors: entry.mirrors.clone(),
                authorities,
                proxy: entry.proxy.clone(),
                plain_http: entry.plain_http,
                token_hosts: entry.token_hosts.clone(),
                timeout: entry.timeout,
            });
        }
        let references = manifest
            .bindings
            .iter()
            .filter_map(|binding| Some((binding.name.clone(), binding.reference.clone()?)));
        Ok(Self {
            client: RegistryClient::new(options, credentials(), Timing::default()),
            store: policy_store(path, &manifest),
            trust,
            lock,
            lock_path,
            references: references.collect(),
        })
    }

    /// A client of registries about which nothing is configured, with the credentials of Docker and Podman.
    pub fn usual_client() -> RegistryClient {
        RegistryClient::new(Vec::new(), credentials(), Timing::default())
    }

    /// Looks where tags lead now, and brings everything that they and the pins name into the store, verified, at `now`, in
    /// seconds since 1970. Returns the pins.
    ///
    /// # Errors
    /// At the first policy that cannot be had, is not trusted, or is older than the one that is pinned.
    pub async fn follow(&self, now: u64) -> Result<FollowedPins, FollowError> {
        let fetcher = Fetcher {
            source: Source::Registry(&self.client),
            store: &self.store,
            trust: &self.trust,
            allow_older: false,
        };
        let mut followed = FollowedPins::default();
        for (reference, pinned) in self.pinned() {
            let target = match (&reference, pinned) {
                (Reference::Pinned(pinned), _) => pinned.clone(),
                (Reference::Tagged(repository, tag), pinned) => {
                    let current = self.client.resolve(repository, tag).await;
                    let current = repository.pinned(current.map_err(|problem| {
                        FollowError::Client { reference: reference.clone(), problem }
                    })?);
                    followed.has_moved |= pinned.as_ref() != Some(&current);
                    current
                }
            };
            let fetched = fetcher.fetch(&target, now).await?;
            let locked = LockedPolicy::of(&fetched.manifest);
            if let Some(before) = self.lock.get(&reference)
                && before.revision > locked.revision
            {
                let (found, pinned) = (locked.revision, before.revision);
                return Err(FollowError::Older { reference, found, pinned });
            }
            followed.lock.insert(reference, locked);
        }
        Ok(followed)
    }

    /// The cases that came with a policy of the store, and the settings of a text policy that they are about.
    ///
    /// # Errors
    /// When the policy is not there or not trusted at `now`.
    pub fn cases(
        &self,
        lock: &LockFile,
        reference: &Reference,
        now: u64,
    ) -> Result<Option<ShippedCases>, LoadPolicyError> {
        let Some(pinned) = lock.pinned(reference) else { return Ok(None) };
        let limit = Limits::CEILING.component_bytes;
        let policy = self.store.load(&pinned, &self.trust, limit, now)?;
        let Some(cases) = self.store.cases(&policy.manifest)? else { return Ok(None) };
        let engine = policy.manifest.policy().engine.as_ref();
        Ok(Some(ShippedCases {
            own_settings: engine.and_then(|engine| engine.own_settings.clone()),
            settings: policy.settings.map(countersign_registry::VerifiedLayer::into_bytes),
            text: cases.text,
            run: cases.run,
        }))
    }

    /// The references of the bindings, in the order of the manifest; several can have one.
    pub fn references(&self) -> &[(BindingName, Reference)] {
        &self.references
    }

    /// The manifests that are in use: those of the references, tags as the lock file has them. A tag that it does not pin is
    /// an error of whoever needs it.
    pub fn pinned(&self) -> Vec<(Reference, Option<PinnedReference>)> {
        let mut pinned: Vec<_> = self
            .references
            .iter()
            .map(|(_, reference)| (reference.clone(), self.lock.pinned(reference)))
            .collect();
        pinned.sort();
        pinned.dedup();
        pinned
    }

    /// The path of the lock file.
    pub fn lock_path(&self) -> &Path {
        &self.lock_path
    }

    /// Writes the lock file.
    ///
    /// # Errors
    /// When the system refuses; the one before stays.
    pub fn write_lock(&self, lock: &LockFile) -> Result<(), DeploymentError> {
        Ok(replace(&self.lock_path, lock.to_text().as_bytes(), false)?)
    }
}

/// The files of credentials, by the environment of this process.
fn credentials() -> CredentialFiles {
    CredentialFiles::of_environment(|name| std::env::var_os(name))
}
