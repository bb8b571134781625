//! The rules of a policy: parsed, checked, and applied to claims.

use cel::common::types::{CelBool, CelInt, CelList, CelMap, CelString, CelUInt};
use cel::common::value::{CowVal, Val};
use cel::{Context, Env, ExecutionError};
use countersign_policy::{Grant, Reason, Token, Verdict};

use crate::absent::Absent;
use crate::check::{Checker, Sample};
use crate::document::{Text, Wrong};
use crate::expression::{Expression, describe, fields_of, kind};
use crate::policy::{self, Policy};

/// The rules of a policy, whose expressions are parsed.
pub struct Rules {
    /// With the name under which expressions find the value.
    variables: Vec<(String, Expression)>,
    grants: Vec<GrantRule>,
    denials: Vec<DenyRule>,
}

struct GrantRule {
    permits: bool,
    when: Expression,
    max_ttl: Option<Expression>,
    audiences: Option<Expression>,
    claims: Vec<(String, Expression)>,
}

struct DenyRule {
    when: Expression,
    code: String,
    message: Message,
}

enum Message {
    Text(String),
    Expression(Expression),
}

/// The variables that failed, with the reason: an error only of the rules that read them.
type Failed<'r> = Vec<(&'r str, Wrong)>;

impl Rules {
    /// Parses all expressions.
    ///
    /// # Errors
    /// Each expression that is none.
    pub fn parse(env: &Env, source: &str, policy: Policy) -> Result<Self, Vec<Wrong>> {
        let mut wrongs = Vec::new();
        let mut parse = |text: Text| match Expression::parse(env, source, text) {
            Ok(expression) => Some(expression),
            Err(wrong) => {
                wrongs.push(wrong);
                None
            }
        };
        let mut variables = Vec::new();
        for (name, text) in policy.variables {
            if let Some(expression) = parse(text) {
                variables.push((format!("variables.{}", name.value), expression));
            }
        }
        let mut grants = Vec::new();
        let permits = policy.permit.into_iter().map(|rule| (true, rule));
        for (permits, rule) in permits.chain(policy.restrict.into_iter().map(|rule| (false, rule)))
        {
            let claims = rule.claims.into_iter();
            let claims =
                claims.filter_map(|(name, text)| Some((name.value, parse(text)?))).collect();
            let (max_ttl, audiences) =
                (rule.max_ttl.and_then(&mut parse), rule.audiences.and_then(&mut parse));
            if let Some(when) = parse(rule.when) {
                grants.push(GrantRule { permits, when, max_ttl, audiences, claims });
            }
        }
        let mut denials = Vec::new();
        for rule in policy.deny {
            let message = match rule.message {
                policy::Message::Text(text) => Some(Message::Text(text)),
                policy::Message::Expression(text) => parse(text).map(Message::Expression),
            };
            if let (Some(when), Some(message)) = (parse(rule.when), message) {
                denials.push(DenyRule { when, code: rule.code, message });
            }
        }
        if wrongs.is_empty() { Ok(Self { variables, grants, denials }) } else { Err(wrongs) }
    }

