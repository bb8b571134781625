//! Functions of OpenTofu on values that the files determine.

use std::collections::BTreeMap;

use crate::json;
use crate::node::{Node, Place, Text, Value};

/// Evaluates a function; `None` if it is not one of these, or not of such values.
pub(super) fn call(name: &str, arguments: &[Node], written: &str, place: &Place) -> Option<Node> {
    let made = |value| Some(Node { value, place: place.clone() });
    let text = |text: Text| Some(Node::of_text(text, place.clone()));
    let bool = |bool| made(Value::Bool(bool));
    let first = arguments.first();
    let known = |at: usize| arguments.get(at).and_then(Node::known);
    match name {
        "jsonencode" | "tolist" | "tomap" | "sensitive" | "nonsensitive" => first.cloned(),
        "jsondecode" => match &first?.value {
            Value::Text(text) if text.known => json::parse_at(text, place),
            Value::Map(_) | Value::List(_) => first.cloned(),
            _ => None,
        },
        "tostring" | "tonumber" | "tobool" => text(first?.text()?),
        "toset" | "distinct" => Some(unique(first?.clone())),
        "concat" | "setunion" => concat(arguments, written, place),
        "flatten" => {
            let mut lists = Vec::new();
            flatten(first?, &mut lists);
            concat(&lists, written, place)
        }
        "compact" => {
            let Value::List(elements) = &first?.value else { return first.cloned() };
            let is_blank = |node: &&Node| {
                !matches!(node.value, Value::Null) && node.known().as_deref() != Some("")
            };
            made(Value::List(elements.iter().filter(is_blank).cloned().collect()))
        }
        "sort" => {
            let mut node = first?.clone();
            if let Value::List(elements) = &mut node.value {
                let texts = elements.iter().map(Node::known).collect::<Option<Vec<_>>>();
                texts.is_some().then(|| elements.sort_by_key(Node::known));
            }
            Some(node)
        }
        "reverse" => {
            let mut node = first?.clone();
            let Value::List(elements) = &mut node.value else { return None };
            elements.reverse();
            Some(node)
        }
        "merge" => merge(arguments, place),
        "keys" | "values" => {
            let Value::Map(members) = &first?.value else { return None };
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            let list = members.into_iter().map(|(key, node)| match name {
                "keys" => Node::of_text(Text::known(key), place.clone()),
                _ => node.clone(),
            });
            made(Value::List(list.collect()))
        }
        "length" => match &first?.value {
            Value::List(elements) => made(Value::Number(elements.len().to_string())),
            Value::Map(members) => made(Value::Number(members.len().to_string())),
            Value::Text(text) if text.known => {
                made(Value::Number(text.text.chars().count().to_string()))
            }
            _ => None,
        },
        "element" => {
            let Value::List(elements) = &first?.value else { return None };
            let at: usize = known(1)?.parse().ok()?;
            elements.get(at.checked_rem(elements.len())?).cloned()
        }
        "one" => match first?.elements() {
            [only] if first?.written().is_none() => Some(only.clone()),
            _ => None,
        },
        "lookup" => {
            let Value::Map(_) = &first?.value else { return None };
            first?.get(&known(1)?).or_else(|| arguments.get(2)).cloned()
        }
        "coalesce" => {
            // An empty text is passed over like `null`; one that is not known may be.
            let is_blank = |node: &&Node| {
                matches!(node.value, Value::Null) || node.known().as_deref() == Some("")
            };
            let first = arguments.iter().find(|node| !is_blank(node))?;
            let is_text = first.text().is_none_or(|text| !text.text.is_empty());
            (is_text && first.written().is_none()).then(|| first.clone())
        }
        "try" => {
            first.filter(|node| !matches!(node.value, Value::Null | Value::Unknown(_))).cloned()
        }
        "contains" => {
            let Value::List(elements) = &first?.value else { return None };
            let (texts, sought) =
                (elements.iter().map(Node::known).collect::<Option<Vec<_>>>()?, known(1)?);
            bool(texts.contains(&sought))
        }
        "startswith" => bool(known(0)?.starts_with(&known(1)?)),
        "endswith" => bool(known(0)?.ends_with(&known(1)?)),
        "format" => text(format(arguments)?),
        "formatlist" => formatlist(arguments, place),
        "join" => text(join(arguments)?),
        "split" => {
            let (separator, of) = (known(0)?, known(1)?);
            let parts = of
                .split(separator.as_str())
                .map(|part| Node::of_text(Text::known(part), place.clone()));
            made(Value::List(parts.take(super::MAX_COUNT).collect()))
        }
        "lower" => text(Text::known(known(0)?.to_lowercase())),
        "upper" => text(Text::known(known(0)?.to_uppercase())),
        "trimspace" => text(Text::known(known(0)?.trim())),
        "trimprefix" => {
            let (of, prefix) = (first?.text()?, known(1)?);
            // What a text begins with is only known if it does not begin with an unknown part.
            if of.text.starts_with("${") {
                return None;
            }
            let cut = of.text.strip_prefix(&prefix).unwrap_or(&of.text).to_owned();
            text(Text { text: cut, ..of })
        }
        "trimsuffix" => {
            let (of, suffix) = (known(0)?, known(1)?);
            text(Text::known(of.strip_suffix(&suffix).unwrap_or(&of)))
        }
        "replace" => {
            let (of, from, to) = (known(0)?, known(1)?, known(2)?);
            let is_pattern = from.len() > 1 && from.starts_with('/') && from.ends_with('/');
            if is_pattern || from.is_empty() {
                return None;
            }
            let count = of.matches(&from).count();
            let length = count.checked_mul(to.len())?.checked_add(of.len())?;
            (length <= json::MAX_FILE_BYTES).then_some(())?;
            text(Text::known(of.replace(&from, &to)))
        }
        _ => None,
    }
}

