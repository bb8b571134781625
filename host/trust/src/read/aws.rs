//! AWS: reads the trust policies of roles.

use std::collections::BTreeSet;

use countersign_clouds::Cloud;

use super::{is_of_data, note_unknown};
use crate::hcl::Block;
use crate::json;
use crate::node::{Node, Place, Text, Value};
use crate::trust_statement::{MatchKind, Test, TrustStatement, UnknownEffect};

/// Reads the statements of an IAM policy; `None` if the node is not one.
pub(super) fn policy(node: &Node, owner: &str) -> Option<Vec<TrustStatement>> {
    let nodes = member(node, "Statement")?;
    let characters = characters(node);
    let statements = nodes.elements().iter().filter_map(|node| {
        if let Value::Unknown(written) = &node.value {
            return Some(unknown(node, owner, written));
        }
        let text = |name| member(node, name).and_then(Node::text);
        let texts = |name| member(node, name).map(Node::texts).unwrap_or_default();
        let is_deny = text("Effect").is_some_and(|effect| effect.text == "Deny");
        let excluded = member(node, "NotAction").map(|_| is_web_identity(&texts("NotAction")));
        if excluded == Some(true) || (excluded.is_none() && !is_web_identity(&texts("Action"))) {
            return None;
        }
        let principal = member(node, "Principal");
        let federated = principal.and_then(|principal| member(principal, "Federated"));
        // Principals of AWS itself do not present a token.
        let others = principal.is_some_and(|principal| matches!(principal.value, Value::Map(_)));
        if others && federated.is_none() && !any_principal(principal) {
            return None;
        }
        let mut statement = web_identity(node.place.clone(), owner, federated.map(Node::texts));
        statement.is_deny = is_deny;
        statement.policy_characters = characters;
        // `*` and `NotPrincipal` name no provider, so it is unknown whose tokens they match.
        if federated.is_none() {
            statement.note(UnknownEffect::Narrows, &node.place, "the principal");
        }
        if let Some(condition) = member(node, "Condition") {
            for (operator, keys) in condition.members() {
                for (key, values) in keys.members() {
                    add(&mut statement, operator, key, values.texts(), values.place.clone());
                }
                if let Value::Unknown(written) = &keys.value {
                    statement.note(UnknownEffect::HidesTests, &keys.place, format!("`{written}`"));
                }
            }
            if let Value::Unknown(written) = &condition.value {
                statement.note(UnknownEffect::HidesTests, &condition.place, format!("`{written}`"));
            }
        }
        note_unknown(&mut statement);
        Some(statement)
    });
    Some(statements.collect())
}

/// Returns a member by its name in any case: IAM ignores it.
fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let mut members = node.members().iter();
    members.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, node)| node)
}

/// Returns true for the principal `*`.
fn any_principal(principal: Option<&Node>) -> bool {
    let members = principal.map(Node::members).unwrap_or_default();
    members.iter().any(|(_, names)| names.texts().iter().any(|name| name.text == "*"))
}

/// An unresolved statement.
fn unknown(node: &Node, owner: &str, written: &str) -> TrustStatement {
    let mut statement = TrustStatement::new(Cloud::Aws, node.place.clone(), owner.to_owned());
    statement.note(UnknownEffect::HidesTests, &node.place, format!("`{written}`"));
    statement
}

/// Reads an `aws_iam_role`.
pub(super) fn role(block: &Block, data: &BTreeSet<String>) -> Vec<TrustStatement> {
    let Some(attribute) = block.body.get("assume_role_policy") else { return Vec::new() };
    let owner = name(block);
    match &attribute.value {
        Value::Text(text) => {
            let node = json::parse_at(&text.text, &attribute.place);
            if let Some(statements) = node.and_then(|node| policy(&node, &owner)) {
                return statements;
            }
        }
        Value::Map(_) => return policy(attribute, &owner).unwrap_or_default(),
        // The data source's own block is read, if it is in one of the files.
        Value::Unknown(written) if is_of_data(written, "aws_iam_policy_document", data) => {
            return Vec::new();
        }
        _ => {}
    }
    let mut statement = TrustStatement::new(Cloud::Aws, attribute.place.clone(), owner);
    statement.note(UnknownEffect::HidesTests, &attribute.place, "the trust policy of the role");
    vec![statement]
}

