//! Anchors, aliases and merge keys of YAML.

use std::collections::BTreeSet;

use super::{Parser, Problem, split_key};
use crate::node::{Node, Place, Value};

/// The maximum number of nodes that the aliases of a file copy.
const MAX_COPIED: usize = 100_000;

impl<'t> Parser<'t> {
    /// Returns a copy of the node of an anchor. Its parts keep their places, which are where it is written.
    pub(super) fn alias(&mut self, name: &str, number: usize) -> Result<Node, Problem> {
        let Some(node) = self.anchors.get(name) else {
            return self.problem(number, &format!("the alias `*{name}` has no anchor before it"));
        };
        self.copied = self.copied.saturating_add(node.size());
        if self.copied > MAX_COPIED {
            let problem = format!("aliases that copy more than {MAX_COPIED} values");
            return self.problem(number, &problem);
        }
        Ok(node.clone())
    }

    /// Parses `&NAME value`, or the block below `&NAME`. The current line is the next one.
    pub(super) fn anchored(
        &mut self,
        text: &'t str,
        number: usize,
        indent: usize,
        depth: usize,
    ) -> Result<Node, Problem> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim_start();
        // A list may stand as far left as the key that it is a value of.
        let is_list = self.line().is_some_and(|(_, found, content)| {
            found == indent && (content == "-" || content.starts_with("- "))
        });
        let node = match (rest.is_empty(), is_list) {
            (true, true) => self.sequence(indent, depth + 1)?,
            (true, false) => {
                Node { place: Place::Line(number), ..self.block(indent + 1, depth + 1)? }
            }
            (false, _) => self.value(rest, number, indent, depth + 1)?,
        };
        self.anchors.insert(name.to_owned(), node.clone());
        Ok(node)
    }

    /// Parses `- &NAME key: value`, whose further keys are below the first one.
    pub(super) fn anchored_mapping(
        &mut self,
        name: &'t str,
        indent: usize,
        depth: usize,
    ) -> Result<Node, Problem> {
        if let Some(line) = self.lines.get_mut(self.at) {
            let from = line.content.find(name).map_or(0, |at| at + name.len());
            let rest = line.content.get(from..).unwrap_or_default();
            (line.indent, line.content) = (indent + 1, rest.trim_start());
            // Further keys stand where the anchor does.
            let next = self.lines.get(self.at + 1).map(|line| line.indent);
            if let (Some(next), Some(line)) = (next, self.lines.get_mut(self.at)) {
                line.indent = line.indent.max(next.min(indent + 2));
            }
        }
        let node = self.block(indent + 1, depth + 1)?;
        self.anchors.insert(name.to_owned(), node.clone());
        Ok(node)
    }
}

/// The name of an anchor that stands before the first key of a mapping.
pub(super) fn before_mapping(content: &str) -> Option<&str> {
    let (name, rest) = content.strip_prefix('&')?.split_once(' ')?;
    split_key(rest.trim_start()).is_some().then_some(name)
}

/// Adds the members of the mapping of a merge key, or of a list of mappings. Keys that are there stay.
pub(super) fn merge(
    node: Node,
    members: &mut Vec<(String, Node)>,
    keys: &mut BTreeSet<String>,
) -> Result<(), Problem> {
    match node.value {
        Value::Map(merged) => {
            members.extend(merged.into_iter().filter(|(key, _)| keys.insert(key.clone())));
            Ok(())
        }
        Value::List(nodes) => nodes.into_iter().try_for_each(|node| merge(node, members, keys)),
        _ => {
            let place: Place = node.place;
            Err((place, "a merge key without a mapping".to_owned()))
        }
    }
}
