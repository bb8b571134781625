//! Writes loops that only look for a member as calls, before the interpreter sees them.
//!
//! `some p in data.patterns` and then `glob.match(p, ["-"], x)` is true if any member matches, and nothing else reads the
//! member: [`crate::any`] has a function for that. `x in data.list` looks the member up in a set that is made once. Lines stay
//! as they are, so that errors have their lines.

use std::collections::BTreeSet;

use regorus::Value;
use regorus::unstable::{BoolOp, Expr, Literal, LiteralStmt, Module, Query, Ref, Rule, RuleHead};

use crate::any::{self, Test};
use crate::tree::{self, Part, Reference, head};

/// The least number of members for which a set is made.
const MIN_MEMBERS: usize = 16;

/// The texts with loops written as calls, and the sets that calls look into, by their names.
pub struct Rewritten {
    /// The texts, in the order of the modules.
    pub texts: Vec<String>,
    /// Functions of one argument, and their members.
    pub members: Vec<(String, BTreeSet<Value>)>,
    /// Set where a text is another one now.
    pub is_changed: bool,
}

/// A part of a text and what takes its place.
struct Edit {
    start: usize,
    end: usize,
    text: String,
}

/// Rewrites modules. `data` is the document that they read.
pub fn rewrite(modules: &[Ref<Module>], data: &Value) -> Rewritten {
    let mut rewritten = Rewritten { texts: Vec::new(), members: Vec::new(), is_changed: false };
    // A replacement of data or of a function reaches all that a rule reads and calls, also a loop: it stays as it is written.
    let is_replaced = modules.iter().any(replaces_more_than_input);
    for module in modules {
        let text = module.package.span.source.get_contents();
        if is_replaced {
            rewritten.texts.push(text.to_owned());
            continue;
        }
        let mut finder = Finder { text, data, edits: Vec::new(), members: &mut rewritten.members };
        if !hides_functions(module) {
            module.policy.iter().for_each(|rule| finder.rule(rule));
        }
        let mut edits = finder.edits;
        edits.sort_by_key(|edit| edit.start);
        rewritten.is_changed |= !edits.is_empty();
        rewritten.texts.push(apply(text, &edits));
    }
    rewritten
}

/// Applies edits in their order; one within another is left out.
fn apply(text: &str, edits: &[Edit]) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for edit in edits.iter() {
        if edit.start < at {
            continue;
        }
        out.push_str(text.get(at..edit.start).unwrap_or_default());
        out.push_str(&edit.text);
        at = edit.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// Says that a name of a function stands for something else in a file.
fn hides_functions(module: &Module) -> bool {
    let is_one =
        |name: &str| any::TESTS.iter().any(|test| test.function.split('.').next() == Some(name));
    module.imports.iter().filter_map(imported_name).any(is_one)
        || module.policy.iter().any(|rule| Reference::of(head(rule)).name().is_some_and(is_one))
}

fn imported_name(import: &regorus::unstable::Import) -> Option<&str> {
    match &import.r#as {
        Some(name) => Some(name.text()),
        None => match Reference::of(&import.refr).parts.last() {
            Some(Part::Key(name, _)) => Some(name),
            _ => None,
        },
    }
}

fn of_statements(statements: &[LiteralStmt]) -> bool {
    statements.iter().any(|statement| {
        let mut targets = statement.with_mods.iter().map(|modifier| Reference::of(&modifier.refr));
        let within = match &statement.literal {
            Literal::Every { query, .. } => of_statements(&query.stmts),
            _ => false,
        };
        within || targets.any(|target| target.name() != Some("input"))
    })
}