    /// Checks all expressions on a sample.
    ///
    /// # Errors
    /// Each expression that names what is not there, or uses a type that does not fit.
    pub fn check(
        &self,
        source: &str,
        context: &Context<'_, '_>,
        data: &CelMap<'static>,
    ) -> Result<(), Vec<Wrong>> {
        let mut wrongs = Vec::new();
        let mut variables: Vec<(String, Sample<'_>)> = Vec::new();
        for (name, expression) in &self.variables {
            let name = name.trim_start_matches("variables.").to_owned();
            if variables.iter().any(|(other, _)| *other == name) {
                wrongs.push(Wrong::new(expression.at(), format!("`{name}` is defined twice")));
            }
            let checker = Checker { context, variables: &variables, data };
            let value = checker.check(expression.root()).unwrap_or_else(|(node, message)| {
                wrongs.push(Wrong::new(expression.place(source, node), message));
                None
            });
            variables.push((name, value));
        }
        let checker = Checker { context, variables: &variables, data };
        let mut check = |expression: &Expression, key: &str, expected: &[&str]| match checker
            .check(expression.root())
        {
            Ok(Some(value)) if !expected.contains(&kind(value.as_ref())) => {
                let message = format!(
                    "{key}: expected {}, found {}",
                    expected.join(" or "),
                    kind(value.as_ref())
                );
                wrongs.push(Wrong::new(expression.at(), message));
            }
            Ok(_) => {}
            Err((node, message)) => {
                wrongs.push(Wrong::new(expression.place(source, node), message));
            }
        };
        for rule in &self.grants {
            check(&rule.when, "when", &["bool"]);
            if let Some(max_ttl) = &rule.max_ttl {
                check(max_ttl, "max_ttl", &["int", "uint"]);
            }
            if let Some(audiences) = &rule.audiences {
                check(audiences, "audiences", &["list"]);
            }
            for (name, claim) in &rule.claims {
                check(claim, name, &["string"]);
            }
        }
        for rule in &self.denials {
            check(&rule.when, "when", &["bool"]);
            if let Message::Expression(message) = &rule.message {
                check(message, "message_expression", &["string"]);
            }
        }
        if wrongs.is_empty() { Ok(()) } else { Err(wrongs) }
    }

    /// The claims that expressions read as if every run had them.
    pub fn warnings(&self, source: &str) -> Vec<Wrong> {
        let mut absent = Absent::default();
        for expression in self.expressions() {
            absent.takes(expression.root(), &|node| expression.place(source, node));
        }
        absent.unasked()
    }

    fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let variables = self.variables.iter().map(|(_, expression)| expression);
        let grants = self.grants.iter().flat_map(|rule| {
            let claims = rule.claims.iter().map(|(_, claim)| claim);
            std::iter::once(&rule.when).chain(&rule.max_ttl).chain(&rule.audiences).chain(claims)
        });
        let denials = self.denials.iter().flat_map(|rule| {
            let message = match &rule.message {
                Message::Text(_) => None,
                Message::Expression(expression) => Some(expression),
            };
            std::iter::once(&rule.when).chain(message)
        });
        variables.chain(grants).chain(denials)
    }

    /// Applies all rules. Every one of them is evaluated, also beside a denial: one that fails must not go unnoticed until
    /// the denial is gone.
    ///
    /// # Errors
    /// The first expression that fails, or has a value of another type.
    pub fn decide(
        &self,
        source: &str,
        mut context: Context<'_, '_>,
        token: &Token,
    ) -> Result<Verdict, Wrong> {
        let mut failed = Failed::new();
        for (name, expression) in &self.variables {
            let value = expression.evaluate(&context).map(CowVal::into_owned);
            match value {
                Ok(value) => context.add_variable_as_val(name.as_str(), value),
                Err(error) => failed.push((name, explain(source, expression, error, &failed))),
            }
        }
        let scope = Scope { source, context: &context, failed: &failed };
        let mut reasons = Vec::new();
        for rule in &self.denials {
            if scope.applies(&rule.when)? {
                let message = match &rule.message {
                    Message::Text(text) => text.clone(),
                    Message::Expression(expression) => {
                        scope.text(expression, "message_expression")?
                    }
                };
                reasons.push(Reason::new(&rule.code, message));
            }
        }
        let (mut grant, mut permits, mut restricts) = (Grant::new(), false, false);
        for rule in &self.grants {
            if scope.applies(&rule.when)? {
                *if rule.permits { &mut permits } else { &mut restricts } = true;
                grant = scope.narrow(rule, grant, token)?;
            }
        }
        Ok(match (permits, restricts) {
            _ if !reasons.is_empty() => Verdict::Deny(reasons),
            (true, _) => Verdict::Permit(grant),
            (false, true) => Verdict::Restrict(grant),
            (false, false) => Verdict::Abstain,
        })
    }
}

