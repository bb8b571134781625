//! Names in a text that can only be wrong: fields of `run` and `token` and what they are compared with, keys of
//! grants, time zones, and names that nothing defines. JavaScript gives `undefined` for a field that is not there, and a
//! condition on it is quietly never true; a name that is not there is an exception for the first run that reaches it.
//!
//! That is as far as it goes: what goes through a variable, a call or brackets is not followed.

use std::collections::BTreeSet;

use engine_shared::claims::Paths;
use engine_shared::{did_you_mean, find_zone};
use oxc_allocator::{Allocator, Vec as ArenaVec};
use oxc_ast::ast::{
    Argument, AssignmentExpression, BinaryExpression, BinaryOperator, BindingIdentifier,
    BindingPattern, CallExpression, ChainElement, ComputedMemberExpression, Expression,
    FormalParameter, FormalParameters, IdentifierReference, ImportDeclaration,
    ImportDeclarationSpecifier, LogicalExpression, NewExpression, ObjectExpression, ObjectPattern,
    ObjectPropertyKind, Statement, StaticMemberExpression, SwitchStatement, TryStatement,
    UnaryExpression, UnaryOperator, UpdateExpression, VariableDeclaration, VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType};

use crate::absent::Absent;
use crate::declarations::Declarations;
use crate::globals::{Globals, Library};
use crate::modules::MAINS;
use crate::{chains, errors, fields, reads};

/// The keys of a grant.
const GRANT: [&str; 3] = ["maxTtl", "audiences", "claims"];

/// A file whose names were checked.
pub struct Checked {
    /// The claims that it reads as if every run had them.
    pub absent: Absent,
    /// The claims that it reads, if it is the file with `evaluate`.
    pub reads: Paths,
}

/// Checks the names of a file. `None` for a text that is none of the language, of which the interpreter says more. The
/// text is one without types.
///
/// # Errors
/// The place of the first name that is wrong, and the message.
pub fn check(path: &str, text: &str, library: &Library) -> Result<Option<Checked>, String> {
    let allocator = Allocator::default();
    let parsed = Parser::new(&allocator, text, SourceType::mjs()).parse();
    if !parsed.diagnostics.is_empty() {
        return Ok(None);
    }
    let mut names = Names::new(library);
    names.visit_program(&parsed.program);
    let is_claim = |root: &str| names.parameters.contains(root) && !names.rebound.contains(root);
    let found = names.found.iter().filter(|found| found.root.as_deref().is_none_or(is_claim));
    let found = found.map(|found| (found.at, found.message.clone()));
    let bound = names.parameters.iter().chain(&names.rebound).map(String::as_str).collect();
    let undefined = names.globals.undefined(&bound, library);
    // A library brings what only others of its users reach.
    let thrown = names.globals.thrown(&bound).filter(|_| MAINS.contains(&path));
    let declared = names.declarations.wrong();
    let all = found.chain(undefined).chain(thrown).chain(declared);
    match all.min_by_key(|(at, _)| *at) {
        Some((at, message)) => {
            Err(format!("{}: {message}", errors::place(path, text, at as usize)))
        }
        None => {
            let mut absent = std::mem::take(&mut names.absent);
            absent.end(
                |root| names.parameters.contains(root) && !names.rebound.contains(root),
                |at| errors::place(path, text, at as usize),
            );
            Ok(Some(Checked { absent, reads: reads::of(&parsed.program) }))
        }
    }
}

struct Found {
    at: u32,
    message: String,
    /// The name that has to be the claims' for it to be a problem.
    root: Option<String>,
}

struct Names<'l> {
    library: &'l Library,
    /// The names of parameters, but for those of functions that are handed to others.
    parameters: BTreeSet<String>,
    /// The names that anything else binds.
    rebound: BTreeSet<String>,
    /// The functions of the module `countersign`, by the names that the file gives them.
    imported: Vec<(String, String)>,
    found: Vec<Found>,
    /// Within an argument of a call, whose functions are called with anything.
    in_argument: bool,
    globals: Globals,
    declarations: Declarations,
    absent: Absent,
}

