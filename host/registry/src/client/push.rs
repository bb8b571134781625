//! Artifacts into a registry.

use countersign::Digest;
use reqwest::Method;
use reqwest::header::LOCATION;
use serde_json::{Value, json};

use super::exchange::Ask;
use super::pull::referrers_tag;
use super::{ClientError, RegistryClient};
use crate::artifact::Artifact;
use crate::oci::{Descriptor, INDEX_TYPE, ImageManifest, MANIFEST_TYPE, MAX_MANIFEST_BYTES};
use crate::reference::{Repository, Tag};

/// The header by which a registry says that it keeps what refers to a manifest.
const SUBJECT: &str = "oci-subject";

/// Attempts to add a referrer to the index, which others may write at the same time: there is no conditional write.
const INDEX_ATTEMPTS: usize = 5;

impl RegistryClient {
    /// Puts a blob into a repository, unless it is there.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(crate) async fn push_blob(
        &self,
        repository: &Repository,
        bytes: &[u8],
    ) -> Result<(), ClientError> {
        let (digest, place) = (Digest::of(bytes), repository.registry());
        let name = repository.name();
        let what = || format!("the content {repository}@{digest}");
        let head = Ask {
            method: Method::HEAD,
            what: what(),
            pushes: true,
            expected: &[200, 404],
            ..Ask::get(place, repository, format!("v2/{name}/blobs/{digest}"))
        };
        if self.ask(&head).await?.status == 200 {
            return Ok(());
        }
        let begin = Ask {
            method: Method::POST,
            what: what(),
            pushes: true,
            expected: &[202],
            body: Some(("application/octet-stream", Vec::new())),
            ..Ask::get(place, repository, format!("v2/{name}/blobs/uploads/"))
        };
        let begun = self.ask(&begin).await?;
        let location = begun.headers.get(LOCATION).and_then(|location| location.to_str().ok());
        let location = location.ok_or_else(|| ClientError::Answer {
            registry: place.to_string(),
            problem: "it gave no place for an upload".to_owned(),
        })?;
        let separator = if location.contains('?') { '&' } else { '?' };
        let put = Ask {
            method: Method::PUT,
            what: what(),
            pushes: true,
            expected: &[201],
            is_layer: true,
            body: Some(("application/octet-stream", bytes.to_vec())),
            // A place at another host is refused: an upload shows the credential.
            ..Ask::get(place, repository, format!("{location}{separator}digest={digest}"))
        };
        self.ask(&put).await.map(drop)
    }

    /// Puts a manifest with its blobs into a repository, by its digest and, where one is given, by a tag.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(crate) async fn push(
        &self,
        repository: &Repository,
        artifact: &Artifact,
        tag: Option<&Tag>,
    ) -> Result<(), ClientError> {
        for blob in &artifact.blobs {
            self.push_blob(repository, blob).await?;
        }
        // By the digest first, so that a tag never names what is not whole.
        let digest = artifact.digest();
        self.put_manifest(repository, &digest.to_string(), MANIFEST_TYPE, &artifact.manifest)
            .await?;
        if let Some(tag) = tag {
            self.put_manifest(repository, tag.as_str(), MANIFEST_TYPE, &artifact.manifest).await?;
        }
        Ok(())
    }

    /// Puts an artifact into a repository that refers to a manifest there, and into the index of what does, where the
    /// registry does not keep one.
    ///
    /// # Errors
    /// When the registry does not take it.
    pub(crate) async fn push_referrer(
        &self,
        repository: &Repository,
        subject: Digest,
        artifact: &Artifact,
    ) -> Result<(), ClientError> {
        for blob in &artifact.blobs {
            self.push_blob(repository, blob).await?;
        }
        let digest = artifact.digest().to_string();
        let keeps_index =
            self.put_manifest(repository, &digest, MANIFEST_TYPE, &artifact.manifest).await?;
        if keeps_index {
            return Ok(());
        }
        let mut descriptor = artifact.descriptor();
        if let Ok(manifest) = ImageManifest::parse(&artifact.manifest) {
            descriptor.artifact_type = manifest.artifact_type;
            descriptor.annotations = manifest.annotations;
        }
        self.add_to_index(repository, subject, &descriptor).await
    }

    /// Adds a referrer to the index at the tag of its subject. What others have put there stays as it is.
    async fn add_to_index(
        &self,
        repository: &Repository,
        subject: Digest,
        descriptor: &Descriptor,
    ) -> Result<(), ClientError> {
        let tag = referrers_tag(subject);
        let problem = |problem: &str| ClientError::Answer {
            registry: repository.registry().to_string(),
            problem: format!("the index of what refers to {subject} {problem}"),
        };
        let own = serde_json::to_value(descriptor).map_err(|_| problem("cannot be written"))?;
        let is_own = |entry: &Value| entry.get("digest") == own.get("digest");
        for _ in 0..INDEX_ATTEMPTS {
            let mut index = self.index(repository, &tag).await?;
            let manifests = index.get_mut("manifests").and_then(Value::as_array_mut);
            let manifests = manifests.ok_or_else(|| problem("is none"))?;
            if manifests.iter().any(is_own) {
                return Ok(());
            }
            manifests.push(own.clone());
            let bytes = serde_json::to_vec(&index).map_err(|_| problem("cannot be written"))?;
            if bytes.len() > MAX_MANIFEST_BYTES {
                return Err(problem("is full"));
            }
            self.put_manifest(repository, &tag, INDEX_TYPE, &bytes).await?;
            // Read again: somebody else may have written at the same time, and lost this or been lost.
        }
        let index = self.index(repository, &tag).await?;
        match index
            .get("manifests")
            .and_then(Value::as_array)
            .is_some_and(|all| all.iter().any(is_own))
        {
            true => Ok(()),
            false => Err(problem("is written by others all the time; try again")),
        }
    }

    /// The index at a tag; an empty one where there is none.
    async fn index(&self, repository: &Repository, tag: &str) -> Result<Value, ClientError> {
        let ask = Ask {
            accept: INDEX_TYPE,
            what: format!("the index {repository}:{tag}"),
            limit: MAX_MANIFEST_BYTES as u64,
            expected: &[200, 404],
            pushes: true,
            ..Ask::get(
                repository.registry(),
                repository,
                format!("v2/{}/manifests/{tag}", repository.name()),
            )
        };
        let answer = self.ask(&ask).await?;
        if answer.status == 404 {
            return Ok(json!({"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}));
        }
        let malformed = |problem: String| ClientError::Answer {
            registry: repository.registry().to_string(),
            problem: format!("the index {tag}: {problem}"),
        };
        countersign::check_json(&answer.body, MAX_MANIFEST_BYTES, 16)
            .map_err(|error| malformed(error.to_string()))?;
        serde_json::from_slice(&answer.body).map_err(|error| malformed(error.to_string()))
    }

    /// Puts a manifest. True where the registry says that it keeps what refers to its subject.
    async fn put_manifest(
        &self,
        repository: &Repository,
        target: &str,
        media_type: &'static str,
        bytes: &[u8],
    ) -> Result<bool, ClientError> {
        let separator = if target.contains(':') { "@" } else { ":" };
        let ask = Ask {
            method: Method::PUT,
            what: format!("the manifest {repository}{separator}{target}"),
            pushes: true,
            expected: &[201],
            body: Some((media_type, bytes.to_vec())),
            ..Ask::get(
                repository.registry(),
                repository,
                format!("v2/{}/manifests/{target}", repository.name()),
            )
        };
        Ok(self.ask(&ask).await?.headers.contains_key(SUBJECT))
    }
}
