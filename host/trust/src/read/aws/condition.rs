//! Conditions of IAM: operators on keys.

use crate::node::{Node, Place, Text, Value};
use crate::trust_statement::{MatchKind, Test, TrustStatement, UnknownEffect};

/// Reads the `Condition` of a policy.
pub(super) fn of_policy(statement: &mut TrustStatement, condition: &Node) {
    for (operator, keys) in condition.members() {
        for (key, values) in keys.members() {
            add(statement, operator, &Text::known(key), values.texts(), values.place.clone());
        }
        if let Value::Unknown(unknown) = &keys.value {
            let what = format!("`{}`", unknown.written);
            statement.note(UnknownEffect::HidesTests, &keys.place, what);
        }
    }
    if let Value::Unknown(unknown) = &condition.value {
        let what = format!("`{}`", unknown.written);
        statement.note(UnknownEffect::HidesTests, &condition.place, what);
    }
}

/// Reads a `condition` block of a data source.
pub(super) fn of_document(statement: &mut TrustStatement, condition: &Node) {
    let text = |name| condition.get(name).and_then(Node::text);
    match (text("test"), text("variable")) {
        (Some(operator), Some(key)) if operator.known => {
            let values = condition.get("values");
            let place = values.map_or(&condition.place, |values| &values.place);
            let values = values.map(Node::texts).unwrap_or_default();
            add(statement, &operator.text, &key, values, place.clone());
        }
        _ => {
            let what =
                condition.written().map_or_else(|| "a condition".to_owned(), |w| format!("`{w}`"));
            statement.note(UnknownEffect::HidesTests, &condition.place, what);
        }
    }
}

/// Returns true if one of the actions is, or may be, `sts:AssumeRoleWithWebIdentity`.
pub(super) fn is_web_identity(actions: &[Text]) -> bool {
    actions.iter().any(|action| {
        crate::glob::matches(&action.text.to_ascii_lowercase(), "sts:assumerolewithwebidentity")
            || !action.known
    })
}

/// An operator: the comparison, and what it does if the claim is absent.
struct Operator {
    kind: MatchKind,
    negated: bool,
    holds_without: bool,
}

impl Operator {
    fn parse(operator: &str) -> Self {
        let lower = operator.to_ascii_lowercase();
        let of_all = lower.starts_with("forallvalues:");
        let plain = lower.rsplit_once(':').map_or(lower.as_str(), |(_, plain)| plain);
        let (plain, if_exists) =
            plain.strip_suffix("ifexists").map_or((plain, false), |plain| (plain, true));
        let (kind, negated) = match plain {
            "stringequals" => (MatchKind::Exact, false),
            "stringequalsignorecase" => (MatchKind::IgnoreCase, false),
            "stringlike" => (MatchKind::Pattern, false),
            "stringnotequals" => (MatchKind::Exact, true),
            "stringnotequalsignorecase" => (MatchKind::IgnoreCase, true),
            "stringnotlike" => (MatchKind::Pattern, true),
            _ => (MatchKind::Other, false),
        };
        // These also hold for a claim that is absent, which makes them no test to rely on.
        let kind = if of_all || if_exists { MatchKind::Other } else { kind };
        Self { kind, negated, holds_without: of_all || if_exists || negated }
    }
}

/// Adds a condition: an operator on a key.
fn add(
    statement: &mut TrustStatement,
    operator: &str,
    key: &Text,
    values: Vec<Text>,
    place: Place,
) {
    let Operator { kind, negated, holds_without } = Operator::parse(operator);
    let is_presence = operator.eq_ignore_ascii_case("null");
    // `HOST/PATH:sub` is a claim of the provider's token. `aws:…` and other providers' keys are not in it.
    let Some((of, claim)) = key.text.rsplit_once(':').filter(|_| !key.text.ends_with('}')) else {
        let what = format!("a condition on `{}`", key.text);
        return statement.note(UnknownEffect::HidesTests, &place, what);
    };
    let claim = claim.to_ascii_lowercase();
    // IAM replaces policy variables: `${…}`, which OpenTofu writes as `&{…}`.
    let values = values.into_iter().map(|text| {
        let known = text.known && !text.text.contains("${") && !text.text.contains("&{");
        Text { known, ..text }
    });
    let values: Vec<_> = values.collect();
    if of == "aws" || !(claim == "sub" || claim == "aud") {
        let what = format!("a condition on `{}`", key.text);
        return statement.note(UnknownEffect::Narrows, &place, what);
    }
    // A function that removes the scheme has it in its text.
    let has_scheme = Text::unknown(of).literal().contains("://");
    let is_known = !of.contains("${") && (key.known || key.origin.is_none());
    let provider = statement.issuer.as_ref().filter(|issuer| issuer.known);
    let host = provider.map(|issuer| issuer.text.strip_prefix("https://").unwrap_or_default());
    let is_own = host.is_none_or(|host| !is_known || of.eq_ignore_ascii_case(host));
    if is_presence {
        let value = values.first().map(|value| (value.known, value.text.to_ascii_lowercase()));
        return match (value, is_own && !has_scheme) {
            // The presence of a claim that every token has, or the absence of one that none has.
            (Some((true, value)), true) if value == "false" => {}
            (Some((true, value)), false) if value == "true" => {}
            (Some((true, value)), _) if value == "true" || value == "false" => {
                let what =
                    format!("`Null` of `{}` is never `{value}`, so nobody is admitted", key.text);
                statement.never.push((place, what));
            }
            _ => {
                statement.note(UnknownEffect::Narrows, &place, format!("`Null` of `{}`", key.text))
            }
        };
    }
    // A key that no token has: a positive comparison fails, and any other one holds.
    let mut never = |what: String| {
        if !holds_without {
            statement.never.push((place.clone(), what));
        }
    };
    if let Some(rest) = of.split_once("://").map(|(_, rest)| rest).filter(|_| has_scheme) {
        return never(format!(
            "no token has the key `{}`, so nobody is admitted: the key is without `https://`, `{rest}:{claim}`",
            key.text
        ));
    }
    if !is_own {
        let host = host.unwrap_or_default();
        return never(format!(
            "no token of the provider has the key `{}`, so nobody is admitted: its keys begin with `{host}:`",
            key.text
        ));
    }
    if !is_known {
        statement.note(UnknownEffect::NamesProvider, &place, format!("the key `{}`", key.text));
    } else if provider.is_none() && !holds_without && kind != MatchKind::Other {
        // Only tokens of this provider have the key.
        statement.issuer = Some(Text::known(format!("https://{of}")));
    }
    let test = Test { negated, ..Test::new(kind, values, place, operator) };
    match claim.as_str() {
        "sub" => statement.subjects.push(test),
        _ => statement.audiences.push(test),
    }
}
