//! Names that a policy can only have misspelt: fields of `run` and `token`, keys of grants, and time zones. JavaScript gives
//! `undefined` for a field that is not there, and a condition on it is quietly never true.
//!
//! That is as far as it goes: types are not checked, and what goes through a variable, a call or brackets is not followed.

use std::collections::BTreeSet;

use engine_shared::{did_you_mean, find_zone};
use oxc_allocator::Allocator;
use oxc_ast::ast::{
    Argument, BinaryExpression, BindingIdentifier, BindingPattern, CallExpression, ChainElement,
    Expression, FormalParameter, FormalParameters, ImportDeclaration, ImportDeclarationSpecifier,
    LogicalExpression, ObjectExpression, ObjectPattern, ObjectPropertyKind, StaticMemberExpression,
    VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};
use oxc_parser::Parser;
use oxc_span::{GetSpan, SourceType};

use crate::errors;

/// The fields of `run` and `token`, and of what they hold, by the path of what has them.
const FIELDS: [(&str, &[&str]); 5] = [
    (
        "run",
        &["id", "number", "behavior", "buildingBlock", "definition", "trigger", "runner", "facts"],
    ),
    ("run.buildingBlock", &["id", "workspace", "project", "platform", "parents"]),
    ("run.definition", &["id", "workspace", "version", "implementation"]),
    ("run.trigger", &["reason", "author", "authorKind"]),
    ("token", &["subject", "audiences", "ttlSeconds", "issuedAt"]),
];

/// The keys of a grant.
const GRANT: [&str; 3] = ["maxTtl", "audiences", "claims"];

/// The members that every object has.
const OF_OBJECTS: [&str; 5] =
    ["constructor", "hasOwnProperty", "propertyIsEnumerable", "toString", "valueOf"];

/// Finds the first name of a file that is misspelt: its place and the message. `None` for a text that is none of the
/// language, of which the interpreter says more.
pub fn misspelt(path: &str, text: &str) -> Option<String> {
    let allocator = Allocator::default();
    let is_typed = path.ends_with(".ts") || path.ends_with(".mts");
    let source = if is_typed { SourceType::ts() } else { SourceType::mjs() };
    let parsed = Parser::new(&allocator, text, source.with_module(true)).parse();
    if !parsed.diagnostics.is_empty() {
        return None;
    }
    let mut names = Names::default();
    names.visit_program(&parsed.program);
    let is_claim = |root: &str| names.parameters.contains(root) && !names.rebound.contains(root);
    let found = names.found.iter().filter(|found| found.root.as_deref().is_none_or(is_claim));
    let first = found.min_by_key(|found| found.at)?;
    Some(format!("{}: {}", errors::place(path, text, first.at as usize), first.message))
}

struct Found {
    at: u32,
    message: String,
    /// The name that has to be the claims' for it to be a problem.
    root: Option<String>,
}

#[derive(Default)]
struct Names {
    /// The names of parameters, but for those of functions that are handed to others.
    parameters: BTreeSet<String>,
    /// The names that anything else binds.
    rebound: BTreeSet<String>,
    /// The functions of the module `countersign`, by the names that the file gives them.
    imported: Vec<(String, String)>,
    found: Vec<Found>,
    /// Within an argument of a call, whose functions are called with anything.
    in_argument: bool,
}

impl Names {
    fn put(&mut self, at: u32, message: String, root: Option<&str>) {
        self.found.push(Found { at, message, root: root.map(str::to_owned) });
    }

    /// Checks the field of a path, such as `run.definition`.
    fn field(&mut self, holder: &str, name: &str, at: u32) {
        let Some((_, fields)) = FIELDS.iter().find(|(path, _)| *path == holder) else { return };
        if fields.contains(&name) || OF_OBJECTS.contains(&name) {
            return;
        }
        let hint = did_you_mean(name, fields.iter().copied());
        let message =
            format!("`{holder}` has no `{name}`, expected one of `{}`{hint}", fields.join("`, `"));
        let root = holder.split('.').next();
        self.put(at, message, root);
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

impl<'a> Visit<'a> for Names {
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
        self.rebound.insert(it.name.to_string());
    }

    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if let (BindingPattern::ObjectPattern(pattern), Some(value)) = (&it.id, &it.init)
            && let Some(holder) = path(value)
        {
            self.pattern(&holder, pattern);
        }
        walk::walk_variable_declarator(self, it);
    }

    // A sum of thousands of parts is a tree that deep.
    fn visit_binary_expression(&mut self, it: &BinaryExpression<'a>) {
        self.visit_expression(&it.right);
        let mut left = &it.left;
        while let Expression::BinaryExpression(inner) = left {
            self.visit_expression(&inner.right);
            left = &inner.left;
        }
        self.visit_expression(left);
    }

