//! Azure: reads federated identity credentials.

use countersign_clouds::Cloud;

use super::note_unknown;
use crate::node::{Node, Text};
use crate::trust_statement::{MatchKind, Test, TrustStatement};

/// Reads a credential in the form of Azure Resource Manager, Graph, their command lines or both OpenTofu providers;
/// `None` if the node is not one.
pub(super) fn credential(node: &Node) -> Option<TrustStatement> {
    let issuer = node.get("issuer")?;
    let subject = node.any(&["subject"]);
    let expression = node
        .any(&["claimsMatchingExpression", "claims_matching_expression"])
        .map(|expression| expression.get("value").unwrap_or(expression));
    let audiences = node.any(&["audiences", "audience"]);
    if subject.is_none() && expression.is_none() && audiences.is_none() {
        return None;
    }
    let mut statement = TrustStatement::new(Cloud::Azure, node.place.clone(), owner(node));
    statement.issuer = issuer.text();
    if let Some(subject) = subject {
        statement.subjects.push(Test::exact(subject.texts(), subject.place.clone()));
    }
    if let Some((expression, text)) = expression.and_then(|e| Some((e, e.text()?))) {
        statement.subjects.push(matching(&text, expression));
    }
    if let Some(audiences) = audiences {
        statement.audiences.push(Test::exact(audiences.texts(), audiences.place.clone()));
    }
    note_unknown(&mut statement);
    Some(statement)
}

/// The identity that the credential belongs to.
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

/// Parses `claims['sub'] matches 'a*'` and `claims['sub'] eq 'a'`.
fn matching(text: &Text, node: &Node) -> Test {
    let parsed = text.text.split_once(']').and_then(|(claim, rest)| {
        let claim = claim.trim().strip_prefix("claims[")?.trim_matches(['\'', '"']);
        let (operator, value) = rest.trim().split_once(' ')?;
        let value = value.trim();
        let value = value.strip_prefix('\'')?.strip_suffix('\'')?;
        (claim == "sub" && !value.contains('\'')).then_some((operator, value))
    });
    let place = node.place.clone();
    let (kind, written, value) = match parsed {
        Some((operator @ "matches", value)) => (MatchKind::Pattern, operator, value),
        Some((operator @ "eq", value)) => (MatchKind::Exact, operator, value),
        _ => (MatchKind::Other, "an expression", text.text.as_str()),
    };
    let value = Text { text: value.to_owned(), known: text.known };
    Test::new(kind, vec![value], place, written)
}
