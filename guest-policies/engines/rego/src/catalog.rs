//! The built-in functions of Rego: those that policies can call, by their types, and those that are not there, with the
//! reason.

use crate::kinds::Kinds;

/// A line a function, sorted: `name args>result`, `name !reason` for one that is not there, `name -replacement` for one
/// that OPA has deprecated.
const TABLE: &str = include_str!("catalog.txt");

/// A built-in function.
pub enum Builtin {
    /// It can be called.
    Function {
        /// The kinds that each argument can have.
        arguments: Vec<Kinds>,
        /// The kinds that its value can have.
        result: Kinds,
    },
    /// OPA has it, and the engine does not.
    Absent(&'static str),
    /// OPA had it, and tells to use the other.
    Deprecated(&'static str),
}

/// Looks a function up by its name.
pub fn lookup(name: &str) -> Option<Builtin> {
    let (_, text) = lines().find(|(found, _)| *found == name)?;
    if let Some(reason) = text.strip_prefix('!') {
        return Some(Builtin::Absent(reason));
    }
    if let Some(replacement) = text.strip_prefix('-') {
        return Some(Builtin::Deprecated(replacement));
    }
    let (arguments, result) = text.split_once('>')?;
    Some(Builtin::Function {
        arguments: arguments.chars().map(Kinds::of_letter).collect(),
        result: result.chars().next().map_or(Kinds::ANY, Kinds::of_letter),
    })
}

/// The names of all functions that can be called.
pub fn names() -> impl Iterator<Item = &'static str> {
    lines().filter(|(_, text)| text.contains('>')).map(|(name, _)| name).chain(["print"])
}

/// Says that functions begin with this word and a dot, as `regex.` does.
pub fn is_namespace(word: &str) -> bool {
    lines().any(|(name, _)| name.strip_prefix(word).is_some_and(|rest| rest.starts_with('.')))
}

fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    TABLE.lines().filter_map(|line| line.split_once(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_each_function_is_there() {
        let names_in_order: Vec<_> = lines().map(|(name, _)| name).collect();
        assert!(names_in_order.is_sorted());
        let engine = crate::builtins::names();
        for name in names().filter(|name| *name != "print") {
            let is_native = regorus::unstable::BUILTINS.contains_key(name);
            assert!(is_native || engine.contains(&name), "{name}");
        }
        for name in engine {
            assert!(matches!(lookup(name), Some(Builtin::Function { .. })), "{name}");
        }
    }
}