/// Concatenates lists. What an unknown one has is likely, and so is the rest.
fn concat(lists: &[Node], written: &str, place: &Place) -> Option<Node> {
    let elements: Vec<_> = lists.iter().flat_map(Node::elements).cloned().collect();
    if lists.iter().all(|list| matches!(list.value, Value::List(_) | Value::Null)) {
        return Some(Node { value: Value::List(elements), place: place.clone() });
    }
    // Each unknown list stays to be seen beside what it probably has.
    Some(Node::unknown(written, elements, place.clone()))
}

/// Collects the lists within a list at any depth. Elements are lists of themselves.
fn flatten(node: &Node, lists: &mut Vec<Node>) {
    match &node.value {
        Value::List(elements) => elements.iter().for_each(|element| match &element.value {
            Value::List(_) | Value::Unknown(_) => flatten(element, lists),
            _ => {
                let value = Value::List(vec![element.clone()]);
                lists.push(Node { value, place: element.place.clone() });
            }
        }),
        _ => lists.push(node.clone()),
    }
}

/// A list without texts that are there before.
fn unique(mut node: Node) -> Node {
    if let Value::List(elements) = &mut node.value {
        let mut seen = std::collections::BTreeSet::new();
        elements.retain(|element| element.known().is_none_or(|text| seen.insert(text)));
    }
    node
}

/// Merges maps: a later one replaces the members of an earlier one.
fn merge(maps: &[Node], place: &Place) -> Option<Node> {
    let mut merged: BTreeMap<&str, &Node> = BTreeMap::new();
    for map in maps {
        let members = match &map.value {
            Value::Map(members) => members.as_slice(),
            Value::Null => &[],
            _ => return None,
        };
        merged.extend(members.iter().map(|(key, node)| (key.as_str(), node)));
    }
    let members = merged.into_iter().map(|(key, node)| (key.to_owned(), node.clone()));
    Some(Node { value: Value::Map(members.collect()), place: place.clone() })
}

/// A text made of others: known if all of them are.
fn of_parts<'t>(text: String, parts: impl Iterator<Item = &'t Text>) -> Text {
    let mut made = Text::known(text);
    for part in parts {
        made.known &= part.known;
        made.origin = made.origin.or_else(|| part.origin.clone());
    }
    made
}

/// `format`, with `%s`, `%v`, `%d` and `%%`.
fn format(arguments: &[Node]) -> Option<Text> {
    let (form, rest) = arguments.split_first()?;
    let (form, mut values) = (form.text()?, rest.iter().map(Node::text));
    let (mut made, mut parts, mut characters) = (String::new(), Vec::new(), form.text.chars());
    while let Some(character) = characters.next() {
        if character != '%' {
            made.push(character);
            continue;
        }
        match characters.next()? {
            '%' => made.push('%'),
            's' | 'v' | 'd' => {
                let part = values.next()??;
                (made.len() + part.text.len() <= json::MAX_FILE_BYTES).then_some(())?;
                made.push_str(&part.text);
                parts.push(part);
            }
            _ => return None,
        }
    }
    (made.len() <= json::MAX_FILE_BYTES).then_some(())?;
    Some(of_parts(made, parts.iter().chain([&form])))
}

/// `formatlist`: a format for each element of the lists among its arguments.
fn formatlist(arguments: &[Node], place: &Place) -> Option<Node> {
    let lengths = arguments.iter().filter_map(|node| match &node.value {
        Value::List(elements) => Some(elements.len()),
        _ => None,
    });
    let length = lengths.max()?;
    if length > super::MAX_COUNT || arguments.iter().any(|node| node.written().is_some()) {
        return None;
    }
    let one = |at: usize| {
        let arguments: Option<Vec<_>> = arguments
            .iter()
            .map(|node| match &node.value {
                Value::List(elements) => elements.get(at).cloned(),
                _ => Some(node.clone()),
            })
            .collect();
        Some(Node::of_text(format(&arguments?)?, place.clone()))
    };
    let list = (0..length).map(one).collect::<Option<Vec<_>>>()?;
    Some(Node { value: Value::List(list), place: place.clone() })
}

/// `join`. Of a list that is not known, its likely elements are joined, and the text is not known.
fn join(arguments: &[Node]) -> Option<Text> {
    let (separator, lists) = arguments.split_first()?;
    let separator = separator.text()?;
    let parts: Vec<_> = lists.iter().flat_map(Node::texts).collect();
    let length: usize = parts.iter().map(|part| part.text.len() + separator.text.len()).sum();
    (length <= json::MAX_FILE_BYTES).then_some(())?;
    let texts: Vec<_> = parts.iter().map(|part| part.text.as_str()).collect();
    let made = of_parts(texts.join(&separator.text), parts.iter().chain([&separator]));
    let is_known = lists.iter().all(|list| list.written().is_none());
    Some(Text { known: made.known && is_known, ..made })
}
