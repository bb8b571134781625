//! Forms that are legal and mean something else than they seem to: the rules of regal that find mistakes, by their names.

use regorus::unstable::{BinOp, BoolOp, Expr, Literal, LiteralStmt, Ref};

use super::index::Shape;
use super::scope::Origin;
use super::walk::{Target, Walk};
use crate::catalog::{self, Builtin};
use crate::kinds::Kinds;
use crate::tree::{self, Part, Place, Reference};

impl<'t> Walk<'_, 't> {
    /// Checks the statements of the innermost query, once its variables are counted.
    pub(super) fn style_of_query(
        &mut self,
        statements: &'t [LiteralStmt],
        heads: &[&'t Ref<Expr>],
    ) {
        for statement in statements {
            match &statement.literal {
                Literal::NotExpr { expr, .. } => self.impossible_not(expr),
                Literal::Expr { expr, .. } => self.statement_alone(expr),
                Literal::SomeVars { .. } | Literal::SomeIn { .. } | Literal::Every { .. } => {}
            }
        }
        let _ = heads;
        self.unused_indices();
    }

    /// A set always has a value: an empty one is not undefined.
    fn impossible_not(&mut self, expr: &'t Ref<Expr>) {
        let reference = Reference::of(expr);
        if !reference.parts.is_empty() && !matches!(reference.parts.as_slice(), [Part::Key(..)]) {
            return;
        }
        let Target::Data(path) = self.target(&reference) else { return };
        let groups = self.index.read_by(&path);
        let [group] = groups.as_slice() else { return };
        let Some(group) =
            self.index.groups.get(*group).filter(|group| group.path.len() == path.len())
        else {
            return;
        };
        let is_collection = group
            .definitions
            .iter()
            .all(|definition| matches!(definition.shape, Shape::Set | Shape::Object));
        if is_collection {
            let name = group.name();
            let message = format!(
                "never true: `{name}` always has a value, an empty one too; write `count({name}) == 0`"
            );
            self.findings.warn("impossible-not", Place::of_expr(expr), message);
        }
    }

    fn statement_alone(&mut self, expr: &'t Ref<Expr>) {
        match expr.as_ref() {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {
                self.findings.warn(
                    "constant-condition",
                    Place::of_expr(expr),
                    "this condition is always the same",
                );
            }
            Expr::Array { .. } | Expr::Set { .. } | Expr::Object { .. } => {
                let message =
                    "always true: a collection is no condition; write the body in lines of its own";
                self.findings.warn("if-object-literal", Place::of_expr(expr), message);
            }
            Expr::ArrayCompr { .. } | Expr::SetCompr { .. } | Expr::ObjectCompr { .. } => {
                let message = "always true: a comprehension has a value even if it is empty; compare its `count`";
                self.findings.warn("constant-condition", Place::of_expr(expr), message);
            }
            Expr::BoolExpr { op, lhs, rhs, .. } => {
                let is_literal = |side: &Ref<Expr>| {
                    matches!(
                        side.as_ref(),
                        Expr::String { .. }
                            | Expr::RawString { .. }
                            | Expr::Number { .. }
                            | Expr::Bool { .. }
                            | Expr::Null { .. }
                    )
                };
                if is_literal(lhs) && is_literal(rhs) {
                    let message = "this condition is always the same";
                    self.findings.warn("constant-condition", Place::of_expr(expr), message);
                }
                if *op == BoolOp::Ne && (iterates(lhs) || iterates(rhs)) {
                    let message =
                        "true if any member differs; to say that none is equal, write `not … in …`";
                    self.findings.warn("not-equals-in-loop", Place::of_expr(expr), message);
                }
            }
            Expr::BinExpr { op: BinOp::Union, .. } => {
                let message =
                    "`|` makes a union of sets, and no condition is either of two; write two rules";
                self.findings.warn("constant-condition", Place::of_expr(expr), message);
            }
            Expr::Call { fcn, params, .. } => self.unused_result(expr, fcn, params),
            _ => {}
        }
    }

    /// A function whose value is not a boolean, called for nothing.
    fn unused_result(
        &mut self,
        call: &'t Ref<Expr>,
        function: &'t Ref<Expr>,
        params: &'t [Ref<Expr>],
    ) {
        if matches!(self.target(&Reference::of(function)), Target::Data(_)) {
            return;
        }
        let Some(name) = tree::callee(function) else { return };
        let Some(Builtin::Function { arguments, result }) = catalog::lookup(&name) else { return };
        let has_output = params.len() > arguments.len();
        if !has_output && !result.overlaps(Kinds::BOOLEAN) && name != "walk" {
            let message =
                format!("the value of `{name}` is not used, and as a condition it is always true");
            self.findings.warn("unassigned-return-value", Place::of_expr(call), message);
        }
    }

    /// Indices that nothing else reads would be `_`.
    fn unused_indices(&mut self) {
        let Some(scope) = self.scopes.last() else { return };
        let once = scope
            .locals
            .iter()
            .filter(|(_, local)| local.origin == Origin::Implied && local.uses == 1);
        let unused: Vec<_> = once.map(|(name, local)| (*name, local.span)).collect();
        for (name, span) in unused {
            let message =
                format!("variable `{name}` is used once; write `_`, or read it somewhere");
            self.findings.warn("unused-output-variable", Place::of(span), message);
        }
    }
}

/// Says that a reference iterates over members: `list[_]`.
fn iterates(expr: &Ref<Expr>) -> bool {
    let is_wildcard =
        |part: &Part<'_>| matches!(part, Part::Index(index) if tree::variable(index) == Some("_"));
    Reference::of(expr).parts.iter().any(is_wildcard)
}
