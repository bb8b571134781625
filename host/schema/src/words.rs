//! What was expected and what was found, in the words that policies' own errors have.

use std::collections::BTreeSet;

use boon::{Type, Types};
use serde_json::Value;

/// The beginning of a text, at most 80 bytes: enough to recognise it by.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(80);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// What was found, as JSON calls it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(number) if number.is_f64() => "a number",
        Value::Number(_) => "a whole number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// What was found, itself where it is short.
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", cut(text)),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => kind(other).to_owned(),
    }
}

/// The types that were expected.
pub(crate) fn types(types: Types) -> Vec<String> {
    let word = |of| match of {
        Type::Null => "null",
        Type::Boolean => "a boolean",
        Type::Number => "a number",
        Type::Integer => "a whole number",
        Type::String => "a string",
        Type::Array => "an array",
        Type::Object => "an object",
    };
    // What may be absent is rarely meant.
    let mut words: Vec<_> = types.iter().map(|of| word(of).to_owned()).collect();
    words.sort_by_key(|word| word == "null");
    words
}

/// A list of what was expected: `a`, `a or b`, `one of x, y`.
pub(crate) fn expected(words: &[String]) -> String {
    let mut seen = BTreeSet::new();
    let words: Vec<&str> =
        words.iter().map(String::as_str).filter(|word| seen.insert(*word)).collect();
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [one] => (*one).to_owned(),
        values if values.iter().all(|word| word.starts_with('`')) => {
            format!("one of {}", values.join(", "))
        }
        [most @ .., last] => format!("{} or {last}", most.join(", ")),
    }
}

/// A number and what it counts.
pub(crate) fn count(number: usize, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}
