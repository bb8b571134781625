//! Policies in a folder: an OCI image layout, to carry them where no registry is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use countersign::Digest;
use serde::Serialize;

use crate::artifact::Artifact;
use crate::bundle::{BUNDLE_TYPE, MAX_BUNDLE_BYTES};
use crate::oci::{Descriptor, INDEX_TYPE, ImageManifest, Index, MAX_MANIFEST_BYTES};
use crate::publish::of_bundle;
use crate::reference::{PinnedReference, Repository};
use crate::store::{self, MAX_SIGNATURES, PolicyStore, StoreError, hex};
use crate::trust::{FoundSignatures, VerifiedManifest};

/// The content of the file `oci-layout`.
const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

/// The annotation that says which repository a manifest is of.
const REPOSITORY_KEY: &str = "io.countersign.repository";

/// The maximum of manifests in a layout.
const MAX_MANIFESTS: usize = 4096;

/// A folder with an OCI image layout.
#[derive(Debug)]
pub struct OciLayout {
    folder: PathBuf,
    manifests: Vec<Descriptor>,
}

/// The reason that a layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// The folder is no layout.
    #[error("{}: {problem}", .path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// There is no such content.
    #[error("{}: no {digest}", .path.display())]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The digest.
        digest: Digest,
    },
    /// The folder has something in it already.
    #[error("{}: exists; name a new folder", .0.display())]
    Exists(PathBuf),
    /// A file cannot be read or written, or is not what its name says.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl LayoutError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "layout-malformed",
            Self::Missing { .. } => "layout-missing",
            Self::Exists(_) => "layout-exists",
            Self::Store(error) => error.code(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NewIndex {
    schema_version: u32,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
}

impl OciLayout {
    /// Opens a layout.
    ///
    /// # Errors
    /// When the folder is none.
    pub fn open(folder: &Path) -> Result<Self, LayoutError> {
        let read = |name: &str, limit: u64| {
            let path = folder.join(name);
            let malformed = |problem: &str| LayoutError::Malformed {
                path: path.clone(),
                problem: problem.to_owned(),
            };
            store::read(&path, limit)?
                .ok_or_else(|| malformed("missing; expected the folder of an OCI image layout"))
        };
        read("oci-layout", 4 << 10)?;
        let path = folder.join("index.json");
        let malformed = |problem| LayoutError::Malformed { path: path.clone(), problem };
        let index = Index::parse(&read("index.json", MAX_MANIFEST_BYTES as u64)?);
        let manifests = index.map_err(malformed)?.manifests;
        if manifests.len() > MAX_MANIFESTS {
            let problem = format!("more than {MAX_MANIFESTS} manifests");
            return Err(malformed(problem));
        }
        Ok(Self { folder: folder.to_owned(), manifests })
    }

    /// The policies in it, by their references. An entry that names no repository is none.
    ///
    /// # Errors
    /// When a repository is out of form.
    pub fn references(&self) -> Result<Vec<PinnedReference>, LayoutError> {
        let mut references = BTreeSet::new();
        for descriptor in &self.manifests {
            let Some(text) = descriptor.annotations.get(REPOSITORY_KEY) else { continue };
            let repository: Repository = text.parse().map_err(|error| LayoutError::Malformed {
                path: self.folder.join("index.json"),
                problem: format!("{REPOSITORY_KEY}: {error}"),
            })?;
            references.insert(repository.pinned(descriptor.digest));
        }
        Ok(references.into_iter().collect())
    }

    /// The bytes at a digest, of at most `limit`. Compared with nothing.
    pub(crate) fn blob(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, LayoutError> {
        let path = self.folder.join("blobs/sha256").join(hex(digest));
        store::read(&path, limit)?
            .ok_or_else(|| LayoutError::Missing { path: self.folder.clone(), digest })
    }

    /// The bundles that refer to a manifest.
    pub(crate) fn signatures(&self, manifest: Digest) -> Result<FoundSignatures, LayoutError> {
        let mut bundles = Vec::new();
        for descriptor in &self.manifests {
            if bundles.len() >= MAX_SIGNATURES {
                break;
            }
            let Ok(bytes) = self.blob(descriptor.digest, MAX_MANIFEST_BYTES as u64) else {
                continue;
            };
            let Ok(referrer) = ImageManifest::parse(&bytes) else { continue };
            let is_of_manifest = referrer.subject.is_some_and(|of| of.digest == manifest);
            let [layer] = referrer.layers.as_slice() else { continue };
            if is_of_manifest && layer.media_type == BUNDLE_TYPE {
                bundles.extend(self.blob(layer.digest, MAX_BUNDLE_BYTES as u64).ok());
            }
        }
        Ok(FoundSignatures { bundles, legacy: false })
    }

    /// Writes policies of a store, with their signatures, into a new folder.
    ///
    /// # Errors
    /// When the folder has something in it, or something cannot be read or written.
    pub fn write<'m>(
        folder: &Path,
        store: &PolicyStore,
        policies: impl IntoIterator<Item = &'m VerifiedManifest>,
    ) -> Result<(), LayoutError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| LayoutError::from(StoreError::Io { path, source })
        };
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(LayoutError::Exists(folder.to_owned()));
        }
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs).map_err(io(&blobs))?;
        let put = |bytes: &[u8]| {
            let path = blobs.join(hex(Digest::of(bytes)));
            fs::write(&path, bytes).map_err(io(&path))
        };
        let mut manifests = BTreeMap::new();
        for policy in policies {
            let digest = policy.reference().digest;
            let missing = |digest| LayoutError::Missing { path: store.folder().to_owned(), digest };
            let read = |digest: Digest, limit: u64| {
                store.blob(digest, limit)?.ok_or_else(|| missing(digest))
            };
            let parts = policy.policy();
            for side in parts.sides() {
                put(&read(side, crate::artifact::MAX_SIDE_BYTES)?)?;
            }
            for part in [&parts.config, &parts.layer] {
                put(&read(part.digest, part.size)?)?;
            }
            let bytes = read(digest, MAX_MANIFEST_BYTES as u64)?;
            put(&bytes)?;
            let artifact = Artifact { manifest: bytes, blobs: Vec::new() };
            let subject = artifact.descriptor();
            let mut descriptor = subject.clone();
            let repository = policy.reference().repository.to_string();
            descriptor.annotations.insert(REPOSITORY_KEY.to_owned(), repository.clone());
            manifests.insert((digest, repository), descriptor);
            for bundle in store.signatures(digest)? {
                let referrer = of_bundle(&subject, &bundle, None);
                referrer.blobs.iter().try_for_each(|blob| put(blob))?;
                put(&referrer.manifest)?;
                let mut descriptor = referrer.descriptor();
                descriptor.artifact_type = Some(BUNDLE_TYPE.to_owned());
                manifests.insert((referrer.digest(), String::new()), descriptor);
            }
        }
        let index = NewIndex {
            schema_version: 2,
            media_type: INDEX_TYPE,
            manifests: manifests.into_values().collect(),
        };
        let path = folder.join("index.json");
        let json = serde_json::to_vec(&index);
        let json = json.map_err(|error| io(&path)(error.into()))?;
        fs::write(&path, json).map_err(io(&path))?;
        let path = folder.join("oci-layout");
        fs::write(&path, LAYOUT).map_err(io(&path))
    }
}
