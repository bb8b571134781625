//! Walks through every rule with its local variables, and finds what its names stand for.

use std::collections::BTreeSet;

use regorus::unstable::{Expr, Literal, LiteralStmt, Query, Ref, Rule, RuleHead, Span};

use super::findings::{Findings, Severity};
use super::index::{Index, Step};
use super::nearest::nearest;
use super::scope::{self, Local, Origin, Scope};
use crate::catalog;
use crate::tree::{self, Part, Place, Reference};

/// The deepest nesting of expressions that is walked through.
const MAX_DEPTH: usize = 120;

/// The thing that the head of a reference stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A local variable, or the value of an expression.
    Local,
    /// A path below `input`.
    Input(Vec<Step>),
    /// A path below `data`: a document, or rules.
    Data(Vec<Step>),
}

/// A walk through one rule.
pub struct Walk<'w, 't> {
    /// All files.
    pub index: &'w Index<'t>,
    /// The findings so far.
    pub findings: Findings,
    /// The file of the rule.
    pub file: usize,
    /// The rules that this one reads.
    pub reads: BTreeSet<usize>,
    /// The imports that it uses.
    pub imports: BTreeSet<&'t str>,
    /// The queries around the place of the walk, the innermost last.
    pub(super) scopes: Vec<Scope<'t>>,
    depth: usize,
}

impl<'w, 't> Walk<'w, 't> {
    /// Walks through a definition of a rule.
    pub fn of_rule(index: &'w Index<'t>, file: usize, rule: &'t Rule) -> Self {
        let mut walk = Self {
            index,
            findings: Findings::default(),
            file,
            reads: BTreeSet::new(),
            imports: BTreeSet::new(),
            scopes: Vec::new(),
            depth: 0,
        };
        walk.rule(rule);
        walk
    }

    fn rule(&mut self, rule: &'t Rule) {
        match rule {
            Rule::Default { value, args, .. } => {
                self.enter_function(args);
                if let Some((name, span)) = first_reference(value) {
                    let message =
                        format!("the value of a default has to be constant, found `{name}`");
                    self.findings.error("default-not-constant", Place::of(span), message);
                }
            }
            Rule::Spec { head, bodies, .. } => {
                let (arguments, value, key): (&[Ref<Expr>], _, _) = match head {
                    RuleHead::Compr { assign, .. } => (&[], assign.as_ref(), None),
                    RuleHead::Set { key, .. } => (&[], None, key.as_ref()),
                    RuleHead::Func { args, assign, .. } => (args, assign.as_ref(), None),
                };
                self.enter_function(arguments);
                let name = Reference::of(tree::head(rule));
                let mut heads: Vec<&Ref<Expr>> = key.into_iter().collect();
                heads.extend(name.parts.iter().filter_map(|part| match part {
                    Part::Index(index) => Some(*index),
                    Part::Key(..) => None,
                }));
                let value = value.map(|assign| &assign.value);
                if bodies.is_empty() {
                    heads.extend(value);
                    self.query(&[], &heads);
                }
                for body in bodies {
                    let own = match body.is_else {
                        true => body.assign.as_ref().map(|assign| &assign.value),
                        false => value,
                    };
                    let mut heads = heads.clone();
                    heads.extend(own);
                    self.query(&body.query.stmts, &heads);
                }
            }
        }
        self.leave();
    }

    /// Opens the scope of a function's arguments, which a rule without arguments has too.
    fn enter_function(&mut self, arguments: &'t [Ref<Expr>]) {
        let (mut scope, mut names) = (Scope::default(), Vec::new());
        arguments.iter().for_each(|argument| tree::pattern_variables(argument, &mut names));
        for (name, span) in names {
            scope.declare(name, span, Origin::Argument, None);
        }
        self.scopes.push(scope);
    }

