//! The findings, with their severities.

use serde::Serialize;

/// The codes of findings, with their meaning.
pub const FINDINGS: &[(&str, &str)] = &[
    (
        "audience-of-another-cloud",
        "an audience that another cloud accepts as well: a token can be replayed there",
    ),
    ("malformed-subject", "a subject that no token can have"),
    ("never-admits", "a condition that no token meets, so nobody is admitted"),
    ("no-audience", "any audience is admitted, so a token for something else can be replayed here"),
    ("no-subject", "every subject of the issuer is admitted"),
    ("not-readable", "a part that the files do not determine, so it was not evaluated"),
    (
        "old-and-new-subject",
        "a definition's subject and a runner's in one place: finish the migration",
    ),
    ("policy-too-long", "a trust policy over AWS's default limit"),
    ("prefix-admits-neighbour", "a prefix that ends within a name, so that longer names match too"),
    ("repeated-key", "a key that stands again in one object, so that the earlier one is lost"),
    ("subject-pattern", "a subject that is not compared exactly"),
    ("subject-too-long", "a subject over the cloud's limit: it can never match"),
    ("too-many-credentials", "more credentials than an identity can have"),
    ("unreadable-file", "a file of which nothing was read"),
    ("unused-accept", "a comment that accepts no finding, or gives no reason"),
];

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Something to know, or to finish.
    Note,
    /// Trust that is wider than it should be.
    Warning,
    /// Trust that admits what it must not, or that does not work.
    Error,
}

impl Severity {
    /// The severity of a code.
    pub(super) fn of(code: &str) -> Self {
        match code {
            "not-readable" | "old-and-new-subject" => Self::Note,
            "subject-pattern" | "unused-accept" => Self::Warning,
            _ => Self::Error,
        }
    }

    /// The name, in lower case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}
