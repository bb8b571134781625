//! Templates of Azure Resource Manager, as Bicep is compiled to.

use crate::node::{Node, Text, Value};

/// The maximum size of a default that is followed.
const MAX_DEFAULT: usize = 64;

/// Returns the template with its expressions, `[parameters('name')]`, unknown; any other file as it is.
pub(crate) fn resolved(root: &Node) -> Node {
    let schema = root.get("$schema").and_then(Node::known).unwrap_or_default();
    if !schema.to_ascii_lowercase().contains("deploymenttemplate") {
        return root.clone();
    }
    let mut root = root.clone();
    let parameters = root.get("parameters").cloned();
    resolve(&mut root, parameters.as_ref());
    root
}

fn resolve(node: &mut Node, parameters: Option<&Node>) {
    let place = node.place.clone();
    match &mut node.value {
        Value::List(nodes) => nodes.iter_mut().for_each(|node| resolve(node, parameters)),
        Value::Map(members) => members.iter_mut().for_each(|(_, node)| resolve(node, parameters)),
        Value::Text(Text { text, .. }) => {
            let Some(expression) = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'))
            else {
                return;
            };
            // `[[` is a bracket.
            if let Some(rest) = expression.strip_prefix('[') {
                *text = format!("[{rest}]");
                return;
            }
            let name = expression
                .strip_prefix("parameters('")
                .and_then(|rest| rest.strip_suffix("')"))
                .map(ToOwned::to_owned);
            let default = name.as_ref().and_then(|name| parameters?.get(name)?.get("defaultValue"));
            // A long one would be copied to each place that refers to it.
            let default = default.filter(|default| default.size() <= MAX_DEFAULT);
            *node = match (name, default) {
                (Some(name), Some(default)) => {
                    let default = default.clone().at(&place);
                    let default =
                        default.uncertain(&format!("the default of the parameter `{name}`"));
                    match &default.value {
                        Value::Text(_) => default,
                        _ => Node::unknown(expression, default.elements().to_vec(), place),
                    }
                }
                _ => Node::unknown(expression, Vec::new(), place),
            };
        }
        _ => {}
    }
}
