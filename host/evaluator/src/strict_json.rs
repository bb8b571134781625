//! Strict JSON: bounded before it is parsed, duplicate keys refused at any depth.
//!
//! `serde_json` reads RFC 8259, but lets the last of two equal keys win. Two readers of one run
//! object that disagree on which key counts are a way around a policy, so here such an object is
//! an error, also where the keys differ only in how they are escaped.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::text::escape;

/// The maximum size and depth of a JSON text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct JsonLimits {
    /// Length of the text in bytes.
    pub(crate) bytes: usize,
    /// Depth of nesting; a scalar has depth 0. Below `serde_json`'s own limit of 128.
    pub(crate) depth: usize,
}

/// A member of a text that is dropped unread: the keys that lead to it, from the outermost object.
///
/// It has to be JSON by its brackets and quotation marks, and nothing else: it may have a key twice, a number that no
/// reader can hold, half a surrogate pair, any depth and any size. Nobody reads it, so no two readers disagree on it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Dropped {
    /// The keys.
    pub(crate) path: &'static [&'static str],
    /// Length of the text with it, in bytes; the limits are those of the text without it.
    pub(crate) max_bytes: usize,
}

/// The maximum number of values in a JSON text (a run object, settings, a schema), keys not counted.
pub const MAX_VALUES: usize = 65_536;

/// The number of keys that are compared one by one.
const FEW_KEYS: usize = 16;

/// A parsed JSON text. It has no `Debug`: a run object holds secrets.
#[derive(PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool,
    /// A number that is a whole number from 0 to 2^64 - 1.
    Unsigned(u64),
    /// Every other number.
    Number,
    String(Cow<'a, str>),
    Array(Vec<Value<'a>>),
    Object(Object<'a>),
}

/// The members of a JSON object, each key once.
#[derive(PartialEq)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Object<'a> {
    /// The members, in the order of the text.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value)
    }
}

impl Value<'_> {
    /// The kind of this value, for an error message; never its content.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool => "a boolean",
            Self::Unsigned(_) | Self::Number => "a number",
            Self::String(_) => "a string",
            Self::Array(_) => "an array",
            Self::Object(_) => "an object",
        }
    }
}

/// The reason why a text is not the strict JSON that is required.
///
/// Lines and columns count from 1; columns are in bytes. No message repeats a value of the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The text is longer than the limit; it was not parsed.
    #[error("the text has {bytes} bytes, at most {limit} are allowed")]
    TooLarge {
        /// Length of the text.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The text is not JSON in UTF-8 (RFC 8259), or something follows it.
    #[error("line {line}, column {column}: not JSON: {expected}")]
    Syntax {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
        /// The parser's finding or expectation.
        expected: String,
    },
    /// Arrays and objects are nested deeper than the limit.
    #[error("line {line}, column {column}: nested deeper than {limit} levels")]
    TooDeep {
        /// Line of the error.
        line: usize,
        /// Column of the error.
        column: usize,
        /// The limit.
        limit: usize,
    },
    /// There are more values than are worth holding: their number, not the text's length, decides
    /// what memory they take.
    #[error("line {line}, column {column}: more than {limit} values")]
    TooMany {
        /// Line of the value that was one too many.
        line: usize,
        /// Column of it.
        column: usize,
        /// The limit.
        limit: usize,
    },
    /// An object has the same key twice.
    #[error("line {line}, column {column}: the key `{key}` appears twice in one object")]
    DuplicateKey {
        /// Line of the second appearance; of the object's end when it has more than 16 keys.
        line: usize,
        /// Column just after that.
        column: usize,
        /// The key, escaped and cut to 64 bytes.
        key: String,
    },
}

/// Checks that `text` is one JSON value that all readers agree on: at most `bytes` long and `depth` deep
/// (below 128), at most [`MAX_VALUES`] values, and no key twice in one object, however it is escaped.
///
/// ```
/// assert!(countersign::check_json(br#"{"aud": "a"}"#, 100, 4).is_ok());
/// assert!(countersign::check_json(br#"{"aud": "a", "\u0061ud": "b"}"#, 100, 4).is_err());
/// ```
///
/// # Errors
/// At the first thing that is wrong. No message repeats a value of the text.
pub fn check_json(text: &[u8], bytes: usize, depth: usize) -> Result<(), JsonError> {
    parse(text, JsonLimits { bytes, depth }).map(drop)
}

/// Parses the whole of `text` as one JSON value.
pub(crate) fn parse(text: &[u8], limits: JsonLimits) -> Result<Value<'_>, JsonError> {
    parse_without(text, limits, Dropped { path: &[], max_bytes: limits.bytes })
}

