//! Conditions of IAM: operators on keys.

use crate::node::{Node, Place, Text, Value};
use crate::trust_statement::{MatchKind, Test, TrustStatement, UnknownEffect};

/// Reads the `Condition` of a policy.
/// `has_variables` is set for a policy whose language has variables.
pub(super) fn of_policy(statement: &mut TrustStatement, condition: &Node, has_variables: bool) {
    let variables = if has_variables { Variables::OfPolicy } else { Variables::None };
    for (operator, keys) in condition.members() {
        for (key, values) in keys.members() {
            let (key, texts) = (Text::known(key), values.texts());
            add(statement, operator, &key, texts, values.place.clone(), variables);
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
            let variables = Variables::OfDocument;
            add(statement, &operator.text, &key, values, place.clone(), variables);
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

/// The variables of a policy's language.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variables {
    /// `${…}` is a text like any other.
    None,
    OfPolicy,
    /// A data source also takes `&{…}` for `${…}`.
    OfDocument,
}

impl Variables {
    /// Returns true if a text has a variable.
    fn are_in(self, text: &str) -> bool {
        match self {
            Self::None => false,
            Self::OfPolicy => text.contains("${"),
            Self::OfDocument => text.contains("${") || text.contains("&{"),
        }
    }

    /// Returns true if a text is the variable of a key.
    fn is_of(self, text: &Text, key: &str) -> bool {
        let begin = if self == Self::OfDocument { ["${", "&{"] } else { ["${", "${"] };
        let inner = begin.iter().find_map(|begin| text.text.strip_prefix(begin));
        let name = inner.and_then(|inner| inner.strip_suffix('}'));
        self != Self::None && name.is_some_and(|name| name.eq_ignore_ascii_case(key))
    }
}

/// Returns true if a text is only unknown for what would be variables, `${aws:username}`, in another version of the
/// language. No expression of OpenTofu has that form.
fn is_of_variables(text: &Text) -> bool {
    let mut parts = text.text.split("${").skip(1).peekable();
    let is_variable = |part: &str| {
        let name = part.split_once('}').map(|(name, _)| name).unwrap_or_default();
        let is_name = |c: char| c.is_ascii_alphanumeric() || ":./_-".contains(c);
        name.contains(':') && name.chars().all(is_name)
    };
    text.origin.is_none() && parts.peek().is_some() && parts.all(is_variable)
}

/// Adds a condition: an operator on a key.
fn add(
    statement: &mut TrustStatement,
    operator: &str,
    key: &Text,
    values: Vec<Text>,
    place: Place,
    variables: Variables,
) {
    let Operator { kind, negated, holds_without } = Operator::parse(operator);
    let is_presence = operator.eq_ignore_ascii_case("null");
    // `HOST/PATH:sub` is a claim of the provider's token. `aws:…` and other providers' keys are not in it.
    let Some((of, claim)) = key.text.rsplit_once(':').filter(|_| !key.text.ends_with('}')) else {
        let what = format!("a condition on `{}`", key.text);
        return statement.note(UnknownEffect::HidesTests, &place, what);
    };
    let claim = claim.to_ascii_lowercase();
    // The variable of the key itself: each token equals it.
    let (own, values): (Vec<_>, Vec<_>) =
        values.into_iter().partition(|text| variables.is_of(text, &key.text));
    // IAM replaces policy variables: `${…}`, which OpenTofu writes as `&{…}`.
    let values = values.into_iter().map(|text| {
        let known = match variables {
            Variables::None => text.known || is_of_variables(&text),
            _ => text.known && !variables.are_in(&text.text),
        };
        Text { known, ..text }
    });
    let values: Vec<_> = values.collect();
    let is_issuer = |value: &Text| value.known && value.text == format!("https://{of}");
    if claim == "iss" && !negated && !values.is_empty() && values.iter().all(is_issuer) {
        return;
    }
    if of == "aws" || of == "sts" {
        let what = format!("a condition on `{}`", key.text);
        return statement.note(UnknownEffect::NarrowsAside, &place, what);
    }
    if !(claim == "sub" || claim == "aud") {
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
    let every = own.into_iter().map(|text| Text {
        origin: Some(format!("which the policy variable `{}` is", text.text)),
        text: "*".to_owned(),
        known: true,
        ..text
    });
    let every: Vec<_> = every.collect();
    let tests = match claim.as_str() {
        "sub" => &mut statement.subjects,
        _ => &mut statement.audiences,
    };
    if !every.is_empty() {
        // One of the values admits every token, so the others restrict nothing.
        let kind = MatchKind::Pattern;
        let values = every.into_iter().chain(values).collect();
        tests.push(Test { negated, ..Test::new(kind, values, place, operator) });
        return;
    }
    tests.push(Test { negated, ..Test::new(kind, values, place, operator) });
}
