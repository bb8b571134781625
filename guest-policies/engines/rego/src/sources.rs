//! The files of a policy: modules in Rego, and documents that are part of `data`.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroUsize};

use anyhow::Result;
use countersign_policy::Problem;
use regorus::unstable::{Module, Ref};
use regorus::{Engine, PolicyLengthConfig, Value};

use crate::text;
use crate::tree::Place;

/// The file that a policy begins with.
pub const MAIN: &str = "policy.rego";

/// The names of files that are documents, in any folder.
const DOCUMENTS: [&str; 3] = ["data.json", "data.yaml", "data.yml"];

/// A file in Rego.
pub struct Source {
    /// Its path in the policy's folder.
    pub path: String,
    /// Its text, as the parser gets it.
    pub prepared: text::Prepared,
}

/// The problem of a file, by its place in the settings.
pub fn problem(path: &str, message: impl Into<String>) -> Problem {
    let pointer = match path {
        MAIN => "/policy".to_owned(),
        other => format!("/files/{}", other.replace('~', "~0").replace('/', "~1")),
    };
    Problem { pointer, message: message.into() }
}

/// Reads the texts of all files in Rego.
///
/// # Errors
/// The problems of each.
pub fn read(policy: String, files: &BTreeMap<String, String>) -> Result<Vec<Source>, Vec<Problem>> {
    let (mut sources, mut problems) = (Vec::new(), Vec::new());
    let modules = files.iter().filter(|(path, _)| path.ends_with(".rego"));
    let modules = modules.map(|(path, text)| (path.clone(), text.clone()));
    for (path, text) in [(MAIN.to_owned(), policy)].into_iter().chain(modules) {
        match text::prepare(&text) {
            Ok(prepared) => sources.push(Source { path, prepared }),
            Err((line, column, message)) => {
                problems.push(problem(&path, format!("{path}:{line}:{column}: {message}")));
            }
        }
    }
    let unknown = files.keys().filter(|path| !path.ends_with(".rego") && !is_document(path));
    problems.extend(unknown.map(|path| {
        let expected = DOCUMENTS.join("`, `");
        problem(path, format!("`{path}`: expected a file `….rego`, `{expected}`"))
    }));
    if problems.is_empty() { Ok(sources) } else { Err(problems) }
}

/// Parses sources.
///
/// # Errors
/// The problems of each that is no Rego.
pub fn parse(sources: &[Source]) -> Result<Vec<Ref<Module>>, Vec<Problem>> {
    let mut engine = engine();
    let mut problems = Vec::new();
    for source in sources {
        if let Err(error) = engine.add_policy(source.path.clone(), source.prepared.text.clone()) {
            problems.push(problem(&source.path, one_line(&error.to_string(), sources)));
        }
    }
    if problems.is_empty() { Ok(engine.get_modules().clone()) } else { Err(problems) }
}

/// An engine without a policy, for lines of any length.
pub fn engine() -> Engine {
    let mut engine = Engine::new();
    engine.set_policy_length_config(PolicyLengthConfig {
        max_col: NonZeroU32::MAX,
        max_file_bytes: NonZeroUsize::MAX,
        max_lines: NonZeroUsize::MAX,
    });
    // Nobody reads what a policy prints, but for tests.
    engine.set_gather_prints(true);
    engine
}

/// Adds the documents among the files to `data`: each below the path of its folder.
///
/// # Errors
/// When one is no object, or says otherwise than another.
pub fn merge_documents(data: Value, files: &BTreeMap<String, String>) -> Result<Value, Problem> {
    let mut data = data;
    for (path, text) in files.iter().filter(|(path, _)| is_document(path)) {
        let parsed = if path.ends_with(".json") {
            Value::from_json_str(text)
        } else {
            Value::from_yaml_str(text)
        };
        let mut value = parsed.map_err(|error| {
            problem(path, format!("{path}: {}", one_line(&error.to_string(), &[])))
        })?;
        if !matches!(value, Value::Object(_)) {
            return Err(problem(path, format!("{path}: expected an object")));
        }
        let folders: Vec<&str> = path.split('/').collect();
        for folder in folders.iter().rev().skip(1) {
            value = Value::from(BTreeMap::from([(Value::from(*folder), value)]));
        }
        merge(&mut data, &value, "data")
            .map_err(|at| problem(path, format!("{path}: `{at}` has another value already")))?;
    }
    Ok(data)
}

