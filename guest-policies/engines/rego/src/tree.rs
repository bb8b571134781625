//! Reads regorus' syntax tree: references, their parts, and places in the text.

use std::fmt;

use regorus::Value;
use regorus::unstable::{Expr, Literal, LiteralStmt, Query, Ref, Rule, RuleHead, Span};

/// A place in a file: line and column begin at 1, and columns count characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The path of the file in the policy's folder.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl Place {
    /// The beginning of a span. regorus keeps line and column of an operator, but the offset of the whole.
    pub fn of(span: &Span) -> Self {
        Self::at(span, span.start)
    }

    /// The beginning of an expression.
    pub fn of_expr(expr: &Expr) -> Self {
        let span = expr.span();
        match expr {
            // The span of a text is what is between its quotation marks.
            Expr::String { .. } | Expr::RawString { .. } => {
                Self::at(span, span.start.saturating_sub(1))
            }
            // That of an object begins at its last member.
            Expr::Object { fields, .. } => {
                let first = fields.first().map_or(span.start, |(_, key, _)| key.span().start);
                let before = usize::try_from(first).unwrap_or(usize::MAX);
                let brace =
                    span.source.get_contents().get(..before).and_then(|text| text.rfind('{'));
                Self::at(span, brace.and_then(|at| u32::try_from(at).ok()).unwrap_or(span.start))
            }
            _ => Self::at(span, span.start),
        }
    }

    fn at(span: &Span, offset: u32) -> Self {
        let text = span.source.get_contents();
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Self {
            file: span.source.get_path().clone(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// A part of a reference behind its head.
#[derive(Clone, Copy)]
pub enum Part<'t> {
    /// A key that the text has: `.key` or `["key"]`.
    Key(&'t str, &'t Span),
    /// An index that is any other expression.
    Index(&'t Ref<Expr>),
}

/// A reference: its head, and the parts behind it.
pub struct Reference<'t> {
    /// The expression that the parts select from.
    pub head: &'t Expr,
    /// The parts, in the order of the text.
    pub parts: Vec<Part<'t>>,
}

impl<'t> Reference<'t> {
    /// Takes an expression apart; one that is no reference has no parts. Not recursive: a chain may be as long as the text.
    pub fn of(expr: &'t Expr) -> Self {
        let (mut head, mut parts) = (expr, Vec::new());
        loop {
            match head {
                Expr::RefDot { refr, field, .. } => {
                    parts.push(Part::Key(field.0.text(), &field.0));
                    head = refr;
                }
                Expr::RefBrack { refr, index, .. } => {
                    parts.push(match key(index) {
                        Some(key) => Part::Key(key, index.span()),
                        None => Part::Index(index),
                    });
                    head = refr;
                }
                _ => break,
            }
        }
        parts.reverse();
        Self { head, parts }
    }

    /// The name at its head, if that is one.
    pub fn name(&self) -> Option<&'t str> {
        match self.head {
            Expr::Var { span, .. } => Some(span.text()),
            _ => None,
        }
    }
}

/// The reference in the head of a rule.
pub fn head(rule: &Rule) -> &Ref<Expr> {
    match rule {
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. }
            | RuleHead::Set { refr, .. }
            | RuleHead::Func { refr, .. } => refr,
        },
        Rule::Default { refr, .. } => refr,
    }
}

/// The text of an expression that is a literal text.
pub fn key(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::String { value, .. } | Expr::RawString { value, .. } => match value {
            Value::String(text) => Some(text),
            _ => None,
        },
        _ => None,
    }
}

/// The name of a variable; `None` for any other expression.
pub fn variable(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Var { span, .. } => Some(span.text()),
        _ => None,
    }
}

/// The name that a call has in the text, `regex.match` for `regex["match"]` too; `None` where an index is no text.
pub fn callee(function: &Expr) -> Option<String> {
    let reference = Reference::of(function);
    let mut name = reference.name()?.to_owned();
    for part in &reference.parts {
        let Part::Key(key, _) = part else { return None };
        name.push('.');
        name.push_str(key);
    }
    Some(name)
}

