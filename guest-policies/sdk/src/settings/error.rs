//! Errors of settings, in JSON's terms.

use std::fmt::{self, Display};

use serde::de::{Expected, Unexpected};

/// The first problem of settings that do not fit their type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// The segments of the JSON pointer, innermost first, each with its slash.
    segments: Vec<String>,
    message: String,
}

impl Error {
    /// The location as a JSON pointer (RFC 6901); empty for the whole.
    #[must_use]
    pub fn pointer(&self) -> String {
        self.segments.iter().rev().map(String::as_str).collect()
    }

    /// The problem, and what was expected.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn at_index(mut self, index: usize) -> Self {
        self.segments.push(format!("/{index}"));
        self
    }

    pub(super) fn at_key(mut self, key: &str) -> Self {
        let mut segment = String::from("/");
        for character in key.chars() {
            match character {
                '~' => segment.push_str("~0"),
                '/' => segment.push_str("~1"),
                other => segment.push(other),
            }
        }
        self.segments.push(segment);
        self
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer().as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

impl std::error::Error for Error {}

impl serde::de::Error for Error {
    fn custom<T: Display>(message: T) -> Self {
        Self { segments: Vec::new(), message: message.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("expected {}, found {}", json(expected), kind(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        match found {
            Unexpected::Unsigned(number) => {
                Self::custom(format_args!("expected {}, found {number}", json(expected)))
            }
            Unexpected::Signed(number) => {
                Self::custom(format_args!("expected {}, found {number}", json(expected)))
            }
            Unexpected::Str(text) => {
                Self::custom(format_args!("expected {}, found `{}`", json(expected), cut(text)))
            }
            other => Self::invalid_type(other, expected),
        }
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("expected {}, found {length} items", json(expected)))
    }

    fn unknown_variant(found: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected {}, found `{}`", OneOf(expected), cut(found)))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("unknown key, expected {}", OneOf(expected)))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom("missing").at_key(field)
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self::custom("appears twice").at_key(field)
    }
}

/// The first 80 bytes of a text, enough to recognise it.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(80);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// JSON's name for the type that was found.
fn kind(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
        Unexpected::Float(_) | Unexpected::Other(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "a string",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "an array",
        Unexpected::Map => "an object",
        _ => "another value",
    }
}

/// Translates serde's description of the expected type to JSON's terms.
fn json(expected: &dyn Expected) -> String {
    let words = expected.to_string();
    match words.as_str() {
        "a nonzero u8" => "a whole number from 1 to 255".into(),
        "a nonzero u16" => "a whole number from 1 to 65535".into(),
        "a nonzero u32" => "a whole number from 1 to 4294967295".into(),
        "a nonzero u64" | "a nonzero usize" => "a whole number, 1 or more".into(),
        "u8" => "a whole number from 0 to 255".into(),
        "u16" => "a whole number from 0 to 65535".into(),
        "u32" => "a whole number from 0 to 4294967295".into(),
        "u64" | "usize" => "a whole number, 0 or more".into(),
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number".into(),
        "f32" | "f64" => "a number".into(),
        "option" | "unit" => "null".into(),
        "a sequence" => "an array".into(),
        "a map" => "an object".into(),
        other if other.starts_with("struct ") => "an object".into(),
        other => match other.strip_prefix("a tuple of size ") {
            Some(size) => format!("an array of {size} items"),
            None => words,
        },
    }
}

/// Displays the words of a closed list.
struct OneOf(&'static [&'static str]);

impl Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("none"),
            [only] => write!(f, "`{only}`"),
            [first, rest @ ..] => {
                write!(f, "one of `{first}`")?;
                rest.iter().try_for_each(|word| write!(f, ", `{word}`"))
            }
        }
    }
}
