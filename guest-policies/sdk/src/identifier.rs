//! Identifiers in settings.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

/// A workspace identifier in settings: lower-case letters and digits, single dashes between them,
/// 1 to 63 bytes.
///
/// A misspelt workspace would match no run and nobody would notice; with this type it is a
/// problem of the settings, with the place. Compares with the strings of a run:
///
/// ```
/// # let workspaces: Vec<countersign_policy::Workspace> = vec![];
/// # let run = countersign_policy::testing::run();
/// let listed = workspaces.iter().any(|w| *w == run.building_block.workspace);
/// # assert!(!listed);
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Workspace(Box<str>);

const EXPECTED: &str = "a workspace identifier (lower-case letters and digits, single dashes \
                        between them, at most 63 bytes)";

impl Workspace {
    /// Parses an identifier. Nothing is trimmed or folded.
    ///
    /// # Errors
    /// When the text is none, with a message that says what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is_part = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        if text.len() <= 63 && text.split('-').all(is_part) {
            Ok(Self(text.into()))
        } else {
            Err(format!("expected {EXPECTED}, found `{text}`"))
        }
    }

    /// The identifier's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lets a set of workspaces be asked for a run's workspace, which is a string.
impl std::borrow::Borrow<str> for Workspace {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Workspace {
    fn eq(&self, other: &str) -> bool {
        *self.0 == *other
    }
}

impl PartialEq<String> for Workspace {
    fn eq(&self, other: &String) -> bool {
        *self.0 == **other
    }
}

impl<'de> Deserialize<'de> for Workspace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Workspace;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Workspace, E> {
                Workspace::parse(text).map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for Workspace {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Workspace".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
            "maxLength": 63,
        })
    }
}
