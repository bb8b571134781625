//! Values of fields.

use std::fmt;

use crate::request::facts::Facts;
use crate::request::run::Parent;

/// The value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue<'c> {
    /// The claims have none.
    Absent,
    /// An identifier, a word or a line.
    Text(&'c str),
    /// A whole number.
    Number(u64),
    /// Identifiers.
    Texts(Vec<&'c str>),
    /// Parents of the building block.
    Parents(&'c [Parent]),
    /// Facts.
    Facts(&'c Facts),
}

impl fmt::Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("none"),
            Self::Text(text) => f.write_str(text),
            Self::Number(number) => write!(f, "{number}"),
            Self::Texts(texts) => f.write_str(&texts.join(" ")),
            Self::Parents(parents) => write!(f, "{} parents", parents.len()),
            Self::Facts(facts) => write!(f, "{} facts", facts.len()),
        }
    }
}
