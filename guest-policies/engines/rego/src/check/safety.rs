//! Safety: a query can be evaluated only if each of its variables gets a value somewhere.

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Ref, Span};

use super::scope;
use super::walk::Walk;
use crate::tree::{self, Part, Place, Reference};

/// A variable and its place.
type Use<'t> = (&'t str, &'t Span);

/// The variables that an expression needs, and those that it gives a value.
#[derive(Default)]
struct Flow<'t> {
    needs: Vec<Use<'t>>,
    gives: Vec<Use<'t>>,
    /// Given by an index, which is tried before the rest of the statement is evaluated.
    iterates: Vec<Use<'t>>,
}

impl<'t> Flow<'t> {
    fn append(&mut self, mut other: Flow<'t>) {
        self.needs.append(&mut other.needs);
        self.gives.append(&mut other.gives);
        self.iterates.append(&mut other.iterates);
    }
}

impl<'t> Walk<'_, 't> {
    /// Orders the statements of the innermost query, as the evaluator does, and reports the variables that stay without a
    /// value. All are taken to have one afterwards, so that each is reported once.
    pub(super) fn check_safety(&mut self, statements: &'t [LiteralStmt], heads: &[&'t Ref<Expr>]) {
        let mut left: Vec<&LiteralStmt> = statements.iter().collect();
        loop {
            let before = left.len();
            let mut waiting = Vec::new();
            for statement in left {
                let flow = self.flow_of(statement);
                if flow.needs.is_empty() {
                    flow.gives
                        .iter()
                        .chain(&flow.iterates)
                        .for_each(|(name, _)| self.set_safe(name));
                } else {
                    waiting.push(statement);
                }
            }
            left = waiting;
            if left.is_empty() || left.len() == before {
                break;
            }
        }
        let mut unsafe_uses: Vec<Use<'t>> = Vec::new();
        let mut given: Vec<&str> = Vec::new();
        for statement in left {
            let flow = self.flow_of(statement);
            given.extend(flow.gives.iter().chain(&flow.iterates).map(|(name, _)| *name));
            unsafe_uses.extend(flow.needs);
        }
        // A variable that would have a value if others had is not the mistake, unless they wait for each other.
        let roots: Vec<Use<'t>> =
            unsafe_uses.iter().filter(|(name, _)| !given.contains(name)).copied().collect();
        let mut reported = if roots.is_empty() { unsafe_uses } else { roots };
        if reported.is_empty() {
            for head in heads {
                let mut flow = Flow::default();
                self.flow(head, &mut flow);
                reported.extend(flow.needs);
            }
        }
        let mut names: Vec<&str> = Vec::new();
        for (name, span) in reported {
            if !names.contains(&name) {
                names.push(name);
                self.report_unsafe(name, span);
            }
        }
        self.set_all_safe();
    }

    fn report_unsafe(&mut self, name: &'t str, span: &'t Span) {
        let message = if name == "_" {
            "`_` is unsafe: under `not`, nothing gives it a value; write a rule or `some … in` that finds a member, and negate that"
                .to_owned()
        } else {
            let meant = self.proposal_for(name);
            format!("variable `{name}` is unsafe: nothing gives it a value{meant}")
        };
        self.findings.error("unsafe-variable", Place::of(span), message);
    }

    /// The variables that a statement needs before it can be evaluated, and those that have a value afterwards.
    fn flow_of(&self, statement: &'t LiteralStmt) -> Flow<'t> {
        let mut flow = Flow::default();
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                self.flow(collection, &mut flow);
                key.iter().chain([value]).for_each(|part| self.pattern(part, &mut flow));
            }
            Literal::Expr { expr, .. } => self.flow(expr, &mut flow),
            Literal::NotExpr { expr, .. } => {
                self.flow(expr, &mut flow);
                let given = std::mem::take(&mut flow.gives);
                flow.needs.extend(given);
                let iterated = std::mem::take(&mut flow.iterates);
                flow.needs.extend(iterated);
            }
            Literal::Every { key, value, domain, query, .. } => {
                self.flow(domain, &mut flow);
                let own: Vec<&str> = key.iter().chain([value]).map(Span::text).collect();
                let mut names = Vec::new();
                scope::free(&[], query, &mut names);
                names.retain(|(name, _)| !own.contains(name));
                self.need_unsafe(names, &mut flow);
            }
        }
        for modifier in &statement.with_mods {
            let mut replaced = Flow::default();
            self.flow(&modifier.r#as, &mut replaced);
            flow.needs.append(&mut replaced.needs);
            flow.needs.append(&mut replaced.gives);
            flow.needs.append(&mut replaced.iterates);
        }
        // Found and needed by the same statement: `x[i] = i` finds `i`, and then compares.
        let found: Vec<&str> = flow.iterates.iter().map(|(name, _)| *name).collect();
        flow.needs.retain(|(name, _)| !found.contains(name));
        flow
    }

    fn flow(&self, expr: &'t Ref<Expr>, flow: &mut Flow<'t>) {
        let mut closures = Vec::new();
        scope::closures_in(expr, &mut closures);
        for (terms, query) in closures {
            let mut names = Vec::new();
            scope::free(&terms, query, &mut names);
            self.need_unsafe(names, flow);
        }
        self.flow_outside(expr, flow);
    }

    fn flow_outside(&self, expr: &'t Ref<Expr>, flow: &mut Flow<'t>) {
        if tree::comprehension(expr).is_some() {
            return;
        }
        match expr.as_ref() {
            Expr::AssignExpr { op, lhs, rhs, .. } => self.unify(op, lhs, rhs, flow),
            Expr::Call { fcn, params, .. } => {
                let output = self.output_argument(fcn, params);
                for param in params {
                    if output.is_some_and(|output| output == param) {
                        self.pattern(param, flow);
                    } else {
                        self.flow_outside(param, flow);
                    }
                }
            }
            _ => {
                let reference = Reference::of(expr);
                if reference.parts.is_empty() {
                    if let Expr::Var { span, .. } = reference.head {
                        self.need_unsafe(vec![(span.text(), span)], flow);
                    }
                    tree::children(expr)
                        .into_iter()
                        .for_each(|child| self.flow_outside(child, flow));
                    return;
                }
                match reference.head {
                    Expr::Var { span, .. } => self.need_unsafe(vec![(span.text(), span)], flow),
                    head => {
                        let children = tree::children(head);
                        children.into_iter().for_each(|child| self.flow_outside(child, flow));
                    }
                }
                for part in reference.parts {
                    if let Part::Index(index) = part {
                        self.index(index, flow);
                    }
                }
            }
        }
    }

    /// An index: a variable without a value takes each key in turn.
    fn index(&self, index: &'t Ref<Expr>, flow: &mut Flow<'t>) {
        match index.as_ref() {
            Expr::Var { .. } | Expr::Array { .. } | Expr::Object { .. } => {
                let mut own = Flow::default();
                self.pattern(index, &mut own);
                flow.needs.append(&mut own.needs);
                flow.iterates.append(&mut own.iterates);
                flow.iterates.append(&mut own.gives);
            }
            _ => self.flow_outside(index, flow),
        }
    }

    /// A pattern: its variables get their values from what it is matched with.
    fn pattern(&self, pattern: &'t Ref<Expr>, flow: &mut Flow<'t>) {
        match pattern.as_ref() {
            Expr::Var { span, .. } if self.is_unsafe(span.text()) => {
                flow.gives.push((span.text(), span))
            }
            Expr::Array { items, .. } => items.iter().for_each(|item| self.pattern(item, flow)),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.flow_outside(key, flow);
                    self.pattern(value, flow);
                }
            }
            _ => self.flow_outside(pattern, flow),
        }
    }

    fn unify(&self, op: &AssignOp, lhs: &'t Ref<Expr>, rhs: &'t Ref<Expr>, flow: &mut Flow<'t>) {
        if *op == AssignOp::Eq
            && let (Expr::Array { items: left, .. }, Expr::Array { items: right, .. }) =
                (lhs.as_ref(), rhs.as_ref())
            && left.len() == right.len()
        {
            left.iter().zip(right).for_each(|(left, right)| self.unify(op, left, right, flow));
            return;
        }
        let mut right = Flow::default();
        self.flow_outside(rhs, &mut right);
        if *op == AssignOp::ColEq || right.needs.is_empty() {
            flow.append(right);
            self.pattern(lhs, flow);
            return;
        }
        let mut left = Flow::default();
        self.flow_outside(lhs, &mut left);
        if left.needs.is_empty() {
            flow.append(left);
            self.pattern(rhs, flow);
            return;
        }
        flow.append(left);
        flow.append(right);
    }

    /// Needs those of the names that are variables without a value.
    fn need_unsafe(&self, names: Vec<Use<'t>>, flow: &mut Flow<'t>) {
        flow.needs.extend(names.into_iter().filter(|(name, _)| self.is_unsafe(name)));
    }
}
