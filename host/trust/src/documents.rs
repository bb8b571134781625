//! AWS: policy documents that are made of others.
//!
//! As the AWS provider has it, a statement replaces the earlier one with its `sid`: the document's own those of
//! `source_policy_documents`, and those of `override_policy_documents` the document's own.

use std::collections::BTreeSet;

use crate::hcl::Block;
use crate::node::{Node, Value};
use crate::read;

const KIND: &str = "aws_iam_policy_document";

/// A document that is made of others.
struct Made {
    name: String,
    /// The documents, its own statements included, of which later ones replace the statements of earlier ones.
    parts: Vec<String>,
    /// True if all of its parts are known. Where they are not, what it has of the others in the end is not known either.
    is_whole: bool,
}

/// Drops the statements that are in no document in the end, since all documents that take them replace them.
///
/// `direct` are the documents that roles have themselves.
pub(crate) fn drop_replaced(blocks: &mut [(&str, Block)], direct: &BTreeSet<String>) {
    let documents: Vec<&Block> =
        blocks.iter().map(|(_, block)| block).filter(|block| is_document(block)).collect();
    let (made, unknown): (Vec<Made>, Vec<Made>) =
        documents.iter().filter_map(|block| made_of(block)).partition(|one| one.is_whole);
    let is_kept =
        |name: &String| direct.contains(name) || unknown.iter().any(|one| one.parts.contains(name));
    let sids = |name: &str| -> BTreeSet<String> {
        let of_name = documents.iter().filter(|block| name_of(block) == name);
        of_name.flat_map(|block| statements(block)).filter_map(sid).collect()
    };
    let is_replaced = |one: &Made, name: &str, sid: &str| {
        let mut after = one.parts.iter().skip_while(|part| *part != name).skip(1);
        after.any(|part| sids(part).contains(sid))
    };
    let mut dropped: BTreeSet<(String, String)> = BTreeSet::new();
    for name in made.iter().flat_map(|one| &one.parts) {
        let own = made.iter().find(|one| one.name == *name);
        let uses = || made.iter().filter(|one| one.name != *name && one.parts.contains(name));
        for sid in sids(name) {
            let in_uses = !is_kept(name)
                && uses().next().is_some()
                && uses().all(|one| is_replaced(one, name, &sid));
            if in_uses || own.is_some_and(|own| is_replaced(own, name, &sid)) {
                dropped.insert((name.clone(), sid));
            }
        }
    }
    for (_, block) in blocks.iter_mut().filter(|(_, block)| is_document(block)) {
        let name = name_of(block).to_owned();
        let Value::Map(members) = &mut block.body.value else { continue };
        for (_, node) in members.iter_mut().filter(|(key, _)| key == "statement") {
            if let Value::List(statements) = &mut node.value {
                statements.retain(|statement| {
                    sid(statement).is_none_or(|sid| !dropped.contains(&(name.clone(), sid)))
                });
            }
        }
    }
}

fn is_document(block: &Block) -> bool {
    block.kind == "data" && block.labels.first().is_some_and(|kind| kind == KIND)
}

fn name_of(block: &Block) -> &str {
    block.labels.get(1).map(String::as_str).unwrap_or_default()
}

fn statements(block: &Block) -> &[Node] {
    block.body.get("statement").map(Node::elements).unwrap_or_default()
}

/// The `sid` of a statement; statements without one replace nothing.
fn sid(statement: &Node) -> Option<String> {
    statement.get("sid").and_then(Node::known).filter(|sid| !sid.is_empty())
}

/// The parts of a document that has sources or overrides; `None` if it has none.
fn made_of(block: &Block) -> Option<Made> {
    let of = |names: [&str; 2]| -> Vec<Option<String>> {
        let nodes = names.iter().filter_map(|name| block.body.get(name)).flat_map(|node| {
            match node.elements() {
                // A list that is not known, or one document that is none.
                [] => std::slice::from_ref(node),
                elements => elements,
            }
        });
        let named = |node: &Node| read::name_of_data(node.written()?, KIND).map(ToOwned::to_owned);
        nodes.map(named).collect()
    };
    let sources = of(["source_policy_documents", "source_json"]);
    let overrides = of(["override_policy_documents", "override_json"]);
    if sources.is_empty() && overrides.is_empty() {
        return None;
    }
    let name = name_of(block).to_owned();
    let parts = [sources, vec![Some(name.clone())], overrides].concat();
    let is_whole = parts.iter().all(Option::is_some);
    Some(Made { name, parts: parts.into_iter().flatten().collect(), is_whole })
}
