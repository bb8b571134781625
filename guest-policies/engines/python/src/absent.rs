//! Claims that not every run has, and that a policy reads as if every run had them: an exception for the first run that
//! lacks one.
//!
//! A claim that is tested or handed on anywhere in the policy is taken to be one whose absence was thought of.

use std::collections::BTreeSet;

use engine_shared::claims::{FACTS, OPTIONAL, is_asked};
use ruff_python_ast::{
    CmpOp, Expr, ExprAttribute, ExprCall, ExprCompare, ExprContext, ExprSubscript,
};
use ruff_text_size::Ranged;

use crate::reader::{ends, path_of};
use crate::source::start;

/// The claims of a file, as far as runs may lack them.
#[derive(Debug, Default)]
pub struct Absent {
    /// Those that are read as if they were there.
    read: Vec<Read>,
    /// Those that are read in any other way.
    asked: BTreeSet<String>,
    /// The ranges of expressions of which that which is around them tells.
    told: BTreeSet<(usize, usize)>,
    /// The number of `try` blocks around, which catch what is raised.
    tried: usize,
}

#[derive(Debug)]
struct Read {
    at: usize,
    claim: String,
    message: String,
}

impl Absent {
    pub fn takes(&mut self, expression: &Expr) {
        match expression {
            Expr::Attribute(attribute) => self.attribute(attribute),
            Expr::Subscript(subscript) => self.subscript(subscript),
            Expr::Call(call) => self.call(call, ends(expression)),
            Expr::Compare(compare) => self.compare(compare),
            _ => {}
        }
        match expression {
            // Whatever it is handed on to may test what it holds.
            Expr::Name(name) if !self.told.contains(&ends(expression)) => {
                self.asked.insert(name.id.to_string());
            }
            Expr::Attribute(_) => {
                if let Some(path) = path(expression)
                    && (path == FACTS || OPTIONAL.contains(&path.as_str()))
                    && !self.told.contains(&ends(expression))
                {
                    self.asked.insert(path);
                }
            }
            _ => {}
        }
    }

    /// Enters the block of a `try`, or leaves it.
    pub fn trying(&mut self, enters: bool) {
        self.tried = if enters { self.tried + 1 } else { self.tried.saturating_sub(1) };
    }

    /// Keeps the claims of objects that have the name of the claims'.
    pub fn retain(&mut self, is_claim: impl Fn(&str) -> bool) {
        self.read.retain(|read| read.claim.split('.').next().is_some_and(&is_claim));
    }

    fn attribute(&mut self, attribute: &ExprAttribute) {
        let (value, name) = (attribute.value.as_ref(), attribute.attr.as_str());
        if let Expr::Name(_) = value {
            self.told.insert(ends(value));
        }
        if let Some(claim) = path(value).filter(|path| OPTIONAL.contains(&path.as_str())) {
            let message = format!(
                "`{claim}` is `None` for a run that lacks it, which has no `{name}`; test it before, as in \
                 `{claim} is not None and …`"
            );
            self.read(claim, value, message);
        } else if let Some(fact) = got(value) {
            let claim = format!("{FACTS}.{fact}");
            let message = format!(
                "`{FACTS}.get({fact:?})` is `None` for a run that lacks it, which has no `{name}`; write \
                 `{FACTS}.get({fact:?}, '')`, or test it before"
            );
            self.read(claim, value, message);
        }
    }

    fn subscript(&mut self, subscript: &ExprSubscript) {
        let value = subscript.value.as_ref();
        let Some(holder) = path(value).filter(|_| subscript.ctx == ExprContext::Load) else {
            return;
        };
        if holder == FACTS
            && let Expr::StringLiteral(fact) = subscript.slice.as_ref()
        {
            let fact = fact.value.to_str();
            let message = format!(
                "`{FACTS}[{fact:?}]` is a KeyError for a run that lacks it; write `{FACTS}.get({fact:?})`, or test \
                 `{fact:?} in {FACTS}` before"
            );
            self.told.insert(ends(value));
            self.read(format!("{FACTS}.{fact}"), value, message);
        } else if OPTIONAL.contains(&holder.as_str()) {
            let message = format!(
                "`{holder}` is `None` for a run that lacks it, which has no parts; test it before, as in \
                 `{holder} is not None and …`"
            );
            self.read(holder, value, message);
        }
    }