/// Parses the whole of `text` as one JSON value in which a member that is dropped is null.
pub(crate) fn parse_without(
    text: &[u8],
    limits: JsonLimits,
    dropped: Dropped,
) -> Result<Value<'_>, JsonError> {
    if text.len() > dropped.max_bytes {
        return Err(JsonError::TooLarge { bytes: text.len(), limit: dropped.max_bytes });
    }
    let found = RefCell::new(None);
    let (values_left, dropped_bytes) = (Cell::new(MAX_VALUES), Cell::new(0));
    let seed = Seed {
        depth_left: limits.depth,
        values_left: &values_left,
        found: &found,
        dropped: dropped.path,
        dropped_bytes: &dropped_bytes,
    };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let parsed =
        seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let bytes = text.len() - dropped_bytes.get();
    if parsed.is_ok() && bytes > limits.bytes {
        return Err(JsonError::TooLarge { bytes, limit: limits.bytes });
    }
    parsed.map_err(|error| {
        let (line, column) = (error.line(), error.column());
        match found.into_inner() {
            Some(Found::TooDeep) => JsonError::TooDeep { line, column, limit: limits.depth },
            Some(Found::TooMany) => JsonError::TooMany { line, column, limit: MAX_VALUES },
            Some(Found::DuplicateKey(key)) => JsonError::DuplicateKey { line, column, key },
            None => JsonError::Syntax { line, column, expected: without_position(&error) },
        }
    })
}

/// The problem that the seed found, beside the error that `serde_json` carries through.
enum Found {
    TooDeep,
    TooMany,
    DuplicateKey(String),
}

/// Builds a [`Value`], with the depth that is left.
#[derive(Clone, Copy)]
struct Seed<'f> {
    depth_left: usize,
    values_left: &'f Cell<usize>,
    found: &'f RefCell<Option<Found>>,
    /// The keys that lead from here to what is dropped; none where nothing is.
    dropped: &'static [&'static str],
    dropped_bytes: &'f Cell<usize>,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => {
                self.found.replace(Some(Found::TooDeep));
                Err(E::custom("too deep"))
            }
        }
    }
}

impl Seed<'_> {
    /// The value of a key, or null in its place where it is dropped.
    fn member<'de, A: MapAccess<'de>>(
        self,
        map: &mut A,
        key: &str,
    ) -> Result<Value<'de>, A::Error> {
        match self.dropped {
            [last] if *last == key => {
                let text: &RawValue = map.next_value()?;
                self.dropped_bytes.set(self.dropped_bytes.get() + text.get().len());
                Ok(Value::Null)
            }
            [first, further @ ..] if *first == key => {
                map.next_value_seed(Self { dropped: further, ..self })
            }
            _ => map.next_value_seed(Self { dropped: &[], ..self }),
        }
    }

    fn duplicate<E: serde::de::Error>(self, key: &str) -> E {
        self.found.replace(Some(Found::DuplicateKey(escape(key, 64))));
        E::custom("duplicate key")
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        match self.values_left.get().checked_sub(1) {
            Some(left) => self.values_left.set(left),
            None => {
                self.found.replace(Some(Found::TooMany));
                return Err(D::Error::custom("too many values"));
            }
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Value::Bool)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Value::Unsigned(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(Value::Number)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(Value::Number)
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Value::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let deeper = self.deeper()?;
        let deeper = Self { dropped: &[], ..deeper };
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(deeper)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let deeper = self.deeper()?;
        let mut members: Vec<(Cow<'de, str>, Value<'de>)> = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            if members.len() < FEW_KEYS && members.iter().any(|(name, _)| *name == key) {
                return Err(self.duplicate(&key));
            }
            let value = deeper.member(&mut map, &key)?;
            members.push((key, value));
        }
        if members.len() > FEW_KEYS {
            let mut keys: Vec<&str> = members.iter().map(|(name, _)| name.as_ref()).collect();
            keys.sort_unstable();
            if let Some(twice) = keys.windows(2).find_map(|pair| match pair {
                [a, b] if a == b => Some(*a),
                _ => None,
            }) {
                return Err(self.duplicate(twice));
            }
        }
        Ok(Value::Object(Object(members)))
    }
}

/// Reads an object's key, borrowed where it has no escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

