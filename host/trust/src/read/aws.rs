//! AWS: trust policies of roles.

use std::collections::BTreeSet;

use countersign::Cloud;

use super::{is_of_data, note_unknown};
use crate::hcl::Block;
use crate::json;
use crate::node::{Node, Place, Text, Value};
use crate::trust_statement::{Grant, How, May, Test};

/// The ways in of an IAM policy; `None` where it is none.
pub(super) fn policy(node: &Node, owner: &str) -> Option<Vec<Grant>> {
    let statements = member(node, "Statement")?;
    let characters = characters(node);
    let grants = statements.elements().iter().filter_map(|statement| {
        if let Value::Unknown(written) = &statement.value {
            return Some(unknown(statement, owner, written));
        }
        let text = |name| member(statement, name).and_then(Node::text);
        let texts = |name| member(statement, name).map(Node::texts).unwrap_or_default();
        let denies = text("Effect").is_some_and(|effect| effect.text == "Deny");
        let excluded = member(statement, "NotAction").map(|_| is_web_identity(&texts("NotAction")));
        if excluded == Some(true) || (excluded.is_none() && !is_web_identity(&texts("Action"))) {
            return None;
        }
        let principal = member(statement, "Principal");
        let federated = principal.and_then(|principal| member(principal, "Federated"));
        // Those of AWS itself do not come with a token.
        let others = principal.is_some_and(|principal| matches!(principal.value, Value::Map(_)));
        if others && federated.is_none() && !any_principal(principal) {
            return None;
        }
        let mut grant = grant(statement.place.clone(), owner, federated.map(Node::texts));
        grant.denies = denies;
        grant.policy_characters = characters;
        // Anybody, or anybody else: which tokens are meant by that is not said here.
        if federated.is_none() {
            grant.note(May::Narrow, &statement.place, "the principal");
        }
        if let Some(condition) = member(statement, "Condition") {
            for (operator, keys) in condition.members() {
                for (key, values) in keys.members() {
                    add(&mut grant, operator, key, values.texts(), values.place.clone());
                }
                if let Value::Unknown(written) = &keys.value {
                    grant.note(May::Hide, &keys.place, format!("`{written}`"));
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

/// A member, in whatever case its name is: IAM does not mind.
fn member<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let mut members = node.members().iter();
    members.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, node)| node)
}

/// Whether a principal is anybody.
fn any_principal(principal: Option<&Node>) -> bool {
    let members = principal.map(Node::members).unwrap_or_default();
    members.iter().any(|(_, names)| names.texts().iter().any(|name| name.text == "*"))
}

/// A statement that is not known.
fn unknown(statement: &Node, owner: &str, written: &str) -> Grant {
    let mut grant = Grant::new(Cloud::Aws, statement.place.clone(), owner.to_owned());
    grant.note(May::Hide, &statement.place, format!("`{written}`"));
    grant
}

/// `aws_iam_role`.
pub(super) fn role(block: &Block, data: &BTreeSet<String>) -> Vec<Grant> {
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
        // The data source is read where it stands, if it is in one of the files.
        Value::Unknown(written) if is_of_data(written, "aws_iam_policy_document", data) => {
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
            grants.push(unknown(statement, &owner, written));
            continue;
        }
        let denies = statement.get("effect").and_then(Node::known).is_some_and(|e| e == "Deny");
        let actions = statement.get("actions").map(Node::texts).unwrap_or_default();
        let excluded = statement.get("not_actions").map(|not| is_web_identity(&not.texts()));
        if excluded == Some(true) || (excluded.is_none() && !is_web_identity(&actions)) {
            continue;
        }
        let principals = statement.get("principals").map(Node::elements).unwrap_or_default();
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
        let mut grant = grant(statement.place.clone(), &owner, federated.map(Node::texts));
        grant.denies = denies;
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
    for name in
        ["source_policy_documents", "override_policy_documents", "source_json", "override_json"]
    {
        if let Some(source) = block.body.get(name) {
            let mut grant = Grant::new(Cloud::Aws, source.place.clone(), owner.clone());
            grant.note(May::Hide, &source.place, format!("`{name}`"));
            grants.push(grant);
        }
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
    let lower = operator.to_ascii_lowercase();
    let plain = lower.strip_prefix("foranyvalue:").unwrap_or(&lower);
    let how = match plain {
        "stringequals" => How::Exact,
        "stringequalsignorecase" => How::IgnoreCase,
        "stringlike" => How::Pattern,
        // `ForAllValues:` and `…IfExists` hold where there is no value at all.
        _ => How::Other,
    };
    // IAM puts in what it knows: `${…}`, and `&{…}` as OpenTofu writes it.
    let values = values.into_iter().map(|Text { text, known }| {
        let known = known && !text.contains("${") && !text.contains("&{");
        Text { text, known }
    });
    let test = Test::new(how, values.collect(), place, operator);
    // `HOST/PATH:sub`; `aws:…` are others' keys, and so are those of another provider: a token has none of them.
    let (of, claim) = key.rsplit_once(':').unwrap_or(("", key));
    let provider = grant.issuer.as_ref().filter(|issuer| issuer.known);
    let is_own = provider.is_none_or(|issuer| {
        let host = issuer.text.strip_prefix("https://").unwrap_or_default();
        of.contains("${") || of.eq_ignore_ascii_case(host)
    });
    match (of, claim.to_ascii_lowercase().as_str()) {
        ("aws", _) => {}
        (_, "sub" | "aud") if !is_own => {
            let what = format!("a condition on `{key}`, which is not the provider's");
            grant.note(May::Narrow, &test.place, what);
            return;
        }
        (_, "sub") => return grant.subjects.push(test),
        (_, "aud") => return grant.audiences.push(test),
        _ => {}
    }
    grant.note(May::Narrow, &test.place, format!("a condition on `{key}`"));
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
