//! AWS: reads the trust policies of roles.

mod condition;

use std::collections::BTreeSet;

use countersign_clouds::Cloud;

use super::note_unknown;
use crate::hcl::Block;
use crate::json;
use crate::node::{Node, Place, Text, Value};
use crate::trust_statement::{Effect, TrustStatement, UnknownEffect};

/// Reads the statements of an IAM policy; `None` if the node is not one.
pub(super) fn policy(node: &Node, owner: &str) -> Option<Vec<TrustStatement>> {
    let nodes = member(node, "Statement")?;
    let characters = characters(node);
    // The language of 2008, which a policy without `Version` is in, has no variables.
    let version = member(node, "Version").map(Node::known);
    let has_variables =
        version.is_some_and(|known| known.is_none_or(|known| known == "2012-10-17"));
    let statements = nodes.elements().iter().flat_map(|node| {
        if let Value::Unknown(_) = &node.value {
            return vec![unknown(node, owner)];
        }
        let part = |name| member(node, name);
        let principal = part("Principal");
        let federated = principal.and_then(|principal| member(principal, "Federated"));
        // Principals of AWS itself do not present a token.
        let others = principal.is_some_and(|principal| matches!(principal.value, Value::Map(_)));
        if others && federated.is_none() && !any_principal(principal) {
            return Vec::new();
        }
        let parts = Parts {
            effect: part("Effect"),
            actions: part("Action"),
            not_actions: part("NotAction"),
            resources: part("Resource").or_else(|| part("NotResource")),
            has_principal: principal.is_some() || part("NotPrincipal").is_some(),
            is_anybody: any_principal(principal)
                || principal.and_then(Node::known).as_deref() == Some("*"),
        };
        let mut made = trust(node, owner, &parts, federated);
        for statement in &mut made {
            statement.policy_characters = characters;
            if let Some(condition) = part("Condition") {
                condition::of_policy(statement, condition, has_variables);
            }
            note_unknown(statement);
        }
        without_strangers(made)
    });
    Some(statements.collect())
}

/// The parts of a statement that JSON and data sources name differently.
struct Parts<'n> {
    effect: Option<&'n Node>,
    actions: Option<&'n Node>,
    not_actions: Option<&'n Node>,
    resources: Option<&'n Node>,
    has_principal: bool,
    /// Set for the principal `*`.
    is_anybody: bool,
}

/// Makes one statement for each provider that a statement of IAM names; none if it is no trust.
fn trust(
    node: &Node,
    owner: &str,
    parts: &Parts<'_>,
    federated: Option<&Node>,
) -> Vec<TrustStatement> {
    let texts = |node: Option<&Node>| node.map(Node::texts).unwrap_or_default();
    let actions = texts(parts.actions);
    let is_named = actions
        .iter()
        .any(|action| action.text.eq_ignore_ascii_case("sts:AssumeRoleWithWebIdentity"));
    // A trust policy has principals and no resources. One without principals may be completed elsewhere.
    let is_trust = parts.resources.is_none() && (parts.has_principal || is_named);
    let excluded = parts.not_actions.map(|not| condition::is_web_identity(&not.texts()));
    let applies = match excluded {
        Some(excluded) => !excluded,
        None => condition::is_web_identity(&actions),
    };
    if !is_trust || !applies {
        return Vec::new();
    }
    let issuers = federated.map(Node::texts).unwrap_or_default();
    let mut made: Vec<_> = issuers.iter().filter_map(issuer).map(Some).collect();
    if federated.is_none() {
        made.push(None);
    }
    let made = made.into_iter().map(|issuer| {
        let mut statement = TrustStatement::new(Cloud::Aws, node.place.clone(), owner.to_owned());
        // `*` and `NotPrincipal` name no provider, so it is unknown whose tokens they match. Without principals, another
        // document has them.
        if issuer.is_none() {
            let effect = if parts.is_anybody {
                UnknownEffect::NarrowsAside
            } else if parts.has_principal {
                UnknownEffect::Narrows
            } else {
                UnknownEffect::NamesProvider
            };
            statement.note(effect, &node.place, "the principal");
        }
        statement.issuer = issuer;
        let effect = parts
            .effect
            .map(|effect| (effect, effect.text().unwrap_or_else(|| Text::unknown("…"))));
        statement.effect = match &effect {
            None => Effect::Allow,
            Some((_, Text { text, known: true, .. })) if text == "Allow" => Effect::Allow,
            Some((_, Text { text, known: true, .. })) if text == "Deny" => Effect::Deny,
            Some((at, text)) => {
                let what = match text.known {
                    true => {
                        format!("the effect `{}`, which is neither `Allow` nor `Deny`", text.text)
                    }
                    false => format!("the effect `{}`, which may be `Deny`", text.text),
                };
                statement.note(UnknownEffect::Narrows, &at.place, what);
                Effect::Unknown
            }
        };
        if let Some(unknown) = actions.iter().find(|action| !action.known).filter(|_| !is_named) {
            let what = format!("the action `{}`", unknown.text);
            statement.note(UnknownEffect::Narrows, &node.place, what);
        }
        statement
    });
    made.collect()
}

