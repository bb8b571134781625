//! The kinds of values that an expression can have.

use std::fmt;

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// `null`.
    pub const NULL: Self = Self(1);
    /// A boolean.
    pub const BOOLEAN: Self = Self(2);
    /// A number.
    pub const NUMBER: Self = Self(4);
    /// A text.
    pub const TEXT: Self = Self(8);
    /// An array.
    pub const ARRAY: Self = Self(16);
    /// A set.
    pub const SET: Self = Self(32);
    /// An object.
    pub const OBJECT: Self = Self(64);
    /// Every kind.
    pub const ANY: Self = Self(127);

    const NAMES: [(Self, &'static str); 7] = [
        (Self::NULL, "null"),
        (Self::BOOLEAN, "a boolean"),
        (Self::NUMBER, "a number"),
        (Self::TEXT, "a string"),
        (Self::ARRAY, "an array"),
        (Self::SET, "a set"),
        (Self::OBJECT, "an object"),
    ];

    /// The kinds that a letter of the table of functions stands for.
    pub fn of_letter(letter: char) -> Self {
        match letter {
            'n' => Self::NUMBER,
            's' => Self::TEXT,
            'b' => Self::BOOLEAN,
            'a' => Self::ARRAY,
            'S' => Self::SET,
            'o' => Self::OBJECT,
            // A collection without keys.
            'c' => Self::ARRAY.or(Self::SET),
            // Whatever has members, or characters.
            'k' => Self::TEXT.or(Self::ARRAY).or(Self::SET).or(Self::OBJECT),
            't' => Self::NULL.or(Self::ARRAY),
            // A time, or a time with its zone.
            'q' => Self::NUMBER.or(Self::ARRAY),
            'y' => Self::ARRAY.or(Self::SET).or(Self::OBJECT),
            'z' => Self::NUMBER.or(Self::TEXT).or(Self::ARRAY).or(Self::SET),
            _ => Self::ANY,
        }
    }

    /// The kinds of both.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Says that a value can be of both.
    pub const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl fmt::Display for Kinds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ANY {
            return f.write_str("any value");
        }
        let named = Self::NAMES.iter().filter(|(kind, _)| self.overlaps(*kind));
        let names: Vec<_> = named.map(|(_, name)| *name).collect();
        f.write_str(&names.join(" or "))
    }
}