/// The variables of one evaluation.
struct Scope<'s, 'c, 'v> {
    source: &'s str,
    context: &'s Context<'c, 'v>,
    failed: &'s Failed<'s>,
}

impl<'s, 'v> Scope<'s, '_, 'v> {
    fn value(&self, expression: &'s Expression) -> Result<CowVal<'s, 'v>, Wrong> {
        expression
            .evaluate(self.context)
            .map_err(|error| explain(self.source, expression, error, self.failed))
    }

    fn applies(&self, when: &'s Expression) -> Result<bool, Wrong> {
        let value = self.value(when)?;
        let applies = value.downcast_ref::<CelBool>().map(|applies| *applies.inner());
        applies.ok_or_else(|| other_type(when, "when", "bool", value.as_ref()))
    }

    fn text(&self, expression: &'s Expression, key: &str) -> Result<String, Wrong> {
        let value = self.value(expression)?;
        match value.downcast_ref::<CelString>() {
            Some(text) => Ok(text.inner().to_owned()),
            None => Err(other_type(expression, key, "string", value.as_ref())),
        }
    }

    fn narrow(&self, rule: &'s GrantRule, mut grant: Grant, token: &Token) -> Result<Grant, Wrong> {
        if let Some(expression) = &rule.max_ttl {
            let value = self.value(expression)?;
            let seconds = match (value.downcast_ref::<CelInt>(), value.downcast_ref::<CelUInt>()) {
                (Some(seconds), _) => u64::try_from(*seconds.inner()).unwrap_or(0),
                (_, Some(seconds)) => *seconds.inner(),
                _ => return Err(other_type(expression, "max_ttl", "int", value.as_ref())),
            };
            if seconds == 0 {
                let message = "max_ttl: expected at least one second";
                return Err(Wrong::new(expression.at(), message));
            }
            grant = grant.ttl_at_most(u32::try_from(seconds).unwrap_or(u32::MAX), token);
        }
        if let Some(expression) = &rule.audiences {
            let value = self.value(expression)?;
            let wrong =
                |found: &dyn Val| other_type(expression, "audiences", "a list of strings", found);
            let list = value.downcast_ref::<CelList>().ok_or_else(|| wrong(value.as_ref()))?;
            let mut kept = Vec::with_capacity(list.inner().len());
            for item in list.inner() {
                kept.push(
                    item.downcast_ref::<CelString>().ok_or_else(|| wrong(item.as_ref()))?.inner(),
                );
            }
            grant = grant.keep_audiences(token, |audience| kept.contains(&audience));
        }
        for (name, expression) in &rule.claims {
            let value = self.text(expression, name)?;
            match grant.claims.iter().find(|claim| claim.name == *name) {
                Some(other) if other.value == value => {}
                Some(other) => {
                    let message = format!("the claim `{name}` is `{}` and `{value}`", other.value);
                    return Err(Wrong::new(expression.at(), message));
                }
                None => grant = grant.claim(name, value),
            }
        }
        Ok(grant)
    }
}

fn other_type(expression: &Expression, key: &str, expected: &str, found: &dyn Val) -> Wrong {
    Wrong::new(expression.at(), format!("{key}: expected {expected}, found {}", kind(found)))
}

/// An error with its place. One of a variable that failed is the variable's own.
fn explain(
    source: &str,
    expression: &Expression,
    (node, error): (u64, ExecutionError),
    failed: &Failed<'_>,
) -> Wrong {
    if matches!(&error, ExecutionError::UndeclaredReference(name) if name.as_str() == "variables") {
        for field in fields_of(expression.root(), "variables", false) {
            let cause =
                failed.iter().find(|(name, _)| name.strip_prefix("variables.") == Some(field));
            if let Some((_, cause)) = cause {
                return Wrong::new(cause.at, cause.message.clone());
            }
        }
    }
    Wrong::new(expression.place(source, node), describe(&error))
}