/// `serde_json`'s message without the ` at line 1 column 2` that it appends: the position has
/// fields of its own here. Syntax messages name no content of the text.
fn without_position(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    message.strip_suffix(&position).map_or_else(|| message.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: JsonLimits = JsonLimits { bytes: 200, depth: 4 };

    #[track_caller]
    fn refuses(text: impl AsRef<[u8]>, expected: &str) {
        let error = parse(text.as_ref(), LIMITS).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    }

    #[test]
    fn accepts_any_value_once() {
        for text in ["null", "[1,-1,1.5,true]", r#"{"a":{"b":[{}]}}"#, r#""\u0061""#] {
            assert!(parse(text.as_bytes(), LIMITS).is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_what_readers_could_disagree_on() {
        refuses(
            r#"{"spec":1,"spec":2}"#,
            "line 1, column 16: the key `spec` appears twice in one object",
        );
        refuses(
            r#"{"spec":1,"\u0073pec":2}"#,
            "line 1, column 21: the key `spec` appears twice in one object",
        );
        refuses(
            r#"{"a":[{"b":1,"b":1}]}"#,
            "line 1, column 16: the key `b` appears twice in one object",
        );
        refuses("{} {}", "line 1, column 4: not JSON: trailing characters");
        refuses("\u{feff}{}", "line 1, column 1: not JSON: expected value");
        refuses([0xff, 0xfe, 0x7b, 0x00], "line 1, column 1: not JSON: expected value");
        refuses("1e9999", "line 1, column 6: not JSON: number out of range");
        refuses(r#""\ud800""#, "line 1, column 8: not JSON: unexpected end of hex escape");
        refuses("", "line 1, column 0: not JSON: EOF while parsing a value");
    }

    #[test]
    fn finds_a_key_twice_among_many() {
        let members: Vec<_> = (0..30).map(|n| format!("\"k{n}\":0")).collect();
        let large = JsonLimits { bytes: 1 << 20, depth: 4 };
        let text = format!("{{{}}}", members.join(","));
        assert!(parse(text.as_bytes(), large).is_ok());
        for twice in ["k0", "k15", "k16", "k29"] {
            let text = format!("{{{},\"{twice}\":0}}", members.join(","));
            let error = parse(text.as_bytes(), large).err().unwrap().to_string();
            assert!(error.ends_with(&format!("the key `{twice}` appears twice in one object")));
        }
    }

    #[test]
    fn bounds_the_number_of_values() {
        let large = JsonLimits { bytes: 1 << 20, depth: 4 };
        let list = |length: usize| format!("[{}0]", "0,".repeat(length - 1));
        assert!(parse(list(MAX_VALUES - 1).as_bytes(), large).is_ok());
        let error = parse(list(MAX_VALUES).as_bytes(), large).err().unwrap().to_string();
        assert!(error.ends_with("more than 65536 values"), "{error}");
    }

    #[test]
    fn bounds_before_it_builds() {
        refuses("[".repeat(100), "line 1, column 5: nested deeper than 4 levels");
        refuses(" ".repeat(201), "the text has 201 bytes, at most 200 are allowed");
        assert!(parse("[[[[]]]]".as_bytes(), LIMITS).is_ok());
    }

    #[test]
    fn what_is_dropped_is_not_read() {
        const WITHOUT: Dropped = Dropped { path: &["a", "in"], max_bytes: 2_000 };
        let check = |text: &str| parse_without(text.as_bytes(), LIMITS, WITHOUT).map(drop);
        let deep = format!("{}{}", "[".repeat(400), "]".repeat(400));
        let long = format!("\"{}\"", "x".repeat(1_500));
        for value in [r#"{"k":1,"k":2}"#, "1e9999", r#""\ud800""#, "[[[[[[0]]]]]]", &deep, &long] {
            assert_eq!(check(&format!(r#"{{"a":{{"in":{value},"b":1}}}}"#)), Ok(()), "{value}");
            // Only there.
            for elsewhere in [
                format!(r#"{{"a":{{"inn":{value}}}}}"#),
                format!(r#"{{"in":{value}}}"#),
                format!(r#"{{"a":[{{"in":{value}}}]}}"#),
                format!(r#"{{"b":{{"a":{{"in":{value}}}}}}}"#),
            ] {
                assert!(check(&elsewhere).is_err(), "{elsewhere}");
            }
        }
        for (text, expected) in [
            (
                r#"{"a":{"in":1,"in":2}}"#,
                "line 1, column 17: the key `in` appears twice in one object",
            ),
            (r#"{"a":{"in":[}}"#, "line 1, column 13: not JSON: expected value"),
        ] {
            assert_eq!(check(text).unwrap_err().to_string(), expected, "{text}");
        }
        let padded = format!(r#"{{"a":{{"in":{long}}}}}{}"#, " ".repeat(190));
        let expected = "the text has 203 bytes, at most 200 are allowed";
        assert_eq!(check(&padded).unwrap_err().to_string(), expected);
        let expected = "the text has 2001 bytes, at most 2000 are allowed";
        assert_eq!(check(&" ".repeat(2_001)).unwrap_err().to_string(), expected);
    }
}
