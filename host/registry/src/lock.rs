//! `countersign.lock`: the manifests that references named when somebody looked.
//!
//! A tag in `countersign.toml` is a name in this file and nothing more: what is loaded is what the file says.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use countersign::Digest;
use serde::Deserialize;

use crate::reference::{PinnedReference, Reference};
use crate::trust::VerifiedManifest;

/// The extension of a lock file, which lies beside the manifest of the same name.
pub const LOCK_EXTENSION: &str = "lock";

/// The maximum length of a lock file, in bytes.
pub const MAX_LOCK_BYTES: usize = 16 << 20;

/// The version of the file.
const VERSION: u32 = 1;

/// The entries of a lock file, by the references that they are about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LockFile {
    entries: BTreeMap<Reference, LockedPolicy>,
}

/// A policy, as it was when it was locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedPolicy {
    /// The digest of the manifest.
    pub manifest: Digest,
    /// The digest of the layer.
    pub layer: Digest,
    /// The length of the layer, in bytes.
    pub size: u64,
    /// The revision: no older one is locked in its place.
    pub revision: u64,
    /// The keys that had signed it.
    pub signers: Vec<Digest>,
}

/// A text that is no lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockFileError {
    /// The text is longer than [`MAX_LOCK_BYTES`].
    #[error("{0} bytes, at most {MAX_LOCK_BYTES} are allowed")]
    TooLarge(usize),
    /// The text is malformed. The message shows the line.
    #[error("{0}; `countersign policy lock` writes the file anew")]
    Toml(String),
    /// The file is of another version.
    #[error("version {0}, expected {VERSION}; it was written by another version of this program")]
    Version(u32),
    /// Two entries are about one reference.
    #[error("two entries are about `{0}`")]
    Twice(Reference),
    /// An entry gives a pinned reference another digest.
    #[error("the entry of `{0}` has another digest")]
    OtherDigest(PinnedReference),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    policy: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reference: String,
    manifest: String,
    layer: String,
    size: u64,
    revision: u64,
    signers: Vec<String>,
}

impl LockFile {
    /// Parses a lock file.
    ///
    /// # Errors
    /// When the text is none.
    pub fn parse(text: &str) -> Result<Self, LockFileError> {
        if text.len() > MAX_LOCK_BYTES {
            return Err(LockFileError::TooLarge(text.len()));
        }
        let malformed = |error: &dyn std::fmt::Display| {
            LockFileError::Toml(countersign::visible(error.to_string().trim_end()))
        };
        let file: File = toml::from_str(text).map_err(|error| malformed(&error))?;
        if file.version != VERSION {
            return Err(LockFileError::Version(file.version));
        }
        let mut entries = BTreeMap::new();
        for entry in file.policy {
            let reference: Reference =
                entry.reference.parse().map_err(|error| malformed(&error))?;
            let digest = |text: &str| Digest::parse(text).map_err(|error| malformed(&error));
            let locked = LockedPolicy {
                manifest: digest(&entry.manifest)?,
                layer: digest(&entry.layer)?,
                size: entry.size,
                revision: entry.revision,
                signers: entry.signers.iter().map(|text| digest(text)).collect::<Result<_, _>>()?,
            };
            if let Reference::Pinned(pinned) = &reference
                && pinned.digest != locked.manifest
            {
                return Err(LockFileError::OtherDigest(pinned.clone()));
            }
            if entries.insert(reference.clone(), locked).is_some() {
                return Err(LockFileError::Twice(reference));
            }
        }
        Ok(Self { entries })
    }

    /// The entry about a reference.
    pub fn get(&self, reference: &Reference) -> Option<&LockedPolicy> {
        self.entries.get(reference)
    }

    /// The entries.
    pub fn iter(&self) -> impl Iterator<Item = (&Reference, &LockedPolicy)> {
        self.entries.iter()
    }

