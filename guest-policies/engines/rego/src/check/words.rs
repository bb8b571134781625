//! Comparisons that are never true, because a claim never has the value: above all those with words of the run object,
//! which has `ApiKey` where the contract has `api-key`.

use regorus::Value;
use regorus::unstable::{ArithOp, AssignOp, BinOp, BoolOp, Expr, Ref};

use super::calls::short;
use super::claims::Claim;
use super::findings::Severity;
use super::index::Step;
use super::walk::{Target, Walk};
use crate::kinds::Kinds;
use crate::tree::{self, Part, Place, Reference};

/// The words of the run object that are plainly its own, with those of the contract.
const OF_RUN_OBJECTS: [(&str, &str); 9] = [
    ("APPLY", "apply"),
    ("DETECT", "detect"),
    ("DESTROY", "destroy"),
    ("TERRAFORM", "terraform"),
    ("GITHUB_WORKFLOW", "github-workflow"),
    ("GITLAB_CICD", "gitlab-cicd"),
    ("AZURE_DEVOPS", "azure-devops"),
    ("ApiKey", "api-key"),
    ("ApiUser", "api-user"),
];

impl<'t> Walk<'_, 't> {
    /// Checks an expression on its own.
    pub(super) fn check_expression(&mut self, expr: &'t Ref<Expr>) {
        match expr.as_ref() {
            Expr::BoolExpr { op, lhs, rhs, .. } => match op {
                BoolOp::Eq | BoolOp::Ne => self.equality(lhs, rhs, *op == BoolOp::Eq),
                BoolOp::Lt | BoolOp::Le | BoolOp::Ge | BoolOp::Gt => self.order(expr, lhs, rhs),
            },
            Expr::AssignExpr { op: AssignOp::Eq, lhs, rhs, .. } => self.equality(lhs, rhs, true),
            Expr::Membership { value, collection, .. } => self.membership(value, collection),
            Expr::RefBrack { .. } => self.lookup(expr),
            Expr::ArithExpr { op, lhs, rhs, .. } => self.operands(op, lhs, rhs),
            Expr::BinExpr { op, lhs, rhs, .. } => {
                let sign = if *op == BinOp::Union { "|" } else { "&" };
                for side in [lhs, rhs] {
                    self.operand(side, sign, Kinds::SET, "");
                }
            }
            _ => {}
        }
    }

    fn operands(&mut self, op: &ArithOp, lhs: &'t Ref<Expr>, rhs: &'t Ref<Expr>) {
        let (sign, kinds, instead) = match op {
            ArithOp::Add => {
                ("+", Kinds::NUMBER, "; join texts by `concat`, `sprintf` or `$\"{…}\"`")
            }
            ArithOp::Sub => ("-", Kinds::NUMBER.or(Kinds::SET), ""),
            ArithOp::Mul => ("*", Kinds::NUMBER, ""),
            ArithOp::Div => ("/", Kinds::NUMBER, ""),
            ArithOp::Mod => ("%", Kinds::NUMBER, ""),
        };
        for side in [lhs, rhs] {
            self.operand(side, sign, kinds, instead);
        }
    }

    /// An operand of another kind would be a fault.
    fn operand(&mut self, operand: &'t Ref<Expr>, sign: &str, expected: Kinds, instead: &str) {
        let found = self.kinds(operand);
        if !found.overlaps(expected) {
            let message = format!("`{sign}` takes {expected}, found {found}{instead}");
            self.findings.error("kind-of-operand", Place::of_expr(operand), message);
        }
    }

    /// Checks the collection that `some … in` or `every` goes through.
    pub(super) fn check_collection(&mut self, collection: &'t Ref<Expr>) {
        let found = self.kinds(collection);
        if !found.overlaps(Kinds::of_letter('y')) {
            let message = format!("`in` goes through an array, a set or an object, found {found}");
            self.findings.error("kind-of-collection", Place::of_expr(collection), message);
        }
    }

    fn equality(&mut self, lhs: &'t Ref<Expr>, rhs: &'t Ref<Expr>, is_equal: bool) {
        let outcome = if is_equal { "never true" } else { "always true" };
        for (one, other) in [(lhs, rhs), (rhs, lhs)] {
            let claim = self.claim(one);
            if let Some(text) = tree::key(other) {
                self.compared(claim, one, text, other, outcome);
            }
        }
        let (left, right) = (self.kinds(lhs), self.kinds(rhs));
        if !left.overlaps(right) {
            let message = format!("{outcome}: {left} is compared with {right}");
            self.findings.warn("never-equal", Place::of_expr(rhs), message);
        }
    }

    /// `<` of values of different kinds is legal, and compares the kinds.
    fn order(&mut self, expr: &'t Ref<Expr>, lhs: &'t Ref<Expr>, rhs: &'t Ref<Expr>) {
        let (left, right) = (self.kinds(lhs), self.kinds(rhs));
        if !left.overlaps(right) {
            let message = format!(
                "{left} is compared with {right}: the order is that of the kinds, not of the values"
            );
            self.findings.warn("never-equal", Place::of_expr(expr), message);
        }
    }

    fn membership(&mut self, value: &'t Ref<Expr>, collection: &'t Ref<Expr>) {
        let claim = self.claim(value);
        let collection = self.behind(collection);
        match collection.as_ref() {
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                for item in items {
                    if let Some(text) = tree::key(item) {
                        self.compared(claim, value, text, item, "never true");
                    }
                }
            }
            Expr::String { .. } | Expr::RawString { .. } => {
                let message =
                    "`in` looks for a member of a collection, and this is a string; use `contains`";
                self.findings.warn("never-equal", Place::of_expr(collection), message);
            }
            _ => {
                let kinds = self.kinds(collection);
                if !kinds.overlaps(Kinds::of_letter('y')) {
                    let message =
                        format!("never true: `in` looks for a member, and this is {kinds}");
                    self.findings.warn("never-equal", Place::of_expr(collection), message);
                }
                self.data_words(claim, collection);
            }
        }
    }

    /// A claim as the key of an object in the data, or of one in the text.
    fn lookup(&mut self, expr: &'t Ref<Expr>) {
        let reference = Reference::of(expr);
        let Some(Part::Index(index)) = reference.parts.last() else { return };
        let Some(claim @ Claim::Word(_)) = self.claim(index) else { return };
        let before = Reference { head: reference.head, parts: Vec::new() };
        if reference.parts.len() == 1
            && let Expr::Object { fields, .. } = before.head
        {
            for (_, key, _) in fields {
                if let Some(text) = tree::key(key) {
                    self.compared(Some(claim), index, text, key, "never found");
                }
            }
            return;
        }
        let Target::Data(mut path) = self.target(&reference) else { return };
        path.pop();
        if let Some(Value::Object(members)) = self.data_at(&path) {
            let wrong = members.keys().find_map(|key| match key {
                Value::String(text) => claim.never(text).map(|values| (text.clone(), values)),
                _ => None,
            });
            if let Some((text, values)) = wrong {
                let message = format!("`{text}` in data is never found: the claim is {values}");
                self.findings.warn("unknown-word", Place::of_expr(index), message);
            }
        }
    }

    /// A list in the data that a claim with words is looked for in.
    fn data_words(&mut self, claim: Option<&'static Claim>, collection: &'t Ref<Expr>) {
        let Some(claim @ Claim::Word(_)) = claim else { return };
        let Target::Data(path) = self.target(&Reference::of(collection)) else { return };
        if let Some(Value::Array(items)) = self.data_at(&path) {
            let wrong = items.iter().find_map(|item| match item {
                Value::String(text) => claim.never(text).map(|values| (item, values)),
                _ => None,
            });
            if let Some((item, values)) = wrong {
                let message =
                    format!("{} in data is never found: the claim is {values}", short(item));
                self.findings.warn("unknown-word", Place::of_expr(collection), message);
            }
        }
    }

    fn data_at(&self, path: &[Step]) -> Option<&'t Value> {
        let mut value = self.index.data;
        for step in path {
            let (Step::Key(key), Value::Object(members)) = (step, value) else { return None };
            value = members.get(&Value::from(key.as_str()))?;
        }
        Some(value)
    }

    fn compared(
        &mut self,
        claim: Option<&'static Claim>,
        compared: &Ref<Expr>,
        text: &str,
        at: &Ref<Expr>,
        outcome: &str,
    ) {
        if self.findings.is_full(Severity::Warning) {
            return;
        }
        let word = OF_RUN_OBJECTS.iter().find(|(word, _)| *word == text);
        match (claim, word) {
            (Some(claim), _) => {
                if let Some(values) = claim.never(text) {
                    let message = format!("{outcome}: the claim is {values}");
                    self.findings.warn("unknown-word", Place::of_expr(at), message);
                }
            }
            // An argument of a function, say. The run that authors look at has this word.
            (None, Some((word, meant))) if tree::variable(compared).is_some() => {
                let message = format!("`{word}` is a word of run objects; claims have `{meant}`");
                self.findings.warn("unknown-word", Place::of_expr(at), message);
            }
            (None, _) => {}
        }
    }
}
