//! Claims that not every run has, and that expressions read as if every run had them: a fault for the first run that lacks
//! one.
//!
//! A claim that is tested anywhere in the policy is taken to be one whose absence was thought of.

use std::collections::BTreeSet;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};
use engine_shared::claims::{FACTS, OPTIONAL, is_asked};

use crate::check::path;
use crate::document::{Place, Wrong};
use crate::expression::parts;

/// The claims of a policy, as far as runs may lack them.
#[derive(Default)]
pub struct Absent {
    /// Those that are read as if they were there.
    read: Vec<Read>,
    /// Those that are tested.
    asked: BTreeSet<String>,
}

struct Read {
    at: Place,
    claim: String,
    /// The test that is missing.
    test: String,
}

impl Absent {
    /// Takes a node of an expression; `place` gives the place of one.
    pub fn takes(&mut self, node: &IdedExpr, place: &impl Fn(u64) -> Place) {
        match &node.expr {
            Expr::Select(select) => {
                let operand = path(&select.operand).unwrap_or_default();
                let claim = format!("{operand}.{}", select.field);
                if operand == FACTS {
                    return self.fact(&select.field, select.test, place(node.id));
                }
                if select.test {
                    self.asked.insert(claim);
                } else if OPTIONAL.contains(&claim.as_str()) {
                    let test = format!("has({claim})");
                    self.read.push(Read { at: place(node.id), claim, test });
                } else if claim == FACTS {
                    self.asked.insert(claim);
                }
            }
            Expr::Call(call) if self.call(call, || place(node.id)) => {
                // What is read by `.?` tests what it is read of.
                let of = call.args.first().filter(|of| path(of).is_none());
                return of.into_iter().for_each(|of| self.takes(of, place));
            }
            _ => {}
        }
        parts(node).into_iter().for_each(|part| self.takes(part, place));
    }

    /// The claims that are read and not tested.
    pub fn unasked(self) -> Vec<Wrong> {
        let Self { read, asked } = self;
        let asked = asked.iter().map(String::as_str).collect();
        let unasked = read.into_iter().filter(|read| !is_asked(&asked, &read.claim));
        let warning = |Read { at, claim, test }| {
            let message = format!(
                "`{claim}` is not there for a run that lacks it, which is an error; test it before: `{test} && …`"
            );
            Wrong::new(at, message)
        };
        unasked.map(warning).collect()
    }

    /// Takes a call that tests or reads a member; `false` for any other.
    fn call(&mut self, call: &CallExpr, place: impl Fn() -> Place) -> bool {
        let [left, right] = call.args.as_slice() else { return false };
        let name = call.func_name.as_str();
        let (holder, member) = if name == operators::IN { (right, left) } else { (left, right) };
        let (Some(holder), Expr::Literal(LiteralValue::String(member))) =
            (asked(holder), &member.expr)
        else {
            return false;
        };
        let is_test = matches!(name, operators::IN | operators::OPT_INDEX | operators::OPT_SELECT);
        match (is_test, name == operators::INDEX) {
            (false, false) => return false,
            (..) if holder == FACTS => self.fact(member.inner(), is_test, place()),
            (true, _) => drop(self.asked.insert(format!("{holder}.{}", member.inner()))),
            (false, true) => return false,
        }
        // What the holder itself is read of may be absent as well.
        let is_read = path(if name == operators::IN { right } else { left }).is_some();
        if let Some(of) = OPTIONAL.iter().find(|optional| **optional == holder && is_read) {
            let test = format!("has({of})");
            self.read.push(Read { at: place(), claim: holder, test });
        }
        true
    }

    fn fact(&mut self, name: &str, is_test: bool, at: Place) {
        let claim = format!("{FACTS}[{name:?}]");
        if is_test {
            self.asked.insert(claim);
        } else {
            self.read.push(Read { at, claim, test: format!("{name:?} in {FACTS}") });
        }
    }
}

/// The path that an expression is, also where it is read by `.?`.
fn asked(node: &IdedExpr) -> Option<String> {
    if let Expr::Call(call) = &node.expr
        && let [holder, member] = call.args.as_slice()
        && let Expr::Literal(LiteralValue::String(member)) = &member.expr
        && matches!(call.func_name.as_str(), operators::OPT_SELECT | operators::OPT_INDEX)
    {
        return Some(format!("{}.{}", path(holder)?, member.inner()));
    }
    path(node)
}