fn merge(into: &mut Value, from: &Value, path: &str) -> Result<(), String> {
    if *into == *from {
        return Ok(());
    }
    let Value::Object(members) = from else { return Err(path.to_owned()) };
    let own = into.as_object_mut().map_err(|_| path.to_owned())?;
    for (key, value) in members.iter_sorted() {
        match own.get_mut(key) {
            Some(before) => {
                let name = key.as_string().map_or_else(|_| key.to_string(), |key| key.to_string());
                merge(before, value, &format!("{path}.{name}"))?;
            }
            None => own.extend([(key.clone(), value.clone())]),
        }
    }
    Ok(())
}

fn is_document(path: &str) -> bool {
    path.rsplit('/').next().is_some_and(|name| DOCUMENTS.contains(&name))
}

/// An error of the engine in one line, place first: regorus prints several, with the source and a mark below it.
pub fn one_line(error: &str, sources: &[Source]) -> String {
    let line = |mark: &str| error.lines().find_map(|line| line.trim().strip_prefix(mark));
    match (line("--> "), line("error: ")) {
        (Some(place), Some(problem)) => {
            let problem = plain(problem);
            match original(place, sources) {
                Some((place, hint)) => format!("{place}: {problem}{hint}"),
                None => format!("{place}: {problem}"),
            }
        }
        _ => error.split_whitespace().collect::<Vec<_>>().join(" "),
    }
}

/// The place in the author's text of one that the engine names, and what helps with what is there.
fn original(place: &str, sources: &[Source]) -> Option<(Place, &'static str)> {
    let mut parts = place.rsplitn(3, ':');
    let (column, line, file) = (parts.next()?, parts.next()?, parts.next()?);
    let source = sources.iter().find(|source| source.path == file)?;
    let (line, column): (usize, usize) =
        (line.parse().ok()?, column.parse().ok().filter(|column| *column > 0)?);
    let text = source.prepared.text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let around: String = text.chars().skip(column.saturating_sub(2)).take(8).collect();
    let place = source.prepared.original(Place { file: file.to_owned(), line, column });
    Some((place, hint(&around)))
}

/// Forms of other languages, by what is at the place of the error.
fn hint(around: &str) -> &'static str {
    let word = around.trim_start();
    if around.contains("&&") || word.starts_with("and ") {
        "; conditions that all have to be true are lines of one body, or are separated by `;`"
    } else if around.contains("||") || word.starts_with("or ") {
        "; conditions of which one has to be true are rules of one name"
    } else if around.contains('\'') {
        "; texts are in double quotation marks"
    } else if around.contains("!") && !around.contains("!=") {
        "; the negation of a condition is `not`"
    } else {
        ""
    }
}

/// A message of regorus that says too little, in more words.
fn plain(problem: &str) -> String {
    match problem {
        "expecting expression" => "expected an expression".to_owned(),
        "`if` keyword is required before rule body" => {
            "expected `if` before the body of the rule: policies are in Rego v1".to_owned()
        }
        "`contains` keyword is required for partial set rules" => {
            "expected `contains` before the element of a set: policies are in Rego v1".to_owned()
        }
        "unmatched \"" | "invalid character in string" => {
            "the text is not closed: a `\"` is missing before the end of the line".to_owned()
        }
        "expecting identifier. Failed to parse rule-ref." => "expected the name of a rule".to_owned(),
        "rule must have a body or assignment" => "expected `if` or `:=` after the name of the rule".to_owned(),
        "complete rules should not produce multiple outputs" => {
            "the rule has two different values for this run; make its conditions exclude each other, or make it a set".to_owned()
        }
        other => {
            let other = other.trim_end_matches(" defined at:");
            other.strip_prefix("expecting ").map_or_else(|| other.to_owned(), |rest| format!("expected {rest}"))
        }
    }
}
