//! Reads the facts of a run object.

use super::facts::{Facts, MAX_FACT_VALUE_BYTES};
use super::identifier::FactName;
use super::object_facts::OBJECT_FACTS;
use crate::strict_json::Value;

/// Reads the facts of a run object. What is no fact is left out: a decision that needs it finds it missing, and denies.
pub(crate) fn read(object: &Value<'_>) -> Facts {
    let mut facts = Facts::default();
    for fact in &OBJECT_FACTS {
        let text = fact.pointers.iter().find_map(|pointer| text_at(object, pointer));
        let text = text.filter(|text| is_value(text) && !(fact.is_url && has_secret(text)));
        if let (Some(text), Ok(name)) = (text, FactName::parse(fact.name))
            && let Ok(more) = facts.with(name, text)
        {
            facts = more;
        }
    }
    facts
}

fn text_at<'v>(object: &'v Value<'_>, pointer: &str) -> Option<&'v str> {
    let mut value = object;
    for step in pointer.split('/').skip(1) {
        let Value::Object(members) = value else { return None };
        value = members.get(step)?;
    }
    match value {
        Value::String(text) => Some(text),
        _ => None,
    }
}

fn is_value(text: &str) -> bool {
    (1..=MAX_FACT_VALUE_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

/// Tells whether an address may hold a secret: a user other than `git`, a password, a query or a fragment.
fn has_secret(address: &str) -> bool {
    if address.contains(['?', '#']) {
        return true;
    }
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    // An `@` further on may be the end of a password that has a slash.
    match rest.rsplit_once('@') {
        None => false,
        Some((user, _)) => user != "git" || !authority.contains('@'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_a_secret_is_none() {
        for (address, expected) in [
            ("https://git.example.com/a/b.git", false),
            ("https://git.example.com:8443/a", false),
            ("git@git.example.com:a/b.git", false),
            ("ssh://git@git.example.com/a", false),
            ("owner/name", false),
            ("https://user:s3cr3t@git.example.com/a", true),
            ("https://s3cr3t@git.example.com/a", true),
            ("https://git:s3cr3t@git.example.com/a", true),
            ("https://user:s3/cr3t@git.example.com/a", true),
            ("https://git.example.com/a?token=s3cr3t", true),
            ("https://git.example.com/a#s3cr3t", true),
            ("s3cr3t@host:a/b", true),
            ("https://git.example.com/a/s3cr3t@b", true),
        ] {
            assert_eq!(has_secret(address), expected, "{address}");
        }
    }
}
