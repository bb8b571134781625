//! The values of `permit`, `restrict` and `deny`, as far as the text has them: those that would be faults.

use std::collections::BTreeSet;

use regorus::Value;
use regorus::unstable::{Expr, Ref, Rule, RuleHead};

use super::findings::Findings;
use super::index::{Index, Shape};
use super::nearest::proposal;
use crate::kinds::Kinds;
use crate::tree::{self, Place};

/// The members of a grant.
const GRANT: [&str; 3] = ["max_ttl", "audiences", "claims"];

/// The members of a reason.
const REASON: [&str; 2] = ["code", "message"];

/// Warns of values that no verdict can be made of: a run that reaches them gets a fault.
pub fn check(index: &Index<'_>, main: &str, findings: &mut Findings) {
    let path = |name: &str| index.group(&[main.to_owned(), name.to_owned()]);
    for name in ["permit", "restrict"] {
        let Some(group) = path(name).and_then(|at| index.groups.get(at)) else { continue };
        for definition in &group.definitions {
            if definition.shape == Shape::Set {
                let message = format!(
                    "`{name}` is `true` or a grant, and this makes it a set; write `{name} := …` or `{name} if …`"
                );
                findings.warn("verdict", Place::of(definition.span()), message);
            }
            values(definition.rule).into_iter().for_each(|value| grant(name, value, findings));
        }
    }
    let Some(group) = path("deny").and_then(|at| index.groups.get(at)) else { return };
    for definition in &group.definitions {
        match definition.rule {
            Rule::Spec { head: RuleHead::Set { key: Some(key), .. }, .. } => reason(key, findings),
            _ if definition.shape == Shape::Complete && !definition.is_default => {
                let values = values(definition.rule);
                let lists = values.iter().all(|value| {
                    kinds(value).overlaps(Kinds::ARRAY.or(Kinds::SET))
                        && !matches!(value.as_ref(), Expr::Bool { .. })
                });
                if values.is_empty() || !lists {
                    let message = "`deny` is a set of reasons; write `deny contains {\"code\": \"…\", \"message\": \"…\"} if …`";
                    findings.warn("verdict", Place::of(definition.span()), message);
                }
            }
            _ => {}
        }
    }
}

/// The values that a definition gives; none where that is `true`.
fn values(rule: &Rule) -> Vec<&Ref<Expr>> {
    match rule {
        Rule::Spec { head: RuleHead::Compr { assign, .. }, bodies, .. } => {
            let own = bodies.iter().filter_map(|body| body.assign.as_ref());
            assign.iter().chain(own).map(|assign| &assign.value).collect()
        }
        Rule::Default { value, .. } => vec![value],
        Rule::Spec { .. } => Vec::new(),
    }
}

/// The kinds of a literal.
fn kinds(expr: &Ref<Expr>) -> Kinds {
    match expr.as_ref() {
        Expr::String { .. } | Expr::RawString { .. } => Kinds::TEXT,
        Expr::Number { .. } => Kinds::NUMBER,
        Expr::Bool { .. } => Kinds::BOOLEAN,
        Expr::Null { .. } => Kinds::NULL,
        Expr::Array { .. } | Expr::ArrayCompr { .. } => Kinds::ARRAY,
        Expr::Set { .. } | Expr::SetCompr { .. } => Kinds::SET,
        Expr::Object { .. } | Expr::ObjectCompr { .. } => Kinds::OBJECT,
        _ => Kinds::ANY,
    }
}

fn grant(rule: &str, value: &Ref<Expr>, findings: &mut Findings) {
    let found = kinds(value);
    if !found.overlaps(Kinds::BOOLEAN.or(Kinds::OBJECT)) {
        let message = format!(
            "`{rule}` is `true` or a grant such as `{{\"max_ttl\": 900}}`, and this is {found}"
        );
        findings.warn("verdict", Place::of_expr(value), message);
    }
    let Expr::Object { fields, .. } = value.as_ref() else { return };
    for (_, key, value) in fields {
        let Some(name) = tree::key(key) else { continue };
        let (expected, text) = match name {
            "max_ttl" => (Kinds::NUMBER, "a number of seconds"),
            "audiences" => (Kinds::ARRAY.or(Kinds::SET), "a list of audiences"),
            "claims" => (Kinds::OBJECT, "an object of strings"),
            _ => {
                let meant = match name {
                    "ttl" | "ttl_seconds" | "maxTtl" | "max-ttl" | "life" => {
                        "; did you mean `max_ttl`?".to_owned()
                    }
                    _ => proposal(name, GRANT),
                };
                let message = format!("a grant has no member `{name}`{meant}");
                findings.warn("verdict", Place::of_expr(key), message);
                continue;
            }
        };
        let found = kinds(value);
        let is_whole = match value.as_ref() {
            Expr::Number { value: Value::Number(number), .. } => {
                number.is_integer() && number.as_f64().is_some_and(|number| number >= 1.0)
            }
            _ => true,
        };
        if !found.overlaps(expected) || !is_whole {
            let message = format!("`{name}` is {text}, and this is {}", value.span().text());
            findings.warn("verdict", Place::of_expr(value), message);
        }
    }
}

fn reason(value: &Ref<Expr>, findings: &mut Findings) {
    let form = "`{\"code\": \"…\", \"message\": \"…\"}`";
    if !kinds(value).overlaps(Kinds::OBJECT) {
        let message = format!("an element of `deny` is {form}, and this is {}", kinds(value));
        findings.warn("verdict", Place::of_expr(value), message);
    }
    let Expr::Object { fields, .. } = value.as_ref() else { return };
    let mut names = BTreeSet::new();
    for (_, key, value) in fields {
        let Some(name) = tree::key(key) else { return };
        names.insert(name);
        if !REASON.contains(&name) {
            let meant = match name {
                "msg" | "text" | "reason" | "description" => "; did you mean `message`?".to_owned(),
                _ => proposal(name, REASON),
            };
            findings.warn(
                "verdict",
                Place::of_expr(key),
                format!("a reason has no member `{name}`{meant}"),
            );
        } else if !kinds(value).overlaps(Kinds::TEXT) {
            let message = format!("`{name}` is a string, and this is {}", kinds(value));
            findings.warn("verdict", Place::of_expr(value), message);
        } else if name == "code"
            && let Some(code) = tree::key(value)
            && !is_code(code)
        {
            let message = format!(
                "a code is 1 to 64 lower-case letters, digits and dashes, and this is `{code}`"
            );
            findings.warn("verdict", Place::of_expr(value), message);
        }
    }
    for missing in REASON.iter().filter(|name| !names.contains(**name)) {
        let message = format!("a reason has a member `{missing}`; expected {form}");
        findings.warn("verdict", Place::of_expr(value), message);
    }
}

fn is_code(code: &str) -> bool {
    (1..=64).contains(&code.len())
        && code.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}
