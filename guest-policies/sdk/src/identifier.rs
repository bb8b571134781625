//! Identifiers in settings.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::settings::cut;

/// A type of identifiers. Only this crate implements it.
pub trait Identifier: private::Sealed + Sized {
    /// The form that texts must have, for messages.
    #[doc(hidden)]
    const EXPECTED: &'static str;

    /// Checks that a text is an identifier of this type. Nothing is trimmed or folded.
    ///
    /// # Errors
    /// When it is none, with a message that says what was expected and repeats at most 80 bytes of the text,
    /// unescaped: a host escapes it.
    fn check(text: &str) -> Result<(), String>;

    /// The identifier's text.
    fn as_str(&self) -> &str;

    /// The identifier of a text that was checked.
    #[doc(hidden)]
    fn from_checked(text: String) -> Self;
}

mod private {
    pub trait Sealed {}
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident, $check:path, $expected:literal, $schema:tt;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses an identifier. Nothing is trimmed or folded.
            ///
            /// # Errors
            /// When the text is none, with a message that says what was expected and repeats at
            /// most 80 bytes of it, unescaped: a host escapes it.
            pub fn parse(text: &str) -> Result<Self, String> {
                Self::check(text).map(|()| Self(text.into()))
            }

            /// The identifier's text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl private::Sealed for $name {}

        impl Identifier for $name {
            const EXPECTED: &'static str = $expected;

            fn check(text: &str) -> Result<(), String> {
                if $check(text) {
                    return Ok(());
                }
                Err(format!(concat!("expected ", $expected, ", found `{}`"), cut(text)))
            }

            fn as_str(&self) -> &str {
                &self.0
            }

            fn from_checked(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        /// Lets sets and maps be queried by the identifiers of a run, which are strings.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                *self.0 == *other
            }
        }

        impl PartialEq<String> for $name {
            fn eq(&self, other: &String) -> bool {
                *self.0 == **other
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;

                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($expected)
                    }

                    fn visit_str<E: Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }

                deserializer.deserialize_str(Text)
            }
        }

        #[cfg(not(target_arch = "wasm32"))]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($schema)
            }
        }
    )*};
}

identifiers! {
    /// A workspace identifier in settings: lower-case letters and digits, single dashes between
    /// them, 1 to 63 bytes.
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
    Workspace, is_workspace,
        "a workspace identifier (lower-case letters and digits, single dashes between them, at most 63 bytes)",
        {"type": "string", "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$", "maxLength": 63};
    /// The UUID of a definition in settings: canonical, in lower case, and not nil.
    DefinitionId, is_uuid,
        "a UUID in canonical lower case that is not nil",
        {"type": "string", "pattern": "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"};
    /// An audience in settings: 1 to 256 bytes of printable ASCII, no spaces.
    Audience, is_audience,
        "an audience (1 to 256 bytes of printable ASCII, no spaces)",
        {"type": "string", "pattern": "^[!-~]+$", "maxLength": 256};
}

fn is_workspace(text: &str) -> bool {
    let mut after_dash = true;
    let all = text.bytes().all(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' => {
            after_dash = false;
            true
        }
        b'-' => !std::mem::replace(&mut after_dash, true),
        _ => false,
    });
    all && !after_dash && text.len() <= 63
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().any(|b| !matches!(b, b'0' | b'-'))
        && text.bytes().enumerate().all(|(place, b)| match place {
            8 | 13 | 18 | 23 => b == b'-',
            _ => matches!(b, b'0'..=b'9' | b'a'..=b'f'),
        })
}

fn is_audience(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}
