//! The way of a policy into the store: manifest, signatures, verification, and only then the layer.

use countersign::{Digest, Limits};

use crate::artifact::{MAX_SETTINGS_LAYER_BYTES, MAX_SIDE_BYTES};
use crate::client::{ClientError, RegistryClient};
use crate::layout::{LayoutError, OciLayout};
use crate::oci::{MAX_MANIFEST_BYTES, ManifestFormError};
use crate::reference::{PinnedReference, RegistryName};
use crate::store::{PolicyStore, StoreError};
use crate::trust::{FoundSignatures, LayerError, TrustPolicy, VerifiedManifest, VerifyError};

/// The place that policies come from.
#[derive(Clone, Copy)]
pub enum Source<'s> {
    /// Registries.
    Registry(&'s RegistryClient),
    /// A folder that was carried here.
    Layout(&'s OciLayout),
}

/// Fetches policies into a store.
#[derive(Clone, Copy)]
pub struct Fetcher<'f> {
    /// The place that they come from.
    pub source: Source<'f>,
    /// The store that they go to.
    pub store: &'f PolicyStore,
    /// The rules about who may sign.
    pub trust: &'f TrustPolicy,
    /// Accepts versions that are older than the floors of their repositories.
    pub allow_older: bool,
}

/// A policy that is in the store, whole and verified.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// Its manifest.
    pub manifest: VerifiedManifest,
    /// The manifest of its engine, for a text policy.
    pub engine: Option<VerifiedManifest>,
    /// True where nothing had to be fetched.
    pub was_there: bool,
}

/// The reason that a policy was not fetched. The store is as it was, or has more whole content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchPolicyError {
    /// The registry did not give it.
    #[error("{reference}: {problem} ({code})", code = .problem.code())]
    Client {
        /// The reference.
        reference: PinnedReference,
        /// The reason.
        problem: ClientError,
    },
    /// The folder does not have it.
    #[error("{reference}: {problem} ({code})", code = .problem.code())]
    Layout {
        /// The reference.
        reference: PinnedReference,
        /// The reason.
        problem: LayoutError,
    },
    /// It is not trusted.
    #[error("{reference}: {problem} ({code})", code = .problem.code())]
    Verify {
        /// The reference.
        reference: PinnedReference,
        /// The reason.
        problem: VerifyError,
    },
    /// A layer is not the manifest's.
    #[error("{reference}: {problem} ({code})", code = .problem.code())]
    Layer {
        /// The reference.
        reference: PinnedReference,
        /// The reason.
        problem: LayerError,
    },
    /// The engine of a text policy is another component than the text names, or no component.
    #[error(
        "{reference}: the engine {engine} is not the component that the policy names (engine-mismatch)"
    )]
    Engine {
        /// The text policy.
        reference: PinnedReference,
        /// Its engine.
        engine: PinnedReference,
    },
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl FetchPolicyError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Client { problem, .. } => problem.code(),
            Self::Layout { problem, .. } => problem.code(),
            Self::Verify { problem, .. } => problem.code(),
            Self::Layer { problem, .. } => problem.code(),
            Self::Engine { .. } => "engine-mismatch",
            Self::Store(error) => error.code(),
        }
    }

    /// Tells whether the place is at fault, so that another one may have it.
    fn is_of_place(&self) -> bool {
        !matches!(self, Self::Store(_) | Self::Engine { .. })
    }
}

/// The content of one manifest, verified and not yet kept.
struct Content {
    manifest: VerifiedManifest,
    bytes: Vec<u8>,
    bundles: Vec<Vec<u8>>,
    blobs: Vec<Vec<u8>>,
}

