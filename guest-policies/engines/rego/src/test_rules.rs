//! Runs the rules `test_…`, as `opa test` does.

use countersign_policy::Problem;
use regorus::unstable::{Module, Ref};
use regorus::{Engine, Value};

use crate::sources::{self, Source};
use crate::tree::{Place, Reference, head};

/// The outcome of a rule, and what it printed.
struct Outcome {
    name: String,
    message: String,
    prints: Vec<String>,
}

/// The answers about each test: the lines that it printed at `/prints/PACKAGE.NAME`, and then its outcome at `/tests/…`.
pub fn run(sources: &[Source], modules: &[Ref<Module>], mut engine: Engine) -> Vec<Problem> {
    let mut answers = Vec::new();
    let mut seen = Vec::new();
    for module in modules {
        let package = crate::check::package(module);
        for rule in &module.policy {
            let Some(name) = Reference::of(head(rule)).name() else { continue };
            let is_test = name.starts_with("test_") || name.starts_with("todo_test_");
            let path = format!("data.{package}.{name}");
            if !is_test || seen.contains(&path) {
                continue;
            }
            seen.push(path.clone());
            let place = Place::of(Reference::of(head(rule)).head.span());
            let outcome = evaluate(&mut engine, sources, &path, &place);
            answers.extend(
                outcome.prints.into_iter().map(|line| answer("prints", &outcome.name, line)),
            );
            answers.push(answer("tests", &outcome.name, outcome.message));
        }
    }
    answers
}

fn answer(kind: &str, name: &str, message: String) -> Problem {
    Problem { pointer: format!("/{kind}/{name}"), message }
}

fn evaluate(engine: &mut Engine, sources: &[Source], path: &str, place: &Place) -> Outcome {
    let name = path.strip_prefix("data.").unwrap_or(path).to_owned();
    if name.rsplit('.').next().is_some_and(|name| name.starts_with("todo_test_")) {
        return Outcome { name, message: "skipped".to_owned(), prints: Vec::new() };
    }
    engine.set_input(Value::new_object());
    let value = engine.eval_rule(path.to_owned());
    let prints = engine.take_prints().unwrap_or_default();
    let message = match value {
        Ok(Value::Bool(true)) => "passed".to_owned(),
        Ok(Value::Undefined | Value::Bool(false)) => {
            format!("failed: {place}: the rule is not true")
        }
        Ok(other) => format!("failed: {place}: expected true, found {other}"),
        Err(error) => format!("error: {}", sources::one_line(&error.to_string(), sources)),
    };
    Outcome { name, message, prints }
}
