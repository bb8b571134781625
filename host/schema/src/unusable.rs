//! Why a schema is not used.

use crate::patterns::{MAX_PATTERN_BYTES, MAX_PATTERN_KIB};
use crate::settings::{
    MAX_DEPTH, MAX_NODES, MAX_PATTERN_WORK, MAX_PATTERNS, MAX_SCHEMA_BYTES, MAX_WORK,
};

/// Why settings are not checked against a schema. The policy checks them itself all the same.
///
/// Texts of the schema are in the messages as they are; show them through [`countersign::visible`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The text is longer than [`MAX_SCHEMA_BYTES`].
    #[error("it has {bytes} bytes, at most {MAX_SCHEMA_BYTES} are allowed")]
    TooLarge {
        /// Its length in bytes.
        bytes: usize,
    },
    /// The text is no JSON.
    #[error("it is no JSON: {problem}")]
    NotJson {
        /// What is wrong.
        problem: String,
    },
    /// It is of another draft than 2020-12.
    #[error("`$schema` is `{found}`, expected https://json-schema.org/draft/2020-12/schema")]
    Draft {
        /// What `$schema` says.
        found: String,
    },
    /// It has a keyword that the draft does not have, or that is not supported: anchors and dynamic references.
    #[error("{place}: the keyword `{keyword}` is not known; a name of one's own begins with `x-`")]
    Keyword {
        /// JSON pointer to the schema that has it, with `#` before it.
        place: String,
        /// The keyword.
        keyword: String,
    },
    /// A keyword has a value of another form than the draft says.
    #[error("{place}: {problem}")]
    Malformed {
        /// JSON pointer to the schema that has it, with `#` before it; or what takes its place.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// It refers to another document: nothing is fetched.
    #[error(
        "{place}: `$ref` to `{reference}`, expected a place in the same document, such as #/$defs/name"
    )]
    Remote {
        /// Where.
        place: String,
        /// To what.
        reference: String,
    },
    /// It refers to a place that is not there.
    #[error("{place}: `$ref` to `{reference}`, which is not there")]
    Missing {
        /// Where.
        place: String,
        /// To what.
        reference: String,
    },
    /// It refers to itself, so there is no bound of what it costs.
    #[error("{place}: `$ref` to `{reference}`, which leads back to itself")]
    Recursive {
        /// Where.
        place: String,
        /// To what.
        reference: String,
    },
    /// Schemas within schemas, references followed, are deeper than [`MAX_DEPTH`].
    #[error("{place}: deeper than {MAX_DEPTH} schemas within one another, references followed")]
    TooDeep {
        /// Where.
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
        "{place}: the pattern `{pattern}` is none that is matched in linear time, in {MAX_PATTERN_BYTES} bytes \
         and {MAX_PATTERN_KIB} KiB of states (no lookaround, no back-references)"
    )]
    Pattern {
        /// Where.
        place: String,
        /// The pattern, cut to 80 bytes.
        pattern: String,
    },
    /// These settings are too many for it: its keywords times their values are more than [`MAX_WORK`].
    #[error(
        "{nodes} keywords and {values} values of settings are too many together: {MAX_WORK} is the most of their product"
    )]
    TooMuch {
        /// Keywords of the schema, references followed.
        nodes: u64,
        /// Values and keys of the settings.
        values: u64,
    },
    /// These settings are too long for its patterns: their KiB times the settings' bytes are more than
    /// [`MAX_PATTERN_WORK`].
    #[error(
        "{kib} KiB of patterns and {bytes} bytes of settings are too many together: {MAX_PATTERN_WORK} is the most of their product"
    )]
    TooMuchText {
        /// KiB of compiled patterns, references followed.
        kib: u64,
        /// Bytes of the settings.
        bytes: u64,
    },
}
