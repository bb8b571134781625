//! OpenTofu's plans and states, as `tofu show -json` prints them: everything is resolved there.

use std::collections::{BTreeMap, BTreeSet};

use super::name_of_data;
use crate::hcl::Block;
use crate::node::{Node, Place, Value};
use crate::trust_statement::TrustStatement;

/// The maximum depth of modules.
const MAX_MODULES: usize = 32;

/// A resource of a plan.
struct Resource<'n> {
    address: String,
    block: Block,
    values: &'n Node,
}

/// Reads the trust statements of a plan or a state; `None` if the file is neither.
pub(crate) fn read(root: &Node) -> Option<Vec<TrustStatement>> {
    let mut resources = of_plan(root).or_else(|| of_state_file(root))?;
    let unknown = unknown_values(root);
    for Resource { address, block, .. } in &mut resources {
        if let Some(after) = unknown.get(address) {
            mark(&mut block.body, after, 0);
        }
    }
    let disabled = super::gcp::disabled_pools(resources.iter().map(|one| &one.block));
    let texts: BTreeSet<String> =
        resources.iter().filter_map(|one| one.values.get("assume_role_policy")?.known()).collect();
    let mut statements = Vec::new();
    for Resource { address, block, values } in resources {
        let kind = block.labels.first().map(String::as_str).unwrap_or_default();
        // A document is read where a role has it. One that no role has is read as the policy that it makes.
        if kind == "aws_iam_policy_document" {
            let json = values.get("json").and_then(Node::known);
            if json.as_ref().is_some_and(|json| texts.contains(json)) {
                continue;
            }
            if let Some(policy) = values.get("json").filter(|_| json.is_some()) {
                let mut found = super::json(policy);
                for statement in &mut found {
                    statement.is_unused = true;
                    statement.owner.clone_from(&address);
                }
                statements.extend(found);
                continue;
            }
        }
        let mut found = super::block(&block, &BTreeSet::new());
        super::gcp::without_disabled(&mut found, &disabled);
        for statement in &mut found {
            if statement.owner.is_empty() || statement.owner == block.labels.join(".") {
                statement.owner.clone_from(&address);
            }
        }
        statements.extend(found);
    }
    Some(statements)
}

/// The resources of what `tofu show -json` prints; `None` if the file is something else.
fn of_plan(root: &Node) -> Option<Vec<Resource<'_>>> {
    root.get("format_version")?;
    let modules = [
        root.get("planned_values"),
        root.get("values"),
        root.get("prior_state").and_then(|state| state.get("values")),
    ];
    if modules.iter().all(Option::is_none) {
        return None;
    }
    let (mut seen, mut resources) = (BTreeSet::new(), Vec::new());
    let is_plan = root.get("planned_values").is_some();
    for (at, module) in modules.into_iter().flatten().enumerate() {
        let mut found = Vec::new();
        collect(module.get("root_module"), 0, &mut found);
        // Of the state before a plan only the data sources matter, which a plan reads.
        let is_prior = is_plan && at > 0;
        found.retain(|resource: &Resource<'_>| !is_prior || resource.block.kind == "data");
        found.retain(|resource| seen.insert(resource.address.clone()));
        resources.extend(found);
    }
    Some(resources)
}

/// The resources of a file of state, `terraform.tfstate`, in its version 4; `None` if the file is something else.
fn of_state_file(root: &Node) -> Option<Vec<Resource<'_>>> {
    root.get("terraform_version")?;
    (root.get("version")?.known()? == "4").then_some(())?;
    let mut resources = Vec::new();
    for resource in root.get("resources")?.elements() {
        let text = |name| resource.get(name).and_then(Node::known).unwrap_or_default();
        let module = text("module");
        let within = if module.is_empty() { module } else { module + "." };
        for instance in resource.get("instances").map(Node::elements).unwrap_or_default() {
            let Some(values) = instance.get("attributes") else { continue };
            let index = instance.get("index_key").and_then(Node::known);
            let index = index.map(|index| format!("[{index}]")).unwrap_or_default();
            let address = format!("{within}{}.{}{index}", text("type"), text("name"));
            resources.push(made(address, &text("mode"), [text("type"), text("name")], values));
        }
    }
    Some(resources)
}

