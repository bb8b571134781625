//! The claims that a condition compares, and the values that it compares them with.

use std::collections::BTreeMap;

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::{IdedExpr, Program};

use super::{may_use, walk};
use crate::node::{Place, Text};
use crate::trust_statement::{MatchKind, Test};

/// The meaning of names in a condition.
#[derive(Default, Clone)]
pub(super) struct Names {
    /// Attributes that are mapped from a claim unchanged.
    pub(super) claims: BTreeMap<String, Claim>,
    /// Set if `google.subject` is mapped; without a mapping it is the subject.
    pub(super) has_subject: bool,
    /// The texts that a variable of an iteration stands for.
    pub(super) elements: BTreeMap<String, Vec<Text>>,
}

/// The tests for equality with the whole subject that have to hold, whatever else does.
pub(super) fn exact_tests<'e>(
    expression: &'e IdedExpr,
    names: &'e Names,
    place: &'e Place,
) -> impl Iterator<Item = Test> + 'e {
    let tests = split(expression, operators::LOGICAL_AND).into_iter().filter_map(move |part| {
        let Expr::Call(call) = &part.expr else { return None };
        test(call, names, place, false)
    });
    tests.filter_map(|(claim, test)| {
        let is_exact = matches!(claim, Claim::Subject) && test.kind == MatchKind::Exact;
        is_exact.then_some(test)
    })
}

/// The alternatives of a condition: one of them has to hold.
pub(super) fn alternatives(expression: &IdedExpr) -> Vec<&IdedExpr> {
    split(expression, operators::LOGICAL_OR)
}

/// The operands of a chain of one operator.
fn split<'e>(expression: &'e IdedExpr, operator: &str) -> Vec<&'e IdedExpr> {
    match &expression.expr {
        Expr::Call(call) if call.func_name == operator && call.target.is_none() => {
            call.args.iter().flat_map(|part| split(part, operator)).collect()
        }
        _ => vec![expression],
    }
}

/// Returns true for an alternative that uses the subject and does not compare the whole of it.
pub(super) fn is_part(
    alternative: &IdedExpr,
    names: &Names,
    mapping: &BTreeMap<String, Program>,
    place: &Place,
) -> bool {
    let mut is_compared = false;
    look(alternative, names, place, false, &mut |claim, _| {
        is_compared |= matches!(claim, Claim::Subject);
    });
    let uses_subject = |expression: &IdedExpr| {
        let mut uses = false;
        walk(expression, &mut |part| {
            uses |= matches!(names.claim(part), Some(Claim::Subject));
        });
        uses
    };
    let by_attribute = || {
        let mut of_subject =
            mapping.iter().filter(|(_, program)| uses_subject(program.expression()));
        of_subject.any(|(name, _)| may_use(alternative, name))
    };
    !is_compared && (uses_subject(alternative) || by_attribute())
}

/// A claim that trust statements compare.
#[derive(Clone, Copy)]
pub(super) enum Claim {
    Subject,
    Audience,
}

/// Collects the tests in an expression. `not` is set within a negation.
pub(super) fn look(
    expression: &IdedExpr,
    names: &Names,
    place: &Place,
    not: bool,
    found: &mut impl FnMut(Claim, Test),
) {
    match &expression.expr {
        Expr::Call(call) => {
            if let Some((claim, test)) = test(call, names, place, not) {
                found(claim, test);
            }
            let not = not != (call.func_name == operators::LOGICAL_NOT);
            for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                look(part, names, place, not, found);
            }
        }
        Expr::List(list) => {
            list.elements.iter().for_each(|part| look(part, names, place, not, found))
        }
        Expr::Comprehension(comprehension) => {
            look(&comprehension.iter_range, names, place, not, found);
            let mut names = names.clone();
            let elements = names.texts(&comprehension.iter_range);
            names.elements.insert(comprehension.iter_var.clone(), elements);
            look(&comprehension.loop_step, &names, place, not, found);
        }
        _ => {}
    }
}

fn test(call: &CallExpr, names: &Names, place: &Place, not: bool) -> Option<(Claim, Test)> {
    let name = call.func_name.as_str();
    let make = |claim, kind, written: &str, values| {
        let kind = if not { MatchKind::Other } else { kind };
        let written = if not { format!("not {written}") } else { written.to_owned() };
        let test = Test::new(kind, values, place.clone(), &written);
        Some((claim, Test { in_condition: true, ..test }))
    };
    if let Some(target) = &call.target {
        let claim = names.claim(target)?;
        let kind = if name == "startsWith" { MatchKind::Prefix } else { MatchKind::Other };
        return make(
            claim,
            kind,
            name,
            call.args.iter().flat_map(|part| names.texts(part)).collect(),
        );
    }
    let [left, right] = call.args.as_slice() else { return None };
    match (name, names.claim(left), names.claim(right)) {
        (operators::EQUALS, Some(claim), _) => {
            make(claim, MatchKind::Exact, "==", names.texts(right))
        }
        (operators::EQUALS, None, Some(claim)) => {
            make(claim, MatchKind::Exact, "==", names.texts(left))
        }
        (operators::NOT_EQUALS, Some(claim), _) | (operators::NOT_EQUALS, None, Some(claim)) => {
            make(claim, MatchKind::Other, "!=", names.texts(right))
        }
        ("@in", Some(claim), _) => make(claim, MatchKind::Exact, "in", names.texts(right)),
        // `'…' in assertion.aud`: here the claim is a list.
        ("@in", None, Some(claim)) => make(claim, MatchKind::Exact, "in", names.texts(left)),
        _ => None,
    }
}

impl Names {
    /// The claim that an expression denotes: `assertion.sub`, `google.subject`, `assertion['aud']`, or an attribute
    /// that is mapped from one.
    pub(super) fn claim(&self, expression: &IdedExpr) -> Option<Claim> {
        let (root, field) = match &expression.expr {
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(root) => (root.as_str(), select.field.as_str()),
                _ => return None,
            },
            // `string(assertion.sub)` is the claim, too.
            Expr::Call(call) if call.func_name == "string" && call.target.is_none() => {
                let [only] = call.args.as_slice() else { return None };
                return self.claim(only);
            }
            Expr::Call(call) if call.func_name == operators::INDEX => match call.args.as_slice() {
                [
                    IdedExpr { expr: Expr::Ident(root), .. },
                    IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. },
                ] => (root.as_str(), field.inner()),
                _ => return None,
            },
            _ => return None,
        };
        match (root, field) {
            ("assertion", "sub") => Some(Claim::Subject),
            ("assertion", "aud") => Some(Claim::Audience),
            _ => {
                let mapped = self.claims.get(&format!("{root}.{field}")).copied();
                let is_subject = (root, field) == ("google", "subject") && !self.has_subject;
                mapped.or_else(|| is_subject.then_some(Claim::Subject))
            }
        }
    }

    /// The string literals of an expression that is one, or a list of them.
    fn texts(&self, expression: &IdedExpr) -> Vec<Text> {
        match &expression.expr {
            Expr::Literal(LiteralValue::String(text)) => {
                let text = text.inner().to_owned();
                vec![Text { known: !text.contains("${"), ..Text::known(text) }]
            }
            Expr::List(list) => list.elements.iter().flat_map(|part| self.texts(part)).collect(),
            Expr::Ident(name) if self.elements.contains_key(name) => {
                self.elements.get(name).cloned().unwrap_or_default()
            }
            _ => vec![Text::unknown("${…}")],
        }
    }
}
