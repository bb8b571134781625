//! The problems that one keyword reports.

use boon::ErrorKind;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use super::{Leaf, Problems, Wrong};
use crate::read::escaped;
use crate::words::{count, cut, expected, found, kind, types};

impl Problems<'_> {
    /// Returns the problems that one keyword of the schema at `url` reports for a pointer into the settings: one, or one
    /// for each key.
    pub(super) fn leaf(&self, pointer: String, url: &str, error: &ErrorKind<'_, '_>) -> Vec<Leaf> {
        let value = self.settings.pointer(&pointer).unwrap_or(&Value::Null);
        let here = |message: String, wrong| vec![Leaf { pointer: pointer.clone(), message, wrong }];
        let key = |key: &str, message: &str| Leaf {
            pointer: format!("{pointer}/{}", escaped(key)),
            message: message.to_owned(),
            wrong: Wrong::Keys,
        };
        let other = |message: String| here(message, Wrong::Other);
        match error {
            ErrorKind::Type { want, .. } => {
                let words = types(*want);
                let message = format!("expected {}, found {}", expected(&words), kind(value));
                here(message, Wrong::Kind(words))
            }
            ErrorKind::Enum { want } => {
                let words: Vec<_> = want.iter().map(of_value).collect();
                let message = format!("expected {}, found {}", expected(&words), found(value));
                here(message, Wrong::Kind(words))
            }
            ErrorKind::Const { want } => {
                let words = vec![of_value(want)];
                let message = format!("expected {}, found {}", expected(&words), found(value));
                here(message, Wrong::Kind(words))
            }
            ErrorKind::Required { want } => {
                want.iter().map(|missing| key(missing, "missing")).collect()
            }
            ErrorKind::DependentRequired { prop, missing }
            | ErrorKind::Dependency { prop, missing } => {
                let message = format!("missing, and needed beside `{}`", cut(prop));
                missing.iter().map(|missing| key(missing, &message)).collect()
            }
            ErrorKind::AdditionalProperties { got } => {
                let message = self.unknown_key(url);
                got.iter().map(|unknown| key(unknown, &message)).collect()
            }
            // `false` accepts no value, so its branch is never the intended one.
            ErrorKind::FalseSchema => {
                here("nothing is allowed here".to_owned(), Wrong::Kind(Vec::new()))
            }
            ErrorKind::Pattern { got, want } => {
                let pattern = self.patterns.get(*want).map_or(*want, String::as_str);
                other(format!(
                    "expected text that matches `{}`, found `{}`",
                    cut(pattern),
                    cut(got)
                ))
            }
            ErrorKind::UniqueItems { got: [first, second] } => vec![Leaf {
                pointer: format!("{pointer}/{second}"),
                message: format!("the same as item {first}; each may be there once"),
                wrong: Wrong::Other,
            }],
            numbers => other(format!("expected {}", range(numbers))),
        }
    }

    /// The message for a key that the schema at `url` does not have.
    fn unknown_key(&self, url: &str) -> String {
        let (_, fragment) = url.split_once('#').unwrap_or_default();
        let fragment = percent_decode_str(fragment).decode_utf8_lossy();
        let schema = self.schema.pointer(&fragment);
        let keys = |keyword| {
            let members = schema.and_then(|schema| schema.get(keyword)?.as_object());
            members.into_iter().flat_map(|members| members.keys())
        };
        let mut words: Vec<_> = keys("properties").map(|key| format!("`{}`", cut(key))).collect();
        let pattern = |pattern: &String| {
            let written = self.patterns.get(pattern).unwrap_or(pattern);
            format!("one that matches `{}`", cut(written))
        };
        words.extend(keys("patternProperties").map(pattern));
        match words.as_slice() {
            [] => "unknown key, expected none".to_owned(),
            words => format!("unknown key, expected {}", expected(words)),
        }
    }
}

/// Describes the expected and the found quantity.
fn range(error: &ErrorKind<'_, '_>) -> String {
    let min = |of, want: usize, got: usize| format!("{} or more, found {got}", count(want, of));
    let max = |of, want: usize, got: usize| match want {
        0 => format!("no {of}, found {got}"),
        want => format!("at most {}, found {got}", count(want, of)),
    };
    match error {
        ErrorKind::MinLength { got, want } => min("character", *want, *got),
        ErrorKind::MaxLength { got, want } => max("character", *want, *got),
        ErrorKind::MinItems { got, want } => min("item", *want, *got),
        ErrorKind::MaxItems { got, want } => max("item", *want, *got),
        ErrorKind::MinProperties { got, want } => min("key", *want, *got),
        ErrorKind::MaxProperties { got, want } => max("key", *want, *got),
        ErrorKind::AdditionalItems { got } => format!("{got} fewer items"),
        ErrorKind::Contains => "at least one item that matches `contains`".to_owned(),
        ErrorKind::MinContains { got, want } => {
            format!("at least {} that match `contains`, found {}", count(*want, "item"), got.len())
        }
        ErrorKind::MaxContains { got, want } => {
            format!("at most {} that match `contains`, found {}", count(*want, "item"), got.len())
        }
        ErrorKind::Minimum { got, want } => format!("{want} or more, found {got}"),
        ErrorKind::Maximum { got, want } => format!("{want} or less, found {got}"),
        ErrorKind::ExclusiveMinimum { got, want } => format!("more than {want}, found {got}"),
        ErrorKind::ExclusiveMaximum { got, want } => format!("less than {want}, found {got}"),
        ErrorKind::MultipleOf { got, want } => format!("a multiple of {want}, found {got}"),
        ErrorKind::Not => "a value that does not match `not`".to_owned(),
        ErrorKind::OneOf(Some((first, second))) => {
            format!(
                "a value that matches exactly one of several forms, found one that matches {first} and {second}"
            )
        }
        // Keywords that the draft does not assert, and those handled by the caller.
        other => format!("something else: {other}"),
    }
}

/// Describes an expected value.
fn of_value(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => format!("`{}`", cut(text)),
        other => format!("`{}`", cut(&other.to_string())),
    }
}
