//! The arguments of functions.

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use regorus::Value;

/// The arguments, of which a function takes so many.
///
/// # Errors
/// When there are others, which the engine has checked before.
pub fn take<const N: usize>(arguments: Vec<Value>) -> Result<[Value; N]> {
    arguments
        .try_into()
        .map_err(|found: Vec<Value>| anyhow!("expected {N} arguments, found {}", found.len()))
}

/// A text.
pub fn text<'v>(function: &str, value: &'v Value) -> Result<&'v Arc<str>> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(function, "a string", other)),
    }
}

/// A whole number of 64 bits.
pub fn whole(function: &str, value: &Value) -> Result<i64> {
    match value {
        Value::Number(number) => match number.as_i64() {
            Some(whole) if number.is_integer() => Ok(whole),
            _ => bail!("{function}: expected a whole number of 64 bits, found {value}"),
        },
        other => Err(wrong(function, "a number", other)),
    }
}

/// The members of an array or a set.
pub fn members<'v>(function: &str, value: &'v Value) -> Result<Vec<&'v Value>> {
    match value {
        Value::Array(items) => Ok(items.iter().collect()),
        Value::Set(items) => Ok(items.iter_sorted().collect()),
        other => Err(wrong(function, "an array or a set", other)),
    }
}

/// A value as Rego writes it, as OPA shows it in texts.
pub fn written(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(", ");
    match value {
        Value::Array(items) => format!("[{}]", list(items.iter().map(written).collect())),
        Value::Set(items) if items.is_empty() => "set()".to_owned(),
        Value::Set(items) => format!("{{{}}}", list(items.iter_sorted().map(written).collect())),
        Value::Object(members) => {
            let members = members.iter_sorted();
            let members =
                members.map(|(key, value)| format!("{}: {}", written(key), written(value)));
            format!("{{{}}}", list(members.collect()))
        }
        other => other.to_string(),
    }
}

/// The error of an argument of another kind.
pub fn wrong(function: &str, expected: &str, found: &Value) -> anyhow::Error {
    let text = found.to_string();
    let short: String = text.chars().take(60).collect();
    let dots = if short.len() < text.len() { "…" } else { "" };
    anyhow!("{function}: expected {expected}, found {short}{dots}")
}