fn made<'n>(address: String, mode: &str, labels: [String; 2], values: &'n Node) -> Resource<'n> {
    let mut body = values.clone();
    // A plan says null for an attribute that is not set.
    if let Value::Map(members) = &mut body.value {
        members.retain(|(_, node)| !matches!(node.value, Value::Null));
    }
    let block = Block {
        kind: if mode == "data" { "data" } else { "resource" }.to_owned(),
        labels: labels.into(),
        place: values.place.clone(),
        body,
        repeated_unknown: false,
    };
    Resource { address, block, values }
}

/// Lists what a plan says that it does not have.
pub(crate) fn gaps(root: &Node) -> Vec<(Place, String)> {
    let Some(version) = root.get("format_version") else { return Vec::new() };
    let mut gaps = Vec::new();
    if let Some(errored) = root.get("errored").filter(|of| of.known().as_deref() == Some("true")) {
        let what = "the rest of a plan that ended with an error";
        gaps.push((errored.place.clone(), what.to_owned()));
    }
    let deferred = root.get("deferred_changes").map(Node::elements).unwrap_or_default();
    if !deferred.is_empty() {
        gaps.push((
            version.place.clone(),
            format!("{} changes that the plan defers", deferred.len()),
        ));
    }
    gaps
}

fn collect<'n>(module: Option<&'n Node>, depth: usize, found: &mut Vec<Resource<'n>>) {
    let Some(module) = module.filter(|_| depth <= MAX_MODULES) else { return };
    for resource in module.get("resources").map(Node::elements).unwrap_or_default() {
        let text = |name| resource.get(name).and_then(Node::known).unwrap_or_default();
        let Some(values) = resource.get("values") else { continue };
        let labels = [text("type"), text("name")];
        found.push(made(text("address"), &text("mode"), labels, values));
    }
    for child in module.get("child_modules").map(Node::elements).unwrap_or_default() {
        collect(Some(child), depth + 1, found);
    }
}

/// The parts of resources that are known only after the plan is applied, by address.
fn unknown_values(root: &Node) -> BTreeMap<String, &Node> {
    let changes = root.get("resource_changes").map(Node::elements).unwrap_or_default();
    let unknown = changes.iter().filter_map(|change| {
        Some((change.get("address")?.known()?, change.get("change")?.get("after_unknown")?))
    });
    unknown.collect()
}

/// Puts an unknown value wherever a plan says that it is not known yet.
fn mark(node: &mut Node, unknown: &Node, depth: usize) {
    if depth > MAX_MODULES {
        return;
    }
    match (&mut node.value, &unknown.value) {
        (Value::Map(members), Value::Map(after)) => {
            for (name, after) in after {
                match members.iter_mut().find(|(key, _)| key == name) {
                    Some((_, member)) => mark(member, after, depth + 1),
                    None => {
                        let mut member = Node { value: Value::Null, place: node.place.clone() };
                        mark(&mut member, after, depth + 1);
                        if !matches!(member.value, Value::Null) {
                            members.push((name.clone(), member));
                        }
                    }
                }
            }
        }
        (Value::List(elements), Value::List(after)) => {
            for (at, after) in after.iter().enumerate() {
                if let Some(element) = elements.get_mut(at) {
                    mark(element, after, depth + 1);
                }
            }
        }
        (_, Value::Bool(true)) => {
            *node = Node::unknown("known after apply", Vec::new(), node.place.clone());
        }
        _ => {}
    }
}

/// Returns the names of the documents that an expression of a role refers to.
pub(crate) fn documents_of(node: &Node, names: &mut BTreeSet<String>) {
    match &node.value {
        Value::Unknown(unknown) => {
            for (at, _) in unknown.written.match_indices("data.aws_iam_policy_document.") {
                let rest = unknown.written.get(at..).unwrap_or_default();
                let name = name_of_data(rest, "aws_iam_policy_document").unwrap_or_default();
                let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-'));
                names.insert(name.get(..end.unwrap_or(name.len())).unwrap_or_default().to_owned());
            }
            unknown.likely.iter().for_each(|node| documents_of(node, names));
        }
        Value::List(nodes) => nodes.iter().for_each(|node| documents_of(node, names)),
        Value::Map(members) => members.iter().for_each(|(_, node)| documents_of(node, names)),
        Value::Text(text) if text.text.contains("data.aws_iam_policy_document.") => {
            let node = Node::unknown(&text.text, Vec::new(), node.place.clone());
            documents_of(&node, names);
        }
        _ => {}
    }
}