/// Drops providers of a list whose tokens cannot meet conditions that are another one's.
fn without_strangers(mut made: Vec<TrustStatement>) -> Vec<TrustStatement> {
    if made.iter().any(|statement| statement.never.is_empty()) {
        made.retain(|statement| statement.never.is_empty());
    }
    made
}

/// The issuer of a provider; `None` for providers of SAML and of Amazon's own, whose tokens are others.
fn issuer(arn: &Text) -> Option<Text> {
    // `cognito-identity.amazonaws.com` and the like have tokens of their own.
    if arn.known && !arn.text.contains(":oidc-provider/") {
        return None;
    }
    // `arn:aws:iam::123456789012:oidc-provider/HOST/PATH` is the provider of `https://HOST/PATH`.
    if let Some((_, rest)) = arn.text.split_once(":oidc-provider/") {
        let known = !rest.contains("${") && (arn.known || arn.origin.is_none());
        return Some(Text { text: format!("https://{rest}"), known, ..arn.clone() });
    }
    (!arn.text.contains(":saml-provider/")).then(|| Text { known: false, ..arn.clone() })
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
fn unknown(node: &Node, owner: &str) -> TrustStatement {
    let mut statement = TrustStatement::new(Cloud::Aws, node.place.clone(), owner.to_owned());
    let written = node.written().unwrap_or("a statement");
    statement.note(UnknownEffect::HidesTests, &node.place, format!("`{written}`"));
    statement
}

/// Reads the trust policy of a role. `data` are the folder's documents, whose own blocks are read.
pub(super) fn role(
    attribute: Option<&Node>,
    place: &Place,
    owner: &str,
    data: &BTreeSet<String>,
) -> Vec<TrustStatement> {
    let place = attribute.map_or(place, |attribute| &attribute.place);
    match attribute.map(|attribute| &attribute.value) {
        Some(Value::Text(text)) => {
            let node = json::parse_at(text, place);
            if let Some(mut statements) = node.and_then(|node| policy(&node, owner)) {
                if let Some(origin) = text.origin.as_ref().filter(|_| !text.known) {
                    let what = format!("a part of the policy, which is {origin}");
                    let note = |one: &mut TrustStatement| {
                        one.note(UnknownEffect::Narrows, place, what.clone());
                    };
                    statements.iter_mut().for_each(note);
                }
                return statements;
            }
        }
        Some(Value::Map(_)) => {
            return attribute.and_then(|node| policy(node, owner)).unwrap_or_default();
        }
        _ => {}
    }
    // The data source's own block is read, if it is in one of the files. A text is one of `join`.
    let written = attribute.and_then(|attribute| match &attribute.value {
        Value::Unknown(unknown) => Some(unknown.written.as_str()),
        Value::Text(text) => text.text.strip_prefix("${")?.strip_suffix('}'),
        _ => None,
    });
    if written.is_some_and(|of| super::is_of_data(of, "aws_iam_policy_document", data)) {
        return Vec::new();
    }
    let mut statement = TrustStatement::new(Cloud::Aws, place.clone(), owner.to_owned());
    let what = match written {
        Some(written) => format!("the trust policy of the role, `{written}`"),
        None => "the trust policy of the role".to_owned(),
    };
    statement.note(UnknownEffect::HidesTests, place, what);
    vec![statement]
}

/// Reads an `aws_iam_policy_document`.
pub(super) fn document(block: &Block, data: &BTreeSet<String>) -> Vec<TrustStatement> {
    let owner = block.labels.join(".");
    let mut made = Vec::new();
    let nodes = block.body.get("statement").map(Node::elements).unwrap_or_default();
    for node in nodes {
        // What a `dynamic` block makes may be told from its content.
        let (of, is_repeated) = match &node.value {
            Value::Unknown(unknown) => match unknown.likely.as_slice() {
                [content] => (content, true),
                _ => (node, true),
            },
            _ => (node, false),
        };
        if let Value::Unknown(_) = of.value {
            made.push(unknown(node, &owner));
            continue;
        }
        let principals = of.get("principals").map(Node::elements).unwrap_or_default();
        let kind = |principal: &Node| principal.get("type").and_then(Node::known);
        let federated: Vec<_> = principals
            .iter()
            .filter(|principal| kind(principal).as_deref() == Some("Federated"))
            .filter_map(|principal| principal.get("identifiers"))
            .flat_map(|identifiers| identifiers.elements().iter().cloned())
            .collect();
        let only_others =
            principals.iter().all(|p| !matches!(kind(p).as_deref(), Some("*") | None));
        if !principals.is_empty() && federated.is_empty() && only_others {
            continue;
        }
        let federated = (!federated.is_empty())
            .then(|| Node { value: Value::List(federated), place: of.place.clone() });
        let parts = Parts {
            effect: of.get("effect"),
            actions: of.get("actions"),
            not_actions: of.get("not_actions"),
            resources: of.get("resources").or_else(|| of.get("not_resources")),
            has_principal: !principals.is_empty() || of.get("not_principals").is_some(),
            is_anybody: principals.iter().any(|p| kind(p).as_deref() == Some("*")),
        };
        let mut of_providers = trust(of, &owner, &parts, federated.as_ref());
        for statement in &mut of_providers {
            for one in of.get("condition").map(Node::elements).unwrap_or_default() {
                condition::of_document(statement, one);
            }
            if is_repeated {
                let what = node.written().unwrap_or_default();
                statement.note(
                    UnknownEffect::NarrowsAside,
                    &node.place,
                    format!("how often `{what}` is repeated"),
                );
            }
            note_unknown(statement);
        }
        made.extend(without_strangers(of_providers));
    }
    let (is_trust, length) = (!made.is_empty(), characters_of_document(block));
    for statement in &mut made {
        statement.policy_characters = length;
    }
    for name in
        ["source_policy_documents", "override_policy_documents", "source_json", "override_json"]
    {
        let Some(source) = block.body.get(name) else { continue };
        // Documents of this folder are read where they are. Others may be permissions, but not beside trust.
        let is_read = |node: &Node| {
            node.written().is_some_and(|w| super::is_of_data(w, "aws_iam_policy_document", data))
        };
        if source.elements().iter().all(is_read) || !(is_trust || may_be_trust(block)) {
            continue;
        }
        let mut statement = TrustStatement::new(Cloud::Aws, source.place.clone(), owner.clone());
        statement.note(UnknownEffect::HidesTests, &source.place, format!("`{name}`"));
        made.push(statement);
    }
    made
}

/// Returns true for a document whose own statements do not show that it is about permissions.
fn may_be_trust(block: &Block) -> bool {
    let nodes = block.body.get("statement").map(Node::elements).unwrap_or_default();
    !nodes.iter().any(|node| node.get("resources").or_else(|| node.get("not_resources")).is_some())
}

/// The length of a policy in characters without white space, if all of it is known.
fn characters(node: &Node) -> Option<usize> {
    let (json, known) = node.json()?;
    let mut text = json.to_string();
    // The parts that a template leaves to its account have known lengths.
    for (name, value) in [("AWS::AccountId", "123456789012"), ("AWS::Partition", "aws")] {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    (known || !(text.contains("${") || has_origin(node))).then_some(())?;
    Some(text.chars().filter(|c| !c.is_whitespace()).count())
}

/// Returns true if a text in a node is one of several that it may be.
fn has_origin(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text.origin.is_some(),
        Value::List(nodes) => nodes.iter().any(has_origin),
        Value::Map(members) => members.iter().any(|(_, node)| has_origin(node)),
        _ => false,
    }
}

/// The length of the policy that a data source makes. An account number that is not known counts as twelve digits.
fn characters_of_document(block: &Block) -> Option<usize> {
    const FRAME: usize = r#"{"Version":"2012-10-17","Statement":[]}"#.len();
    let of = |texts: &[Text]| -> Option<usize> {
        let each = texts.iter().map(|text| {
            let account = text.text.replace("${account}", "123456789012");
            (!account.contains("${"))
                .then(|| account.split_whitespace().map(str::len).sum::<usize>() + 3)
        });
        Some(each.sum::<Option<usize>>()? + 2)
    };
    let nodes = block.body.get("statement")?.elements();
    let statement = |node: &Node| -> Option<usize> {
        node.written().is_none().then_some(())?;
        let mut length = r#"{"Sid":"","Effect":"Allow","Principal":{},"Action":},"#.len();
        length += of(&node.get("actions").map(Node::texts).unwrap_or_default())?;
        for principal in node.get("principals").map(Node::elements).unwrap_or_default() {
            length +=
                of(&principal.get("type")?.texts())? + of(&principal.get("identifiers")?.texts())?;
        }
        for condition in node.get("condition").map(Node::elements).unwrap_or_default() {
            let of = |name| of(&condition.get(name)?.texts());
            length += of("test")? + of("variable")? + of("values")?;
        }
        Some(length)
    };
    Some(nodes.iter().map(statement).sum::<Option<usize>>()? + FRAME)
}
