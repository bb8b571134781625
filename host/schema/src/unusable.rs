//! The reasons for not using a schema.

use crate::patterns::{MAX_PATTERN_BYTES, MAX_PATTERN_KIB};
use crate::settings::{
    MAX_DEPTH, MAX_NODES, MAX_PATTERN_WORK, MAX_PATTERNS, MAX_SCHEMA_BYTES, MAX_WORK,
};

/// The reason for not checking settings against a schema. The policy checks them itself all the same.
///
/// Messages contain the schema's own text: display them through [`countersign::visible`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The text is longer than [`MAX_SCHEMA_BYTES`].
    #[error("it has {bytes} bytes, at most {MAX_SCHEMA_BYTES} are allowed")]
    TooLarge {
        /// The text's length in bytes.
        bytes: usize,
    },
    /// The text is not JSON.
    #[error("it is not JSON: {problem}")]
    NotJson {
        /// The problem.
        problem: String,
    },
    /// It is of another draft than 2020-12.
    #[error("`$schema` is `{found}`, expected https://json-schema.org/draft/2020-12/schema")]
    Draft {
        /// The value of `$schema`.
        found: String,
    },
    /// It has a keyword that the draft lacks, or one that is not supported: anchors and dynamic references.
    #[error("{place}: unknown keyword `{keyword}`; names of custom keywords begin with `x-`")]
    Keyword {
        /// JSON pointer to the schema that has it, with `#` before it.
        place: String,
        /// The keyword.
        keyword: String,
    },
    /// A keyword has an invalid value.
    #[error("{place}: {problem}")]
    Malformed {
        /// JSON pointer to the schema that has it, with `#` before it, or a description.
        place: String,
        /// The problem.
        problem: String,
    },
    /// It refers to another document: nothing is fetched.
    #[error(
        "{place}: `$ref` to `{reference}`, expected a place in the same document, such as #/$defs/name"
    )]
    Remote {
        /// JSON pointer to the schema that has it, with `#` before it.
        place: String,
        /// The reference's target.
        reference: String,
    },
    /// It refers to a place that does not exist.
    #[error("{place}: `$ref` to `{reference}`, which does not exist")]
    Missing {
        /// JSON pointer to the schema that has it, with `#` before it.
        place: String,
        /// The reference's target.
        reference: String,
    },
    /// It refers to itself, so its cost is unbounded.
    #[error("{place}: `$ref` to `{reference}`, which leads back to itself")]
    Recursive {
        /// JSON pointer to the schema that has it, with `#` before it.
        place: String,
        /// The reference's target.
        reference: String,
    },
    /// Its schemas, with references followed, are nested deeper than [`MAX_DEPTH`].
    #[error("{place}: nested deeper than {MAX_DEPTH} schemas, with references followed")]
    TooDeep {
        /// JSON pointer to the schema that has it, with `#` before it.
        place: String,
    },
    /// It has more than [`MAX_NODES`] keywords, each counted as often as references lead to it.
    #[error("with its references followed it has more than {MAX_NODES} keywords")]
    TooWide,
    /// It has more than [`MAX_PATTERNS`] patterns.
    #[error("it has more than {MAX_PATTERNS} patterns")]
    TooManyPatterns,
    /// A pattern is not one that is matched in linear time, or is too large.
    #[error(
        "{place}: the pattern `{pattern}` cannot be matched in linear time with {MAX_PATTERN_BYTES} bytes \
         and {MAX_PATTERN_KIB} KiB of states (no lookaround, no back-references)"
    )]
    Pattern {
        /// JSON pointer to the schema that has it, with `#` before it.
        place: String,
        /// The pattern, truncated to 80 bytes.
        pattern: String,
    },
    /// The product of its keywords and the settings' values exceeds [`MAX_WORK`].
    #[error("{nodes} keywords times {values} values of settings are more than {MAX_WORK}")]
    TooMuch {
        /// Keywords of the schema, with references followed.
        nodes: u64,
        /// Values and keys of the settings.
        values: u64,
    },
    /// The product of its patterns' KiB and the settings' bytes exceeds [`MAX_PATTERN_WORK`].
    #[error(
        "{kib} KiB of patterns times {bytes} bytes of settings are more than {MAX_PATTERN_WORK}"
    )]
    TooMuchText {
        /// KiB of compiled patterns, with references followed.
        kib: u64,
        /// Bytes of the settings.
        bytes: u64,
    },
}
