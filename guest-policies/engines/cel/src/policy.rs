//! The rules of a policy file.

use crate::document::{Node, Place, Text, Wrong, read};

/// A policy, whose expressions are not parsed yet.
pub struct Policy {
    /// Names with their expressions, in the order of the file.
    pub variables: Vec<(Text, Text)>,
    pub permit: Vec<GrantRule>,
    pub restrict: Vec<GrantRule>,
    pub deny: Vec<DenyRule>,
}

/// A rule that permits or restricts.
pub struct GrantRule {
    pub when: Text,
    pub max_ttl: Option<Text>,
    pub audiences: Option<Text>,
    pub claims: Vec<(Text, Text)>,
}

/// A rule that denies.
pub struct DenyRule {
    pub when: Text,
    pub code: String,
    pub message: Message,
}

/// The message of a denial.
pub enum Message {
    Text(String),
    Expression(Text),
}

/// Reads a policy file.
pub fn parse(source: &str) -> Result<Policy, Wrong> {
    let root = read(source)?;
    let at = root.at();
    let keys = ["variables", "permit", "restrict", "deny"];
    let [variables, permit, restrict, deny] = members(root, keys, "the policy")?;
    if permit.is_none() && restrict.is_none() && deny.is_none() {
        return Err(Wrong::new(at, "expected at least one of `permit`, `restrict` and `deny`"));
    }
    Ok(Policy {
        variables: list(variables, variable)?,
        permit: list(permit, grant)?,
        restrict: list(restrict, grant)?,
        deny: list(deny, denial)?,
    })
}

fn variable(node: Node) -> Result<(Text, Text), Wrong> {
    let at = node.at();
    let [name, expression] = members(node, ["name", "expression"], "a variable")?;
    let name = required(text(name, "name")?, at, "name")?;
    let is_name = name.value.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && name.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if !is_name {
        return Err(Wrong::new(name.at, "expected letters, digits and `_`, a letter first"));
    }
    Ok((name, required(text(expression, "expression")?, at, "expression")?))
}

fn grant(node: Node) -> Result<GrantRule, Wrong> {
    let at = node.at();
    let keys = ["when", "max_ttl", "audiences", "claims"];
    let [when, max_ttl, audiences, claims] = members(node, keys, "the rule")?;
    let claims = match claims {
        None => Vec::new(),
        Some(Node::Map(_, members)) => members
            .into_iter()
            .map(|(name, value)| {
                let at = name.at;
                Ok((name, required(text(Some(value), "the claim")?, at, "a value")?))
            })
            .collect::<Result<_, Wrong>>()?,
        Some(other) => {
            let message = format!(
                "claims: expected a mapping of names to expressions, found {}",
                other.kind()
            );
            return Err(Wrong::new(other.at(), message));
        }
    };
    Ok(GrantRule {
        when: required(text(when, "when")?, at, "when")?,
        max_ttl: text(max_ttl, "max_ttl")?,
        audiences: text(audiences, "audiences")?,
        claims,
    })
}

fn denial(node: Node) -> Result<DenyRule, Wrong> {
    let at = node.at();
    let keys = ["code", "message", "message_expression", "when"];
    let [code, message, expression, when] = members(node, keys, "the rule")?;
    let code = required(text(code, "code")?, at, "code")?;
    let is_code = (1..=64).contains(&code.value.len())
        && code.value.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'));
    if !is_code {
        let message = format!("code: expected 1 to 64 of a-z, 0-9 and -, found `{}`", code.value);
        return Err(Wrong::new(code.at, message));
    }
    let message = match (text(message, "message")?, text(expression, "message_expression")?) {
        (Some(message), None) if message.value.is_empty() => {
            return Err(Wrong::new(message.at, "message: expected a sentence, found nothing"));
        }
        (Some(message), None) => Message::Text(message.value),
        (None, Some(expression)) => Message::Expression(expression),
        (None, None) => {
            return Err(Wrong::new(at, "expected `message` or `message_expression`"));
        }
        (Some(_), Some(expression)) => {
            let message = "`message` and `message_expression`: expected one of them";
            return Err(Wrong::new(expression.at, message));
        }
    };
    Ok(DenyRule { when: required(text(when, "when")?, at, "when")?, code: code.value, message })
}

/// The members of a mapping by key, each of which may be absent.
fn members<const N: usize>(
    node: Node,
    keys: [&str; N],
    what: &str,
) -> Result<[Option<Node>; N], Wrong> {
    let mut found = [const { None }; N];
    match node {
        Node::Map(_, members) => {
            for (name, value) in members {
                let place = keys.iter().position(|key| *key == name.value);
                match place.and_then(|place| found.get_mut(place)) {
                    Some(slot) => *slot = Some(value),
                    None => {
                        let message = format!(
                            "`{}`: unknown key, expected one of `{}`",
                            name.value,
                            keys.join("`, `")
                        );
                        return Err(Wrong::new(name.at, message));
                    }
                }
            }
            Ok(found)
        }
        other => {
            let message = format!("{what}: expected a mapping, found {}", other.kind());
            Err(Wrong::new(other.at(), message))
        }
    }
}

fn list<T>(node: Option<Node>, item: impl Fn(Node) -> Result<T, Wrong>) -> Result<Vec<T>, Wrong> {
    match node {
        None => Ok(Vec::new()),
        Some(Node::List(_, items)) => items.into_iter().map(item).collect(),
        Some(other) => {
            let message = format!("expected a list, found {}", other.kind());
            Err(Wrong::new(other.at(), message))
        }
    }
}

fn text(node: Option<Node>, key: &str) -> Result<Option<Text>, Wrong> {
    match node {
        None => Ok(None),
        Some(Node::Text(text)) => Ok(Some(text)),
        Some(other) => {
            let message = format!(
                "{key}: expected a text, found {}; put an expression that begins with a bracket into quotes",
                other.kind()
            );
            Err(Wrong::new(other.at(), message))
        }
    }
}

fn required(text: Option<Text>, at: Place, key: &str) -> Result<Text, Wrong> {
    text.ok_or_else(|| Wrong::new(at, format!("`{key}` is missing")))
}
