//! GCP's attribute conditions, in the Common Expression Language.

use std::collections::{BTreeMap, HashMap};

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::{Context, IdedExpr, Program, Value};

use crate::node::{Place, Text};
use crate::trust_statement::{MatchKind, Test};

/// The maximum length of a condition, in bytes. GCP allows 4,096 characters; parsing a longer one could take long.
const MAX_CONDITION_BYTES: usize = 4096;

/// The claims that a condition is evaluated with.
const KNOWN_CLAIMS: [&str; 3] = ["iss", "sub", "aud"];

/// A condition, and its tests of subject and audience.
#[derive(Debug)]
pub(crate) struct Condition {
    program: Program,
    /// The attribute mapping: the expressions of `google.subject` and `attribute.NAME`.
    mapping: BTreeMap<String, Program>,
    pub(crate) subjects: Vec<Test>,
    pub(crate) audiences: Vec<Test>,
    /// Set if all of its text is known and it can be evaluated here.
    known: bool,
    /// Set if it uses only [`KNOWN_CLAIMS`] and does not iterate.
    pub(crate) followed: bool,
    /// The values that the subject and the audience are compared with.
    compared: (Vec<String>, Vec<String>),
}

/// The result of evaluating a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evaluation {
    True,
    False,
    /// A part of it is not known, or it uses other claims than [`KNOWN_CLAIMS`].
    Unknown,
}

impl Condition {
    /// Parses a condition and the attribute mapping.
    pub(crate) fn parse(
        text: &Text,
        mapping: &[(String, Text)],
        place: &Place,
    ) -> Result<Self, String> {
        let program = compile(&text.text)?;
        let programs = mapping.iter().map(|(name, expression)| {
            compile(&expression.text).map(|program| (name.clone(), program))
        });
        let programs: BTreeMap<_, _> = programs.collect::<Result<_, _>>()?;
        let (programs, left_out): (BTreeMap<_, _>, BTreeMap<_, _>) =
            programs.into_iter().partition(|(_, program)| is_followed(program.expression()));
        let followed = is_followed(program.expression())
            && !left_out.keys().any(|name| may_use(program.expression(), name));
        let known =
            followed && text.known && mapping.iter().all(|(_, expression)| expression.known);
        // Only attributes that are a claim unchanged can stand for it in a test.
        let names = Names(
            programs
                .iter()
                .filter_map(|(name, program)| {
                    let claim = Names::default().claim(program.expression())?;
                    Some((name.clone(), claim))
                })
                .collect(),
        );
        let (mut subjects, mut audiences) = (Vec::new(), Vec::new());
        let tests = &mut |claim: Claim, test: Test| match claim {
            Claim::Subject => subjects.push(test),
            Claim::Audience => audiences.push(test),
        };
        look(program.expression(), &names, place, false, tests);
        let texts = |tests: &[Test]| -> Vec<String> {
            tests.iter().flat_map(|test| &test.values).map(|value| value.text.clone()).collect()
        };
        let compared = (texts(&subjects), texts(&audiences));
        Ok(Self { program, mapping: programs, subjects, audiences, known, followed, compared })
    }

    /// Returns whether a token with an arbitrary subject passes, and whether one with an arbitrary audience does.
    pub(crate) fn is_open(&self, issuer: &str) -> (bool, bool) {
        let (subjects, audiences) = &self.compared;
        let others = ["system:serviceaccount:anybody:anything", "anything"];
        // A condition may admit an arbitrary subject together with one audience only, so each one that it names is
        // tried, and one that it does not name.
        let with = |those: &[String], other: &str, passes: &dyn Fn(&str) -> bool| {
            those.iter().map(String::as_str).chain([other]).any(passes)
        };
        let [other_subject, other_audience] = others;
        let passes = |subject: &str, audience: &str| {
            self.evaluate(issuer, subject, audience) == Evaluation::True
        };
        (
            with(audiences, other_audience, &|audience| passes(other_subject, audience)),
            with(subjects, other_subject, &|subject| passes(subject, other_audience)),
        )
    }

    /// Evaluates the condition for a token with these claims.
    pub(crate) fn evaluate(&self, issuer: &str, subject: &str, audience: &str) -> Evaluation {
        if !self.known {
            return Evaluation::Unknown;
        }
        let assertion = HashMap::from([("iss", issuer), ("sub", subject), ("aud", audience)]);
        let mut context = Context::default();
        if context.add_variable("assertion", assertion).is_err() {
            return Evaluation::Unknown;
        }
        let (mut google, mut attribute) = (HashMap::new(), HashMap::new());
        for (name, program) in &self.mapping {
            // The condition may not need an attribute that cannot be computed; if it does, evaluating it fails.
            let Ok(Value::String(text)) = program.execute(&context) else { continue };
            match name.split_once('.') {
                Some(("google", name)) => google.insert(name.to_owned(), text.to_string()),
                Some(("attribute", name)) => attribute.insert(name.to_owned(), text.to_string()),
                _ => None,
            };
        }
        if self.mapping.is_empty() {
            google.insert("subject".to_owned(), subject.to_owned());
        }
        if context.add_variable("google", google).is_err()
            || context.add_variable("attribute", attribute).is_err()
        {
            return Evaluation::Unknown;
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(true)) => Evaluation::True,
            Ok(Value::Bool(false)) => Evaluation::False,
            _ => Evaluation::Unknown,
        }
    }
}

