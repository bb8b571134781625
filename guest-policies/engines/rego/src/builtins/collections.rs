//! Counting and arrays.

use anyhow::Result;
use regorus::Value;

use super::Function;
use super::arguments::{take, wrong};

pub(super) const FUNCTIONS: &[Function] = &[("array.flatten", 1, flatten), ("count", 1, count)];

/// The number of members, or of characters: regorus counts units of UTF-16.
fn count(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    Ok(Value::from(match &value {
        Value::Array(items) => items.len(),
        Value::Set(items) => items.len(),
        Value::Object(members) => members.len(),
        Value::String(text) => text.chars().count(),
        other => return Err(wrong("count", "a string or a collection", other)),
    }))
}

/// One level of arrays within an array.
fn flatten(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let Value::Array(items) = &value else {
        return Err(wrong("array.flatten", "an array", &value));
    };
    let mut flat = Vec::new();
    for item in items.iter() {
        match item {
            Value::Array(inner) => flat.extend(inner.iter().cloned()),
            other => flat.push(other.clone()),
        }
    }
    Ok(Value::from(flat))
}