fn replaces_more_than_input(module: &Ref<Module>) -> bool {
    let mut found = false;
    for rule in &module.policy {
        let Rule::Spec { head, bodies, .. } = rule.as_ref() else { continue };
        let mut queries: Vec<&Query> = bodies.iter().map(|body| body.query.as_ref()).collect();
        let mut values: Vec<&Ref<Expr>> =
            bodies.iter().filter_map(|body| body.assign.as_ref()).map(|a| &a.value).collect();
        match head {
            RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => {
                values.extend(assign.iter().map(|a| &a.value))
            }
            RuleHead::Set { key, .. } => values.extend(key.iter()),
        }
        let mut visit = |expr: &Ref<Expr>| {
            if let Some((_, query)) = tree::comprehension(expr) {
                found |= of_statements(&query.stmts);
            }
        };
        for value in values {
            tree::each(value, &mut |expr| visit(expr));
        }
        while let Some(query) = queries.pop() {
            tree::each_in(&query.stmts, &mut |expr| visit(expr));
            for statement in &query.stmts {
                if let Literal::Every { query, .. } = &statement.literal {
                    queries.push(query);
                }
            }
            if of_statements(&query.stmts) {
                return true;
            }
        }
    }
    found
}

struct Finder<'t, 'm> {
    text: &'t str,
    data: &'t Value,
    edits: Vec<Edit>,
    members: &'m mut Vec<(String, BTreeSet<Value>)>,
}

