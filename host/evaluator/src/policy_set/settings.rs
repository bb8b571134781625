//! A policy's settings: JSON text, given once.

use crate::digest::Digest;
use crate::strict_json::{self, JsonError, JsonLimits, Value};

/// The maximum length of settings, in bytes of JSON.
pub const MAX_SETTINGS_BYTES: usize = 1 << 20;

/// The maximum nesting of settings.
pub const MAX_SETTINGS_DEPTH: usize = 32;

/// The settings of one binding, as JSON text (RFC 8259). Known by the digest of its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    json: Box<str>,
    digest: Digest,
}

/// The reason that a text cannot be settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The text is too large, not JSON, too deep, or has a key twice.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The text is not a JSON object.
    #[error("expected a JSON object, found {found}")]
    NotAnObject {
        /// The kind of value that was found.
        found: &'static str,
    },
}

impl Settings {
    /// Takes JSON text of at most [`MAX_SETTINGS_BYTES`] that holds one object.
    ///
    /// That the object fits a policy is the policy's to say, when a
    /// [`Binding`](crate::Binding) is prepared.
    ///
    /// # Errors
    /// When the text is anything else, or an object has a key twice.
    pub fn from_json(text: &str) -> Result<Self, SettingsError> {
        let limits = JsonLimits { bytes: MAX_SETTINGS_BYTES, depth: MAX_SETTINGS_DEPTH };
        match strict_json::parse(text.as_bytes(), limits)? {
            Value::Object(_) => Ok(Self { json: text.into(), digest: Digest::of(text.as_bytes()) }),
            other => Err(SettingsError::NotAnObject { found: other.kind() }),
        }
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// Digest of the JSON text.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Default for Settings {
    /// No settings: `{}`.
    fn default() -> Self {
        Self { json: "{}".into(), digest: Digest::of(b"{}") }
    }
}
