//! Policies out of the store, verified each time.

use countersign::Digest;

use super::{PolicyStore, StoreError};
use crate::artifact::{MAX_SETTINGS_LAYER_BYTES, MAX_SIDE_BYTES};
use crate::oci::MAX_MANIFEST_BYTES;
use crate::reference::{PinnedReference, Repository};
use crate::trust::{
    FoundSignatures, LayerError, TrustPolicy, VerifiedLayer, VerifiedManifest, VerifyError,
};

/// A policy out of the store. Everything in it was verified.
#[derive(Debug)]
pub struct StoredPolicy {
    /// The manifest.
    pub manifest: VerifiedManifest,
    /// The component: the policy's own, or its engine's.
    pub component: VerifiedLayer,
    /// The settings, for a text policy.
    pub settings: Option<VerifiedLayer>,
    /// The manifest of the engine, for a text policy.
    pub engine: Option<VerifiedManifest>,
}

/// The test cases that were published with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCases {
    /// The text of `cases.toml`.
    pub text: Vec<u8>,
    /// The run object that they start from, where it is their own.
    pub run: Option<Vec<u8>>,
}

/// The reason that a policy is not loaded from the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadPolicyError {
    /// It is not there.
    #[error("{0}: not in the store {1}; `countersign fetch` fetches it (not-in-store)")]
    Missing(PinnedReference, String),
    /// It is not trusted.
    #[error("{reference}: {problem} ({})", .problem.code())]
    Verify {
        /// The reference.
        reference: PinnedReference,
        /// The reason.
        problem: Box<VerifyError>,
    },
    /// The layer is not the manifest's.
    #[error("{reference}: {problem} ({})", .problem.code())]
    Layer {
        /// The reference.
        reference: PinnedReference,
        /// The reason.
        problem: Box<LayerError>,
    },
    /// The engine of a text policy is another component than the text names, or no component.
    #[error(
        "{reference}: the engine has the component {found}, and the policy names {expected} (engine-mismatch)"
    )]
    Engine {
        /// The text policy.
        reference: PinnedReference,
        /// The component of the engine.
        found: Box<Digest>,
        /// The component that the text names.
        expected: Box<Digest>,
    },
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LoadPolicyError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(..) => "not-in-store",
            Self::Verify { problem, .. } => problem.code(),
            Self::Layer { problem, .. } => problem.code(),
            Self::Engine { .. } => "engine-mismatch",
            Self::Store(error) => error.code(),
        }
    }
}

impl PolicyStore {
    /// Loads a policy of at most `max_component_bytes`, at `now`, in seconds since 1970. Nothing is fetched.
    ///
    /// # Errors
    /// When it is not there, not trusted, too old, or damaged.
    pub fn load(
        &self,
        reference: &PinnedReference,
        trust: &TrustPolicy,
        max_component_bytes: u64,
        now: u64,
    ) -> Result<StoredPolicy, LoadPolicyError> {
        let floor = self.floor(&reference.repository)?;
        let manifest = self.verified(reference, trust, floor, now)?;
        let Some(engine) = &manifest.policy().engine else {
            let component = self.layer(&manifest, max_component_bytes)?;
            return Ok(StoredPolicy { component, manifest, settings: None, engine: None });
        };
        let settings = self.layer(&manifest, MAX_SETTINGS_LAYER_BYTES)?;
        // The one who signs the text does not sign the engine: each is verified by the rules of its own repository. An
        // engine is pinned by a text that is not older than its floor, so it has none of its own.
        let of_engine = self.verified(&engine.reference, trust, 0, now)?;
        let found = of_engine.policy().layer.digest;
        if of_engine.policy().engine.is_some() || found != engine.component {
            let (found, expected) = (Box::new(found), Box::new(engine.component));
            let reference = reference.clone();
            return Err(LoadPolicyError::Engine { reference, found, expected });
        }
        let component = self.layer(&of_engine, max_component_bytes)?;
        let (settings, engine) = (Some(settings), Some(of_engine));
        Ok(StoredPolicy { manifest, component, settings, engine })
    }

    /// The test cases of a policy and the run object that they start from, where it has them and they are in the store.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn cases(&self, manifest: &VerifiedManifest) -> Result<Option<StoredCases>, StoreError> {
        let read = |digest: Option<Digest>| match digest {
            Some(digest) => self.blob(digest, MAX_SIDE_BYTES),
            None => Ok(None),
        };
        let Some(text) = read(manifest.policy().cases)? else { return Ok(None) };
        Ok(Some(StoredCases { text, run: read(manifest.policy().run)? }))
    }

    /// Verifies a manifest of the store.
    ///
    /// # Errors
    /// When it is not there, damaged or not trusted.
    pub(crate) fn verified(
        &self,
        reference: &PinnedReference,
        trust: &TrustPolicy,
        floor: u64,
        now: u64,
    ) -> Result<VerifiedManifest, LoadPolicyError> {
        let bytes = self.blob(reference.digest, MAX_MANIFEST_BYTES as u64)?;
        let bytes = bytes.ok_or_else(|| self.missing(reference))?;
        let bundles = self.signatures(reference.digest)?;
        let found = FoundSignatures { bundles, legacy: false };
        trust.verify(reference, &bytes, &found, floor, now).map_err(|problem| {
            LoadPolicyError::Verify { reference: reference.clone(), problem: Box::new(problem) }
        })
    }

    /// The layer of a verified manifest.
    pub(crate) fn layer(
        &self,
        manifest: &VerifiedManifest,
        limit: u64,
    ) -> Result<VerifiedLayer, LoadPolicyError> {
        let layer = &manifest.policy().layer;
        let reference = manifest.reference();
        let refused = |problem| LoadPolicyError::Layer {
            reference: reference.clone(),
            problem: Box::new(problem),
        };
        if layer.size > limit {
            return Err(refused(LayerError::TooLarge { size: layer.size, limit }));
        }
        // Once: hashing a component takes longer than reading it, and a service does so at each poll.
        let bytes = self.unverified_blob(layer.digest, layer.size)?;
        let bytes = bytes.ok_or_else(|| self.missing(reference))?;
        manifest.layer(bytes).map_err(|problem| {
            let (path, problem) = (self.blob_path(layer.digest), problem.to_string());
            StoreError::Damaged { path, problem }.into()
        })
    }

    fn missing(&self, reference: &PinnedReference) -> LoadPolicyError {
        let store = self.folder.display().to_string();
        LoadPolicyError::Missing(reference.clone(), store)
    }

    /// Raises the floors of the repositories of some policies: to the lowest revision of each repository, so that several
    /// versions can be in use beside each other, and one that none of them is older than cannot come back.
    ///
    /// # Errors
    /// When a floor cannot be read or written.
    pub fn raise_floors(
        &self,
        policies: impl IntoIterator<Item = (Repository, u64)>,
    ) -> Result<(), StoreError> {
        let mut lowest = std::collections::BTreeMap::new();
        for (repository, revision) in policies {
            lowest
                .entry(repository)
                .and_modify(|lowest: &mut u64| *lowest = revision.min(*lowest))
                .or_insert(revision);
        }
        for (repository, revision) in lowest {
            self.raise_floor(&repository, revision)?;
        }
        Ok(())
    }
}
