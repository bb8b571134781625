//! Azure: reads federated identity credentials.

use countersign_clouds::Cloud;

use super::note_unknown;
use crate::hcl::Block;
use crate::node::{Node, Text, Value};
use crate::trust_statement::{MatchKind, Test, TrustStatement, UnknownEffect};

/// The type of a credential in Azure Resource Manager.
const CREDENTIALS: &str = "/federatedidentitycredentials";

/// The last part of the URL of an application's credentials in Graph.
const CREDENTIALS_OF_GRAPH: &str = "/federatedIdentityCredentials";

/// Reads a credential in the form of Azure Resource Manager, Graph, their command lines or both OpenTofu providers;
/// `None` if the node is not one.
pub(super) fn credential(node: &Node) -> Option<TrustStatement> {
    let issuer = node.get("issuer")?;
    let subject = node.any(&["subject"]);
    let expression =
        node.any(&["claimsMatchingExpression", "claims_matching_expression"]).map(|expression| {
            match expression.elements() {
                [block] => block.get("value").unwrap_or(block),
                _ => expression,
            }
        });
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
        flexible(&mut statement, &text, expression);
    }
    if let Some(audiences) = audiences {
        statement.audiences.push(Test::exact(audiences.texts(), audiences.place.clone()));
    }
    note_unknown(&mut statement);
    Some(statement)
}

/// Reads an `azapi_resource`; `None` if it is no credential.
pub(super) fn azapi(block: &Block) -> Option<Vec<TrustStatement>> {
    let of = block.body.get("type").and_then(Node::text)?;
    if !of.text.to_ascii_lowercase().contains(CREDENTIALS) {
        return None;
    }
    let owner = block.body.get("parent_id").and_then(Node::text).map(|text| text.text);
    let body = block.body.get("body")?;
    let parsed = of_body(body);
    let properties = parsed.as_ref().and_then(|body| body.get("properties"));
    let mut statement = properties.and_then(credential);
    if let (Some(statement), Some(owner)) = (&mut statement, owner) {
        statement.owner = owner;
    }
    Some(super::one(Cloud::Azure, block, statement.map(|statement| vec![statement])))
}

/// Reads an `msgraph_resource`: a request to Graph. None if it is about no credential.
pub(super) fn msgraph(block: &Block) -> Vec<TrustStatement> {
    let url = block.body.get("url").and_then(Node::text);
    let Some(url) = url.filter(|url| url.text.to_ascii_lowercase().contains(CREDENTIALS)) else {
        return Vec::new();
    };
    let body = block.body.get("body").and_then(of_body);
    let mut statement = body.as_ref().and_then(credential);
    if let Some(statement) = &mut statement {
        statement.owner =
            url.text.split(CREDENTIALS_OF_GRAPH).next().unwrap_or_default().to_owned();
    }
    super::one(Cloud::Azure, block, statement.map(|statement| vec![statement]))
}

/// The body of a request, of which a text is JSON.
fn of_body(body: &Node) -> Option<Node> {
    let Value::Text(text) = &body.value else { return Some(body.clone()) };
    let parsed = crate::json::parse_at(text, &body.place)?;
    Some(match &text.origin {
        Some(origin) if !text.known => parsed.uncertain(origin),
        _ => parsed,
    })
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

/// Reads the expression of a flexible credential: comparisons of claims, with `and` between them.
fn flexible(statement: &mut TrustStatement, text: &Text, node: &Node) {
    let parts = clauses(&text.text);
    let tests = parts.iter().filter_map(|part| {
        let part = Text { text: (*part).to_owned(), ..text.clone() };
        matching(&part, node)
    });
    let tests: Vec<_> = tests.collect();
    let is_other = |part: &&str| part.trim_start().starts_with("claims[") && !is_of_subject(part);
    let others = parts.iter().filter(|part| is_other(part)).count();
    let what = format!("the expression `{}`", text.text);
    let is_read = tests.len() + others >= parts.len();
    let names_subject = !tests.is_empty();
    statement.subjects.extend(tests);
    let effect = if !is_read || !names_subject {
        UnknownEffect::HidesTests
    } else if others == 0 {
        return;
    } else if statement.is_exact() {
        UnknownEffect::NarrowsAside
    } else {
        UnknownEffect::Narrows
    };
    statement.note(effect, &node.place, what);
}

/// The comparisons of an expression. An `and` within quotes is a part of a text.
fn clauses(text: &str) -> Vec<&str> {
    let (mut parts, mut from, mut is_quoted) = (Vec::new(), 0, false);
    for (at, character) in text.char_indices() {
        is_quoted ^= character == '\'';
        let rest = text.get(at..).unwrap_or_default();
        if !is_quoted && at >= from && rest.starts_with(" and ") {
            parts.extend(text.get(from..at));
            from = at + " and ".len();
        }
    }
    parts.extend(text.get(from..));
    parts
}

fn is_of_subject(clause: &str) -> bool {
    let claim = clause.trim().strip_prefix("claims[").unwrap_or_default();
    claim.starts_with("'sub'") || claim.starts_with("\"sub\"")
}

/// Parses `claims['sub'] matches 'a*'` and `claims['sub'] eq 'a'`.
fn matching(text: &Text, node: &Node) -> Option<Test> {
    let (claim, rest) = text.text.split_once(']')?;
    let claim = claim.trim().strip_prefix("claims[")?.trim_matches(['\'', '"']);
    let (operator, value) = rest.trim().split_once(' ')?;
    let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
    if claim != "sub" || value.contains('\'') {
        return None;
    }
    let kind = match operator {
        "matches" => MatchKind::Pattern,
        "eq" => MatchKind::Exact,
        _ => return None,
    };
    let known = text.known || !value.contains("${");
    let value = Text { text: value.to_owned(), known, ..text.clone() };
    Some(Test::new(kind, vec![value], node.place.clone(), operator))
}
