//! AWS: trust policies of roles.

use countersign::Cloud;

use super::note_unknown;
use crate::grant::{Grant, How, May, Test};
use crate::hcl::Block;
use crate::json;
use crate::node::{Node, Place, Text, Value};

/// The ways in of an IAM policy; `None` where it is none.
pub(super) fn policy(node: &Node, owner: &str) -> Option<Vec<Grant>> {
    let statements = node.get("Statement")?;
    let characters = characters(node);
    let grants = statements.elements().iter().filter_map(|statement| {
        let allows = statement.get("Effect").and_then(Node::known).as_deref() == Some("Allow");
        let is_read =
            is_web_identity(&statement.get("Action").map(Node::texts).unwrap_or_default());
        if !allows || !is_read {
            return None;
        }
        let federated = statement.get("Principal").and_then(|principal| principal.get("Federated"));
        let mut grant = grant(statement.place.clone(), owner, federated.map(Node::texts));
        grant.policy_characters = characters;
        if let Some(condition) = statement.get("Condition") {
            for (operator, keys) in condition.members() {
                for (key, values) in keys.members() {
                    add(&mut grant, operator, key, values.texts(), values.place.clone());
                }
            }
            if let Value::Unknown(written) = &condition.value {
                grant.note(May::Hide, &condition.place, format!("`{written}`"));
            }
        }
        note_unknown(&mut grant);
        Some(grant)
    });
    Some(grants.collect())
}

/// `aws_iam_role`.
pub(super) fn role(block: &Block) -> Vec<Grant> {
    let Some(attribute) = block.body.get("assume_role_policy") else { return Vec::new() };
    let owner = name(block);
    match &attribute.value {
        Value::Text(text) => {
            let node = json::parse_at(&text.text, &attribute.place);
            if let Some(grants) = node.and_then(|node| policy(&node, &owner)) {
                return grants;
            }
        }
        Value::Map(_) => return policy(attribute, &owner).unwrap_or_default(),
        // The data source is read where it stands.
        Value::Unknown(written) if written.starts_with("data.aws_iam_policy_document.") => {
            return Vec::new();
        }
        _ => {}
    }
    let mut grant = Grant::new(Cloud::Aws, attribute.place.clone(), owner);
    grant.note(May::Hide, &attribute.place, "the trust policy of the role");
    vec![grant]
}

/// `aws_iam_policy_document`.
pub(super) fn document(block: &Block) -> Vec<Grant> {
    let owner = name(block);
    let mut grants = Vec::new();
    for statement in block.body.get("statement").map(Node::elements).unwrap_or_default() {
        if let Value::Unknown(written) = &statement.value {
            let mut grant = Grant::new(Cloud::Aws, statement.place.clone(), owner.clone());
            grant.note(May::Hide, &statement.place, format!("`{written}`"));
            grants.push(grant);
            continue;
        }
        let denies = statement.get("effect").and_then(Node::known).is_some_and(|e| e != "Allow");
        let actions = statement.get("actions").map(Node::texts).unwrap_or_default();
        if denies || !is_web_identity(&actions) {
            continue;
        }
        let principals = statement.get("principals").map(Node::elements).unwrap_or_default();
        let federated = principals
            .iter()
            .filter(|p| p.get("type").and_then(Node::known).as_deref() == Some("Federated"))
            .find_map(|principal| principal.get("identifiers"));
        let mut grant = grant(statement.place.clone(), &owner, federated.map(Node::texts));
        for condition in statement.get("condition").map(Node::elements).unwrap_or_default() {
            let text = |name| condition.get(name).and_then(Node::text);
            match (text("test"), text("variable")) {
                (Some(operator), Some(key)) => {
                    let values = condition.get("values").map(Node::texts).unwrap_or_default();
                    add(&mut grant, &operator.text, &key.text, values, condition.place.clone());
                }
                _ => grant.note(May::Hide, &condition.place, "a condition"),
            }
        }
        note_unknown(&mut grant);
        grants.push(grant);
    }
    grants
}

fn name(block: &Block) -> String {
    block.labels.join(".")
}

fn grant(place: Place, owner: &str, federated: Option<Vec<Text>>) -> Grant {
    let mut grant = Grant::new(Cloud::Aws, place, owner.to_owned());
    // `arn:aws:iam::123456789012:oidc-provider/HOST/PATH` is of `https://HOST/PATH`.
    grant.issuer = federated.into_iter().flatten().next().map(|arn| {
        match arn.text.split_once(":oidc-provider/") {
            Some((_, rest)) => {
                Text { text: format!("https://{rest}"), known: !rest.contains("${") }
            }
            None => Text { known: false, ..arn },
        }
    });
    grant
}

fn is_web_identity(actions: &[Text]) -> bool {
    actions.iter().any(|action| {
        crate::glob::matches(&action.text.to_ascii_lowercase(), "sts:assumerolewithwebidentity")
            || !action.known
    })
}

/// Adds a condition of an operator on a key.
fn add(grant: &mut Grant, operator: &str, key: &str, values: Vec<Text>, place: Place) {
    let plain = operator.strip_suffix("IfExists").unwrap_or(operator);
    let plain = plain.strip_prefix("ForAnyValue:").unwrap_or(plain);
    let how = match plain {
        "StringEquals" => How::Exact,
        "StringEqualsIgnoreCase" => How::IgnoreCase,
        "StringLike" => How::Pattern,
        // `ForAllValues:` holds where there is no value at all.
        _ => How::Other,
    };
    let test = Test { how, values, place, written: operator.to_owned() };
    // `HOST/PATH:sub`; `aws:…` are others' keys.
    match key.rsplit_once(':') {
        Some((of, "sub")) if of != "aws" => grant.subjects.push(test),
        Some((of, "aud")) if of != "aws" => grant.audiences.push(test),
        _ => grant.note(May::Narrow, &test.place, format!("a condition on `{key}`")),
    }
}

/// How long a policy is without white space, where all of it is known.
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