/// Reads an `aws_iam_policy_document`.
pub(super) fn document(block: &Block) -> Vec<TrustStatement> {
    let owner = name(block);
    let mut statements = Vec::new();
    for node in block.body.get("statement").map(Node::elements).unwrap_or_default() {
        if let Value::Unknown(written) = &node.value {
            statements.push(unknown(node, &owner, written));
            continue;
        }
        let is_deny = node.get("effect").and_then(Node::known).is_some_and(|e| e == "Deny");
        let actions = node.get("actions").map(Node::texts).unwrap_or_default();
        let excluded = node.get("not_actions").map(|not| is_web_identity(&not.texts()));
        if excluded == Some(true) || (excluded.is_none() && !is_web_identity(&actions)) {
            continue;
        }
        let principals = node.get("principals").map(Node::elements).unwrap_or_default();
        let federated = principals
            .iter()
            .filter(|p| p.get("type").and_then(Node::known).as_deref() == Some("Federated"))
            .find_map(|principal| principal.get("identifiers"));
        if !principals.is_empty()
            && federated.is_none()
            && principals.iter().all(|p| {
                !matches!(p.get("type").and_then(Node::known).as_deref(), Some("*") | None)
            })
        {
            continue;
        }
        let mut statement = web_identity(node.place.clone(), &owner, federated.map(Node::texts));
        statement.is_deny = is_deny;
        for condition in node.get("condition").map(Node::elements).unwrap_or_default() {
            let text = |name| condition.get(name).and_then(Node::text);
            match (text("test"), text("variable")) {
                (Some(operator), Some(key)) => {
                    let values = condition.get("values").map(Node::texts).unwrap_or_default();
                    add(&mut statement, &operator.text, &key.text, values, condition.place.clone());
                }
                _ => statement.note(UnknownEffect::HidesTests, &condition.place, "a condition"),
            }
        }
        note_unknown(&mut statement);
        statements.push(statement);
    }
    for name in
        ["source_policy_documents", "override_policy_documents", "source_json", "override_json"]
    {
        if let Some(source) = block.body.get(name) {
            let mut statement =
                TrustStatement::new(Cloud::Aws, source.place.clone(), owner.clone());
            statement.note(UnknownEffect::HidesTests, &source.place, format!("`{name}`"));
            statements.push(statement);
        }
    }
    statements
}

fn name(block: &Block) -> String {
    block.labels.join(".")
}

/// A statement for the tokens of a federated provider.
fn web_identity(place: Place, owner: &str, federated: Option<Vec<Text>>) -> TrustStatement {
    let mut statement = TrustStatement::new(Cloud::Aws, place, owner.to_owned());
    // `arn:aws:iam::123456789012:oidc-provider/HOST/PATH` is the provider of `https://HOST/PATH`.
    statement.issuer = federated.into_iter().flatten().next().map(|arn| {
        match arn.text.split_once(":oidc-provider/") {
            Some((_, rest)) => {
                Text { text: format!("https://{rest}"), known: !rest.contains("${") }
            }
            None => Text { known: false, ..arn },
        }
    });
    statement
}

fn is_web_identity(actions: &[Text]) -> bool {
    actions.iter().any(|action| {
        crate::glob::matches(&action.text.to_ascii_lowercase(), "sts:assumerolewithwebidentity")
            || !action.known
    })
}

/// Adds a condition: an operator on a key.
fn add(statement: &mut TrustStatement, operator: &str, key: &str, values: Vec<Text>, place: Place) {
    let lower = operator.to_ascii_lowercase();
    let plain = lower.strip_prefix("foranyvalue:").unwrap_or(&lower);
    let kind = match plain {
        "stringequals" => MatchKind::Exact,
        "stringequalsignorecase" => MatchKind::IgnoreCase,
        "stringlike" => MatchKind::Pattern,
        // `ForAllValues:` and `…IfExists` also hold for a claim that is absent.
        _ => MatchKind::Other,
    };
    // IAM replaces policy variables: `${…}`, which OpenTofu writes as `&{…}`.
    let values = values.into_iter().map(|Text { text, known }| {
        let known = known && !text.contains("${") && !text.contains("&{");
        Text { text, known }
    });
    let test = Test::new(kind, values.collect(), place, operator);
    // `HOST/PATH:sub` is a claim of the provider's token. `aws:…` and other providers' keys are not in it.
    let (of, claim) = key.rsplit_once(':').unwrap_or(("", key));
    let provider = statement.issuer.as_ref().filter(|issuer| issuer.known);
    let is_own = provider.is_none_or(|issuer| {
        let host = issuer.text.strip_prefix("https://").unwrap_or_default();
        of.contains("${") || of.eq_ignore_ascii_case(host)
    });
    match (of, claim.to_ascii_lowercase().as_str()) {
        ("aws", _) => {}
        (_, "sub" | "aud") if !is_own => {
            let what = format!("a condition on `{key}`, which is not the provider's");
            statement.note(UnknownEffect::Narrows, &test.place, what);
            return;
        }
        (_, "sub") => return statement.subjects.push(test),
        (_, "aud") => return statement.audiences.push(test),
        _ => {}
    }
    statement.note(UnknownEffect::Narrows, &test.place, format!("a condition on `{key}`"));
}

/// The length of a policy in characters without white space, if all of it is known.
fn characters(node: &Node) -> Option<usize> {
    let text = serde_json::to_string(&value(node)?).ok()?;
    Some(text.chars().filter(|c| !c.is_whitespace()).count())
}

fn value(node: &Node) -> Option<serde_json::Value> {
    Some(match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(bool) => (*bool).into(),
        Value::Number(number) => serde_json::Value::Number(number.parse().ok()?),
        Value::Text(Text { text, known: true }) => text.clone().into(),
        Value::Text(_) | Value::Unknown(_) => return None,
        Value::List(elements) => elements.iter().map(value).collect::<Option<Vec<_>>>()?.into(),
        Value::Map(members) => {
            let members = members.iter().map(|(key, node)| Some((key.clone(), value(node)?)));
            serde_json::Value::Object(members.collect::<Option<_>>()?)
        }
    })
}