fn compile(text: &str) -> Result<Program, String> {
    if text.len() > MAX_CONDITION_BYTES {
        return Err(format!("a condition of more than {MAX_CONDITION_BYTES} bytes"));
    }
    Program::compile(text).map_err(|errors| {
        let first = errors.to_string();
        format!("not a condition in CEL: {}", first.lines().next().unwrap_or_default())
    })
}

/// Returns true for an expression that uses only known claims and does not iterate, which could take long.
fn is_followed(expression: &IdedExpr) -> bool {
    match &expression.expr {
        Expr::Comprehension(_) => false,
        Expr::Call(call) => {
            let unknown_index = call.func_name == operators::INDEX
                && !matches!(
                    call.args.as_slice(),
                    [_, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }]
                        if KNOWN_CLAIMS.contains(&field.inner())
                );
            !unknown_index
                && call.target.iter().all(|target| is_followed(target))
                && call.args.iter().all(is_followed)
        }
        Expr::List(list) => list.elements.iter().all(is_followed),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(root) if root == "assertion" => {
                KNOWN_CLAIMS.contains(&select.field.as_str())
            }
            Expr::Ident(root) => root == "google" || root == "attribute",
            _ => false,
        },
        Expr::Ident(_) | Expr::Literal(_) => true,
        _ => false,
    }
}

/// Returns true for an expression that may use a mapped attribute: `google.NAME`, `attribute.NAME`.
fn may_use(expression: &IdedExpr, attribute: &str) -> bool {
    let Some((root, name)) = attribute.split_once('.') else { return true };
    let (mut has_root, mut has_name) = (false, false);
    walk(expression, &mut |part| match &part.expr {
        Expr::Ident(ident) => has_root |= ident == root,
        Expr::Select(select) => has_name |= select.field == name,
        Expr::Literal(LiteralValue::String(text)) => has_name |= text.inner() == name,
        _ => {}
    });
    has_root && has_name
}

/// Calls `each` with every part of an expression that [`is_followed`].
fn walk(expression: &IdedExpr, each: &mut impl FnMut(&IdedExpr)) {
    each(expression);
    match &expression.expr {
        Expr::Call(call) => {
            for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                walk(part, each);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|part| walk(part, each)),
        Expr::Select(select) => walk(&select.operand, each),
        _ => {}
    }
}

/// Attributes that are mapped from a claim unchanged.
#[derive(Default)]
struct Names(BTreeMap<String, Claim>);

/// A claim that trust statements compare.
#[derive(Clone, Copy)]
enum Claim {
    Subject,
    Audience,
}

/// Collects the tests in an expression. `not` is set within a negation.
fn look(
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
            for part in [&comprehension.iter_range, &comprehension.loop_step] {
                look(part, names, place, not, found);
            }
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
        return make(claim, kind, name, call.args.iter().flat_map(texts).collect());
    }
    let [left, right] = call.args.as_slice() else { return None };
    match (name, names.claim(left), names.claim(right)) {
        (operators::EQUALS, Some(claim), _) => make(claim, MatchKind::Exact, "==", texts(right)),
        (operators::EQUALS, None, Some(claim)) => make(claim, MatchKind::Exact, "==", texts(left)),
        (operators::NOT_EQUALS, Some(claim), _) | (operators::NOT_EQUALS, None, Some(claim)) => {
            make(claim, MatchKind::Other, "!=", texts(right))
        }
        ("@in", Some(claim), _) => make(claim, MatchKind::Exact, "in", texts(right)),
        // `'…' in assertion.aud`: here the claim is a list.
        ("@in", None, Some(claim)) => make(claim, MatchKind::Exact, "in", texts(left)),
        _ => None,
    }
}

impl Names {
    /// The claim that an expression denotes: `assertion.sub`, `google.subject`, `assertion['aud']`, or an attribute
    /// that is mapped from one.
    fn claim(&self, expression: &IdedExpr) -> Option<Claim> {
        let (root, field) = match &expression.expr {
            Expr::Select(select) => match &select.operand.expr {
                Expr::Ident(root) => (root.as_str(), select.field.as_str()),
                _ => return None,
            },
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
                let mapped = self.0.get(&format!("{root}.{field}")).copied();
                let subject = (root, field) == ("google", "subject");
                mapped.or_else(|| subject.then_some(Claim::Subject))
            }
        }
    }
}

/// The string literals of an expression that is one, or a list of them.
fn texts(expression: &IdedExpr) -> Vec<Text> {
    match &expression.expr {
        Expr::Literal(LiteralValue::String(text)) => {
            let text = text.inner().to_owned();
            vec![Text { known: !text.contains("${"), text }]
        }
        Expr::List(list) => list.elements.iter().flat_map(texts).collect(),
        _ => vec![Text { text: "${…}".to_owned(), known: false }],
    }
}
