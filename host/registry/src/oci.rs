//! Manifests, indexes and descriptors (OCI image specification 1.1), as far as policies need them.

use std::collections::BTreeMap;

use countersign::{Digest, check_json};
use serde::{Deserialize, Serialize, Serializer};

/// The media type of an image manifest.
pub(crate) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";

/// The media type of an image index.
pub(crate) const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";

/// The media type of the empty descriptor, whose content is `{}`.
pub(crate) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// The content of the empty descriptor.
pub(crate) const EMPTY: &[u8] = b"{}";

/// The maximum length of a manifest, in bytes. Registries take four times as much; a policy's has a hundredth.
pub const MAX_MANIFEST_BYTES: usize = 1 << 20;

/// The maximum depth of a manifest.
const MAX_DEPTH: usize = 16;

/// A descriptor of content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// The media type.
    pub media_type: String,
    /// The digest that the content must have.
    #[serde(deserialize_with = "digest", serialize_with = "as_text")]
    pub digest: Digest,
    /// The length that the content must have, in bytes.
    pub size: u64,
    /// The type of the artifact that a manifest is. Registries copy it wrongly, so nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Annotations. Registries write `null` where there are none.
    #[serde(default, deserialize_with = "or_null", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// The descriptor of content.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

/// An image manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageManifest {
    /// 2.
    pub schema_version: u32,
    /// `application/vnd.oci.image.manifest.v1+json`.
    pub media_type: String,
    /// The type of the artifact.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The configuration.
    pub config: Descriptor,
    /// The layers.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The reason that bytes are no manifest of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestFormError {
    /// The text is longer than [`MAX_MANIFEST_BYTES`].
    #[error("the manifest has {bytes} bytes, at most {MAX_MANIFEST_BYTES} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The text is no JSON object, or one that two readers could read differently.
    #[error("not a manifest: {0}; is this a registry?")]
    NotJson(String),
    /// The bytes are an index, which has a choice in it.
    #[error("an image index, expected the manifest of one policy")]
    Index,
    /// The media type is another one.
    #[error("the media type is `{found}`, expected `{MANIFEST_TYPE}`")]
    MediaType {
        /// The type that was found.
        found: String,
    },
}

/// The members that tell a manifest from an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl ImageManifest {
    /// Parses a manifest. A text that is both a manifest and an index is refused, and so is one with a key twice.
    ///
    /// # Errors
    /// When the text is longer than [`MAX_MANIFEST_BYTES`], is no JSON, or is no image manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestFormError> {
        if bytes.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestFormError::TooLarge { bytes: bytes.len() });
        }
        let not_json = |error: &dyn std::fmt::Display| {
            ManifestFormError::NotJson(countersign::visible(&error.to_string()))
        };
        check_json(bytes, MAX_MANIFEST_BYTES, MAX_DEPTH).map_err(|error| not_json(&error))?;
        let kind: Kind = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
        let media_type = kind.media_type.unwrap_or_default();
        if kind.manifests.is_some() || media_type == INDEX_TYPE {
            return Err(ManifestFormError::Index);
        }
        if media_type != MANIFEST_TYPE {
            let found = shown(&media_type);
            return Err(ManifestFormError::MediaType { found });
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| not_json(&error))?;
        if manifest.schema_version != 2 {
            return Err(not_json(&"`schemaVersion` is not 2"));
        }
        Ok(manifest)
    }

    /// The bytes of a manifest that this program makes: the same for the same manifest.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        // Strings and numbers alone, which always have a form.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// An image index: the list of what refers to a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct IndexFile {
    manifests: Vec<serde_json::Value>,
}

impl Index {
    /// Parses an index. What is no descriptor in it is left out: what others refer to a manifest with is not to hide the rest.
    ///
    /// # Errors
    /// When it is too long, no JSON, or no index; in words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        check_json(bytes, MAX_MANIFEST_BYTES, MAX_DEPTH).map_err(|error| error.to_string())?;
        let file: IndexFile = serde_json::from_slice(bytes)
            .map_err(|error| countersign::visible(&error.to_string()))?;
        let manifests = file.manifests.into_iter();
        let manifests = manifests.filter_map(|entry| serde_json::from_value(entry).ok()).collect();
        Ok(Self { manifests })
    }
}

/// A foreign text in a message: escaped, and not longer than a line.
pub(crate) fn shown(text: &str) -> String {
    let short: String = text.chars().take(80).collect();
    countersign::visible(&short).replace('\n', "\\u{a}")
}

fn digest<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
    let text = String::deserialize(deserializer)?;
    Digest::parse(&text).map_err(serde::de::Error::custom)
}

fn or_null<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

fn as_text<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(digest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(more: &str) -> String {
        let digest = Digest::of(b"{}");
        format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST_TYPE}","config":{{"mediaType":"a","digest":"{digest}","size":2}},"layers":[]{more}}}"#
        )
    }

    #[test]
    fn a_manifest_is_written_as_it_is_read() {
        let text = manifest(r#","annotations":{"a":"b"}"#);
        assert_eq!(ImageManifest::parse(text.as_bytes()).unwrap().to_bytes(), text.as_bytes());
    }

    #[test]
    fn what_is_none_is_refused() {
        let of = |text: &str| ImageManifest::parse(text.as_bytes()).unwrap_err();
        assert_eq!(of(&manifest(r#","manifests":[]"#)), ManifestFormError::Index);
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX_TYPE}","manifests":[]}}"#);
        assert_eq!(of(&index), ManifestFormError::Index);
        let docker = manifest("").replace(MANIFEST_TYPE, "application/vnd.docker.v2+json");
        assert!(matches!(of(&docker), ManifestFormError::MediaType { .. }));
        let untyped = manifest("").replace(&format!(r#""mediaType":"{MANIFEST_TYPE}","#), "");
        assert!(matches!(of(&untyped), ManifestFormError::MediaType { .. }));
        for text in [
            "<!doctype html><title>Sign in</title>",
            "",
            "[]",
            "null",
            &manifest(r#","layers":[]"#),
            &manifest(r#","annotations":{"a":"b","a":"c"}"#),
            &manifest(r#","annotations":{"a":"b","\u0061":"c"}"#),
            &manifest("").replace("\"schemaVersion\":2", "\"schemaVersion\":1"),
            &manifest("").replace("sha256:", "sha512:"),
            &manifest("").replace("\"size\":2", "\"size\":-2"),
            &manifest("").replace("\"size\":2", "\"size\":2.0"),
        ] {
            assert!(matches!(of(text), ManifestFormError::NotJson(_)), "{text}");
        }
        let long = " ".repeat(MAX_MANIFEST_BYTES + 1);
        assert!(matches!(of(&long), ManifestFormError::TooLarge { .. }));
    }
}
