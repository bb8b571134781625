//! Query strings of URLs.

use std::collections::BTreeMap;

use anyhow::{Result, anyhow};
use regorus::Value;

use super::Function;
use super::arguments::{members, take, text, wrong};

pub(super) const FUNCTIONS: &[Function] = &[
    ("urlquery.decode", 1, decode),
    ("urlquery.decode_object", 1, decode_object),
    ("urlquery.encode", 1, encode),
    ("urlquery.encode_object", 1, encode_object),
];

fn encode(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    Ok(Value::from(escaped(text("urlquery.encode", &value)?)))
}

fn decode(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    Ok(Value::from(unescaped(text("urlquery.decode", &value)?)?))
}

fn encode_object(arguments: Vec<Value>) -> Result<Value> {
    let name = "urlquery.encode_object";
    let [value] = take(arguments)?;
    let Value::Object(object) = &value else { return Err(wrong(name, "an object", &value)) };
    let mut pairs = Vec::new();
    for (key, value) in object.iter_sorted() {
        let key = escaped(text(name, key)?);
        let values = match value {
            Value::String(_) => vec![value],
            other => members(name, other)?,
        };
        for value in values {
            pairs.push(format!("{key}={}", escaped(text(name, value)?)));
        }
    }
    Ok(Value::from(pairs.join("&")))
}

fn decode_object(arguments: Vec<Value>) -> Result<Value> {
    let [value] = take(arguments)?;
    let mut found: BTreeMap<Value, Vec<Value>> = BTreeMap::new();
    for pair in text("urlquery.decode_object", &value)?.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        found.entry(Value::from(unescaped(key)?)).or_default().push(Value::from(unescaped(value)?));
    }
    let members = found.into_iter().map(|(key, values)| (key, Value::from(values)));
    Ok(Value::from(members.collect::<BTreeMap<_, _>>()))
}

/// As Go's `url.QueryEscape`.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte))
            }
            b' ' => escaped.push('+'),
            other => escaped.push_str(&format!("%{other:02X}")),
        }
    }
    escaped
}

fn unescaped(text: &str) -> Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next(), rest.next()]
                    .map(|digit| digit.and_then(|d| char::from(d).to_digit(16)));
                let [Some(high), Some(low)] = digits else {
                    return Err(anyhow!("urlquery: invalid escape in `{text}`"));
                };
                u8::try_from(high * 16 + low)?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| anyhow!("urlquery: `{text}` is no UTF-8"))
}
