//! Regular expressions, each compiled once: those that the text has, or data, when the policy is taken.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, anyhow};
use regex::{Regex, RegexBuilder};
use regorus::Value;

use super::Function;
use super::arguments::{take, text, whole};
use super::patterns::translate;

pub(super) const FUNCTIONS: &[Function] = &[
    ("regex.find_all_string_submatch_n", 3, find_all_submatches),
    ("regex.find_n", 3, find_n),
    ("regex.is_valid", 1, is_valid),
    ("regex.match", 2, is_match),
    ("regex.replace", 3, replace),
    ("regex.split", 2, split),
    ("regex.template_match", 4, template_match),
];

/// The most memory that one expression may take once it is compiled.
const MAX_BYTES: usize = 512 * 1024;

/// The most expressions that are kept. Beyond, one that is met is compiled each time.
const MAX_KEPT: usize = 2048;

/// The expressions that are compiled. An evaluation begins with those that `configure` left, whichever ran before it.
static COMPILED: Mutex<BTreeMap<String, Arc<Regex>>> = Mutex::new(BTreeMap::new());

/// Compiles an expression, or finds it compiled.
///
/// # Errors
/// When it is none, or too large.
pub fn compile(pattern: &str) -> Result<Arc<Regex>> {
    // A panic elsewhere leaves a map that is whole.
    let mut compiled = COMPILED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = compiled.get(pattern) {
        return Ok(Arc::clone(found));
    }
    let regex = RegexBuilder::new(&translate(pattern)).size_limit(MAX_BYTES).build();
    let regex = Arc::new(regex.map_err(|error| anyhow!("`{pattern}`: {}", reason(&error)))?);
    if compiled.len() < MAX_KEPT {
        compiled.insert(pattern.to_owned(), Arc::clone(&regex));
    }
    Ok(regex)
}

/// Checks an expression.
///
/// # Errors
/// The reason for which it is none.
pub fn check(pattern: &str) -> Result<()> {
    compile(pattern).map(drop)
}

/// The last line of an error: those before show the expression, which is a translated one.
fn reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}

fn is_match(arguments: Vec<Value>) -> Result<Value> {
    let name = "regex.match";
    let [pattern, value] = take(arguments)?;
    Ok(Value::from(compile(text(name, &pattern)?)?.is_match(text(name, &value)?)))
}

fn is_valid(arguments: Vec<Value>) -> Result<Value> {
    let [pattern] = take(arguments)?;
    Ok(Value::from(matches!(&pattern, Value::String(pattern) if compile(pattern).is_ok())))
}

fn split(arguments: Vec<Value>) -> Result<Value> {
    let name = "regex.split";
    let [pattern, value] = take(arguments)?;
    let pattern = compile(text(name, &pattern)?)?;
    let parts = pattern.split(text(name, &value)?).map(Value::from);
    Ok(Value::from(parts.collect::<Vec<_>>()))
}

fn find_n(arguments: Vec<Value>) -> Result<Value> {
    let name = "regex.find_n";
    let [pattern, value, number] = take(arguments)?;
    let pattern = compile(text(name, &pattern)?)?;
    let found = pattern.find_iter(text(name, &value)?).take(most(whole(name, &number)?));
    Ok(Value::from(found.map(|found| Value::from(found.as_str())).collect::<Vec<_>>()))
}

fn find_all_submatches(arguments: Vec<Value>) -> Result<Value> {
    let name = "regex.find_all_string_submatch_n";
    let [pattern, value, number] = take(arguments)?;
    let pattern = compile(text(name, &pattern)?)?;
    let found = pattern.captures_iter(text(name, &value)?).take(most(whole(name, &number)?));
    let groups = found.map(|captures| {
        let groups =
            captures.iter().map(|group| Value::from(group.map_or("", |group| group.as_str())));
        Value::from(groups.collect::<Vec<_>>())
    });
    Ok(Value::from(groups.collect::<Vec<_>>()))
}

fn replace(arguments: Vec<Value>) -> Result<Value> {
    let name = "regex.replace";
    let [value, pattern, replacement] = take(arguments)?;
    let pattern = compile(text(name, &pattern)?)?;
    let replaced = pattern.replace_all(text(name, &value)?, text(name, &replacement)?.as_ref());
    Ok(Value::from(replaced.as_ref()))
}

/// One expression of the whole template, as OPA makes it: what is between the delimiters is an expression, and everything
/// else stands for itself.
fn template_match(arguments: Vec<Value>) -> Result<Value> {
    let name = "regex.template_match";
    let [template, value, open, close] = take(arguments)?;
    let [open, close] = [delimiter(&open)?, delimiter(&close)?];
    let pattern = template_pattern(text(name, &template)?, open, close)?;
    Ok(Value::from(compile(&pattern)?.is_match(text(name, &value)?)))
}

fn template_pattern(template: &str, open: char, close: char) -> Result<String> {
    let unbalanced = || anyhow!("regex.template_match: unbalanced delimiters in `{template}`");
    let (mut pattern, mut literal, mut inner) = ("^".to_owned(), String::new(), String::new());
    let mut level = 0_usize;
    for c in template.chars() {
        if c == open && (open != close || level == 0) {
            if level > 0 {
                inner.push(c);
            }
            level += 1;
        } else if c == close {
            level = level.checked_sub(1).ok_or_else(unbalanced)?;
            if level > 0 {
                inner.push(c);
                continue;
            }
            pattern.push_str(&regex::escape(&literal));
            pattern.push_str(&format!("({inner})"));
            literal.clear();
            inner.clear();
        } else if level > 0 {
            inner.push(c);
        } else {
            literal.push(c);
        }
    }
    if level > 0 {
        return Err(unbalanced());
    }
    pattern.push_str(&regex::escape(&literal));
    pattern.push('$');
    Ok(pattern)
}

fn delimiter(value: &Value) -> Result<char> {
    let name = "regex.template_match";
    let text = text(name, value)?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(only), None) => Ok(only),
        _ => Err(anyhow!("{name}: expected a delimiter of one character, found `{text}`")),
    }
}

fn most(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}
