//! Words for expected and found values, the same as in policies' own errors.

use std::collections::BTreeSet;

use boon::{Type, Types};
use serde_json::Value;

/// Truncates a text to 80 bytes, enough to recognise it.
pub(crate) fn cut(text: &str) -> &str {
    let mut end = text.len().min(80);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// The type of a found value, in JSON's terms.
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

/// A found value: itself if it is a scalar, else its type.
pub(crate) fn found(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{}`", cut(text)),
        Value::Number(number) => number.to_string(),
        Value::Bool(truth) => truth.to_string(),
        other => kind(other).to_owned(),
    }
}

/// The names of expected types.
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
    // Null comes last, since it is rarely the intended type.
    let mut words: Vec<_> = types.iter().map(|of| word(of).to_owned()).collect();
    words.sort_by_key(|word| word == "null");
    words
}

/// Joins expected values: `a`, `a or b`, `one of x, y`.
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
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

/// A number with its noun in singular or plural.
pub(crate) fn count(number: usize, of: &str) -> String {
    if number == 1 { format!("1 {of}") } else { format!("{number} {of}s") }
}
