//! From what files say to ways in.

mod aws;
mod azure;
mod gcp;
mod stackit;

use std::collections::BTreeSet;

use countersign::Cloud;

use crate::hcl::Block;
use crate::node::{Node, Text, Value};
use crate::trust_statement::{Grant, May};

/// The ways in that a JSON file has, wherever they stand in it.
pub(crate) fn json(node: &Node) -> Vec<Grant> {
    let mut grants = Vec::new();
    walk(node, &mut grants);
    grants
}

fn walk(node: &Node, grants: &mut Vec<Grant>) {
    let found = aws::policy(node, &node.place.to_string())
        .or_else(|| stackit::provider(node))
        .or_else(|| gcp::provider(node))
        .or_else(|| gcp::bindings(node))
        .or_else(|| azure::credential(node).map(|grant| vec![grant]));
    if let Some(found) = found {
        grants.extend(found);
        return;
    }
    match &node.value {
        Value::List(elements) => elements.iter().for_each(|element| walk(element, grants)),
        Value::Map(members) => members.iter().for_each(|(_, member)| walk(member, grants)),
        // A policy within JSON, as some commands print it.
        Value::Text(Text { text, .. }) if text.trim_start().starts_with('{') => {
            match crate::json::parse_at(text, &node.place) {
                Some(inner) => walk(&inner, grants),
                None if text.contains("AssumeRoleWithWebIdentity") => {
                    let mut grant =
                        Grant::new(Cloud::Aws, node.place.clone(), node.place.to_string());
                    grant.note(May::Hide, &node.place, "a policy");
                    grants.push(grant);
                }
                None => {}
            }
        }
        _ => {}
    }
}

/// The ways in that a block of HCL has.
///
/// Of a kind that is known, there is always one: where it cannot be read, that is said. `data` are the data
/// sources that there are in the folder, as `KIND.NAME`: they are read where they stand.
pub(crate) fn block(block: &Block, data: &BTreeSet<String>) -> Vec<Grant> {
    let kind = block.labels.first().map(String::as_str).unwrap_or_default();
    let mut grants = match (block.kind.as_str(), kind) {
        ("resource", "aws_iam_role") => aws::role(block, data),
        ("data", "aws_iam_policy_document") => aws::document(block),
        (
            "resource",
            "azurerm_federated_identity_credential"
            | "azuread_application_federated_identity_credential"
            | "azuread_application_flexible_federated_identity_credential",
        ) => one(Cloud::Azure, block, azure::credential(&block.body).map(|grant| vec![grant])),
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
        for grant in &mut grants {
            grant.note(May::Narrow, &block.place, "how often it is repeated");
        }
    }
    grants
}

/// Whether an expression is a part of one of these data sources of a kind.
fn is_of_data(expression: &str, kind: &str, data: &BTreeSet<String>) -> bool {
    let named = expression.strip_prefix("data.").and_then(|rest| rest.strip_prefix(kind));
    let name = named.and_then(|rest| rest.strip_prefix('.')?.split(['.', '[']).next());
    name.is_some_and(|name| data.contains(&format!("{kind}.{name}")))
}

/// What was read of a block, or that it could not be.
fn one(cloud: Cloud, block: &Block, read: Option<Vec<Grant>>) -> Vec<Grant> {
    read.unwrap_or_else(|| {
        let mut grant = Grant::new(cloud, block.place.clone(), block.labels.join("."));
        grant.note(May::Hide, &block.place, format!("what `{}` trusts", block.labels.join(".")));
        vec![grant]
    })
}

/// Notes what of some texts is not known.
fn note_unknown(grant: &mut Grant) {
    let texts = grant.subjects.iter().chain(&grant.audiences);
    let unknown: Vec<_> = texts
        .flat_map(|test| test.values.iter().map(move |value| (&test.place, value)))
        .filter(|(_, value)| !value.known)
        .map(|(place, value)| (place.clone(), format!("`{}`", value.text)))
        .collect();
    for (place, what) in unknown {
        grant.note(May::Match, &place, what);
    }
}