    fn visit_logical_expression(&mut self, it: &LogicalExpression<'a>) {
        self.visit_expression(&it.right);
        let mut left = &it.left;
        while let Expression::LogicalExpression(inner) = left {
            self.visit_expression(&inner.right);
            left = &inner.left;
        }
        self.visit_expression(left);
    }

    fn visit_static_member_expression(&mut self, it: &StaticMemberExpression<'a>) {
        if let Some(holder) = path(&it.object) {
            self.field(&holder, it.property.name.as_str(), it.property.span.start);
        }
        walk::walk_static_member_expression(self, it);
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

/// The path that begins at a name, such as `run.definition`.
fn path(expression: &Expression<'_>) -> Option<String> {
    match expression {
        Expression::Identifier(name) => Some(name.name.to_string()),
        Expression::StaticMemberExpression(member) => of_member(member),
        Expression::ParenthesizedExpression(inner) => path(&inner.expression),
        Expression::TSNonNullExpression(inner) => path(&inner.expression),
        Expression::ChainExpression(chain) => match &chain.expression {
            ChainElement::StaticMemberExpression(member) => of_member(member),
            ChainElement::TSNonNullExpression(inner) => path(&inner.expression),
            _ => None,
        },
        _ => None,
    }
}

fn of_member(member: &StaticMemberExpression<'_>) -> Option<String> {
    Some(format!("{}.{}", path(&member.object)?, member.property.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMPORT: &str = "import { localTime, permit, restrict as limit } from 'countersign';\n";

    #[track_caller]
    fn check(path: &str, line: &str, expected: Option<&str>) {
        let text =
            format!("{IMPORT}export function evaluate(settings, run, token) {{\n  {line}\n}}");
        let found = misspelt(path, &text);
        match expected {
            None => assert_eq!(found, None, "{line}"),
            Some(says) => {
                assert!(found.as_deref().is_some_and(|f| f.starts_with(says)), "{line}: {found:?}")
            }
        }
    }

    #[test]
    fn names_that_are_not_there_are_found() {
        for (line, says) in [
            (
                "return run.buildingBlock.worksapce;",
                "policy.js:3:28: `run.buildingBlock` has no `worksapce`, expected one of `id`, `workspace`, `project`, \
                 `platform`, `parents`; did you mean `workspace`?",
            ),
            ("return run.building_block;", "policy.js:3:14: `run` has no `building_block`"),
            (
                "return run.trigger?.author_kind;",
                "policy.js:3:23: `run.trigger` has no `author_kind`",
            ),
            ("return (run?.trigger)?.kind;", "policy.js:3:26: `run.trigger` has no `kind`"),
            ("return token.ttl > 600;", "policy.js:3:16: `token` has no `ttl`"),
            ("const { behaviour } = run;", "policy.js:3:11: `run` has no `behaviour`"),
            (
                "const { definition: { workspce } } = run;",
                "policy.js:3:25: `run.definition` has no `workspce`",
            ),
            (
                "return permit({ max_ttl: 600 });",
                "policy.js:3:19: permit: unknown key `max_ttl`, expected maxTtl, audiences and claims; did you mean `maxTtl`?",
            ),
            (
                "return limit({ 'audience': [] });",
                "policy.js:3:18: restrict: unknown key `audience`",
            ),
            (
                "return localTime('Berlin', token.issuedAt);",
                "policy.js:3:20: there is no time zone `Berlin`",
            ),
        ] {
            check("policy.js", line, Some(says));
        }
        check(
            "policy.ts",
            "return run.trigger!.autor as string;",
            Some("policy.ts:3:23: `run.trigger` has no `autor`"),
        );
    }

    #[test]
    fn names_that_may_be_there_are_not() {
        for line in [
            "return run.trigger?.authorKind ?? run.facts.ticket;",
            "return run.buildingBlock.parents.length + run.hasOwnProperty('trigger');",
            "return 'a b'.split(' ').map((token) => token.size);",
            "const { id, ...rest } = run; return rest;",
            "return run['any'];",
            "return permit({ ...settings.grant });",
            "return settings.permit({ max_ttl: 1 });",
            "for (const run of settings.runs) { if (run.name) return run.name; }",
            "return localTime(settings.zone, token.issuedAt).weekday;",
        ] {
            check("policy.js", line, None);
        }
        // A text that is none is the interpreter's to tell of.
        check("policy.js", "return run.none +;", None);
    }
}