impl<'t> Finder<'t, '_> {
    fn rule(&mut self, rule: &'t Rule) {
        let Rule::Spec { head: of_rule, bodies, .. } = rule else { return };
        let mut names: Vec<&str> = Vec::new();
        let mut heads: Vec<&Ref<Expr>> = vec![head(rule)];
        match of_rule {
            RuleHead::Compr { assign, .. } => {
                heads.extend(assign.iter().map(|assign| &assign.value))
            }
            RuleHead::Set { key, .. } => heads.extend(key.iter()),
            RuleHead::Func { args, assign, .. } => {
                heads.extend(args.iter());
                heads.extend(assign.iter().map(|assign| &assign.value));
            }
        }
        heads.extend(
            bodies.iter().filter_map(|body| body.assign.as_ref()).map(|assign| &assign.value),
        );
        let mut count = |expr: &'t Ref<Expr>| {
            if let Some(name) = Reference::of(expr).name() {
                names.push(name);
            }
        };
        heads.iter().for_each(|head| tree::each(head, &mut count));
        bodies.iter().for_each(|body| tree::each_in(&body.query.stmts, &mut count));
        for body in bodies {
            self.query(&body.query.stmts, &names);
        }
        for head in heads.into_iter().skip(1) {
            self.expression(head, &names);
        }
    }

    /// A query of which only matters whether it is true, or a set of what it gives.
    fn query(&mut self, statements: &'t [LiteralStmt], names: &[&str]) {
        let mut at = 0;
        while let Some(statement) = statements.get(at) {
            at += 1;
            if let Some(next) = statements.get(at)
                && self.pair(statement, next, names)
            {
                at += 1;
                continue;
            }
            if self.single(statement) {
                continue;
            }
            tree::expressions(&statement.literal)
                .into_iter()
                .for_each(|expr| self.expression(expr, names));
            if let Literal::Every { query, .. } = &statement.literal {
                self.query(&query.stmts, names);
            }
        }
    }

    /// Memberships and comprehensions within an expression. Those of arrays have a member for each that is found, so loops
    /// within them stay.
    fn expression(&mut self, expr: &'t Ref<Expr>, names: &[&str]) {
        match expr.as_ref() {
            Expr::ArrayCompr { .. } => return,
            Expr::SetCompr { term, query, .. } => {
                self.query(&query.stmts, names);
                self.expression(term, names);
                return;
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.query(&query.stmts, names);
                self.expression(key, names);
                self.expression(value, names);
                return;
            }
            Expr::Membership { key: None, value, collection, .. }
                if self.membership(value, collection) =>
            {
                return;
            }
            _ => {}
        }
        tree::children(expr).into_iter().for_each(|child| self.expression(child, names));
    }

    /// `some x in …`, and then the one statement that reads `x`.
    fn pair(&mut self, some: &'t LiteralStmt, next: &'t LiteralStmt, names: &[&str]) -> bool {
        let Literal::SomeIn { key: None, value, collection, .. } = &some.literal else {
            return false;
        };
        let (Some(name), Literal::Expr { expr, .. }) = (tree::variable(value), &next.literal)
        else {
            return false;
        };
        let is_read_once = names.iter().filter(|other| **other == name).count() == 2;
        if name == "_" || !is_read_once || !some.with_mods.is_empty() || !next.with_mods.is_empty()
        {
            return false;
        }
        let is_member = |expr: &Ref<Expr>| tree::variable(expr) == Some(name);
        let Some(collection) = self.collection(collection) else { return false };
        let Some((test, member)) = self.test(expr, is_member) else { return false };
        let (Some(start), Some(end)) = (offset(some.span.start), offset(some.span.end)) else {
            return false;
        };
        // The span of a statement that begins with a text begins behind its quotation mark.
        let first = match expr.as_ref() {
            Expr::Call { fcn, .. } => fcn,
            Expr::BoolExpr { lhs, .. } => lhs,
            _ => return false,
        };
        let Some((next_start, _)) = self.bounds(first) else { return false };
        let Some(between) = self.text.get(end..next_start) else { return false };
        if !between.chars().all(|c| c.is_whitespace() || c == ';') {
            return false;
        }
        if !self.call(expr, test, member, &collection) {
            return false;
        }
        let blank = self.text.get(start..next_start).unwrap_or_default();
        let blank = blank.chars().map(|c| if c.is_whitespace() { c } else { ' ' }).collect();
        self.edits.push(Edit { start, end: next_start, text: blank });
        true
    }

    /// A statement that reads `…[_]`.
    fn single(&mut self, statement: &'t LiteralStmt) -> bool {
        let Literal::Expr { expr, .. } = &statement.literal else { return false };
        if !statement.with_mods.is_empty() {
            return false;
        }
        let is_member = |expr: &Ref<Expr>| matches!(expr.as_ref(), Expr::RefBrack { index, .. } if tree::variable(index) == Some("_"));
        let Some((test, member)) = self.test(expr, is_member) else { return false };
        let Expr::RefBrack { refr, .. } = member.as_ref() else { return false };
        let Some(collection) = self.collection(refr) else { return false };
        self.call(expr, test, member, &collection)
    }

    /// The test that a statement makes of a member, if that is its one argument that iterates.
    fn test(
        &self,
        expr: &'t Ref<Expr>,
        is_member: impl Fn(&Ref<Expr>) -> bool,
    ) -> Option<(Test, &'t Ref<Expr>)> {
        let (function, arguments): (String, Vec<&Ref<Expr>>) = match expr.as_ref() {
            Expr::Call { fcn, params, .. } => (tree::callee(fcn)?, params.iter().collect()),
            Expr::BoolExpr { op: BoolOp::Eq, lhs, rhs, .. } => ("==".to_owned(), vec![lhs, rhs]),
            _ => return None,
        };
        let at = arguments.iter().position(|argument| is_member(argument))?;
        let others = arguments.iter().enumerate().filter(|(other, _)| *other != at);
        if !others.into_iter().all(|(_, argument)| is_still(argument)) {
            return None;
        }
        let position = if function == "==" { 0 } else { at };
        let test = any::find(&function, position)?;
        let arity = regorus::unstable::BUILTINS
            .get(function.as_str())
            .map_or(2, |(_, arity)| usize::from(*arity));
        (arguments.len() == arity).then_some((test, *arguments.get(at)?))
    }

    /// Writes the call of a test in place of a statement.
    fn call(
        &mut self,
        expr: &'t Ref<Expr>,
        test: Test,
        member: &'t Ref<Expr>,
        collection: &str,
    ) -> bool {
        match expr.as_ref() {
            Expr::Call { fcn, .. } => {
                let (Some(name), Some(argument)) = (self.bounds(fcn), self.bounds(member)) else {
                    return false;
                };
                self.edits.push(Edit { start: name.0, end: name.1, text: test.name.to_owned() });
                self.edits.push(Edit {
                    start: argument.0,
                    end: argument.1,
                    text: collection.to_owned(),
                });
                true
            }
            Expr::BoolExpr { lhs, rhs, .. } => {
                let other = if std::ptr::eq(lhs.as_ref(), member.as_ref()) { rhs } else { lhs };
                let Some(other) = self.source(other) else { return false };
                let (Some(left), Some(right)) = (self.bounds(lhs), self.bounds(rhs)) else {
                    return false;
                };
                // Parentheses are outside of the bounds.
                let between = self.text.get(left.1..right.0).unwrap_or_default();
                if between.trim() != "==" {
                    return false;
                }
                let (start, end) = (left.0, right.1);
                // A line that ends within the statement is put behind it.
                let lines = self.text.get(start..end).unwrap_or_default().matches('\n').count();
                let text = format!("{}({collection}, {other}){}", test.name, "\n".repeat(lines));
                self.edits.push(Edit { start, end, text });
                true
            }
            _ => false,
        }
    }

    /// `x in data.list`, where the list is known and long.
    fn membership(&mut self, value: &'t Ref<Expr>, collection: &'t Ref<Expr>) -> bool {
        let (Some(value_text), Some(bounds), Some(of_value)) =
            (self.source(value), self.bounds(collection), self.bounds(value))
        else {
            return false;
        };
        // Parentheses are outside of the bounds.
        let (start, end) = (of_value.0, bounds.1);
        let between = self.text.get(of_value.1..bounds.0).unwrap_or_default().trim();
        if between != "in" || !is_still(value) {
            return false;
        }
        let Some(members) = self.known_members(collection) else { return false };
        let name = match self.members.iter().find(|(_, known)| *known == members) {
            Some((name, _)) => name.clone(),
            None => {
                let name = format!("__in_{}", self.members.len());
                self.members.push((name.clone(), members));
                name
            }
        };
        let lines = self.text.get(start..end).unwrap_or_default().matches('\n').count();
        self.edits.push(Edit {
            start,
            end,
            text: format!("{name}({value_text}){}", "\n".repeat(lines)),
        });
        true
    }

    fn known_members(&self, collection: &'t Ref<Expr>) -> Option<BTreeSet<Value>> {
        let reference = Reference::of(collection);
        if reference.name() != Some("data") {
            return None;
        }
        let mut value = self.data;
        for part in &reference.parts {
            let (Part::Key(key, _), Value::Object(members)) = (part, value) else { return None };
            value = members.get(&Value::from(*key))?;
        }
        let members: BTreeSet<Value> = match value {
            Value::Array(items) if items.len() >= MIN_MEMBERS => items.iter().cloned().collect(),
            Value::Object(items) if items.len() >= MIN_MEMBERS => items.values().cloned().collect(),
            _ => return None,
        };
        Some(members)
    }

    /// The text of a collection that does not iterate itself.
    fn collection(&self, expr: &'t Ref<Expr>) -> Option<String> {
        let reference = Reference::of(expr);
        reference.name()?;
        let is_path = reference.parts.iter().all(|part| match part {
            Part::Key(..) => true,
            Part::Index(index) => Reference::of(index).name() == Some("input") && is_still(index),
        });
        if !is_path {
            return None;
        }
        self.source(expr)
    }

    /// The text of an expression, on one line.
    fn source(&self, expr: &Ref<Expr>) -> Option<String> {
        let (start, end) = self.bounds(expr)?;
        let text = self.text.get(start..end)?;
        (!text.contains(['\n', '#'])).then(|| text.to_owned())
    }

    fn bounds(&self, expr: &Ref<Expr>) -> Option<(usize, usize)> {
        let span = expr.span();
        let (start, end) = (offset(span.start)?, offset(span.end)?);
        match expr.as_ref() {
            Expr::String { .. } | Expr::RawString { .. } => Some((start.checked_sub(1)?, end + 1)),
            Expr::Var { .. }
            | Expr::RefDot { .. }
            | Expr::RefBrack { .. }
            | Expr::Call { .. }
            | Expr::Array { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => Some((start, end)),
            // A span that ends with a text, or is that of an object, is not that of the whole.
            _ => None,
        }
    }
}

/// Says that an expression does not iterate: no index of it is a variable that the statement could give a value.
fn is_still(expr: &Ref<Expr>) -> bool {
    let mut is_still = true;
    tree::each(expr, &mut |expr| {
        if tree::comprehension(expr).is_some() || tree::variable(expr) == Some("_") {
            is_still = false;
        }
        for part in Reference::of(expr).parts {
            if let Part::Index(index) = part
                && Reference::of(index).name() != Some("input")
            {
                is_still = false;
            }
        }
    });
    is_still
}

fn offset(at: u32) -> Option<usize> {
    usize::try_from(at).ok()
}
