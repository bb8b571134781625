//! Declarations that the interpreter takes and the language does not: a name twice in a block, and a constant that is
//! assigned.

use std::collections::{BTreeMap, BTreeSet};

use oxc_ast::ast::{
    AssignmentExpression, AssignmentTarget, BindingPattern, SimpleAssignmentTarget, Statement,
    UpdateExpression, VariableDeclaration,
};

/// The declarations of a file.
#[derive(Default)]
pub struct Declarations {
    /// The names that are declared twice, each with its place.
    twice: Vec<(u32, String)>,
    constants: BTreeSet<String>,
    /// The number of times that a name is bound in the file.
    bound: BTreeMap<String, usize>,
    assigned: Vec<(u32, String)>,
}

impl Declarations {
    /// Takes the statements of a block.
    pub fn block(&mut self, statements: &[Statement<'_>]) {
        let mut names = BTreeMap::new();
        for statement in statements {
            let mut declared = Vec::new();
            let is_function = match statement {
                Statement::VariableDeclaration(it) if !it.kind.is_var() => {
                    it.declarations.iter().for_each(|it| bound(&it.id, &mut declared));
                    false
                }
                Statement::ClassDeclaration(it) => {
                    declared.extend(it.id.iter().map(|id| (id.name.to_string(), id.span.start)));
                    false
                }
                Statement::FunctionDeclaration(it) => {
                    declared.extend(it.id.iter().map(|id| (id.name.to_string(), id.span.start)));
                    true
                }
                _ => continue,
            };
            for (name, at) in declared {
                // Functions may have one name.
                let first = names.insert(name.clone(), is_function);
                if first.is_some_and(|was_function| !(was_function && is_function)) {
                    self.twice.push((at, name));
                }
            }
        }
    }

    /// Takes a declaration of variables.
    pub fn variables(&mut self, it: &VariableDeclaration<'_>) {
        if it.kind.is_const() {
            let mut declared = Vec::new();
            it.declarations.iter().for_each(|it| bound(&it.id, &mut declared));
            self.constants.extend(declared.into_iter().map(|(name, _)| name));
        }
    }

    /// Takes a name that is bound.
    pub fn binds(&mut self, name: &str) {
        *self.bound.entry(name.to_owned()).or_default() += 1;
    }

    /// Takes an assignment.
    pub fn assigns(&mut self, it: &AssignmentExpression<'_>) {
        if let AssignmentTarget::AssignmentTargetIdentifier(name) = &it.left {
            self.assigned.push((name.span.start, name.name.to_string()));
        }
    }

    /// Takes `++` or `--`.
    pub fn updates(&mut self, it: &UpdateExpression<'_>) {
        if let SimpleAssignmentTarget::AssignmentTargetIdentifier(name) = &it.argument {
            self.assigned.push((name.span.start, name.name.to_string()));
        }
    }

    /// The mistakes in declarations, each with its place and the message.
    pub fn wrong(&self) -> impl Iterator<Item = (u32, String)> {
        let twice = self.twice.iter().map(|(at, name)| {
            (*at, format!("SyntaxError: `{name}` is declared twice in one block"))
        });
        // A name that is bound again somewhere may be another one there.
        let is_constant =
            |name: &str| self.constants.contains(name) && self.bound.get(name) == Some(&1);
        let assigned = self.assigned.iter().filter(move |(_, name)| is_constant(name));
        twice.chain(assigned.map(|(at, name)| {
            (*at, format!("TypeError: `{name}` is a constant; declare it by `let`"))
        }))
    }
}

/// The names that a pattern binds, each with its place.
fn bound(pattern: &BindingPattern<'_>, names: &mut Vec<(String, u32)>) {
    match pattern {
        BindingPattern::BindingIdentifier(name) => {
            names.push((name.name.to_string(), name.span.start));
        }
        BindingPattern::ObjectPattern(object) => {
            object.properties.iter().for_each(|property| bound(&property.value, names));
            object.rest.iter().for_each(|rest| bound(&rest.argument, names));
        }
        BindingPattern::ArrayPattern(array) => {
            array.elements.iter().flatten().for_each(|element| bound(element, names));
            array.rest.iter().for_each(|rest| bound(&rest.argument, names));
        }
        BindingPattern::AssignmentPattern(default) => bound(&default.left, names),
    }
}
