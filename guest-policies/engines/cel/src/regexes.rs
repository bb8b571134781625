//! The function `matches`, with its regular expressions compiled once.
//!
//! The library's own compiles in each call. Those that a policy names are compiled when it is configured, and are part of
//! the memory that an evaluation begins with.

use std::collections::BTreeMap;
use std::sync::Mutex;

use cel::common::types::{CelBool, CelString};
use cel::{DeclarationError, Env, ExecutionError};
use regex::{Regex, RegexBuilder};

/// The bound of a compiled expression. It is matched in time that grows with the length of the text alone.
const MAX_BYTES: usize = 1 << 20;

static COMPILED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());

/// Declares the function, as a method and globally.
pub fn declare(env: &mut Env) -> Result<(), DeclarationError> {
    cel::add_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>, id = "matches")?;
    cel::add_member_overload!(env, fn matches: (CelString, CelString) -> Result<CelBool>)
}

fn matches(text: &CelString<'_>, pattern: &CelString<'_>) -> Result<CelBool, ExecutionError> {
    let is_match = with(pattern.inner(), |regex| regex.is_match(text.inner()));
    is_match.map(CelBool::from).map_err(|error| ExecutionError::function_error("matches", error))
}

/// Compiles a regular expression, if it is new, and uses it.
///
/// # Errors
/// The reason that it is no regular expression, in one line.
pub fn with<T>(pattern: &str, used: impl FnOnce(&Regex) -> T) -> Result<T, String> {
    let mut compiled = COMPILED.lock().map_err(|_| "a match was interrupted".to_owned())?;
    if let Some(regex) = compiled.get(pattern) {
        return Ok(used(regex));
    }
    let regex = RegexBuilder::new(pattern).size_limit(MAX_BYTES).build().map_err(|error| {
        // The library shows the expression and a mark in lines above the error.
        let error = error.to_string();
        let last = error.lines().last().unwrap_or_default();
        let problem = last.strip_prefix("error: ").unwrap_or(last);
        format!("`{pattern}` is no regular expression: {problem}")
    })?;
    Ok(used(compiled.entry(pattern.to_owned()).or_insert(regex)))
}
