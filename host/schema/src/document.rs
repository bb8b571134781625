//! The document that the validating library compiles.

use serde_json::{Map, Value};

use crate::keywords::{Holds, holds};
use crate::read::Read;

/// Assembles a parsed schema into one document.
///
/// The library reports a wrong place for items after those of `prefixItems`. So only their number is asserted here, if
/// there may be none; their schema is left to the policy.
pub(crate) fn document(read: &Read) -> Value {
    let definitions: Map<_, _> =
        read.definitions.iter().map(|(name, schema)| (name.clone(), checked(schema))).collect();
    match checked(&read.root) {
        Value::Object(mut document) => {
            document.insert("$defs".to_owned(), Value::Object(definitions));
            Value::Object(document)
        }
        other => other,
    }
}

fn checked(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    let members = schema.iter().map(|(keyword, value)| {
        let value = match holds(keyword) {
            Some(Holds::Schema) => checked(value),
            Some(Holds::Schemas) => value.as_array().into_iter().flatten().map(checked).collect(),
            Some(Holds::Named | Holds::ByPattern) => {
                let named = value.as_object().into_iter().flatten();
                Value::Object(named.map(|(name, of)| (name.clone(), checked(of))).collect())
            }
            _ => value.clone(),
        };
        (keyword.clone(), value)
    });
    let mut members: Map<_, _> = members.collect();
    let first = members.get("prefixItems").and_then(Value::as_array).map(Vec::len);
    if let (Some(first), Some(rest)) = (first, members.get_mut("items"))
        && std::mem::replace(rest, Value::Bool(true)) == Value::Bool(false)
    {
        let max = members.get("maxItems").and_then(Value::as_u64).unwrap_or(u64::MAX);
        members.insert("maxItems".to_owned(), max.min(first as u64).into());
    }
    Value::Object(members)
}
