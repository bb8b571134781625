//! Publishing and signing policies.

use std::collections::BTreeMap;

use countersign::Digest;

use crate::artifact::{Artifact, NewPolicy, referrer};
use crate::bundle::{self, BUNDLE_TYPE, SIGN_PREDICATE};
use crate::client::{ClientError, RegistryClient};
use crate::key::{PolicySigner, SignPolicyError};
use crate::oci::{ImageManifest, ManifestFormError};
use crate::reference::{PinnedReference, Repository, Tag};

/// The reason that a policy was not published or signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The registry did not do what it was asked for.
    #[error("{0} ({code})", code = .0.code())]
    Client(#[from] ClientError),
    /// The bytes at the registry are no manifest.
    #[error("{reference}: {problem}")]
    Form {
        /// The reference.
        reference: String,
        /// The problem.
        problem: ManifestFormError,
    },
    /// The registry has other bytes for the digest.
    #[error("{reference}: the registry has a manifest with the digest {found}")]
    Digest {
        /// The reference.
        reference: PinnedReference,
        /// The digest of the bytes.
        found: Digest,
    },
    /// The key gave no signature.
    #[error(transparent)]
    Sign(#[from] SignPolicyError),
}

/// A policy that was published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Its reference.
    pub reference: PinnedReference,
    /// The digest of its layer.
    pub layer: Digest,
    /// Its revision.
    pub revision: u64,
}

/// Publishes a policy under a tag, with what refers to it. Without a `revision`, it gets the one after that of the policy that
/// the tag names; the same policy keeps its own.
///
/// # Errors
/// When the registry does not take it.
pub async fn publish(
    client: &RegistryClient,
    repository: &Repository,
    tag: &Tag,
    policy: &NewPolicy,
    revision: Option<u64>,
) -> Result<Published, PublishError> {
    let mut policy = policy.clone();
    policy.revision = match revision {
        Some(revision) => revision,
        None => next_revision(client, repository, tag, &policy).await?,
    };
    let (artifact, sides) = policy.artifacts();
    client.push(repository, &artifact, Some(tag)).await?;
    let digest = artifact.digest();
    for side in &sides {
        client.push_referrer(repository, digest, side).await?;
    }
    let layer = artifact.blobs.last().map_or(digest, |layer| Digest::of(layer));
    let (reference, revision) = (repository.pinned(digest), policy.revision);
    Ok(Published { reference, layer, revision })
}

/// The revision after that of the policy that a tag names. What the registry says is not trusted: a revision that is too low
/// is refused by whoever has accepted a higher one.
async fn next_revision(
    client: &RegistryClient,
    repository: &Repository,
    tag: &Tag,
    policy: &NewPolicy,
) -> Result<u64, PublishError> {
    let pulled = match client.tagged(repository, tag).await {
        Ok(pulled) => pulled,
        Err(ClientError::NotFound { .. }) => return Ok(1),
        Err(error) => return Err(error.into()),
    };
    let form = |problem| PublishError::Form { reference: format!("{repository}:{tag}"), problem };
    let manifest = ImageManifest::parse(&pulled.bytes).map_err(form)?;
    let before = crate::artifact::PolicyManifest::of(&manifest);
    let before = before.map_or(0, |before| before.revision);
    let same = NewPolicy { revision: before, ..policy.clone() };
    Ok(if same.artifacts().0.digest() == pulled.digest { before } else { before.saturating_add(1) })
}

/// Signs a manifest of a repository and publishes the signature beside it, as `cosign verify` finds it. `created` is the time
/// that it is annotated with, in RFC 3339. The manifest is read first: a signature is of bytes that were seen.
///
/// # Errors
/// When the registry does not have the manifest or does not take the signature, or the key gives none.
pub async fn sign(
    client: &RegistryClient,
    reference: &PinnedReference,
    signer: &dyn PolicySigner,
    created: &str,
) -> Result<Digest, PublishError> {
    let repository = &reference.repository;
    let bytes = client.manifest(repository.registry(), repository, reference.digest).await?;
    let found = Digest::of(&bytes);
    if found != reference.digest {
        return Err(PublishError::Digest { reference: reference.clone(), found });
    }
    let form = |problem| PublishError::Form { reference: reference.to_string(), problem };
    ImageManifest::parse(&bytes).map_err(form)?;
    let subject = Artifact { manifest: bytes, blobs: Vec::new() }.descriptor();
    let bundle = bundle::sign(&repository.to_string(), reference.digest, signer)?;
    let artifact = of_bundle(&subject, &bundle, Some(created));
    client.push_referrer(repository, reference.digest, &artifact).await?;
    Ok(artifact.digest())
}

/// The artifact of a bundle.
pub(crate) fn of_bundle(
    subject: &crate::oci::Descriptor,
    bundle: &[u8],
    created: Option<&str>,
) -> Artifact {
    let mut annotations = BTreeMap::from([
        ("dev.sigstore.bundle.content".to_owned(), "dsse-envelope".to_owned()),
        ("dev.sigstore.bundle.predicateType".to_owned(), SIGN_PREDICATE.to_owned()),
    ]);
    if let Some(created) = created {
        annotations.insert("org.opencontainers.image.created".to_owned(), created.to_owned());
    }
    referrer(subject, BUNDLE_TYPE, BUNDLE_TYPE, bundle, annotations)
}