/// A comprehension: the expressions that it gives, and its query.
pub fn comprehension(expr: &Expr) -> Option<(Vec<&Ref<Expr>>, &Query)> {
    match expr {
        Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
            Some((vec![term], query))
        }
        Expr::ObjectCompr { key, value, query, .. } => Some((vec![key, value], query)),
        _ => None,
    }
}

/// The expressions directly below one, without those of a comprehension.
pub fn children(expr: &Expr) -> Vec<&Ref<Expr>> {
    match expr {
        Expr::Array { items, .. } | Expr::Set { items, .. } => items.iter().collect(),
        Expr::Object { fields, .. } => {
            fields.iter().flat_map(|(_, key, value)| [key, value]).collect()
        }
        Expr::Call { params, .. } => params.iter().collect(),
        Expr::UnaryExpr { expr, .. } => vec![expr],
        Expr::BinExpr { lhs, rhs, .. }
        | Expr::BoolExpr { lhs, rhs, .. }
        | Expr::ArithExpr { lhs, rhs, .. }
        | Expr::AssignExpr { lhs, rhs, .. } => vec![lhs, rhs],
        Expr::Membership { key, value, collection, .. } => {
            key.iter().chain([value, collection]).collect()
        }
        _ => Vec::new(),
    }
}

/// The expressions of a statement, without those of the query of an `every`, and without its modifiers.
pub fn expressions(literal: &Literal) -> Vec<&Ref<Expr>> {
    match literal {
        Literal::SomeVars { .. } => Vec::new(),
        Literal::SomeIn { key, value, collection, .. } => {
            key.iter().chain([value, collection]).collect()
        }
        Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => vec![expr],
        Literal::Every { domain, .. } => vec![domain],
    }
}

/// The variables of a pattern, as `[a, {"b": b}]` has them.
pub fn pattern_variables<'t>(pattern: &'t Expr, found: &mut Vec<(&'t str, &'t Span)>) {
    match pattern {
        Expr::Var { span, .. } => found.push((span.text(), span)),
        Expr::Array { items, .. } => items.iter().for_each(|item| pattern_variables(item, found)),
        Expr::Object { fields, .. } => {
            fields.iter().for_each(|(_, _, value)| pattern_variables(value, found));
        }
        _ => {}
    }
}

/// Visits every expression below one, comprehensions and their queries included, in the order of the text.
pub fn each<'t>(expr: &'t Ref<Expr>, visit: &mut dyn FnMut(&'t Ref<Expr>)) {
    visit(expr);
    let reference = Reference::of(expr);
    if !reference.parts.is_empty() {
        if !matches!(reference.head, Expr::Var { .. }) {
            each_below(reference.head, visit);
        }
        for part in reference.parts {
            if let Part::Index(index) = part {
                each(index, visit);
            }
        }
        return;
    }
    each_below(expr, visit);
}

fn each_below<'t>(expr: &'t Expr, visit: &mut dyn FnMut(&'t Ref<Expr>)) {
    if let Some((terms, query)) = comprehension(expr) {
        terms.into_iter().for_each(|term| each(term, visit));
        each_in(&query.stmts, visit);
    }
    children(expr).into_iter().for_each(|child| each(child, visit));
}

/// Visits every expression of statements, as [`each`] does.
pub fn each_in<'t>(statements: &'t [LiteralStmt], visit: &mut dyn FnMut(&'t Ref<Expr>)) {
    for statement in statements {
        expressions(&statement.literal).into_iter().for_each(|expr| each(expr, visit));
        if let Literal::Every { query, .. } = &statement.literal {
            each_in(&query.stmts, visit);
        }
        for modifier in &statement.with_mods {
            each(&modifier.r#as, visit);
        }
    }
}
