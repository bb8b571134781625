//! Settings that stand in the manifest, from TOML to JSON.

use serde_json::Value;

/// A TOML value that JSON has no form for.
pub(super) struct NotJson {
    pub(super) pointer: String,
    pub(super) problem: &'static str,
}

/// Writes a table as JSON text: keys in byte order, no white space, so that equal settings have
/// one digest.
pub(super) fn json_settings(table: toml::Table) -> Result<String, NotJson> {
    let mut pointer = String::new();
    let value = object(table, &mut pointer)?;
    Ok(value.to_string())
}

fn object(table: toml::Table, pointer: &mut String) -> Result<Value, NotJson> {
    let members: Result<serde_json::Map<_, _>, _> = table
        .into_iter()
        .map(|(key, item)| {
            let step = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
            Ok((key, within(&step, pointer, |pointer| json(item, pointer))?))
        })
        .collect();
    members.map(Value::Object)
}

fn json(value: toml::Value, pointer: &mut String) -> Result<Value, NotJson> {
    Ok(match value {
        toml::Value::String(text) => Value::String(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Boolean(truth) => Value::Bool(truth),
        toml::Value::Float(number) => {
            Value::from(serde_json::Number::from_f64(number).ok_or_else(|| NotJson {
                pointer: pointer.clone(),
                problem: "JSON has no infinity and no NaN",
            })?)
        }
        toml::Value::Datetime(_) => {
            let problem = "JSON has no dates; write it in quotation marks";
            return Err(NotJson { pointer: pointer.clone(), problem });
        }
        toml::Value::Array(items) => {
            let items: Result<Vec<_>, _> = items
                .into_iter()
                .enumerate()
                .map(|(index, item)| {
                    within(&format!("/{index}"), pointer, |pointer| json(item, pointer))
                })
                .collect();
            Value::Array(items?)
        }
        toml::Value::Table(table) => object(table, pointer)?,
    })
}

fn within<T>(step: &str, pointer: &mut String, inner: impl FnOnce(&mut String) -> T) -> T {
    let length = pointer.len();
    pointer.push_str(step);
    let result = inner(pointer);
    // After an error the pointer is not used again.
    pointer.truncate(length);
    result
}
