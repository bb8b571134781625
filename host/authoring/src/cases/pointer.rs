//! Changes of JSON by pointer, as cases write them.

use serde_json::Value;

use crate::nearest::did_you_mean;

/// Sets a value by its pointer (RFC 6901): the last step may be new, those before it must exist. `-` is the place after an
/// array's end. An empty table removes, since TOML has no null.
pub(super) fn set(root: &mut Value, pointer: &str, value: &Value) -> Result<(), String> {
    let (parents, last) =
        pointer.rsplit_once('/').filter(|_| pointer.starts_with('/')).ok_or_else(|| {
            format!("`{pointer}` is no JSON pointer: expected `/`, a name, and so on")
        })?;
    let mut node = root;
    for step in parents.split('/').skip(1).map(unescape) {
        node = child(node, &step).map_err(|why| format!("`{pointer}` leads nowhere: {why}"))?;
    }
    let last = unescape(last);
    let removed = matches!(value, Value::Object(members) if members.is_empty());
    match node {
        Value::Object(members) if removed => {
            members.remove(&last);
        }
        Value::Object(members) => {
            members.insert(last, value.clone());
        }
        Value::Array(values) if last == "-" => values.push(value.clone()),
        Value::Array(values) if removed => {
            let at =
                index(values, &last).map_err(|why| format!("`{pointer}` leads nowhere: {why}"))?;
            values.remove(at);
        }
        Value::Array(_) => {
            *child(node, &last).map_err(|why| format!("`{pointer}` leads nowhere: {why}"))? =
                value.clone();
        }
        other => {
            let kind = kind(other);
            return Err(format!("`{pointer}` leads nowhere: `{last}` is to be a member of {kind}"));
        }
    }
    Ok(())
}

fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

fn child<'v>(node: &'v mut Value, step: &str) -> Result<&'v mut Value, String> {
    if let Value::Object(members) = node
        && !members.contains_key(step)
    {
        let names = members.keys().map(String::as_str);
        return Err(format!("there is no `{step}`{}", did_you_mean(step, names)));
    }
    if let Value::Array(values) = node {
        index(values, step)?;
    }
    let of = kind(node);
    let child = match node {
        Value::Object(members) => members.get_mut(step),
        Value::Array(values) => step.parse::<usize>().ok().and_then(|at| values.get_mut(at)),
        _ => None,
    };
    child.ok_or_else(|| format!("`{step}` is to be a member of {of}"))
}

fn index(values: &[Value], step: &str) -> Result<usize, String> {
    let at = step.parse::<usize>().ok().filter(|at| *at < values.len());
    at.ok_or_else(|| match values.len() {
        0 => format!("`{step}` is no place in an empty array"),
        length => format!("`{step}` is no place in an array: expected 0 to {}", length - 1),
    })
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(pointer: &str, value: Value, expected: Result<Value, &str>) {
        let mut root = json!({"a": {"b/c": [1, 2]}, "name": "text", "none": []});
        let result = set(&mut root, pointer, &value).map(|()| root);
        assert_eq!(result, expected.map_err(str::to_owned), "{pointer}");
    }

    #[test]
    fn what_a_pointer_leads_to_is_changed() {
        let with = |array: Value| Ok(json!({"a": {"b/c": array}, "name": "text", "none": []}));
        check("/a/b~1c/1", json!(7), with(json!([1, 7])));
        check("/a/b~1c/-", json!(3), with(json!([1, 2, 3])));
        check("/a/b~1c/0", json!({}), with(json!([2])));
        check("/a/b~1c", json!("x"), with(json!("x")));
        check("/name", json!({}), Ok(json!({"a": {"b/c": [1, 2]}, "none": []})));
    }

    #[test]
    fn what_leads_nowhere_is_said_with_the_nearest_name() {
        for (pointer, expected) in [
            ("a", "`a` is no JSON pointer: expected `/`, a name, and so on"),
            ("/nam/x", "`/nam/x` leads nowhere: there is no `nam`; did you mean `name`?"),
            ("/other/x", "`/other/x` leads nowhere: there is no `other`"),
            ("/name/x", "`/name/x` leads nowhere: `x` is to be a member of a string"),
            (
                "/a/b~1c/2",
                "`/a/b~1c/2` leads nowhere: `2` is no place in an array: expected 0 to 1",
            ),
            ("/none/0", "`/none/0` leads nowhere: `0` is no place in an empty array"),
        ] {
            check(pointer, json!(1), Err(expected));
        }
    }
}