    /// Takes `run.facts.get('ticket')`, of which what is around has told if it reads an attribute.
    fn call(&mut self, call: &ExprCall, range: (usize, usize)) {
        if let [holder, Expr::StringLiteral(name), ..] = &*call.arguments.args
            && let Expr::Name(function) = call.func.as_ref()
            && matches!(function.id.as_str(), "getattr" | "hasattr")
            && let Some((root, path)) = path_of(holder)
        {
            let names = std::iter::once(root.as_str()).chain(path.iter().map(String::as_str));
            let claim = names.chain([name.value.to_str()]).collect::<Vec<_>>().join(".");
            self.asked.insert(claim);
            self.told.insert(ends(holder));
        }
        let Some((fact, facts)) = get(call) else { return };
        self.told.insert(ends(facts));
        if !self.told.contains(&range) {
            self.asked.insert(format!("{FACTS}.{fact}"));
        }
    }

    fn compare(&mut self, compare: &ExprCompare) {
        let sides = std::iter::once(compare.left.as_ref()).chain(&compare.comparators);
        let pairs = sides.zip(&compare.comparators).zip(&compare.ops);
        for ((left, right), operator) in pairs {
            let Some(holder) = path(right).filter(|_| matches!(operator, CmpOp::In | CmpOp::NotIn))
            else {
                continue;
            };
            match left {
                Expr::StringLiteral(fact) if holder == FACTS => {
                    self.told.insert(ends(right));
                    self.asked.insert(format!("{FACTS}.{}", fact.value.to_str()));
                }
                _ if OPTIONAL.contains(&holder.as_str()) => {
                    let message = format!(
                        "`{holder}` is `None` for a run that lacks it, in which nothing is sought; test it before, as \
                         in `{holder} is not None and …`"
                    );
                    self.read(holder, right, message);
                }
                _ => {}
            }
        }
    }

    fn read(&mut self, claim: String, expression: &Expr, message: String) {
        if self.tried > 0 {
            self.asked.insert(claim);
            return;
        }
        self.told.insert(ends(expression));
        self.read.push(Read { at: start(expression.range()), claim, message });
    }
}

/// The claims that the files of a policy read as if every run had them: the index of the file, the place in it and the
/// message.
pub fn unasked(files: &[&Absent]) -> Vec<(usize, usize, String)> {
    let asked: BTreeSet<&str> =
        files.iter().flat_map(|file| &file.asked).map(String::as_str).collect();
    let unasked = files.iter().enumerate().flat_map(|(index, file)| {
        let unasked = file.read.iter().filter(|read| !is_asked(&asked, &read.claim));
        unasked.map(move |read| (index, read.at, read.message.clone()))
    });
    unasked.collect()
}

/// The path of attributes that an expression is.
fn path(expression: &Expr) -> Option<String> {
    let (root, path) = path_of(expression)?;
    (!path.is_empty()).then(|| format!("{root}.{}", path.join(".")))
}

/// The fact that an expression gets, without another value for where it is absent.
fn got(expression: &Expr) -> Option<String> {
    let Expr::Call(call) = expression else { return None };
    let (fact, _) = get(call).filter(|_| call.arguments.len() == 1)?;
    Some(fact)
}

/// The fact that a call of `get` names, and the facts.
fn get(call: &ExprCall) -> Option<(String, &Expr)> {
    let Expr::Attribute(attribute) = call.func.as_ref() else { return None };
    let is_get = attribute.attr.as_str() == "get"
        && path(&attribute.value).is_some_and(|holder| holder == FACTS);
    let Some(Expr::StringLiteral(fact)) = call.arguments.args.first().filter(|_| is_get) else {
        return None;
    };
    Some((fact.value.to_str().to_owned(), &attribute.value))
}
