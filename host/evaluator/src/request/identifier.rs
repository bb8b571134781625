//! Identifiers: parsed, never normalised.
//!
//! Nothing here trims, folds case or decodes. Two identifiers are equal when their bytes are, and
//! what does not have the exact form is an [`IdentifierError`].

use std::fmt;

use crate::text::escape;

/// A text that is not an identifier of the required kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected}, found `{found}`")]
pub struct IdentifierError {
    /// The expected form.
    pub expected: &'static str,
    /// The text that was found: escaped, and cut to 80 bytes.
    pub found: String,
}

impl IdentifierError {
    pub(crate) fn new(expected: &'static str, found: &str) -> Self {
        Self { expected, found: escape(found, 80) }
    }
}

macro_rules! identifiers {
    ($($(#[$doc:meta])* $name:ident, $check:path, $expected:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// The form that its text has, for people.
            pub(crate) const EXPECTED: &'static str = $expected;

            #[doc = concat!("Parses ", $expected, ".")]
            ///
            /// # Errors
            /// When the text is anything else, even by one byte.
            pub fn parse(text: &str) -> Result<Self, IdentifierError> {
                if $check(text) {
                    Ok(Self(text.into()))
                } else {
                    Err(IdentifierError::new(Self::EXPECTED, text))
                }
            }

            /// The identifier's text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdentifierError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Self::parse(text)
            }
        }
    )*};
}

identifiers! {
    /// A workspace of the platform.
    Workspace, is_name,
        "a workspace identifier (1 to 63 lower-case letters and digits, single dashes between them)";
    /// A project of a workspace.
    Project, is_name,
        "a project identifier (1 to 63 lower-case letters and digits, single dashes between them)";
    /// A platform in a location: `<platform>.<location>`.
    Platform, is_platform,
        "a full platform identifier (`<platform>.<location>`, each of lower-case letters and digits, single dashes between them)";
    /// One installation of the platform; it stands in every subject.
    MeshstackId, is_name,
        "a meshStack id (1 to 63 lower-case letters and digits, single dashes between them)";
    /// The name of a binding in a policy set.
    BindingName, is_name,
        "a binding name (1 to 63 lower-case letters and digits, single dashes between them)";
    /// A run.
    RunId, is_uuid, "a UUID in canonical lower case that is not nil";
    /// A building block.
    BuildingBlockId, is_uuid, "a UUID in canonical lower case that is not nil";
    /// A building block definition.
    DefinitionId, is_uuid, "a UUID in canonical lower case that is not nil";
    /// A runner.
    RunnerId, is_uuid, "a UUID in canonical lower case that is not nil";
    /// The subject of a token (`sub`, RFC 7519 section 4.1.2), as far as an evaluator constrains
    /// it; a cloud may allow less.
    Subject, is_subject, "a subject (1 to 600 bytes of printable ASCII, no spaces)";
    /// One audience of a token (`aud`, RFC 7519 section 4.1.3).
    Audience, is_audience, "an audience (1 to 256 bytes of printable ASCII, no spaces)";
    /// The name of a claim that a policy may add.
    ClaimName, is_claim_name,
        "a claim name (1 to 128 bytes of letters, digits and `. _ : / -`, beginning with a letter)";
    /// The name of a fact of a run. None is a name that the contract keeps for what the host itself knows.
    FactName, is_fact_name,
        "a fact name (1 to 128 bytes of letters, digits and `. _ : / -`, beginning with a letter; not `implementation-type` or `author-kind`, which the contract keeps for the host)";
}

/// `^[a-z0-9]+(-[a-z0-9]+)*$`, 1 to 63 bytes.
pub(crate) fn is_name(text: &str) -> bool {
    (1..=63).contains(&text.len())
        && text.split('-').all(|part| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

fn is_platform(text: &str) -> bool {
    text.split_once('.').is_some_and(|(platform, location)| is_name(platform) && is_name(location))
}

fn is_uuid(text: &str) -> bool {
    // The parser also takes braces, URNs, upper case and the form without dashes: only the text
    // that it would print itself is canonical.
    let mut canonical = uuid::Uuid::encode_buffer();
    uuid::Uuid::try_parse(text)
        .is_ok_and(|uuid| !uuid.is_nil() && uuid.hyphenated().encode_lower(&mut canonical) == text)
}

fn is_subject(text: &str) -> bool {
    (1..=600).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_audience(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn is_fact_name(text: &str) -> bool {
    // The contract gives these the meaning of a case `other`, which a host of 1.0 never sends.
    is_claim_name(text) && !["implementation-type", "author-kind"].contains(&text)
}

pub(crate) fn is_claim_name(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:/-".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workspaces_are_parsed_and_never_normalised() {
        for text in ["a", "my-workspace", "0", "a-123", &"a".repeat(63)] {
            assert_eq!(Workspace::parse(text).unwrap().as_str(), text);
        }
        for text in [
            "",
            " ",
            "a ",
            " a",
            "A",
            "my_workspace",
            "-a",
            "a-",
            "a--b",
            "a.b",
            "a/b",
            "a:b",
            "a:definition:b",
            "a%3Ab",
            "a.",
            "*",
            "a*",
            "a?",
            "${a}",
            "a\0",
            "a\n",
            "ä",
            "e\u{301}",
            "a\u{ff1a}b",
            "a\u{2024}b",
            "\u{430}",
            "a\u{200b}",
            "\u{202e}a",
            &"a".repeat(64),
        ] {
            assert!(Workspace::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn uuids_are_canonical() {
        let uuid = "98520496-627d-43e6-82da-ce499179ff3f";
        assert_eq!(RunnerId::parse(uuid).unwrap().as_str(), uuid);
        for text in [
            "",
            "98520496-627D-43e6-82da-ce499179ff3f",
            "98520496627d43e682dace499179ff3f",
            "{98520496-627d-43e6-82da-ce499179ff3f}",
            "urn:uuid:98520496-627d-43e6-82da-ce499179ff3f",
            "00000000-0000-0000-0000-000000000000",
            "98520496-627d-43e6-82da-ce499179ff3f ",
            "98520496-627d-43e6-82da-ce499179ff3",
        ] {
            assert!(RunnerId::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn platforms_have_two_parts() {
        assert!(Platform::parse("my-platform.my-location").is_ok());
        for text in ["a", "a.", ".a", "a.b.c", "A.b", "a..b"] {
            assert!(Platform::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn errors_show_what_was_found_escaped() {
        assert_eq!(
            Workspace::parse("a\n\u{202e}b").unwrap_err().to_string(),
            "expected a workspace identifier (1 to 63 lower-case letters and digits, single dashes \
             between them), found `a\\u{a}\\u{202e}b`"
        );
    }
}