impl Fetcher<'_> {
    /// Brings a policy into the store, at `now`, in seconds since 1970. Nothing is fetched where it is there already.
    ///
    /// # Errors
    /// When it cannot be had, is not trusted, or cannot be kept.
    pub async fn fetch(
        &self,
        reference: &PinnedReference,
        now: u64,
    ) -> Result<Fetched, FetchPolicyError> {
        let floor = match self.allow_older {
            true => 0,
            false => self.store.floor(&reference.repository)?,
        };
        if let Some(stored) = self.stored(reference, floor, now) {
            return Ok(stored);
        }
        let content = self.first_place(reference, floor, false, now).await?;
        let engine = match &content.manifest.policy().engine {
            None => None,
            Some(engine) => {
                let of_engine = self.first_place(&engine.reference, 0, true, now).await?;
                if of_engine.manifest.policy().layer.digest != engine.component {
                    let (reference, engine) = (reference.clone(), engine.reference.clone());
                    return Err(FetchPolicyError::Engine { reference, engine });
                }
                Some(of_engine)
            }
        };
        // Content is there before the manifest that names it.
        for content in engine.iter().chain([&content]) {
            self.keep(content)?;
        }
        let (manifest, engine) = (content.manifest, engine.map(|engine| engine.manifest));
        Ok(Fetched { manifest, engine, was_there: false })
    }

    /// The policy, where all of it is in the store.
    fn stored(&self, reference: &PinnedReference, floor: u64, now: u64) -> Option<Fetched> {
        let manifest = self.store.verified(reference, self.trust, floor, now).ok()?;
        let of = |manifest: &VerifiedManifest| {
            // The configuration decides nothing, and whoever carries the policy elsewhere needs it.
            let config = manifest.policy().config.digest;
            let has_sides = manifest
                .policy()
                .sides()
                .chain([config])
                .map(|digest| self.store.blob(digest, MAX_SIDE_BYTES))
                .all(|side| matches!(side, Ok(Some(_))));
            has_sides && self.store.layer(manifest, limit_of(manifest)).is_ok()
        };
        let engine = match &manifest.policy().engine {
            None => None,
            Some(engine) => {
                let engine = self.store.verified(&engine.reference, self.trust, 0, now).ok()?;
                Some(engine).filter(|engine| of(engine))
            }
        };
        let is_whole = of(&manifest) && engine.is_some() == manifest.policy().engine.is_some();
        is_whole.then_some(Fetched { manifest, engine, was_there: true })
    }

    /// The content of a manifest, of the first place that has it.
    async fn first_place(
        &self,
        reference: &PinnedReference,
        floor: u64,
        is_engine: bool,
        now: u64,
    ) -> Result<Content, FetchPolicyError> {
        let places = match self.source {
            Source::Registry(client) => client.places(&reference.repository),
            Source::Layout(_) => vec![reference.repository.registry().clone()],
        };
        let mut last = None;
        for place in &places {
            match self.content_at(place, reference, floor, is_engine, now).await {
                Ok(content) => return Ok(content),
                Err(error) if !error.is_of_place() => return Err(error),
                // That of the registry itself is the one to tell.
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| FetchPolicyError::Verify {
            reference: reference.clone(),
            problem: VerifyError::NoRule(reference.repository.clone()),
        }))
    }

    async fn content_at(
        &self,
        place: &RegistryName,
        reference: &PinnedReference,
        floor: u64,
        is_engine: bool,
        now: u64,
    ) -> Result<Content, FetchPolicyError> {
        let refused = |problem| FetchPolicyError::Verify { reference: reference.clone(), problem };
        let bytes = match self.manifest(place, reference).await {
            Err(FetchPolicyError::Client { problem: ClientError::TooLarge { .. }, .. }) => {
                let bytes = MAX_MANIFEST_BYTES + 1;
                return Err(refused(ManifestFormError::TooLarge { bytes }.into()));
            }
            read => read?,
        };
        // Before anything is asked for by what is in it.
        let digest = Digest::of(&bytes);
        if digest != reference.digest {
            let expected = reference.digest;
            return Err(refused(VerifyError::Digest { found: digest, expected }));
        }
        let mut found = self.signatures(place, reference).await?;
        // Those of the store first: of several bundles of one key the first one is kept, so that the store gets no further
        // one with each fetch.
        found.bundles.splice(0..0, self.store.signatures(reference.digest)?);
        let manifest = self.trust.verify(reference, &bytes, &found, floor, now).map_err(refused)?;
        if is_engine && manifest.policy().engine.is_some() {
            let (reference, engine) = (reference.clone(), reference.clone());
            return Err(FetchPolicyError::Engine { reference, engine });
        }
        let mut blobs = Vec::new();
        let (layer, config) = (&manifest.policy().layer, &manifest.policy().config);
        let too_large = |problem| FetchPolicyError::Layer { reference: reference.clone(), problem };
        for (size, limit) in [(config.size, MAX_SIDE_BYTES), (layer.size, limit_of(&manifest))] {
            if size > limit {
                return Err(too_large(LayerError::TooLarge { size, limit }));
            }
        }
        // Of no known length, and of a known digest.
        for digest in manifest.policy().sides() {
            blobs.push(self.blob(place, reference, digest, None).await?);
        }
        blobs.push(self.blob(place, reference, config.digest, Some(config.size)).await?);
        let bytes_of_layer = self.blob(place, reference, layer.digest, Some(layer.size)).await?;
        let verified = manifest.layer(bytes_of_layer).map_err(too_large)?;
        blobs.push(verified.into_bytes());
        // The others mean nothing, and the store reads so many alone.
        let bundles = manifest.signatures().iter().filter_map(|at| found.bundles.get(*at));
        let bundles = bundles.cloned().collect();
        Ok(Content { manifest, bytes, bundles, blobs })
    }

    async fn manifest(
        &self,
        place: &RegistryName,
        reference: &PinnedReference,
    ) -> Result<Vec<u8>, FetchPolicyError> {
        let (repository, digest) = (&reference.repository, reference.digest);
        match self.source {
            Source::Registry(client) => {
                client.manifest(place, repository, digest).await.map_err(client_error(reference))
            }
            Source::Layout(layout) => {
                layout.blob(digest, MAX_MANIFEST_BYTES as u64).map_err(|problem| {
                    FetchPolicyError::Layout { reference: reference.clone(), problem }
                })
            }
        }
    }

    async fn signatures(
        &self,
        place: &RegistryName,
        reference: &PinnedReference,
    ) -> Result<FoundSignatures, FetchPolicyError> {
        let (repository, digest) = (&reference.repository, reference.digest);
        match self.source {
            Source::Registry(client) => {
                client.signatures(place, repository, digest).await.map_err(client_error(reference))
            }
            Source::Layout(layout) => layout.signatures(digest).map_err(|problem| {
                FetchPolicyError::Layout { reference: reference.clone(), problem }
            }),
        }
    }

    /// The bytes of a digest, and of a length where it is known.
    async fn blob(
        &self,
        place: &RegistryName,
        reference: &PinnedReference,
        digest: Digest,
        size: Option<u64>,
    ) -> Result<Vec<u8>, FetchPolicyError> {
        // Content that is there already, such as an engine's.
        let limit = size.unwrap_or(MAX_SIDE_BYTES);
        if let Ok(Some(bytes)) = self.store.blob(digest, limit)
            && size.is_none_or(|size| bytes.len() as u64 == size)
        {
            return Ok(bytes);
        }
        let refused = |problem| FetchPolicyError::Layer { reference: reference.clone(), problem };
        let read = match self.source {
            Source::Registry(client) => {
                match client.blob(place, &reference.repository, digest, limit).await {
                    Err(ClientError::TooLarge { .. }) => {
                        let found = limit.saturating_add(1);
                        return Err(refused(match size {
                            Some(expected) => LayerError::Size { found, expected },
                            None => LayerError::TooLarge { size: found, limit },
                        }));
                    }
                    read => read.map_err(client_error(reference))?,
                }
            }
            Source::Layout(layout) => layout.blob(digest, limit).map_err(|problem| {
                FetchPolicyError::Layout { reference: reference.clone(), problem }
            })?,
        };
        let found = read.len() as u64;
        if let Some(expected) = size.filter(|size| *size != found) {
            return Err(refused(LayerError::Size { found, expected }));
        }
        match Digest::of(&read) {
            found if found == digest => Ok(read),
            found => Err(refused(LayerError::Digest { found, expected: digest })),
        }
    }

    /// Keeps a policy: its content first, then its signatures, and its manifest last.
    fn keep(&self, content: &Content) -> Result<(), StoreError> {
        let lock = self.store.lock()?;
        for blob in &content.blobs {
            self.store.put_blob(&lock, blob)?;
        }
        let digest = content.manifest.reference().digest;
        for bundle in &content.bundles {
            self.store.put_signature(&lock, digest, bundle)?;
        }
        self.store.put_blob(&lock, &content.bytes)?;
        Ok(())
    }
}

/// The maximum length of the layer of a policy, in bytes.
fn limit_of(manifest: &VerifiedManifest) -> u64 {
    match manifest.policy().engine {
        Some(_) => MAX_SETTINGS_LAYER_BYTES,
        None => Limits::CEILING.component_bytes,
    }
}

fn client_error(reference: &PinnedReference) -> impl Fn(ClientError) -> FetchPolicyError {
    move |problem| FetchPolicyError::Client { reference: reference.clone(), problem }
}

impl RegistryClient {
    /// The manifest and the bundles of a reference as the registry has them, for people to look at.
    ///
    /// # Errors
    /// When the registry does not answer.
    pub async fn inspect(
        &self,
        reference: &PinnedReference,
    ) -> Result<(Vec<u8>, FoundSignatures), ClientError> {
        let repository = &reference.repository;
        let place = repository.registry();
        let manifest = self.manifest(place, repository, reference.digest).await?;
        let found = self.signatures(place, repository, reference.digest).await?;
        Ok((manifest, found))
    }
}