impl<'l> Names<'l> {
    fn new(library: &'l Library) -> Self {
        Self {
            library,
            parameters: BTreeSet::new(),
            rebound: BTreeSet::new(),
            imported: Vec::new(),
            found: Vec::new(),
            in_argument: false,
            globals: Globals::default(),
            declarations: Declarations::default(),
            absent: Absent::default(),
        }
    }

    fn put(&mut self, at: u32, message: String, root: Option<&str>) {
        self.found.push(Found { at, message, root: root.map(str::to_owned) });
    }

    /// Checks the field of a path, such as `run.definition`.
    fn field(&mut self, holder: &str, name: &str, at: u32) {
        if let Err(message) = fields::check(holder, name, self.library) {
            self.put(at, message, holder.split('.').next());
        }
    }

    /// Checks what a field is compared with.
    fn compared(&mut self, field: &Expression<'_>, literal: &Expression<'_>, is_strict: bool) {
        let Some(field) = path(field) else { return };
        if let Err(message) = fields::check_literal(&field, literal, is_strict) {
            self.put(literal.span().start, message, field.split('.').next());
        }
    }

    fn operation(&mut self, it: &BinaryExpression<'_>) {
        let (left, right) = (&it.left, &it.right);
        if it.operator.is_equality() {
            let is_strict = matches!(
                it.operator,
                BinaryOperator::StrictEquality | BinaryOperator::StrictInequality
            );
            self.compared(left, right, is_strict);
            self.compared(right, left, is_strict);
        } else if it.operator.is_in() {
            self.absent.names(right, left);
        } else if it.operator.is_arithmetic()
            && let Err(message) = fields::check_operands(left, right)
            && let Some(field) = path(left).or_else(|| path(right))
        {
            self.put(left.span().start, message, field.split('.').next());
        }
    }

    /// The words of a list that is asked whether it has a field.
    fn membership(&mut self, it: &CallExpression<'_>) {
        let Expression::StaticMemberExpression(callee) = &it.callee else { return };
        let Some(field) = it.arguments.first().and_then(Argument::as_expression) else { return };
        let list = match (&callee.object, callee.property.name.as_str()) {
            (Expression::ArrayExpression(list), "includes") => Some(list),
            (Expression::NewExpression(set), "has") => match set.arguments.first() {
                Some(Argument::ArrayExpression(list)) => Some(list),
                _ => None,
            },
            _ => None,
        };
        for word in list.iter().flat_map(|list| &list.elements) {
            if let Some(word) = word.as_expression() {
                self.compared(field, word, true);
            }
        }
        // `Math.min` of a BigInt throws.
        if matches!(&callee.object, Expression::Identifier(root) if root.name == "Math") {
            for argument in it.arguments.iter().filter_map(Argument::as_expression) {
                if let Some(field) = path(argument)
                    && let Err(message) = fields::check_number(&field)
                {
                    self.put(argument.span().start, message, field.split('.').next());
                }
            }
        }
    }

    fn pattern(&mut self, holder: &str, pattern: &ObjectPattern<'_>) {
        for property in &pattern.properties {
            let Some(name) = property.key.static_name().filter(|_| !property.computed) else {
                continue;
            };
            self.field(holder, &name, property.key.span().start);
            if let BindingPattern::ObjectPattern(inner) = &property.value {
                self.pattern(&format!("{holder}.{name}"), inner);
            }
        }
    }

    /// Parameters of a function that is only handed to another one are of any kind.
    fn bind_parameters(&mut self, parameters: &FormalParameters<'_>) {
        for parameter in &parameters.items {
            if let BindingPattern::BindingIdentifier(name) = &parameter.pattern {
                self.declarations.binds(&name.name);
                let names = if self.in_argument { &mut self.rebound } else { &mut self.parameters };
                names.insert(name.name.to_string());
            }
        }
    }

