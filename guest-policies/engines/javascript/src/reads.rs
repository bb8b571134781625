//! The claims that a policy reads, as far as its text tells: making the others would be the greatest part of a decision.

use engine_shared::claims::Paths;
use oxc_ast::ast::{
    BinaryExpression, BindingPattern, Declaration, Expression, FormalParameters,
    IdentifierReference, LogicalExpression, Program, Statement, VariableDeclarator,
};
use oxc_ast_visit::{Visit, walk};

use crate::chains;
use crate::fields::contract;
use crate::names::path;

/// The positions of the claims among the parameters of `evaluate`, and their names in the contract.
const CLAIMS: [(usize, &str); 2] = [(1, "run"), (2, "token")];

/// The function that is called.
const EVALUATE: &str = "evaluate";

/// Finds what the file with `evaluate` reads of its parameters, by names that are written after theirs, in whatever function:
/// `run.definition.id`. Anything else, such as `f(run)` or `run[name]`, reads all.
pub fn of(program: &Program<'_>) -> Paths {
    let Some(names) = parameters(program) else { return Paths::all() };
    let mut reads = Reads { names, paths: Paths::default() };
    reads.visit_program(program);
    reads.paths
}

/// The names of the parameters that are claims. `None` where they are not to be told: they may have other ways to be reached.
fn parameters(program: &Program<'_>) -> Option<Vec<(String, &'static str)>> {
    let exported = program.body.iter().filter_map(|statement| match statement {
        Statement::ExportDeclaration(export) => Some(of_export(&export.declaration)),
        Statement::ExportNamedDeclaration(_)
        | Statement::ExportFromDeclaration(_)
        | Statement::ExportAllDeclaration(_)
        | Statement::ExportDefaultDeclaration(_) => Some(None),
        _ => None,
    });
    // An export in another form may be the function, too.
    let exported = exported.collect::<Option<Vec<_>>>()?;
    let mut found = exported.into_iter().flatten();
    let (Some(parameters), None) = (found.next(), found.next()) else { return None };
    if parameters.rest.is_some() {
        return None;
    }
    let mut names = Vec::new();
    for (position, claim) in CLAIMS {
        if let Some(parameter) = parameters.items.get(position) {
            let BindingPattern::BindingIdentifier(name) = &parameter.pattern else { return None };
            names.push((name.name.to_string(), claim));
        }
    }
    Some(names)
}

/// The parameters of an exported function `evaluate`: none of an export of another name; `None` for one that may be it.
fn of_export<'p, 'a>(export: &'p Declaration<'a>) -> Option<Option<&'p FormalParameters<'a>>> {
    let (name, parameters) = match export {
        Declaration::FunctionDeclaration(function) => {
            (function.id.as_ref()?.name.as_str(), Some(&*function.params))
        }
        // A `var` may be declared again.
        Declaration::VariableDeclaration(variables) if !variables.kind.is_var() => {
            let [variable] = variables.declarations.as_slice() else { return None };
            let BindingPattern::BindingIdentifier(name) = &variable.id else { return None };
            let parameters = match &variable.init {
                Some(Expression::ArrowFunctionExpression(function)) => Some(&*function.params),
                Some(Expression::FunctionExpression(function)) => Some(&*function.params),
                _ => None,
            };
            (name.name.as_str(), parameters)
        }
        _ => return None,
    };
    match name {
        EVALUATE => parameters.map(Some),
        "policy" => None,
        _ => Some(None),
    }
}

struct Reads {
    /// The names that stand for claims, with those of the contract.
    names: Vec<(String, &'static str)>,
    paths: Paths,
}

impl Reads {
    /// Adds names from a parameter on; `false` if the first is none.
    fn add(&mut self, names: &str, further: Option<&str>) -> bool {
        let (root, rest) =
            names.split_once('.').map_or((names, None), |(root, rest)| (root, Some(rest)));
        let mut found = false;
        // Two parameters of one name are an error of syntax in a module, so this is one.
        for (_, claim) in self.names.iter().filter(|(name, _)| name == root) {
            let names = rest.into_iter().flat_map(|rest| rest.split('.')).chain(further);
            let names = std::iter::once((*claim).to_owned()).chain(names.map(contract));
            self.paths.add_claim(names.collect());
            found = true;
        }
        found
    }
}

impl<'a> Visit<'a> for Reads {
    fn visit_expression(&mut self, it: &Expression<'a>) {
        if !path(it).is_some_and(|names| self.add(&names, None)) {
            walk::walk_expression(self, it);
        }
    }

    fn visit_binary_expression(&mut self, it: &BinaryExpression<'a>) {
        chains::binary(self, it, |_, _| {});
    }

    fn visit_logical_expression(&mut self, it: &LogicalExpression<'a>) {
        chains::logical(self, it);
    }

    /// `const { definition } = run` reads what it names.
    fn visit_variable_declarator(&mut self, it: &VariableDeclarator<'a>) {
        if let (BindingPattern::ObjectPattern(pattern), Some(value)) = (&it.id, &it.init)
            && pattern.rest.is_none()
            && let Some(names) = path(value)
        {
            let keys: Option<Vec<_>> = pattern
                .properties
                .iter()
                .map(|property| property.key.static_name().filter(|_| !property.computed))
                .collect();
            // A pattern without a name still takes the object apart.
            let keys = keys.filter(|keys| !keys.is_empty());
            if keys.is_some_and(|keys| keys.iter().all(|key| self.add(&names, Some(key)))) {
                self.visit_binding_pattern(&it.id);
                return;
            }
        }
        walk::walk_variable_declarator(self, it);
    }

    fn visit_identifier_reference(&mut self, it: &IdentifierReference<'a>) {
        // The arguments of a function without their names, and a function that may be another one when it is called.
        if it.name == "arguments" || it.name == EVALUATE {
            self.paths = Paths::all();
        }
        self.add(&it.name, None);
    }
}

#[cfg(test)]
#[path = "tests/reads.rs"]
mod tests;
