//! The local variables of a query, and of those around it.

use std::collections::BTreeMap;

use regorus::unstable::{AssignOp, Expr, Literal, LiteralStmt, Query, Ref, Span};

use crate::tree::{self, Part, Reference};

/// The way in which a local variable comes to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `x := …`
    Assigned,
    /// `some x`
    Declared,
    /// `some x in …`, or a variable of `every`.
    Iterated,
    /// An argument of a function.
    Argument,
    /// A name that stands for nothing else.
    Implied,
}

/// A local variable.
pub struct Local<'t> {
    /// Its origin.
    pub origin: Origin,
    /// The place of its name there.
    pub span: &'t Span,
    /// The number of places that read it.
    pub uses: usize,
    /// Set once something gives it a value.
    pub is_safe: bool,
    /// The expression that `:=` assigns.
    pub value: Option<&'t Ref<Expr>>,
}

/// The local variables of one query.
#[derive(Default)]
pub struct Scope<'t> {
    /// By their names.
    pub locals: BTreeMap<&'t str, Local<'t>>,
}

impl<'t> Scope<'t> {
    /// Adds a variable, and gives the one that had the name before it.
    pub fn declare(
        &mut self,
        name: &'t str,
        span: &'t Span,
        origin: Origin,
        value: Option<&'t Ref<Expr>>,
    ) -> Option<Local<'t>> {
        if name == "_" {
            return None;
        }
        let is_safe = origin == Origin::Argument;
        self.locals.insert(name, Local { origin, span, uses: 0, is_safe, value })
    }
}

/// A declaration of a query: name, place, origin, and the value that is assigned.
pub type Declaration<'t> = (&'t str, &'t Span, Origin, Option<&'t Ref<Expr>>);

/// The variables that statements declare.
pub fn declarations(statements: &[LiteralStmt]) -> Vec<Declaration<'_>> {
    let mut found = Vec::new();
    for statement in statements {
        let mut names = Vec::new();
        match &statement.literal {
            Literal::SomeVars { vars, .. } => {
                found.extend(vars.iter().map(|span| (span.text(), span, Origin::Declared, None)));
            }
            Literal::SomeIn { key, value, .. } => {
                key.iter()
                    .chain([value])
                    .for_each(|part| tree::pattern_variables(part, &mut names));
                found.extend(
                    names.into_iter().map(|(name, span)| (name, span, Origin::Iterated, None)),
                );
            }
            Literal::Expr { expr, .. } => {
                if let Expr::AssignExpr { op: AssignOp::ColEq, lhs, rhs, .. } = expr.as_ref() {
                    let value = tree::variable(lhs).map(|_| rhs);
                    tree::pattern_variables(lhs, &mut names);
                    found.extend(
                        names.into_iter().map(|(name, span)| (name, span, Origin::Assigned, value)),
                    );
                }
            }
            Literal::NotExpr { .. } | Literal::Every { .. } => {}
        }
    }
    found
}

/// The variables that an expression names outside its comprehensions.
pub fn surface<'t>(expr: &'t Ref<Expr>, found: &mut Vec<(&'t str, &'t Span)>) {
    let reference = Reference::of(expr);
    if let Expr::Var { span, .. } = reference.head {
        found.push((span.text(), span));
    } else if !reference.parts.is_empty() && tree::comprehension(reference.head).is_none() {
        tree::children(reference.head).into_iter().for_each(|child| surface(child, found));
    }
    for part in &reference.parts {
        if let Part::Index(index) = part {
            surface(index, found);
        }
    }
    if reference.parts.is_empty() {
        tree::children(expr).into_iter().for_each(|child| surface(child, found));
    }
}

/// The variables that a comprehension, or the query of an `every`, reads from the queries around it, and perhaps itself
/// implies.
pub fn free<'t>(terms: &[&'t Ref<Expr>], query: &'t Query, found: &mut Vec<(&'t str, &'t Span)>) {
    let mut own: Vec<&str> =
        declarations(&query.stmts).into_iter().map(|(name, ..)| name).collect();
    let mut names = Vec::new();
    terms.iter().for_each(|term| free_in(term, &mut names));
    for statement in &query.stmts {
        tree::expressions(&statement.literal)
            .into_iter()
            .for_each(|expr| free_in(expr, &mut names));
        statement.with_mods.iter().for_each(|modifier| free_in(&modifier.r#as, &mut names));
        if let Literal::Every { key, value, query, .. } = &statement.literal {
            let mut inner = Vec::new();
            free(&[], query, &mut inner);
            own.extend(key.iter().chain([value]).map(Span::text));
            names.append(&mut inner);
        }
    }
    // A wildcard inside is given its value there.
    own.push("_");
    found.extend(names.into_iter().filter(|(name, _)| !own.contains(name)));
}

/// The variables that an expression reads, those of its comprehensions included.
pub fn free_in<'t>(expr: &'t Ref<Expr>, found: &mut Vec<(&'t str, &'t Span)>) {
    surface(expr, found);
    let mut closures = Vec::new();
    closures_in(expr, &mut closures);
    closures.into_iter().for_each(|(terms, query)| free(&terms, query, found));
}

/// The comprehensions of an expression, without those inside them.
pub fn closures_in<'t>(expr: &'t Expr, found: &mut Vec<(Vec<&'t Ref<Expr>>, &'t Query)>) {
    if let Some(closure) = tree::comprehension(expr) {
        found.push(closure);
        return;
    }
    let reference = Reference::of(expr);
    for part in &reference.parts {
        if let Part::Index(index) = part {
            closures_in(index, found);
        }
    }
    let head = reference.head;
    if !reference.parts.is_empty()
        && let Some(closure) = tree::comprehension(head)
    {
        found.push(closure);
        return;
    }
    tree::children(head).into_iter().for_each(|child| closures_in(child, found));
}
