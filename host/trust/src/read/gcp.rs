//! GCP: reads providers of workload identity pools, and bindings of their principals.

use std::collections::BTreeSet;

use countersign_clouds::Cloud;

use super::{is_of_data, note_unknown};
use crate::condition::Condition;
use crate::hcl::Block;
use crate::node::{Node, Text, Value};
use crate::trust_statement::{MatchKind, StatementKind, Test, TrustStatement, UnknownEffect};

/// Reads a provider; `None` if the node is not one.
pub(super) fn provider(node: &Node) -> Option<Vec<TrustStatement>> {
    let oidc = node.get("oidc")?.elements().first()?;
    let issuer = oidc.any(&["issuerUri", "issuer_uri"])?;
    let named =
        node.any(&["workload_identity_pool_provider_id", "workloadIdentityPoolProviderId", "name"]);
    let owner = named.and_then(Node::text).map(|text| text.text).unwrap_or_default();
    let mut statement = TrustStatement::new(Cloud::Gcp, node.place.clone(), owner);
    for (name, off) in [("disabled", "true"), ("state", "DELETED")] {
        let Some(member) = node.any(&[name]) else { continue };
        match member.known() {
            Some(value) if value == off => return Some(Vec::new()),
            Some(_) => {}
            None => statement.note(UnknownEffect::Narrows, &member.place, format!("`{name}`")),
        }
    }
    statement.kind = StatementKind::Provider;
    statement.issuer = issuer.text();
    if let Some(audiences) = oidc.any(&["allowedAudiences", "allowed_audiences"]) {
        let values = audiences.texts();
        if !values.is_empty() {
            statement.audiences.push(Test::exact(values, audiences.place.clone()));
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
        let test = Test::new(
            MatchKind::Other,
            vec![expression.clone()],
            place,
            "a mapping of `google.subject`",
        );
        statement.subjects.push(test);
    }
    let condition = node.any(&["attributeCondition", "attribute_condition"]);
    match condition.map(|node| (node, node.text())) {
        Some((at, Some(text))) if !is_expression(&text) => {
            match Condition::parse(&text, &mapping, &at.place) {
                Ok(mut condition) => {
                    statement.subjects.append(&mut condition.subjects);
                    statement.audiences.append(&mut condition.audiences);
                    if !condition.followed {
                        let what = "a condition on other claims, or over lists";
                        statement.note(UnknownEffect::Narrows, &at.place, what);
                    }
                    statement.condition = Some(condition);
                }
                Err(problem) => statement.note(UnknownEffect::HidesTests, &at.place, problem),
            }
        }
        Some((at, text)) => {
            let text =
                text.map_or_else(|| "the condition".to_owned(), |text| format!("`{}`", text.text));
            statement.note(UnknownEffect::HidesTests, &at.place, text);
        }
        None => {}
    }
    note_unknown(&mut statement);
    Some(vec![statement])
}

/// Returns true if the text is a single expression, so that nothing of it is known.
fn is_expression(text: &Text) -> bool {
    !text.known && text.text.starts_with("${") && text.text.ends_with('}')
}

/// Reads bindings of pools' principals; `None` if there are none.
pub(super) fn bindings(node: &Node) -> Option<Vec<TrustStatement>> {
    let members = node.any(&["members", "member"])?;
    let of = node.any(&["service_account_id", "project", "bucket", "resource", "name"]);
    let owner =
        of.and_then(Node::text).map_or_else(|| "principals of pools".to_owned(), |text| text.text);
    let statements: Vec<_> =
        members.elements().iter().filter_map(|member| binding(member, &owner)).collect();
    (!statements.is_empty()).then_some(statements)
}

/// Reads a `google_iam_policy`: each of its blocks is a binding.
pub(super) fn policy(body: &Node) -> Vec<TrustStatement> {
    let blocks = body.get("binding").map(Node::elements).unwrap_or_default();
    blocks.iter().filter_map(bindings).flatten().collect()
}

/// Reads a resource's whole policy, given as JSON or by a data source.
pub(super) fn policy_data(
    policy: &Node,
    block: &Block,
    data: &BTreeSet<String>,
) -> Vec<TrustStatement> {
    let json = policy.known().and_then(|text| crate::json::parse_at(&text, &policy.place));
    match (json, &policy.value) {
        (Some(json), _) => super::json(&json),
        (None, Value::Map(_)) => super::json(policy),
        (None, Value::Unknown(written)) if is_of_data(written, "google_iam_policy", data) => {
            Vec::new()
        }
        _ => {
            let mut statement =
                TrustStatement::new(Cloud::Gcp, policy.place.clone(), block.labels.join("."));
            statement.kind = StatementKind::Binding;
            statement.note(UnknownEffect::HidesTests, &policy.place, "`policy_data`");
            vec![statement]
        }
    }
}

/// Reads a principal, `principal://iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/subject/S`,
/// or a set of principals: `principalSet://…/P/*`, `…/P/attribute.NAME/VALUE`.
fn binding(member: &Node, owner: &str) -> Option<TrustStatement> {
    let Text { text, known } = member.text()?;
    let mut statement = TrustStatement::new(Cloud::Gcp, member.place.clone(), owner.to_owned());
    statement.kind = StatementKind::Binding;
    if let Value::Unknown(_) = member.value {
        statement.note(UnknownEffect::HidesTests, &member.place, format!("`{text}`"));
        return Some(statement);
    }
    if matches!(text.as_str(), "allUsers" | "allAuthenticatedUsers") {
        // A statement without tests admits everybody.
        return Some(statement);
    }
    let Some((kind, rest)) = text.split_once("://") else {
        // `user:…` and the like do not present a token.
        if !known && !text.contains(':') {
            statement.note(UnknownEffect::HidesTests, &member.place, format!("`{text}`"));
            return Some(statement);
        }
        return None;
    };
    // The pool's name may be any expression, so only the end of the principal is parsed.
    let principal = ["/subject/", "/attribute.", "/group/"]
        .iter()
        .find_map(|part| rest.split_once(part).map(|(_, principal)| principal))
        .or_else(|| rest.ends_with("/*").then_some("*"));
    let Some(principal) = principal else {
        statement.note(UnknownEffect::HidesTests, &member.place, format!("`{text}`"));
        return Some(statement);
    };
    let test = |kind, written: &str, value: &str| {
        let value = Text { text: value.to_owned(), known: known || !value.contains("${") };
        Test::new(kind, vec![value], member.place.clone(), written)
    };
    match kind {
        "principal" => statement.subjects.push(test(MatchKind::Exact, "principal", principal)),
        "principalSet" if principal == "*" => {}
        "principalSet" => {
            statement.subjects.push(test(MatchKind::Other, "principalSet", principal))
        }
        _ => return None,
    }
    note_unknown(&mut statement);
    Some(statement)
}
