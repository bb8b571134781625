//! The fields of `run` and `token` by the names of the language: their members, and what they can be compared with.

use engine_shared::claims::{FIELDS, Kind};
use engine_shared::{did_you_mean, words};
use oxc_ast::ast::Expression;

use crate::globals::Library;
use crate::names::path;

/// The members that every object has.
const OF_OBJECTS: [&str; 5] =
    ["constructor", "hasOwnProperty", "propertyIsEnumerable", "toString", "valueOf"];

/// Checks that what a path names has a member.
///
/// # Errors
/// The message, with the nearest member that is there.
pub fn check(holder: &str, name: &str, library: &Library) -> Result<(), String> {
    if let Some(fields) = fields(holder) {
        let fields: Vec<_> = fields.into_iter().map(|(name, _)| name).collect();
        if fields.iter().any(|field| field == name) || OF_OBJECTS.contains(&name) {
            return Ok(());
        }
        let hint = did_you_mean(name, fields.iter().map(String::as_str));
        let expected = fields.join("`, `");
        return Err(format!("`{holder}` has no `{name}`, expected one of `{expected}`{hint}"));
    }
    let (what, members) = match kind(holder) {
        Some(Kind::Text) => ("a text", &library.texts),
        Some(Kind::List) => ("a list", &library.lists),
        Some(Kind::Number) => ("a number", &library.numbers),
        Some(Kind::Long) => ("a BigInt", &library.big_integers),
        Some(Kind::Object | Kind::Facts) | None => return Ok(()),
    };
    if members.contains(name) {
        return Ok(());
    }
    let hint = match name {
        "contains" | "has" | "in" if members.contains("includes") => {
            "; did you mean `includes`?".to_owned()
        }
        _ => did_you_mean(name, members.iter().map(String::as_str)),
    };
    Err(format!("`{holder}` is {what}, which has no `{name}`{hint}"))
}

/// Checks a literal that a field is compared with.
///
/// # Errors
/// The message, when no run has a field that equals it.
pub fn check_literal(field: &str, literal: &Expression<'_>, is_strict: bool) -> Result<(), String> {
    let Some(kind) = kind(field) else { return Ok(()) };
    if let Expression::StringLiteral(text) = literal
        && let Some(words) = words(&contract(field))
        && !words.contains(&text.value.as_str())
    {
        let (hint, words) = (did_you_mean(&text.value, words.iter().copied()), words.join("`, `"));
        return Err(format!(
            "`{field}` is never `{}`, expected one of `{words}`{hint}",
            text.value
        ));
    }
    let (fits, literal) = match literal {
        Expression::NullLiteral(_) if is_strict => {
            return Err(format!(
                "`{field}` is never `null`: a claim that is absent is `undefined`"
            ));
        }
        Expression::NumericLiteral(number) if is_strict && kind == Kind::Long => {
            let written = number.raw.as_ref().map_or("1", |raw| raw.as_str());
            return Err(format!(
                "`{field}` is a BigInt, which `===` no number equals: write `{written}n`"
            ));
        }
        Expression::BigIntLiteral(number) if is_strict && kind == Kind::Number => {
            let written = number.value.as_str();
            return Err(format!(
                "`{field}` is a number, which `===` no BigInt equals: write `{written}`"
            ));
        }
        Expression::StringLiteral(_) => (kind == Kind::Text, "a text"),
        Expression::NumericLiteral(_) => (kind == Kind::Number, "a number"),
        Expression::BigIntLiteral(_) => (kind == Kind::Long, "a BigInt"),
        Expression::BooleanLiteral(_) => (false, "a boolean"),
        _ => return Ok(()),
    };
    if fits || !is_strict {
        return Ok(());
    }
    let what = match kind {
        Kind::Object | Kind::Facts => "an object",
        Kind::Text => "a text",
        Kind::Number => "a number",
        Kind::Long => "a BigInt",
        Kind::List => "a list",
    };
    let hint =
        if kind == Kind::List { format!("; write `{field}.includes(…)`") } else { String::new() };
    Err(format!("`{field}` is {what}, which never equals {literal}{hint}"))
}

/// Checks the two sides of an arithmetic operator.
///
/// # Errors
/// The message, when one is a BigInt and the other a number: the operator throws.
pub fn check_operands(left: &Expression<'_>, right: &Expression<'_>) -> Result<(), String> {
    match (operand(left), operand(right)) {
        (Some((big, Kind::Long)), Some((number, Kind::Number)))
        | (Some((number, Kind::Number)), Some((big, Kind::Long))) => Err(format!(
            "{big} is a BigInt and {number} a number, which do not mix; convert one, as in `Number(…)`"
        )),
        _ => Ok(()),
    }
}

/// Checks that a field is one that functions of numbers take.
///
/// # Errors
/// The message, when it is a BigInt.
pub fn check_number(field: &str) -> Result<(), String> {
    if kind(field) != Some(Kind::Long) {
        return Ok(());
    }
    Err(format!("`{field}` is a BigInt, which `Math` does not take; write `Number({field})`"))
}

/// The fields of the object that a path names.
fn fields(holder: &str) -> Option<Vec<(String, Kind)>> {
    let (_, fields) = FIELDS.iter().find(|(path, _)| camel(path) == holder)?;
    Some(fields.iter().map(|(name, kind)| (camel(name), *kind)).collect())
}

/// The kind of the field that a path names.
fn kind(field: &str) -> Option<Kind> {
    let Some((holder, name)) = field.rsplit_once('.') else {
        return fields(field).map(|_| Kind::Object);
    };
    fields(holder)?.into_iter().find(|(known, _)| known == name).map(|(_, kind)| kind)
}

/// A path in camel case, as the language has it.
pub fn camel(path: &str) -> String {
    let mut is_first = false;
    let mut written = String::with_capacity(path.len());
    for character in path.chars() {
        match character {
            '_' => is_first = true,
            _ if std::mem::take(&mut is_first) => written.extend(character.to_uppercase()),
            _ => written.push(character),
        }
    }
    written
}

/// A path as the contract has it.
pub fn contract(path: &str) -> String {
    let mut written = String::with_capacity(path.len());
    for character in path.chars() {
        if character.is_uppercase() {
            written.push('_');
        }
        written.extend(character.to_lowercase());
    }
    written
}

/// An operand of a known kind, as it is shown.
fn operand(expression: &Expression<'_>) -> Option<(String, Kind)> {
    match expression {
        Expression::NumericLiteral(number) => Some((
            number.raw.as_ref().map_or_else(String::new, |raw| format!("`{raw}`")),
            Kind::Number,
        )),
        Expression::BigIntLiteral(number) => Some((format!("`{}n`", number.value), Kind::Long)),
        other => {
            let field = path(other)?;
            Some((format!("`{field}`"), kind(&field)?))
        }
    }
}
