//! Reads trust statements from parsed files.

mod aws;
mod azure;
mod gcp;
mod stackit;

use std::collections::BTreeSet;

use countersign_clouds::Cloud;

use crate::hcl::Block;
use crate::node::{Node, Text, Value};
use crate::trust_statement::{TrustStatement, UnknownEffect};

/// Reads the trust statements of a JSON file, at any depth.
pub(crate) fn json(node: &Node) -> Vec<TrustStatement> {
    let mut statements = Vec::new();
    walk(node, &mut statements);
    statements
}

fn walk(node: &Node, statements: &mut Vec<TrustStatement>) {
    let found = aws::policy(node, &node.place.to_string())
        .or_else(|| stackit::provider(node))
        .or_else(|| gcp::provider(node))
        .or_else(|| gcp::bindings(node))
        .or_else(|| azure::credential(node).map(|statement| vec![statement]));
    if let Some(found) = found {
        statements.extend(found);
        return;
    }
    match &node.value {
        Value::List(elements) => elements.iter().for_each(|element| walk(element, statements)),
        Value::Map(members) => members.iter().for_each(|(_, member)| walk(member, statements)),
        // Some commands print a policy as a string within their JSON.
        Value::Text(Text { text, .. }) if text.trim_start().starts_with('{') => {
            match crate::json::parse_at(text, &node.place) {
                Some(inner) => walk(&inner, statements),
                None if text.contains("AssumeRoleWithWebIdentity") => {
                    let mut statement =
                        TrustStatement::new(Cloud::Aws, node.place.clone(), node.place.to_string());
                    statement.note(UnknownEffect::HidesTests, &node.place, "a policy");
                    statements.push(statement);
                }
                None => {}
            }
        }
        _ => {}
    }
}

/// Reads the trust statements of an HCL block.
///
/// A block of a known kind always yields at least one: an unreadable block yields one that is unresolved. `data` are
/// the folder's data sources, as `KIND.NAME`: their own blocks are read, and not each reference to them.
pub(crate) fn block(block: &Block, data: &BTreeSet<String>) -> Vec<TrustStatement> {
    let kind = block.labels.first().map(String::as_str).unwrap_or_default();
    let mut statements = match (block.kind.as_str(), kind) {
        ("resource", "aws_iam_role") => aws::role(block, data),
        ("data", "aws_iam_policy_document") => aws::document(block),
        (
            "resource",
            "azurerm_federated_identity_credential"
            | "azuread_application_federated_identity_credential"
            | "azuread_application_flexible_federated_identity_credential",
        ) => one(
            Cloud::Azure,
            block,
            azure::credential(&block.body).map(|statement| vec![statement]),
        ),
        ("resource", "google_iam_workload_identity_pool_provider") => {
            one(Cloud::Gcp, block, gcp::provider(&block.body))
        }
        ("resource", "stackit_service_account_federated_identity_provider") => {
            one(Cloud::Stackit, block, stackit::provider(&block.body))
        }
        ("data", "google_iam_policy") => gcp::policy(&block.body),
        ("resource", kind) if kind.starts_with("google_") => match block.body.get("policy_data") {
            Some(policy) => gcp::policy_data(policy, block, data),
            None => gcp::bindings(&block.body).unwrap_or_default(),
        },
        _ => Vec::new(),
    };
    if block.repeated_unknown {
        for statement in &mut statements {
            statement.note(UnknownEffect::Narrows, &block.place, "how often it is repeated");
        }
    }
    statements
}

/// Returns true if an expression refers to one of these data sources of a kind.
fn is_of_data(expression: &str, kind: &str, data: &BTreeSet<String>) -> bool {
    let named = expression.strip_prefix("data.").and_then(|rest| rest.strip_prefix(kind));
    let name = named.and_then(|rest| rest.strip_prefix('.')?.split(['.', '[']).next());
    name.is_some_and(|name| data.contains(&format!("{kind}.{name}")))
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
        .flat_map(|test| test.values.iter().map(move |value| (&test.place, value)))
        .filter(|(_, value)| !value.known)
        .map(|(place, value)| (place.clone(), format!("`{}`", value.text)))
        .collect();
    for (place, what) in unknown {
        statement.note(UnknownEffect::AddsValue, &place, what);
    }
}
