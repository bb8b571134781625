//! Forms of fields, and their bounds.

use std::fmt;

use crate::request::identifier::{BuildingBlockId, DefinitionId};

/// The form of a field's value, and its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldForm {
    /// An identifier, with its form in words.
    Identifier(&'static str),
    /// One word of a closed list.
    Word(&'static [&'static str]),
    /// A whole number.
    Integer {
        /// The smallest.
        min: u64,
        /// The largest.
        max: u64,
        /// The bounds in words.
        expected: &'static str,
    },
    /// A text of at least one byte without control characters.
    Line {
        /// Its greatest length in bytes.
        max_bytes: usize,
        /// The bounds in words.
        expected: &'static str,
    },
    /// A list of identifiers, each once.
    Identifiers {
        /// The minimum number.
        min: usize,
        /// The maximum number.
        max: usize,
        /// The form of each in words.
        each: &'static str,
        /// The bounds in words.
        expected: &'static str,
    },
    /// A list of parents: objects with the members [`PARENT_MEMBERS`].
    Parents {
        /// The maximum number.
        max: usize,
        /// The bounds in words.
        expected: &'static str,
    },
    /// Named texts, each name once.
    Facts {
        /// The maximum number.
        max: usize,
        /// The form of names in words.
        name: &'static str,
        /// The greatest length of a value in bytes.
        max_bytes: usize,
    },
}

/// A member of each parent.
#[derive(Debug, Clone, Copy)]
pub struct ParentMember {
    /// Its name in the contract's record `parent`.
    pub name: &'static str,
    /// Its key in the run object.
    pub object: &'static str,
    /// Its key in a record.
    pub record: &'static str,
    /// The form of its text in words.
    pub expected: &'static str,
}

/// The members of a parent.
pub const PARENT_MEMBERS: &[ParentMember] = &[PARENT_BUILDING_BLOCK, PARENT_DEFINITION];

pub(crate) const PARENT_BUILDING_BLOCK: ParentMember = ParentMember {
    name: "building-block",
    object: "buildingBlockUuid",
    record: "building_block",
    expected: BuildingBlockId::EXPECTED,
};

pub(crate) const PARENT_DEFINITION: ParentMember = ParentMember {
    name: "definition",
    object: "definitionUuid",
    record: "definition",
    expected: DefinitionId::EXPECTED,
};

impl fmt::Display for FieldForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identifier(expected)
            | Self::Integer { expected, .. }
            | Self::Line { expected, .. }
            | Self::Parents { expected, .. } => f.write_str(expected),
            Self::Word(words) => {
                let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
                write!(f, "one of {}", words.join(", "))
            }
            Self::Identifiers { each, expected, .. } => write!(f, "{expected}, each once: {each}"),
            Self::Facts { max, name, max_bytes } => write!(
                f,
                "at most {max} facts, each name once: {name}; a value of at most {max_bytes} bytes \
                 without control characters"
            ),
        }
    }
}
