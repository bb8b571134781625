//! Azure: federated identity credentials.

use countersign::Cloud;

use super::note_unknown;
use crate::node::{Node, Text};
use crate::trust_statement::{Grant, How, Test};

/// A credential, as Azure Resource Manager, Graph, their command lines and both providers have it; `None`
/// where it is none.
pub(super) fn credential(node: &Node) -> Option<Grant> {
    let issuer = node.get("issuer")?;
    let subject = node.any(&["subject"]);
    let expression = node
        .any(&["claimsMatchingExpression", "claims_matching_expression"])
        .map(|expression| expression.get("value").unwrap_or(expression));
    let audiences = node.any(&["audiences", "audience"]);
    if subject.is_none() && expression.is_none() && audiences.is_none() {
        return None;
    }
    let mut grant = Grant::new(Cloud::Azure, node.place.clone(), owner(node));
    grant.issuer = issuer.text();
    if let Some(subject) = subject {
        grant.subjects.push(Test::exact(subject.texts(), subject.place.clone()));
    }
    if let Some((expression, text)) = expression.and_then(|e| Some((e, e.text()?))) {
        grant.subjects.push(matching(&text, expression));
    }
    if let Some(audiences) = audiences {
        grant.audiences.push(Test::exact(audiences.texts(), audiences.place.clone()));
    }
    note_unknown(&mut grant);
    Some(grant)
}

/// The identity that the credential is of.
fn owner(node: &Node) -> String {
    const OF: &[&str] =
        &["parent_id", "user_assigned_identity_id", "application_id", "application_object_id"];
    let named = node.any(OF).and_then(Node::text).map(|text| text.text);
    let of_id = || {
        let id = node.any(&["id"])?.known()?;
        Some(id.split("/federatedIdentityCredentials/").next().unwrap_or_default().to_owned())
    };
    named.or_else(of_id).unwrap_or_default()
}

/// `claims['sub'] matches 'a*'`, `claims['sub'] eq 'a'`.
fn matching(text: &Text, node: &Node) -> Test {
    let parsed = text.text.split_once(']').and_then(|(claim, rest)| {
        let claim = claim.trim().strip_prefix("claims[")?.trim_matches(['\'', '"']);
        let (operator, value) = rest.trim().split_once(' ')?;
        let value = value.trim();
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        (claim == "sub" && !value.contains('\'')).then_some((operator, value))
    });
    let place = node.place.clone();
    let (how, written, value) = match parsed {
        Some((operator @ "matches", value)) => (How::Pattern, operator, value),
        Some((operator @ "eq", value)) => (How::Exact, operator, value),
        _ => (How::Other, "an expression", text.text.as_str()),
    };
    let value = Text { text: value.to_owned(), known: text.known };
    Test::new(how, vec![value], place, written)
}
