//! Reads trust statements from parsed files.

pub(crate) mod arm;
mod aws;
mod azure;
mod carriers;
pub(crate) mod cloudformation;
pub(crate) mod gcp;
pub(crate) mod plan;
mod stackit;

use std::collections::BTreeSet;

use countersign_clouds::Cloud;

use crate::hcl::Block;
use crate::node::{Node, Place, Text, Value};
use crate::trust_statement::{MatchKind, TrustStatement, UnknownEffect};

/// Reads the trust statements of a JSON file, at any depth.
pub(crate) fn json(node: &Node) -> Vec<TrustStatement> {
    let mut statements = Vec::new();
    walk(node, &mut statements);
    statements
}

fn walk(node: &Node, statements: &mut Vec<TrustStatement>) {
    // `aws cloudformation get-template` and Serverless have a template within.
    let found = cloudformation::read(node)
        .or_else(|| aws::policy(node, &node.place.to_string()))
        .or_else(|| stackit::provider(node))
        .or_else(|| gcp::provider(node))
        .or_else(|| gcp::bindings(node, ""))
        .or_else(|| azure::credential(node).map(|statement| vec![statement]));
    if let Some(found) = found {
        statements.extend(found);
        return;
    }
    match &node.value {
        Value::List(elements) => elements.iter().for_each(|element| walk(element, statements)),
        Value::Map(members) => members.iter().for_each(|(_, member)| walk(member, statements)),
        // Some commands print a policy as a string within their JSON.
        Value::Text(text) if text.text.trim_start().starts_with('{') => {
            match crate::json::parse_at(text, &node.place) {
                Some(inner) => walk(&inner, statements),
                None if text.text.contains("AssumeRoleWithWebIdentity") => {
                    let mut statement =
                        TrustStatement::new(Cloud::Aws, node.place.clone(), node.place.to_string());
                    statement.note(UnknownEffect::HidesTests, &node.place, "a policy");
                    statements.push(statement);
                }
                None => {}
            }
        }
        Value::Text(text) if text.text.starts_with("%7B") => {
            let decoded = decoded(&text.text).map(Text::known);
            if let Some(inner) = decoded.and_then(|text| crate::json::parse_at(&text, &node.place))
            {
                walk(&inner, statements);
            }
        }
        Value::Text(text) if text.text.contains("AWS::") && text.text.contains("AssumeRole") => {
            if let Ok(inner) = crate::yaml::parse(&text.text) {
                walk(&inner.at(&node.place), statements);
            }
        }
        _ => {}
    }
}

/// Decodes a policy as IAM's own interface has it, in the form of a URL.
fn decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Lists the templates that a document refers to, with the place and the name of each. `None` for one without a name.
pub(crate) fn elsewhere(node: &Node) -> Vec<(Place, Option<String>)> {
    let mut found = Vec::new();
    refer(node, &mut found);
    found
}

fn refer(node: &Node, found: &mut Vec<(Place, Option<String>)>) {
    if let Value::List(elements) = &node.value {
        elements.iter().for_each(|element| refer(element, found));
    }
    let kind = node.any(&["Type", "type"]).and_then(Node::known).unwrap_or_default();
    let properties = node.any(&["Properties", "properties"]);
    let property = |names: &[&str]| properties.and_then(|properties| properties.any(names));
    let reference = match kind.as_str() {
        "AWS::CloudFormation::Stack" | "AWS::CloudFormation::StackSet" => {
            property(&["TemplateURL", "TemplateBody"])
        }
        "AWS::Serverless::Application" => property(&["Location"]),
        kind if kind.eq_ignore_ascii_case("Microsoft.Resources/deployments") => {
            property(&["templateLink"])
        }
        kind if kind.starts_with("AWS::") || !kind.ends_with("::MODULE") => None,
        _ => Some(node),
    };
    if let Some(reference) = reference {
        let of_link = reference.any(&["relativePath", "uri", "id"]);
        let name = of_link.unwrap_or(reference).known();
        // What a module makes is named by its kind.
        let name = name.or_else(|| kind.ends_with("::MODULE").then(|| kind.clone()));
        found.push((reference.place.clone(), name));
    }
    node.members().iter().for_each(|(_, member)| refer(member, found));
}

