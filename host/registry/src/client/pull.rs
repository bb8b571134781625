//! Manifests, layers and signatures out of a registry. Nothing that comes is trusted yet.

use std::collections::BTreeSet;

use countersign::Digest;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LINK};

use super::exchange::{Ask, Follow};
use super::{ClientError, RegistryClient};
use crate::bundle::{BUNDLE_TYPE, MAX_BUNDLE_BYTES};
use crate::oci::{
    Descriptor, EMPTY_TYPE, INDEX_TYPE, ImageManifest, Index, MANIFEST_TYPE, MAX_MANIFEST_BYTES,
    shown,
};
use crate::reference::{RegistryName, Repository, Tag};
use crate::store::{MAX_SIGNATURES, hex};
use crate::trust::FoundSignatures;

/// The types of manifests that are asked for. An index is asked for too, so that one is told from what is missing.
const ACCEPT_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json";

/// The maximum of pages of referrers.
const MAX_PAGES: usize = 8;

/// The header by which a registry says a manifest's digest.
const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest by a tag, and the digest of its bytes.
pub(crate) struct Pulled {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
}

impl RegistryClient {
    /// The bytes of a manifest, by its digest, as a place of the repository has them. Compared with nothing.
    pub(crate) async fn manifest(
        &self,
        place: &RegistryName,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Vec<u8>, ClientError> {
        Ok(self.manifest_by(place, repository, &digest.to_string()).await?.body)
    }

    /// The manifest that a tag names now, out of the registry itself.
    ///
    /// # Errors
    /// When there is none, or the registry does not answer.
    pub(crate) async fn tagged(
        &self,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Pulled, ClientError> {
        let answer = self.manifest_by(repository.registry(), repository, tag.as_str()).await?;
        // Of the bytes: the header may say anything.
        Ok(Pulled { digest: Digest::of(&answer.body), bytes: answer.body })
    }

    /// The digest of the manifest that a tag names now, as the registry says it. Nothing about it is verified: fetching by it
    /// is.
    ///
    /// # Errors
    /// When there is none, or the registry does not answer.
    pub async fn resolve(&self, repository: &Repository, tag: &Tag) -> Result<Digest, ClientError> {
        let target = format!("v2/{}/manifests/{tag}", repository.name());
        let what = format!("the manifest {repository}:{tag}");
        let place = repository.registry();
        let ask = Ask {
            method: Method::HEAD,
            accept: ACCEPT_MANIFEST,
            what,
            ..Ask::get(place, repository, target)
        };
        let answer = self.ask(&ask).await?;
        let said = answer.headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok());
        match said.and_then(|text| Digest::parse(text).ok()) {
            Some(digest) => Ok(digest),
            None => Ok(self.tagged(repository, tag).await?.digest),
        }
    }

    async fn manifest_by(
        &self,
        place: &RegistryName,
        repository: &Repository,
        target: &str,
    ) -> Result<super::exchange::Answer, ClientError> {
        let separator = if target.contains(':') { "@" } else { ":" };
        let ask = Ask {
            accept: ACCEPT_MANIFEST,
            what: format!("the manifest {repository}{separator}{target}"),
            limit: MAX_MANIFEST_BYTES as u64,
            ..Ask::get(place, repository, format!("v2/{}/manifests/{target}", repository.name()))
        };
        let answer = self.ask(&ask).await?;
        // A page to sign in, or of a proxy, says so.
        let content_type = answer.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match content_type.filter(|content_type| !content_type.contains("json")) {
            None => Ok(answer),
            Some(found) => Err(ClientError::Answer {
                registry: place.to_string(),
                problem: format!("a manifest of the type `{}`", shown(found)),
            }),
        }
    }

    /// The bytes of a blob of at most `limit` bytes. Compared with nothing.
    pub(crate) async fn blob(
        &self,
        place: &RegistryName,
        repository: &Repository,
        digest: Digest,
        limit: u64,
    ) -> Result<Vec<u8>, ClientError> {
        let ask = Ask {
            what: format!("the content {repository}@{digest}"),
            limit,
            follow: Follow::AnyHost,
            is_layer: true,
            ..Ask::get(place, repository, format!("v2/{}/blobs/{digest}", repository.name()))
        };
        Ok(self.ask(&ask).await?.body)
    }

    /// The signatures of a manifest: bundles that refer to it, by the referrers API and by the tag that registries without it
    /// have.
    ///
    /// # Errors
    /// When the registry does not answer. A referrer that is malformed is none.
    pub(crate) async fn signatures(
        &self,
        place: &RegistryName,
        repository: &Repository,
        manifest: Digest,
    ) -> Result<FoundSignatures, ClientError> {
        let mut found = FoundSignatures::default();
        let mut seen = BTreeSet::new();
        for descriptors in [
            self.referrers(place, repository, manifest).await?.unwrap_or_default(),
            // Also where the API answers: what was pushed before the registry had it is there alone.
            self.tagged_referrers(place, repository, manifest).await?,
        ] {
            for descriptor in descriptors.iter().filter(|descriptor| may_be_bundle(descriptor)) {
                if !seen.insert(descriptor.digest) || seen.len() > MAX_SIGNATURES {
                    continue;
                }
                found.bundles.extend(self.bundle(place, repository, manifest, descriptor).await?);
            }
            if !found.bundles.is_empty() {
                return Ok(found);
            }
        }
        let legacy = format!("sha256-{}.sig", hex(manifest));
        found.legacy = match self.manifest_by(place, repository, &legacy).await {
            Ok(_) => true,
            Err(ClientError::NotFound { .. }) => false,
            // Only a better message depends on it.
            Err(_) => false,
        };
        Ok(found)
    }

    /// The referrers of a manifest by the API; `None` where the registry has none.
    async fn referrers(
        &self,
        place: &RegistryName,
        repository: &Repository,
        manifest: Digest,
    ) -> Result<Option<Vec<Descriptor>>, ClientError> {
        let mut target = format!("v2/{}/referrers/{manifest}", repository.name());
        let mut descriptors = Vec::new();
        for _ in 0..MAX_PAGES {
            let ask = Ask {
                accept: INDEX_TYPE,
                what: format!("the referrers of {repository}@{manifest}"),
                limit: MAX_MANIFEST_BYTES as u64,
                expected: &[200, 404],
                ..Ask::get(place, repository, target)
            };
            let answer = self.ask(&ask).await?;
            if answer.status == 404 {
                return Ok(None);
            }
            // A registry without the API may answer anything to its path.
            let Ok(index) = Index::parse(&answer.body) else { return Ok(None) };
            descriptors.extend(index.manifests);
            match next_page(&answer.headers) {
                Some(next) => target = next,
                None => break,
            }
        }
        Ok(Some(descriptors))
    }

    /// The referrers of a manifest by the tag of its digest (distribution specification, "Referrers tag schema").
    async fn tagged_referrers(
        &self,
        place: &RegistryName,
        repository: &Repository,
        manifest: Digest,
    ) -> Result<Vec<Descriptor>, ClientError> {
        match self.manifest_by(place, repository, &referrers_tag(manifest)).await {
            Ok(answer) => {
                let index = Index::parse(&answer.body).map(|index| index.manifests);
                index.map_err(|problem| ClientError::Answer {
                    registry: place.to_string(),
                    problem: format!("the index of what refers to {manifest}: {problem}"),
                })
            }
            Err(ClientError::NotFound { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// The bundle of a referrer; `None` where it is something else.
    async fn bundle(
        &self,
        place: &RegistryName,
        repository: &Repository,
        manifest: Digest,
        descriptor: &Descriptor,
    ) -> Result<Option<Vec<u8>>, ClientError> {
        let bytes = match self.manifest(place, repository, descriptor.digest).await {
            Ok(bytes) => bytes,
            // An index can name what is gone, and a referrer of another kind can be of any length.
            Err(ClientError::NotFound { .. } | ClientError::TooLarge { .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Ok(referrer) = ImageManifest::parse(&bytes) else { return Ok(None) };
        let is_of_manifest = referrer.subject.is_some_and(|subject| subject.digest == manifest);
        let [layer] = referrer.layers.as_slice() else { return Ok(None) };
        let is_bundle = is_of_manifest
            && referrer.artifact_type.as_deref() == Some(BUNDLE_TYPE)
            && layer.media_type == BUNDLE_TYPE
            && layer.size <= MAX_BUNDLE_BYTES as u64;
        if !is_bundle {
            return Ok(None);
        }
        match self.blob(place, repository, layer.digest, layer.size).await {
            Ok(bundle) => Ok(Some(bundle)),
            Err(ClientError::NotFound { .. } | ClientError::TooLarge { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The tag by which registries without the referrers API name what refers to a manifest.
pub(super) fn referrers_tag(manifest: Digest) -> String {
    format!("sha256-{}", hex(manifest))
}

/// Tells whether a descriptor may be of a bundle. cosign 2.5 writes the type of its configuration into the index, so a type
/// that is right in the manifest can be another one here.
fn may_be_bundle(descriptor: &Descriptor) -> bool {
    let of_index = descriptor.artifact_type.as_deref();
    descriptor.media_type == MANIFEST_TYPE
        && matches!(of_index, None | Some("" | BUNDLE_TYPE | EMPTY_TYPE))
}

/// The target of the next page (RFC 8288), where there is one.
fn next_page(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(LINK)?.to_str().ok()?;
    let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("rel=\"next\"").then(|| target.to_owned())
}