    /// Puts an entry in the place of one about the same reference, or where there is none.
    pub fn insert(&mut self, reference: Reference, policy: LockedPolicy) {
        self.entries.insert(reference, policy);
    }

    /// Drops the entries about references that are not wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&Reference) -> bool) {
        self.entries.retain(|reference, _| wanted(reference));
    }

    /// The manifest that a reference means: a pinned one its own, a tag the one of its entry.
    pub fn pinned(&self, reference: &Reference) -> Option<PinnedReference> {
        match reference {
            Reference::Pinned(pinned) => Some(pinned.clone()),
            Reference::Tagged(repository, _) => {
                Some(repository.pinned(self.entries.get(reference)?.manifest))
            }
        }
    }

    /// The text of the file: the same for the same entries.
    pub fn to_text(&self) -> String {
        let mut text = String::from(
            "# Written by `countersign policy lock` and `update`: review it, and do not edit it.\n",
        );
        // Writing to a string does not fail.
        let _ = writeln!(text, "version = {VERSION}");
        for (reference, policy) in &self.entries {
            let signers: Vec<_> = policy.signers.iter().map(|id| format!("\"{id}\"")).collect();
            let _ = write!(
                text,
                "\n[[policy]]\nreference = \"{reference}\"\nmanifest = \"{}\"\nlayer = \"{}\"\nsize = {}\nrevision = {}\nsigners = [{}]\n",
                policy.manifest,
                policy.layer,
                policy.size,
                policy.revision,
                signers.join(", ")
            );
        }
        text
    }
}

impl LockedPolicy {
    /// The entry of a verified manifest.
    pub fn of(manifest: &VerifiedManifest) -> Self {
        let policy = manifest.policy();
        Self {
            manifest: manifest.reference().digest,
            layer: policy.layer.digest,
            size: policy.layer.size,
            revision: policy.revision,
            signers: manifest.signers().to_vec(),
        }
    }

    /// Tells whether a verified manifest is the one that was locked.
    pub fn is_of(&self, manifest: &VerifiedManifest) -> bool {
        let policy = manifest.policy();
        (self.manifest, self.layer, self.size, self.revision)
            == (
                manifest.reference().digest,
                policy.layer.digest,
                policy.layer.size,
                policy.revision,
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_is_read_as_it_was_written() {
        let digest = Digest::of(b"m");
        let mut lock = LockFile::default();
        let policy = LockedPolicy {
            manifest: digest,
            layer: Digest::of(b"l"),
            size: 3,
            revision: 2,
            signers: vec![Digest::of(b"k")],
        };
        for reference in [format!("oci://r.example/b@{digest}"), "oci://r.example/a:1".to_owned()] {
            lock.insert(reference.parse().unwrap(), policy.clone());
        }
        let text = lock.to_text();
        let read = LockFile::parse(&text).unwrap();
        assert_eq!((read.to_text(), &read), (text.clone(), &lock));
        let tagged = "oci://r.example/a:1".parse().unwrap();
        assert_eq!(read.pinned(&tagged).unwrap().digest, digest);
        assert_eq!(read.pinned(&"oci://r.example/a:2".parse().unwrap()), None);
        let twice = format!("{text}{}", text.split_once("version = 1\n").unwrap().1);
        assert!(matches!(LockFile::parse(&twice), Err(LockFileError::Twice(_))));
        let other = text.replacen(
            &format!("manifest = \"{digest}\""),
            &format!("manifest = \"{}\"", Digest::of(b"x")),
            2,
        );
        assert!(matches!(LockFile::parse(&other), Err(LockFileError::OtherDigest(_))));
        for (from, to) in [
            ("version = 1", "version = 2"),
            ("size", "sizes"),
            ("oci://", "http://"),
            ("sha256:", "sha512:"),
            ("size = 3", "size = -3"),
        ] {
            assert!(LockFile::parse(&text.replace(from, to)).is_err(), "{from}");
        }
    }
}