    fn grant(&mut self, function: &str, grant: &ObjectExpression<'_>) {
        for property in &grant.properties {
            let ObjectPropertyKind::ObjectProperty(property) = property else { continue };
            let Some(name) = property.key.static_name().filter(|_| !property.computed) else {
                continue;
            };
            if !GRANT.contains(&name.as_ref()) {
                let hint = did_you_mean(&name, GRANT);
                let message = format!(
                    "{function}: unknown key `{name}`, expected maxTtl, audiences and claims{hint}"
                );
                self.put(property.key.span().start, message, None);
            }
        }
    }
}

impl<'a> Visit<'a> for Names<'_> {
    fn visit_import_declaration(&mut self, it: &ImportDeclaration<'a>) {
        let source = it.source.value.as_str();
        if source == "countersign" || source.ends_with("/countersign.js") {
            for specifier in it.specifiers.iter().flatten() {
                if let ImportDeclarationSpecifier::ImportSpecifier(one) = specifier {
                    let name = (one.local.name.to_string(), one.imported.name().to_string());
                    self.imported.push(name);
                }
            }
        }
        walk::walk_import_declaration(self, it);
    }

    fn visit_formal_parameters(&mut self, it: &FormalParameters<'a>) {
        self.bind_parameters(it);
        walk::walk_formal_parameters(self, it);
    }

    fn visit_formal_parameter(&mut self, it: &FormalParameter<'a>) {
        // A plain name was bound by its function.
        if !matches!(it.pattern, BindingPattern::BindingIdentifier(_)) {
            self.visit_binding_pattern(&it.pattern);
        }
        if let Some(default) = &it.initializer {
            self.visit_expression(default);
        }
    }

    fn visit_binding_identifier(&mut self, it: &BindingIdentifier<'a>) {
        self.declarations.binds(&it.name);
        self.rebound.insert(it.name.to_string());
    }

    fn visit_statements(&mut self, it: &ArenaVec<'a, Statement<'a>>) {
        self.declarations.block(it);
        walk::walk_statements(self, it);
    }

    fn visit_variable_declaration(&mut self, it: &VariableDeclaration<'a>) {
        self.declarations.variables(it);
        walk::walk_variable_declaration(self, it);
    }

    fn visit_assignment_expression(&mut self, it: &AssignmentExpression<'a>) {
        self.declarations.assigns(it);
        walk::walk_assignment_expression(self, it);
    }

    fn visit_update_expression(&mut self, it: &UpdateExpression<'a>) {
        self.declarations.updates(it);
        walk::walk_update_expression(self, it);
    }

    fn visit_identifier_reference(&mut self, it: &IdentifierReference<'a>) {
        self.globals.reads(&it.name, it.span.start);
        self.absent.handed_on(it);
    }

    fn visit_unary_expression(&mut self, it: &UnaryExpression<'a>) {
        if let (UnaryOperator::Typeof, Expression::Identifier(name)) = (it.operator, &it.argument) {
            self.globals.asks(&name.name);
        }
        walk::walk_unary_expression(self, it);
    }

    fn visit_new_expression(&mut self, it: &NewExpression<'a>) {
        self.globals.makes(it);
        walk::walk_new_expression(self, it);
    }

    fn visit_switch_statement(&mut self, it: &SwitchStatement<'a>) {
        for case in &it.cases {
            if let Some(word) = &case.test {
                self.compared(&it.discriminant, word, true);
            }
        }
        walk::walk_switch_statement(self, it);
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if let (BindingPattern::ObjectPattern(pattern), Some(value)) = (&it.id, &it.init)
            && let Some(holder) = path(value)
        {
            self.pattern(&holder, pattern);
            self.absent.taken_apart(value, pattern);
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_binary_expression(&mut self, it: &BinaryExpression<'a>) {
        chains::binary(self, it, |names, operator| names.operation(operator));
    }

    fn visit_logical_expression(&mut self, it: &LogicalExpression<'a>) {
        chains::logical(self, it);
    }

    fn visit_static_member_expression(&mut self, it: &StaticMemberExpression<'a>) {
        if let Some(holder) = path(&it.object) {
            self.field(&holder, it.property.name.as_str(), it.property.span.start);
        }
        self.absent.member(it);
        walk::walk_static_member_expression(self, it);
    }

    fn visit_computed_member_expression(&mut self, it: &ComputedMemberExpression<'a>) {
        self.absent.computed(it);
        walk::walk_computed_member_expression(self, it);
    }

    fn visit_try_statement(&mut self, it: &TryStatement<'a>) {
        let catches = it.handler.is_some();
        if catches {
            self.absent.trying(true);
        }
        self.visit_block_statement(&it.block);
        if catches {
            self.absent.trying(false);
        }
        if let Some(handler) = &it.handler {
            self.visit_catch_clause(handler);
        }
        if let Some(last) = &it.finalizer {
            self.visit_block_statement(last);
        }
    }

    fn visit_call_expression(&mut self, it: &CallExpression<'a>) {
        if let Expression::Identifier(callee) = &it.callee {
            let called = self.imported.iter().find(|(local, _)| *local == callee.name.as_str());
            let called = called.map(|(_, imported)| imported.clone());
            match (called.as_deref(), it.arguments.first()) {
                (Some(name @ ("permit" | "restrict")), Some(Argument::ObjectExpression(grant))) => {
                    self.grant(name, grant);
                }
                (Some("localTime"), Some(Argument::StringLiteral(zone))) => {
                    if let Err(message) = find_zone(zone.value.as_str()) {
                        self.put(zone.span.start, message, None);
                    }
                }
                _ => {}
            }
        }
        self.membership(it);
        let arguments = || it.arguments.iter().filter_map(Argument::as_expression);
        let holder = match &it.callee {
            Expression::StaticMemberExpression(callee) => Some(&callee.object),
            _ => None,
        };
        for holder in arguments().chain(holder) {
            arguments().for_each(|name| self.absent.names(holder, name));
        }
        self.globals.calls(it);
        self.visit_expression(&it.callee);
        // The object of a policy that is exported as one has functions that the host calls.
        let outer = std::mem::replace(&mut self.in_argument, true);
        for argument in &it.arguments {
            self.in_argument = !matches!(argument, Argument::ObjectExpression(_));
            self.visit_argument(argument);
        }
        self.in_argument = outer;
    }
}

/// The most names of a path. No claim has more, and each longer path has to be walked through for each of its names.
const MAX_NAMES: usize = 8;

/// The path that begins at a name, such as `run.definition`.
pub fn path(expression: &Expression<'_>) -> Option<String> {
    let mut names = Vec::with_capacity(MAX_NAMES);
    let mut at = expression;
    while names.len() < MAX_NAMES {
        let member = match at {
            Expression::Identifier(name) => {
                names.push(name.name.as_str());
                names.reverse();
                return Some(names.join("."));
            }
            Expression::ParenthesizedExpression(inner) => {
                at = &inner.expression;
                continue;
            }
            Expression::TSNonNullExpression(inner) => {
                at = &inner.expression;
                continue;
            }
            Expression::StaticMemberExpression(member) => member,
            Expression::ChainExpression(chain) => match &chain.expression {
                ChainElement::StaticMemberExpression(member) => member,
                ChainElement::TSNonNullExpression(inner) => {
                    at = &inner.expression;
                    continue;
                }
                _ => return None,
            },
            _ => return None,
        };
        names.push(member.property.name.as_str());
        at = &member.object;
    }
    None
}

#[cfg(test)]
#[path = "tests/names.rs"]
mod tests;
