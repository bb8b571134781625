//! Built-in functions that regorus lacks, or has otherwise than OPA: all pure, so that a decision is the same whenever it is
//! made.

mod arguments;
mod collections;
mod crypto;
mod durations;
mod glob;
mod globs_match;
mod layout;
mod layout_parse;
mod net;
mod operators;
mod patterns;
mod regex;
mod sprintf;
mod sprintf_number;
mod template;
mod time;
mod urlquery;
mod uuid;

use anyhow::Result;
use regorus::{Engine, Value};

pub use arguments::written;
pub use durations::parse_duration;
pub use glob::{Glob, differs_at_once as glob_differs_at_once};
pub use regex::{check as check_pattern, compile as compile_pattern};
pub use sprintf::verbs;
pub use time::zone_problem;

/// A function: its name, the number of its arguments, and its code.
type Function = (&'static str, u8, fn(Vec<Value>) -> Result<Value>);

/// The functions of each file.
const TABLES: [&[Function]; 12] = [
    collections::FUNCTIONS,
    crypto::FUNCTIONS,
    glob::FUNCTIONS,
    globs_match::FUNCTIONS,
    net::FUNCTIONS,
    operators::FUNCTIONS,
    regex::FUNCTIONS,
    sprintf::FUNCTIONS,
    template::FUNCTIONS,
    time::FUNCTIONS,
    urlquery::FUNCTIONS,
    uuid::FUNCTIONS,
];

/// Adds the functions to an engine.
///
/// # Errors
/// When a name is there twice, which is a mistake of the tables.
pub fn register(engine: &mut Engine) -> Result<()> {
    for (name, arguments, function) in TABLES.into_iter().flatten() {
        engine.add_extension((*name).to_owned(), *arguments, Box::new(*function))?;
    }
    Ok(())
}

/// The names of the functions.
#[cfg(test)]
pub fn names() -> Vec<&'static str> {
    TABLES.into_iter().flatten().map(|(name, ..)| *name).collect()
}
