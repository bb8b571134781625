//! Parses JSON as the clouds and their command lines write it.

use countersign::check_json;

use crate::node::{Node, Place, Text, Value};

/// The maximum length of a file, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = 4 << 20;

const MAX_DEPTH: usize = 64;

pub(crate) fn parse(text: &str) -> Result<Node, String> {
    check_json(text.as_bytes(), MAX_FILE_BYTES, MAX_DEPTH).map_err(|error| error.to_string())?;
    let value: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    Ok(node(value, &mut Vec::new(), &|path| Place::Pointer(pointer(path))))
}

/// Parses JSON embedded in another file; its values get that place.
pub(crate) fn parse_at(text: &str, place: &Place) -> Option<Node> {
    check_json(text.as_bytes(), MAX_FILE_BYTES, MAX_DEPTH).ok()?;
    let value = serde_json::from_str(text).ok()?;
    Some(node(value, &mut Vec::new(), &|_| place.clone()))
}

fn node(
    value: serde_json::Value,
    path: &mut Vec<String>,
    place: &dyn Fn(&[String]) -> Place,
) -> Node {
    let at = place(path);
    let within = |path: &mut Vec<String>, step: String, value| {
        path.push(step);
        let node = node(value, path, place);
        path.pop();
        node
    };
    let value = match value {
        serde_json::Value::Null => Value::Null,
        serde_json::Value::Bool(bool) => Value::Bool(bool),
        serde_json::Value::Number(number) => Value::Number(number.to_string()),
        serde_json::Value::String(text) => {
            // In JSON embedded in HCL, OpenTofu may still interpolate.
            let known = !text.contains("${");
            Value::Text(Text { text, known })
        }
        serde_json::Value::Array(elements) => {
            let elements = elements.into_iter().enumerate();
            Value::List(elements.map(|(at, value)| within(path, at.to_string(), value)).collect())
        }
        serde_json::Value::Object(members) => {
            let members = members.into_iter();
            Value::Map(
                members.map(|(key, value)| (key.clone(), within(path, key, value))).collect(),
            )
        }
    };
    Node { value, place: at }
}

fn pointer(path: &[String]) -> String {
    path.iter().map(|step| format!("/{}", step.replace('~', "~0").replace('/', "~1"))).collect()
}
