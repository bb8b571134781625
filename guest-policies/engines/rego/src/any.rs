//! Functions that look for a member of a collection, in place of a loop of the interpreter: it takes tens of thousands of
//! instructions for each member, and these take a hundred.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Result, bail};
use regorus::{Engine, Value};

use crate::builtins::{Glob, compile_pattern, glob_differs_at_once};

/// A test that a loop makes of each member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Test {
    /// The function, as policies call it; `==` for a comparison.
    pub function: &'static str,
    /// The argument that is the member.
    pub member: usize,
    /// The function that takes the collection in its place.
    pub name: &'static str,
    arguments: u8,
}

const fn test(function: &'static str, member: usize, name: &'static str, arguments: u8) -> Test {
    Test { function, member, name, arguments }
}

/// All tests.
pub const TESTS: [Test; 11] = [
    test("==", 0, "__any_equal", 2),
    test("contains", 0, "__any_contains_0", 2),
    test("contains", 1, "__any_contains_1", 2),
    test("endswith", 0, "__any_endswith_0", 2),
    test("endswith", 1, "__any_endswith_1", 2),
    test("glob.match", 0, "__any_glob_0", 3),
    test("glob.match", 2, "__any_glob_2", 3),
    test("regex.match", 0, "__any_regex_0", 2),
    test("regex.match", 1, "__any_regex_1", 2),
    test("startswith", 0, "__any_startswith_0", 2),
    test("startswith", 1, "__any_startswith_1", 2),
];

/// The test of a function with the member as this argument.
pub fn find(function: &str, member: usize) -> Option<Test> {
    TESTS.into_iter().find(|test| test.function == function && test.member == member)
}

/// Adds the functions to an engine.
///
/// # Errors
/// When a name is there already.
pub fn register(engine: &mut Engine) -> Result<()> {
    for test in TESTS {
        let function = move |arguments: Vec<Value>| any(test, &arguments);
        engine.add_extension(test.name.to_owned(), test.arguments, Box::new(function))?;
    }
    Ok(())
}

/// Adds a function that says that a collection, which is known now, has its argument as a member.
///
/// # Errors
/// When the name is there already.
pub fn register_members(engine: &mut Engine, name: &str, members: BTreeSet<Value>) -> Result<()> {
    let members = Arc::new(members);
    let function = move |arguments: Vec<Value>| {
        Ok(Value::from(arguments.first().is_some_and(|argument| members.contains(argument))))
    };
    engine.add_extension(name.to_owned(), 1, Box::new(function))
}

fn any(test: Test, arguments: &[Value]) -> Result<Value> {
    let Some(collection) = arguments.get(test.member) else {
        bail!("{}: too few arguments", test.function)
    };
    let found = match collection {
        Value::Array(items) => any_of(test, arguments, &mut items.iter())?,
        Value::Set(items) => any_of(test, arguments, &mut items.iter())?,
        Value::Object(items) => any_of(test, arguments, &mut items.values())?,
        _ => false,
    };
    Ok(Value::from(found))
}

fn any_of(
    test: Test,
    arguments: &[Value],
    members: &mut dyn Iterator<Item = &Value>,
) -> Result<bool> {
    let other = |at: usize| arguments.get(at).unwrap_or(&Value::Undefined);
    match (test.function, test.member) {
        ("==", _) => {
            for member in members {
                if member == other(1) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        ("glob.match", 0) => {
            let value = text(test, other(2))?;
            each(test, members, |pattern| {
                Ok(!glob_differs_at_once(pattern, value)
                    && Glob::new(pattern, other(1))?.is_match(value))
            })
        }
        ("glob.match", _) => {
            let glob = Glob::new(text(test, other(0))?, other(1))?;
            each(test, members, |value| Ok(glob.is_match(value)))
        }
        ("regex.match", 0) => {
            let value = text(test, other(1))?;
            each(test, members, |pattern| Ok(compile_pattern(pattern)?.is_match(value)))
        }
        ("regex.match", _) => {
            let pattern = compile_pattern(text(test, other(0))?)?;
            each(test, members, |value| Ok(pattern.is_match(value)))
        }
        (function, 0) => {
            let part = text(test, other(1))?;
            each(test, members, |whole| Ok(has(function, whole, part)))
        }
        (function, _) => {
            let whole = text(test, other(0))?;
            each(test, members, |part| Ok(has(function, whole, part)))
        }
    }
}

fn each(
    test: Test,
    members: &mut dyn Iterator<Item = &Value>,
    mut is_match: impl FnMut(&str) -> Result<bool>,
) -> Result<bool> {
    for member in members {
        if is_match(text(test, member)?)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn has(function: &str, whole: &str, part: &str) -> bool {
    match function {
        "startswith" => whole.starts_with(part),
        "endswith" => whole.ends_with(part),
        _ => whole.contains(part),
    }
}

fn text(test: Test, value: &Value) -> Result<&str> {
    match value {
        Value::String(text) => Ok(text),
        other => bail!("{}: expected a string, found {other}", test.function),
    }
}
