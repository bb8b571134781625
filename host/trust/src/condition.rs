//! GCP's conditions, which are in the Common Expression Language.

use std::collections::HashMap;

use cel::common::ast::{CallExpr, Expr, LiteralValue, operators};
use cel::{Context, IdedExpr, Program, Value};

use crate::grant::{How, Test};
use crate::node::{Place, Text};

/// The longest condition that is parsed, in bytes: GCP allows 4,096 characters.
const MAX_CONDITION_BYTES: usize = 16 << 10;

/// A condition, and the tests in it that look at subject and audience.
#[derive(Debug)]
pub(crate) struct Condition {
    program: Program,
    /// How `google.subject` is made of the token.
    subject: Option<Program>,
    pub(crate) subjects: Vec<Test>,
    pub(crate) audiences: Vec<Test>,
    /// Whether all of its text is known.
    known: bool,
}

/// What a condition comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Comes {
    True,
    False,
    /// Some of it is not known, or looks at other claims than these.
    Unknown,
}

impl Condition {
    /// Parses a condition, and the mapping of `google.subject`.
    pub(crate) fn parse(
        text: &Text,
        subject: Option<&Text>,
        place: &Place,
    ) -> Result<Self, String> {
        let program = compile(&text.text)?;
        let known = text.known && subject.is_none_or(|subject| subject.known);
        let subject = subject.map(|subject| compile(&subject.text)).transpose()?;
        let (mut subjects, mut audiences) = (Vec::new(), Vec::new());
        let tests = &mut |claim: Claim, test: Test| match claim {
            Claim::Subject => subjects.push(test),
            Claim::Audience => audiences.push(test),
        };
        look(program.expression(), place, false, tests);
        Ok(Self { program, subject, subjects, audiences, known })
    }

    /// What it comes to for a token with these claims.
    pub(crate) fn comes_to(&self, issuer: &str, subject: &str, audience: &str) -> Comes {
        if !self.known {
            return Comes::Unknown;
        }
        let assertion = HashMap::from([("iss", issuer), ("sub", subject), ("aud", audience)]);
        let mut context = Context::default();
        if context.add_variable("assertion", assertion).is_err() {
            return Comes::Unknown;
        }
        let google = match &self.subject {
            None => subject.to_owned(),
            Some(mapping) => match mapping.execute(&context) {
                Ok(Value::String(text)) => text.to_string(),
                _ => return Comes::Unknown,
            },
        };
        let google = HashMap::from([("subject", google)]);
        if context.add_variable("google", google).is_err() {
            return Comes::Unknown;
        }
        match self.program.execute(&context) {
            Ok(Value::Bool(true)) => Comes::True,
            Ok(Value::Bool(false)) => Comes::False,
            _ => Comes::Unknown,
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

/// A claim that trust looks at.
#[derive(Clone, Copy)]
enum Claim {
    Subject,
    Audience,
}

/// Finds the tests in an expression. `not`: within a negation.
fn look(expression: &IdedExpr, place: &Place, not: bool, found: &mut impl FnMut(Claim, Test)) {
    match &expression.expr {
        Expr::Call(call) => {
            if let Some((claim, test)) = test(call, place, not) {
                found(claim, test);
            }
            let not = not != (call.func_name == operators::LOGICAL_NOT);
            for part in call.target.iter().map(|target| &**target).chain(&call.args) {
                look(part, place, not, found);
            }
        }
        Expr::List(list) => list.elements.iter().for_each(|part| look(part, place, not, found)),
        Expr::Comprehension(comprehension) => {
            for part in [&comprehension.iter_range, &comprehension.loop_step] {
                look(part, place, not, found);
            }
        }
        _ => {}
    }
}

fn test(call: &CallExpr, place: &Place, not: bool) -> Option<(Claim, Test)> {
    let name = call.func_name.as_str();
    let make = |claim, how, written: &str, values| {
        let how = if not { How::Other } else { how };
        let written = if not { format!("!{written}") } else { written.to_owned() };
        Some((claim, Test { how, values, place: place.clone(), written }))
    };
    if let Some(target) = &call.target {
        let claim = claim(target)?;
        let how = if name == "startsWith" { How::Prefix } else { How::Other };
        return make(claim, how, name, call.args.iter().flat_map(texts).collect());
    }
    let [left, right] = call.args.as_slice() else { return None };
    match (name, claim(left), claim(right)) {
        (operators::EQUALS, Some(claim), _) => make(claim, How::Exact, "==", texts(right)),
        (operators::EQUALS, None, Some(claim)) => make(claim, How::Exact, "==", texts(left)),
        (operators::NOT_EQUALS, Some(claim), _) | (operators::NOT_EQUALS, None, Some(claim)) => {
            make(claim, How::Other, "!=", texts(right))
        }
        ("@in", Some(claim), _) => make(claim, How::Exact, "in", texts(right)),
        // `'…' in assertion.aud`, where it is a list.
        ("@in", None, Some(claim)) => make(claim, How::Exact, "in", texts(left)),
        _ => None,
    }
}

/// The claim that an expression is: `assertion.sub`, `google.subject`, `assertion['aud']`.
fn claim(expression: &IdedExpr) -> Option<Claim> {
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
        ("assertion", "sub") | ("google", "subject") => Some(Claim::Subject),
        ("assertion", "aud") => Some(Claim::Audience),
        _ => None,
    }
}

/// The texts that an expression is, or is a list of.
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