/// Reads the trust statements of a block of OpenTofu.
///
/// A block of a known kind always yields at least one: an unreadable block yields one that is unresolved. `data` are
/// the folder's data sources, as `KIND.NAME`: their own blocks are read, and not each reference to them.
pub(crate) fn block(block: &Block, data: &BTreeSet<String>) -> Vec<TrustStatement> {
    let kind = block.labels.first().map(String::as_str).unwrap_or_default();
    let body = &block.body;
    let role = |name| aws::role(body.get(name), &block.place, &block.labels.join("."), data);
    let mut statements = match (block.kind.as_str(), kind) {
        ("resource", "aws_iam_role") => role("assume_role_policy"),
        ("resource", "awscc_iam_role") => role("assume_role_policy_document"),
        ("data", "aws_iam_policy_document") => aws::document(block, data),
        (
            "resource",
            "azurerm_federated_identity_credential"
            | "azuread_application_federated_identity_credential"
            | "azuread_application_flexible_federated_identity_credential",
        ) => one(Cloud::Azure, block, azure::credential(body).map(|statement| vec![statement])),
        ("resource", "azapi_resource" | "azapi_update_resource") => {
            azure::azapi(block).unwrap_or_default()
        }
        ("resource", "google_iam_workload_identity_pool_provider") => {
            one(Cloud::Gcp, block, gcp::provider(body))
        }
        ("resource", "stackit_service_account_federated_identity_provider") => {
            one(Cloud::Stackit, block, stackit::resource(body))
        }
        ("data", "google_iam_policy") => gcp::policy(body),
        ("resource", kind) if kind.starts_with("google_") => match body.get("policy_data") {
            Some(policy) => gcp::policy_data(policy, block, data),
            None => gcp::bindings(body, kind).unwrap_or_default(),
        },
        ("resource", kind) => carriers::block(block, kind),
        _ => Vec::new(),
    };
    if block.kind == "resource" {
        statements.extend(carriers::commands(block));
    }
    if block.repeated_unknown {
        for statement in &mut statements {
            statement.note(UnknownEffect::NarrowsAside, &block.place, "how often it is repeated");
        }
    }
    statements
}

/// Returns true if an expression refers to one of these data sources of a kind.
pub(crate) fn is_of_data(expression: &str, kind: &str, data: &BTreeSet<String>) -> bool {
    name_of_data(expression, kind).is_some_and(|name| data.contains(&format!("{kind}.{name}")))
}

/// The name of the data source of a kind that an expression refers to: an attribute of it, or the one of a list of its
/// attributes, `one(data.KIND.NAME[*].json)` and `join("", data.KIND.NAME[*].json)`.
pub(crate) fn name_of_data<'e>(expression: &'e str, kind: &str) -> Option<&'e str> {
    let of_list = ["one(", "join(\"\", "].iter().find_map(|call| {
        let inner = expression.strip_prefix(call)?.strip_suffix(')')?;
        (!inner.contains(['(', ','])).then_some(inner)
    });
    let expression = of_list.unwrap_or(expression);
    let named = expression.strip_prefix("data.").and_then(|rest| rest.strip_prefix(kind));
    named.and_then(|rest| rest.strip_prefix('.')?.split(['.', '[']).next())
}

/// The statements read from a block, or an unresolved one.
fn one(cloud: Cloud, block: &Block, read: Option<Vec<TrustStatement>>) -> Vec<TrustStatement> {
    read.unwrap_or_else(|| {
        let mut statement = TrustStatement::new(cloud, block.place.clone(), block.labels.join("."));
        statement.note(
            UnknownEffect::HidesTests,
            &block.place,
            format!("what `{}` trusts", block.labels.join(".")),
        );
        vec![statement]
    })
}

/// Records the values that are not fully known.
fn note_unknown(statement: &mut TrustStatement) {
    let texts = statement.subjects.iter().chain(&statement.audiences);
    let unknown: Vec<_> = texts
        .flat_map(|test| test.values.iter().map(move |value| (test, value)))
        .filter(|(_, value)| !value.known)
        // No token equals a text with a `*`, whatever its unknown parts are.
        .filter(|(test, value)| {
            test.negated || test.kind != MatchKind::Exact || !value.literal().contains('*')
        })
        .map(|(test, value)| (&test.place, value))
        .map(|(place, value)| {
            let what = match &value.origin {
                Some(origin) if origin.starts_with("the default") => {
                    format!("`{}`, {origin}, which may be replaced", value.text)
                }
                Some(origin) => format!("`{}`, {origin}", value.text),
                None => format!("`{}`", value.text),
            };
            (place.clone(), what)
        })
        .collect();
    for (place, what) in unknown {
        statement.note(UnknownEffect::AddsValue, &place, what);
    }
}