    /// Walks through a query: its statements, and the expressions whose values it gives.
    pub(super) fn query(&mut self, statements: &'t [LiteralStmt], heads: &[&'t Ref<Expr>]) {
        let scope = self.declare(statements);
        self.scopes.push(scope);
        self.imply(statements, heads);
        if self.check_order(statements) {
            self.check_safety(statements, heads);
        } else {
            self.set_all_safe();
        }
        for statement in statements {
            self.statement(statement);
        }
        heads.iter().for_each(|head| self.visit(head));
        self.style_of_query(statements, heads);
        self.leave();
    }

    /// The scope of a query with the variables that it declares.
    fn declare(&mut self, statements: &'t [LiteralStmt]) -> Scope<'t> {
        let mut scope = Scope::default();
        for (name, span, origin, value) in scope::declarations(statements) {
            let argument = self.scopes.first().filter(|_| self.scopes.len() == 1);
            if origin != Origin::Iterated
                && argument.is_some_and(|arguments| arguments.locals.contains_key(name))
            {
                let message =
                    format!("argument `{name}` is declared again; give the variable another name");
                self.findings.error("declared-twice", Place::of(span), message);
            }
            let Some(before) = scope.declare(name, span, origin, value) else { continue };
            let how = match before.origin {
                Origin::Assigned => "assigned",
                _ => "declared",
            };
            // A variable of `some … in` may have the name of another one, which it hides.
            if origin != Origin::Iterated && before.origin != Origin::Iterated {
                let line = Place::of(before.span).line;
                let message = format!(
                    "variable `{name}` is {how} above, in line {line}; give this one another name"
                );
                self.findings.error("declared-twice", Place::of(span), message);
            }
        }
        scope
    }

    /// Reports variables that are read above the statement that declares them; says whether there are none.
    fn check_order(&mut self, statements: &'t [LiteralStmt]) -> bool {
        let mut names = Vec::new();
        for statement in statements {
            let expressions = tree::expressions(&statement.literal);
            expressions.into_iter().for_each(|expr| scope::surface(expr, &mut names));
        }
        let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
        for (name, span) in names {
            let declared = self.scopes.last().and_then(|scope| scope.locals.get(name));
            if let Some(local) = declared
                && matches!(local.origin, Origin::Assigned | Origin::Declared)
                && span.start < local.span.start
                && seen.insert(name)
            {
                wrong.push((name, span, local.span));
            }
        }
        let is_right = wrong.is_empty();
        for (name, span, declared) in wrong {
            if !self.findings.is_full(Severity::Error) {
                let line = Place::of(declared).line;
                let message = format!(
                    "variable `{name}` is read above line {line}, which declares it; move that line up"
                );
                self.findings.error("read-above-declaration", Place::of(span), message);
            }
        }
        is_right
    }

    /// Adds the names that stand for nothing else to the innermost scope.
    fn imply(&mut self, statements: &'t [LiteralStmt], heads: &[&'t Ref<Expr>]) {
        let mut names = Vec::new();
        for statement in statements {
            tree::expressions(&statement.literal)
                .into_iter()
                .for_each(|expr| scope::surface(expr, &mut names));
            statement
                .with_mods
                .iter()
                .for_each(|modifier| scope::surface(&modifier.r#as, &mut names));
        }
        heads.iter().for_each(|head| scope::surface(head, &mut names));
        for (name, span) in names {
            let is_implied = name != "_" && self.local(name).is_none() && !self.is_global(name);
            if let Some(scope) = self.scopes.last_mut().filter(|_| is_implied) {
                scope.declare(name, span, Origin::Implied, None);
            }
        }
    }

    fn statement(&mut self, statement: &'t LiteralStmt) {
        match &statement.literal {
            Literal::SomeVars { .. } => {}
            Literal::SomeIn { key, value, collection, .. } => {
                self.visit(collection);
                self.check_collection(collection);
                key.iter().chain([value]).for_each(|part| self.visit_pattern(part));
            }
            Literal::Expr { expr, .. } => match expr.as_ref() {
                Expr::AssignExpr { op: regorus::unstable::AssignOp::ColEq, lhs, rhs, .. } => {
                    self.visit(rhs);
                    self.visit_pattern(lhs);
                }
                _ => self.visit(expr),
            },
            Literal::NotExpr { expr, .. } => self.visit(expr),
            Literal::Every { key, value, domain, query, .. } => {
                self.visit(domain);
                self.check_collection(domain);
                let mut scope = Scope::default();
                for span in key.iter().chain([value]) {
                    scope.declare(span.text(), span, Origin::Argument, None);
                }
                self.scopes.push(scope);
                self.query(&query.stmts, &[]);
                self.leave();
            }
        }
        for modifier in &statement.with_mods {
            self.visit_modified(&modifier.refr);
            self.visit(&modifier.r#as);
        }
    }

    /// A pattern: its variables are declared there, and everything else is read.
    fn visit_pattern(&mut self, pattern: &'t Ref<Expr>) {
        match pattern.as_ref() {
            Expr::Var { .. } => {}
            Expr::Array { items, .. } => items.iter().for_each(|item| self.visit_pattern(item)),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.visit(key);
                    self.visit_pattern(value);
                }
            }
            _ => self.visit(pattern),
        }
    }

    /// Visits an expression that is read.
    pub(super) fn visit(&mut self, expr: &'t Ref<Expr>) {
        if self.findings.is_full(Severity::Error) {
            return;
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let message =
                format!("expressions are nested more than {MAX_DEPTH} deep; split the rule");
            self.findings.error("nested-too-deep", Place::of_expr(expr), message);
        } else {
            self.visit_shallow(expr);
        }
        self.depth -= 1;
    }

    fn visit_shallow(&mut self, expr: &'t Ref<Expr>) {
        if let Some((terms, query)) = tree::comprehension(expr) {
            self.closure(&terms, query);
            return;
        }
        self.check_expression(expr);
        if let Expr::Call { fcn, params, .. } = expr.as_ref() {
            self.call(expr, fcn, params);
            params.iter().for_each(|param| self.visit(param));
            return;
        }
        let reference = Reference::of(expr);
        match reference.head {
            Expr::Var { .. } => self.read(&reference, expr),
            _ if reference.parts.is_empty() => {
                tree::children(expr).into_iter().for_each(|child| self.visit(child));
            }
            head => {
                if let Some((terms, query)) = tree::comprehension(head) {
                    self.closure(&terms, query);
                } else if let Expr::Call { fcn, params, .. } = head {
                    self.call(expr, fcn, params);
                    params.iter().for_each(|param| self.visit(param));
                } else {
                    tree::children(head).into_iter().for_each(|child| self.visit(child));
                }
            }
        }
        for part in &reference.parts {
            if let Part::Index(index) = part {
                self.visit(index);
            }
        }
    }

    fn closure(&mut self, terms: &[&'t Ref<Expr>], query: &'t Query) {
        self.query(&query.stmts, terms);
    }

    /// Closes the innermost scope, and reports what it declared in vain.
    fn leave(&mut self) {
        let Some(scope) = self.scopes.pop() else { return };
        for (name, local) in scope.locals {
            if local.uses > 0 {
                continue;
            }
            let place = Place::of(local.span);
            match local.origin {
                Origin::Declared => {
                    self.findings.error(
                        "unused-variable",
                        place,
                        format!("declared variable `{name}` is not used"),
                    );
                }
                Origin::Assigned if !name.starts_with('_') => {
                    let message =
                        format!("assigned variable `{name}` is not used; use it, or remove it");
                    self.findings.error("unused-variable", place, message);
                }
                _ => {}
            }
        }
    }

    /// The local variable that a name stands for.
    pub(super) fn local(&self, name: &str) -> Option<&Local<'t>> {
        self.scopes.iter().rev().find_map(|scope| scope.locals.get(name))
    }

    fn local_mut(&mut self, name: &str) -> Option<&mut Local<'t>> {
        self.scopes.iter_mut().rev().find_map(|scope| scope.locals.get_mut(name))
    }

    /// Says that a name is a local variable that has no value yet.
    pub(super) fn is_unsafe(&self, name: &str) -> bool {
        name == "_" || self.local(name).is_some_and(|local| !local.is_safe)
    }

    pub(super) fn set_safe(&mut self, name: &str) {
        if let Some(local) = self.local_mut(name) {
            local.is_safe = true;
        }
    }

    pub(super) fn set_all_safe(&mut self) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.locals.values_mut().for_each(|local| local.is_safe = true);
        }
    }

    /// Counts a use of a local variable.
    pub(super) fn count_use(&mut self, name: &str) {
        if let Some(local) = self.local_mut(name) {
            local.uses += 1;
        }
    }

    /// Says that a name that is no local variable stands for something.
    fn is_global(&self, name: &str) -> bool {
        matches!(name, "input" | "data")
            || self.index.has_rule(self.file, name)
            || self.index.files.get(self.file).is_some_and(|file| file.imports.contains_key(name))
    }

    /// The target of a reference whose head is a name.
    pub(super) fn target(&self, reference: &Reference<'t>) -> Target {
        let Some(name) = reference.name().filter(|name| self.local(name).is_none()) else {
            return Target::Local;
        };
        let Some(file) = self.index.files.get(self.file) else { return Target::Local };
        let below = reference.parts.iter().map(|part| match part {
            Part::Key(key, _) => Step::Key((*key).to_owned()),
            Part::Index(_) => Step::Any,
        });
        let keys = |keys: &[String]| keys.iter().cloned().map(Step::Key).collect::<Vec<_>>();
        match name {
            "input" => Target::Input(below.collect()),
            "data" => Target::Data(below.collect()),
            _ if self.index.has_rule(self.file, name) => {
                let mut path = keys(&file.package);
                path.push(Step::Key(name.to_owned()));
                path.extend(below);
                Target::Data(path)
            }
            _ => match file.imports.get(name) {
                Some(import) => {
                    let (root, rest) = import
                        .path
                        .split_first()
                        .map_or(("", &[][..]), |(root, rest)| (root, rest));
                    let path = keys(rest).into_iter().chain(below).collect();
                    if root == "input" { Target::Input(path) } else { Target::Data(path) }
                }
                None => Target::Local,
            },
        }
    }

    /// Marks the import that a name stands for as used.
    pub(super) fn use_import(&mut self, name: &str) {
        let index = self.index;
        if self.local(name).is_none()
            && let Some(file) = index.files.get(self.file)
            && let Some((name, _)) = file.imports.get_key_value(name)
        {
            self.imports.insert(name);
        }
    }

    /// The proposal for a name that stands for nothing.
    pub(super) fn proposal_for(&self, name: &'t str) -> String {
        if matches!(name, "run" | "token") {
            return format!("; did you mean `input.{name}`?");
        }
        if engine_shared_word(name) {
            return format!("; did you mean the text `\"{name}\"`?");
        }
        let index = self.index;
        let Some(file) = index.files.get(self.file) else { return String::new() };
        let locals = self.scopes.iter().flat_map(|scope| scope.locals.iter());
        let locals =
            locals.filter(|(other, local)| **other != name && local.is_safe).map(|(name, _)| *name);
        let words = locals.chain(index.names_in(&file.package)).chain(file.imports.keys().copied());
        match nearest(name, words.chain(["input", "data"])) {
            Some(word) => format!("; did you mean `{word}`?"),
            None if catalog::lookup(name).is_some() || catalog::is_namespace(name) => {
                format!("; `{name}` is a built-in function, which has to be called")
            }
            None if matches!(name, "True" | "False") => {
                format!("; did you mean `{}`?", name.to_lowercase())
            }
            None if matches!(name, "None" | "nil" | "undefined") => {
                "; did you mean `null`, or `not`?".to_owned()
            }
            None => String::new(),
        }
    }
}

/// Says that a name is a word of a claim, of which the quotation marks were forgotten.
fn engine_shared_word(name: &str) -> bool {
    ["run.behavior", "run.definition.implementation", "run.trigger.author_kind"]
        .iter()
        .filter_map(|path| engine_shared::words(path))
        .any(|words| words.contains(&name))
}

/// The first variable or call in an expression, outside comprehensions.
fn first_reference(expr: &Ref<Expr>) -> Option<(String, &Span)> {
    if tree::comprehension(expr).is_some() {
        return None;
    }
    if let Expr::Call { fcn, .. } = expr.as_ref() {
        return Some((tree::callee(fcn).unwrap_or_default(), Reference::of(fcn).head.span()));
    }
    let reference = Reference::of(expr);
    if let Expr::Var { span, .. } = reference.head {
        return Some((span.text().to_owned(), span));
    }
    tree::children(expr).into_iter().find_map(first_reference)
}
