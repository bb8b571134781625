//! GCP's attribute conditions, in the Common Expression Language.

mod names;

use std::collections::{BTreeMap, HashMap};

use std::sync::Arc;

use cel::common::ast::{Expr, LiteralValue, operators};
use cel::extractors::This;
use cel::{Context, IdedExpr, Program, Value};

use crate::node::{Place, Text};
use crate::trust_statement::Test;
use names::{Claim, Names, alternatives, exact_tests, is_part, look};

/// The maximum length of a condition, in bytes. GCP allows 4,096 characters; parsing a longer one could take long.
const MAX_CONDITION_BYTES: usize = 4096;

/// The maximum number of steps of the iterations in a condition.
const MAX_STEPS: usize = 10_000;

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
    /// Set if the subject is compared for equality, and everything else has to hold as well.
    pub(crate) is_exact: bool,
    /// The place of the condition in its file.
    pub(crate) place: Place,
    /// Set if an alternative compares a part of the subject alone.
    has_part: bool,
    /// Set if all of its text is known and it can be evaluated here.
    known: bool,
    /// Set if it uses only [`KNOWN_CLAIMS`], and iterates over short lists alone.
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
        let program = if text.known {
            compile(&text.text)?
        } else {
            let evaluable = with_names(&text.text);
            compile(&evaluable).map_err(|_| format!("`{}`", text.text))?
        };
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
        let unchanged = |(name, program): (&String, &Program)| {
            Some((name.clone(), Names::default().claim(program.expression())?))
        };
        let names = Names {
            claims: programs.iter().filter_map(unchanged).collect(),
            has_subject: mapping.iter().any(|(name, _)| name == "google.subject"),
            elements: BTreeMap::new(),
        };
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
        let exact: Vec<_> = exact_tests(program.expression(), &names, place).collect();
        let is_exact = !exact.is_empty();
        if is_exact {
            subjects = exact;
        }
        let parts = alternatives(program.expression());
        let has_part = parts.iter().any(|part| is_part(part, &names, &programs, place));
        let place = place.clone();
        let mapping = programs;
        Ok(Self {
            program,
            mapping,
            subjects,
            audiences,
            is_exact,
            place,
            has_part,
            known,
            followed,
            compared,
        })
    }

    /// Returns true if tokens are told apart by their subject, though no test compares the whole of it.
    pub(crate) fn compares_a_part(&self, issuer: &str) -> bool {
        self.known && (self.subjects.is_empty() || self.has_part) && !self.is_open(issuer).0
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
        let Some(mut context) = context_of(issuer, subject, audience) else {
            return Evaluation::Unknown;
        };
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

/// Replaces the unknown parts of a condition that are no part of a text by a name, so that the rest can be parsed.
fn with_names(condition: &str) -> String {
    let (mut made, mut quote, mut before, mut rest) = (String::new(), None, ' ', condition);
    while let Some(character) = rest.chars().next() {
        if quote.is_none()
            && let Some(part) = rest.strip_prefix("${")
        {
            let mut depth = 1_usize;
            let end = part.char_indices().find(|&(_, character)| {
                match character {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                depth == 0
            });
            made.push_str("not_known");
            rest = end.and_then(|(at, _)| part.get(at + 1..)).unwrap_or_default();
            continue;
        }
        match (quote, character) {
            (None, '"' | '\'') => quote = Some(character),
            (Some(open), _) if open == character && before != '\\' => quote = None,
            _ => {}
        }
        made.push(character);
        before = character;
        rest = rest.get(character.len_utf8()..).unwrap_or_default();
    }
    made
}

/// Evaluates the mapping of `google.subject` for a token with these claims.
pub(crate) fn mapped_subject(
    mapping: &str,
    issuer: &str,
    subject: &str,
    audience: &str,
) -> Option<String> {
    let program = compile(mapping).ok().filter(|program| is_followed(program.expression()))?;
    match program.execute(&context_of(issuer, subject, audience)?) {
        Ok(Value::String(text)) => Some(text.to_string()),
        _ => None,
    }
}

/// The claims of a token, and the functions that GCP adds to CEL.
fn context_of(issuer: &str, subject: &str, audience: &str) -> Option<Context<'static, 'static>> {
    let text = |text: &str| text.to_owned();
    let assertion =
        HashMap::from([("iss", text(issuer)), ("sub", text(subject)), ("aud", text(audience))]);
    let mut context = Context::default();
    context.add_variable("assertion", assertion).ok()?;
    context.add_function("extract", extract).ok()?;
    Some(context)
}

/// GCP's `extract`: the part of a text that stands for `{NAME}` in a template; empty if the template does not match.
#[expect(clippy::needless_pass_by_value, reason = "functions of CEL own their arguments")]
fn extract(This(text): This<Arc<String>>, template: Arc<String>) -> String {
    let parts = template.split_once('{').and_then(|(before, rest)| {
        let (_, after) = rest.split_once('}')?;
        let (_, from) = text.split_once(before)?;
        if after.is_empty() { Some(from) } else { from.split_once(after).map(|(part, _)| part) }
    });
    parts.unwrap_or_default().to_owned()
}

fn compile(text: &str) -> Result<Program, String> {
    if text.len() > MAX_CONDITION_BYTES {
        return Err(format!("a condition of more than {MAX_CONDITION_BYTES} bytes"));
    }
    Program::compile(text).map_err(|errors| {
        let problem = errors.to_string();
        // `ERROR: <input>:1:17: Syntax error: …`: only the place means something to a reader.
        let place = problem.split_once("<input>:").and_then(|(_, rest)| {
            let mut parts = rest.split(':');
            Some((parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?))
        });
        match place {
            Some((line, column)) => {
                format!("not a condition in CEL (line {line}, column {column} of it)")
            }
            None => "not a condition in CEL".to_owned(),
        }
    })
}

/// Returns true for an expression that uses only known claims and does not take long.
fn is_followed(expression: &IdedExpr) -> bool {
    steps(expression, MAX_STEPS).is_some()
}

/// The number of steps of the iterations in an expression; `None` if it is over the bound, or uses other claims.
fn steps(expression: &IdedExpr, max: usize) -> Option<usize> {
    let sum = |parts: &mut dyn Iterator<Item = &IdedExpr>| {
        let mut sum = 1_usize;
        for part in parts {
            sum = sum.checked_add(steps(part, max)?).filter(|sum| *sum <= max)?;
        }
        Some(sum)
    };
    match &expression.expr {
        Expr::Comprehension(of) => {
            let Expr::List(list) = &of.iter_range.expr else { return None };
            let each = [&of.loop_cond, &of.loop_step];
            let once = [&of.iter_range, &of.accu_init, &of.result];
            let each = sum(&mut each.into_iter())?.checked_mul(list.elements.len())?;
            each.checked_add(sum(&mut once.into_iter())?).filter(|steps| *steps <= max)
        }
        Expr::Call(call) => {
            let is_unknown_index = call.func_name == operators::INDEX
                && !matches!(
                    call.args.as_slice(),
                    [_, IdedExpr { expr: Expr::Literal(LiteralValue::String(field)), .. }]
                        if KNOWN_CLAIMS.contains(&field.inner())
                );
            if is_unknown_index {
                return None;
            }
            sum(&mut call.target.iter().map(|target| &**target).chain(&call.args))
        }
        Expr::List(list) => sum(&mut list.elements.iter()),
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(root) if root == "assertion" => {
                KNOWN_CLAIMS.contains(&select.field.as_str()).then_some(1)
            }
            Expr::Ident(root) => (root == "google" || root == "attribute").then_some(1),
            _ => None,
        },
        Expr::Ident(_) | Expr::Literal(_) => Some(1),
        _ => None,
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
        Expr::Comprehension(of) => {
            for part in [&of.iter_range, &of.accu_init, &of.loop_cond, &of.loop_step, &of.result] {
                walk(part, each);
            }
        }
        _ => {}
    }
}
