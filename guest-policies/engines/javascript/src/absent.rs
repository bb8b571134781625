//! Claims that not every run has, and that a policy reads as if every run had them: an exception for the first run that
//! lacks one.
//!
//! A claim that is tested, handed on or read by `?.` anywhere in the policy is taken to be one whose absence was thought of.

use std::collections::BTreeSet;

use engine_shared::claims::{FACTS, OPTIONAL, is_asked};
use oxc_ast::ast::{
    BindingPattern, ComputedMemberExpression, Expression, IdentifierReference, ObjectPattern,
    StaticMemberExpression,
};
use oxc_span::{GetSpan, Span};

use crate::fields::camel;
use crate::names::path;

/// The claims of a file, as far as runs may lack them.
#[derive(Default)]
pub struct Absent {
    /// Those that a member is read of.
    read: Vec<Read>,
    /// Those that are read in any other way.
    asked: BTreeSet<String>,
    /// The ends of the expressions of which that which is around them tells.
    told: BTreeSet<u32>,
    /// The number of `try` blocks around, which catch what is thrown.
    tried: usize,
}

struct Read {
    at: u32,
    /// The place as it is shown, once that is known.
    place: String,
    claim: String,
    /// The text that reads the member of a claim that is there, and gives `undefined` of one that is not.
    instead: String,
}

impl Absent {
    /// Takes a member by its name.
    pub fn member(&mut self, it: &StaticMemberExpression<'_>) {
        let name = it.property.name.as_str();
        if let Some(claim) = claim(&it.object) {
            let instead = format!("{claim}?.{name}");
            self.of(claim, &it.object, it.optional, instead);
        }
        if let Some(holder) = path(&it.object) {
            if holder == FACTS || !holder.contains('.') {
                self.told.insert(end(&it.object));
            }
            self.mentions(format!("{holder}.{name}"), it.span);
        }
    }

    /// Takes a member by a value in brackets.
    pub fn computed(&mut self, it: &ComputedMemberExpression<'_>) {
        if let Some(claim) = claim(&it.object) {
            let instead = format!("{claim}?.[…]");
            self.of(claim, &it.object, it.optional, instead);
        }
        if let Some(fact) = fact(it) {
            self.told.insert(end(&it.object));
            self.mentions(fact, it.span);
        } else {
            self.names(&it.object, &it.expression);
        }
    }

    /// Takes the pattern that an expression is taken apart by.
    pub fn taken_apart(&mut self, value: &Expression<'_>, pattern: &ObjectPattern<'_>) {
        if let Some(claim) = claim(value) {
            let instead = format!("{claim} ?? {{}}");
            self.of(claim, value, false, instead);
        }
        if let Some(holder) = path(value) {
            self.told.insert(end(value));
            self.pattern(&holder, pattern);
        }
    }

    /// Takes what a block has, in which what is thrown is caught.
    pub fn trying(&mut self, enters: bool) {
        self.tried = if enters { self.tried + 1 } else { self.tried.saturating_sub(1) };
    }

    /// Takes a claim that is asked for by its name in a text: `'trigger' in run`, `Object.hasOwn(run, 'trigger')`.
    pub fn names(&mut self, holder: &Expression<'_>, name: &Expression<'_>) {
        if let (Some(holder), Expression::StringLiteral(name)) = (path(holder), name) {
            self.asked.insert(format!("{holder}.{}", name.value));
        }
    }

    /// Takes a name that stands for itself: whatever it is handed on to may test what it holds.
    pub fn handed_on(&mut self, name: &IdentifierReference<'_>) {
        if !self.told.contains(&name.span.end) {
            self.asked.insert(name.name.to_string());
        }
    }

    /// Keeps the claims of objects that have the name of the claims', and gives them their places.
    pub fn end(&mut self, is_claim: impl Fn(&str) -> bool, place: impl Fn(u32) -> String) {
        self.read.retain(|read| read.claim.split('.').next().is_some_and(&is_claim));
        self.read.iter_mut().for_each(|read| read.place = place(read.at));
    }

    fn of(&mut self, claim: String, object: &Expression<'_>, is_optional: bool, instead: String) {
        if is_optional || self.tried > 0 {
            self.asked.insert(claim);
            return;
        }
        self.told.insert(end(object));
        self.put(object.span().start, claim, instead);
    }

    fn put(&mut self, at: u32, claim: String, instead: String) {
        self.read.push(Read { at, place: String::new(), claim, instead });
    }

    /// Takes an expression that is a path, unless its member was told.
    fn mentions(&mut self, path: String, span: Span) {
        if (path == FACTS || is_optional(&path)) && !self.told.contains(&span.end) {
            self.asked.insert(path);
        }
    }

    fn pattern(&mut self, holder: &str, pattern: &ObjectPattern<'_>) {
        for property in &pattern.properties {
            let Some(name) = property.key.static_name().filter(|_| !property.computed) else {
                continue;
            };
            let member = format!("{holder}.{name}");
            let BindingPattern::ObjectPattern(inner) = &property.value else {
                self.asked.insert(member);
                continue;
            };
            if self.tried > 0 {
                self.asked.insert(member.clone());
            } else if is_optional(&member) {
                let instead = format!("{member} ?? {{}}");
                self.put(property.key.span().start, member.clone(), instead);
            }
            self.pattern(&member, inner);
        }
    }
}

/// The claims that each file of a policy reads as if every run had them, as messages with their places.
pub fn unasked<'f>(files: impl Iterator<Item = &'f Absent> + Clone) -> Vec<Vec<String>> {
    let asked: BTreeSet<&str> =
        files.clone().flat_map(|file| &file.asked).map(String::as_str).collect();
    let of_file = |file: &Absent| {
        let unasked = file.read.iter().filter(|read| !is_asked(&asked, &read.claim));
        let message = |Read { place, claim, instead, .. }: &Read| {
            format!(
                "{place}: `{claim}` is `undefined` for a run that lacks it, which has no members; write `{instead}`, or \
                 test it before"
            )
        };
        unasked.map(message).collect()
    };
    files.map(of_file).collect()
}

/// The claim that an expression is, if runs may lack it.
fn claim(expression: &Expression<'_>) -> Option<String> {
    if let Expression::ComputedMemberExpression(member) = expression {
        return fact(member);
    }
    path(expression).filter(|path| is_optional(path))
}

/// The fact that a member in brackets is.
fn fact(member: &ComputedMemberExpression<'_>) -> Option<String> {
    let Expression::StringLiteral(name) = &member.expression else { return None };
    let is_facts = path(&member.object).is_some_and(|path| path == FACTS);
    let is_name = name.value.chars().all(|one| matches!(one, '_' | '$') || one.is_alphanumeric());
    is_facts.then(|| match is_name {
        true => format!("{FACTS}.{}", name.value),
        false => format!("{FACTS}['{}']", name.value),
    })
}

fn is_optional(path: &str) -> bool {
    let fact = path.strip_prefix(FACTS).and_then(|rest| rest.strip_prefix('.'));
    fact.is_some_and(|name| !name.contains('.'))
        || OPTIONAL.iter().any(|optional| camel(optional) == path)
}

/// The end of the expression within brackets and chains.
fn end(expression: &Expression<'_>) -> u32 {
    match expression {
        Expression::ParenthesizedExpression(inner) => end(&inner.expression),
        other => other.span().end,
    }
}
