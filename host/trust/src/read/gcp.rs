//! GCP: providers of workload identity pools, and bindings of their principals.

use std::collections::BTreeSet;

use countersign::Cloud;

use super::{is_of_data, note_unknown};
use crate::condition::Condition;
use crate::hcl::Block;
use crate::node::{Node, Text, Value};
use crate::trust_statement::{Grant, How, May, Part, Test};

/// A provider; `None` where it is none.
pub(super) fn provider(node: &Node) -> Option<Vec<Grant>> {
    let oidc = node.get("oidc")?.elements().first()?;
    let issuer = oidc.any(&["issuerUri", "issuer_uri"])?;
    let named =
        node.any(&["workload_identity_pool_provider_id", "workloadIdentityPoolProviderId", "name"]);
    let owner = named.and_then(Node::text).map(|text| text.text).unwrap_or_default();
    let mut grant = Grant::new(Cloud::Gcp, node.place.clone(), owner);
    for (name, off) in [("disabled", "true"), ("state", "DELETED")] {
        let Some(member) = node.any(&[name]) else { continue };
        match member.known() {
            Some(value) if value == off => return Some(Vec::new()),
            Some(_) => {}
            None => grant.note(May::Narrow, &member.place, format!("`{name}`")),
        }
    }
    grant.part = Part::Provider;
    grant.issuer = issuer.text();
    if let Some(audiences) = oidc.any(&["allowedAudiences", "allowed_audiences"]) {
        let values = audiences.texts();
        if !values.is_empty() {
            grant.audiences.push(Test::exact(values, audiences.place.clone()));
        }
    }
    let mapping = node.any(&["attributeMapping", "attribute_mapping"]);
    let mapping: Vec<_> = mapping
        .map(Node::members)
        .unwrap_or_default()
        .iter()
        .filter_map(|(name, expression)| Some((name.clone(), expression.text()?)))
        .collect();
    let subject = mapping.iter().find(|(name, _)| name == "google.subject");
    if let Some((_, expression)) =
        subject.filter(|(_, expression)| expression.text.trim() != "assertion.sub")
    {
        let place = node.place.clone();
        let test =
            Test::new(How::Other, vec![expression.clone()], place, "a mapping of `google.subject`");
        grant.subjects.push(test);
    }
    let condition = node.any(&["attributeCondition", "attribute_condition"]);
    match condition.map(|node| (node, node.text())) {
        Some((at, Some(text))) if !is_expression(&text) => {
            match Condition::parse(&text, &mapping, &at.place) {
                Ok(mut condition) => {
                    grant.subjects.append(&mut condition.subjects);
                    grant.audiences.append(&mut condition.audiences);
                    if !condition.followed {
                        let what = "a condition on other claims, or over lists";
                        grant.note(May::Narrow, &at.place, what);
                    }
                    grant.condition = Some(condition);
                }
                Err(problem) => grant.note(May::Hide, &at.place, problem),
            }
        }
        Some((at, text)) => {
            let text =
                text.map_or_else(|| "the condition".to_owned(), |text| format!("`{}`", text.text));
            grant.note(May::Hide, &at.place, text);
        }
        None => {}
    }
    note_unknown(&mut grant);
    Some(vec![grant])
}

/// Whether nothing of a text is known.
fn is_expression(text: &Text) -> bool {
    !text.known && text.text.starts_with("${") && text.text.ends_with('}')
}

/// Bindings of principals of pools; `None` where there are none.
pub(super) fn bindings(node: &Node) -> Option<Vec<Grant>> {
    let members = node.any(&["members", "member"])?;
    let of = node.any(&["service_account_id", "project", "bucket", "resource", "name"]);
    let owner =
        of.and_then(Node::text).map_or_else(|| "principals of pools".to_owned(), |text| text.text);
    let grants: Vec<_> =
        members.elements().iter().filter_map(|member| binding(member, &owner)).collect();
    (!grants.is_empty()).then_some(grants)
}

/// `google_iam_policy`: bindings, each a block.
pub(super) fn policy(body: &Node) -> Vec<Grant> {
    let blocks = body.get("binding").map(Node::elements).unwrap_or_default();
    blocks.iter().filter_map(bindings).flatten().collect()
}

/// A whole policy of a resource, in JSON or by a data source.
pub(super) fn policy_data(policy: &Node, block: &Block, data: &BTreeSet<String>) -> Vec<Grant> {
    let json = policy.known().and_then(|text| crate::json::parse_at(&text, &policy.place));
    match (json, &policy.value) {
        (Some(json), _) => super::json(&json),
        (None, Value::Map(_)) => super::json(policy),
        (None, Value::Unknown(written)) if is_of_data(written, "google_iam_policy", data) => {
            Vec::new()
        }
        _ => {
            let mut grant = Grant::new(Cloud::Gcp, policy.place.clone(), block.labels.join("."));
            grant.part = Part::Binding;
            grant.note(May::Hide, &policy.place, "`policy_data`");
            vec![grant]
        }
    }
}

/// `principal://iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/subject/S`, and sets of
/// them: `principalSet://…/P/*`, `…/P/attribute.NAME/VALUE`.
fn binding(member: &Node, owner: &str) -> Option<Grant> {
    let Text { text, known } = member.text()?;
    let mut grant = Grant::new(Cloud::Gcp, member.place.clone(), owner.to_owned());
    grant.part = Part::Binding;
    if let Value::Unknown(_) = member.value {
        grant.note(May::Hide, &member.place, format!("`{text}`"));
        return Some(grant);
    }
    if matches!(text.as_str(), "allUsers" | "allAuthenticatedUsers") {
        // No test: everybody.
        return Some(grant);
    }
    let Some((kind, rest)) = text.split_once("://") else {
        // `user:…` and the like do not come with a token.
        if !known && !text.contains(':') {
            grant.note(May::Hide, &member.place, format!("`{text}`"));
            return Some(grant);
        }
        return None;
    };
    // What names the pool may not be known, and be any expression.
    let principal = ["/subject/", "/attribute.", "/group/"]
        .iter()
        .find_map(|part| rest.split_once(part).map(|(_, principal)| principal))
        .or_else(|| rest.ends_with("/*").then_some("*"));
    let Some(principal) = principal else {
        grant.note(May::Hide, &member.place, format!("`{text}`"));
        return Some(grant);
    };
    let test = |how, written: &str, value: &str| {
        let value = Text { text: value.to_owned(), known: known || !value.contains("${") };
        Test::new(how, vec![value], member.place.clone(), written)
    };
    match kind {
        "principal" => grant.subjects.push(test(How::Exact, "principal", principal)),
        "principalSet" if principal == "*" => {}
        "principalSet" => grant.subjects.push(test(How::Other, "principalSet", principal)),
        _ => return None,
    }
    note_unknown(&mut grant);
    Some(grant)
}
