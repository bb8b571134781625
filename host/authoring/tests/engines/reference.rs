//! Compares policies in JavaScript with node, in Python with CPython, the languages' own implementations, and in CEL with
//! another one than the engine's.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign::{Fault, PolicySet, TokenRequest, Verdict};
use countersign_engines::EngineName;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::comparison::{answer, compare_with};
use crate::{alike, component, prepare};

const JAVASCRIPT: &str = include_str!("reference/policy.js");
const PYTHON: &str = include_str!("reference/policy.py");
const CEL: &str = include_str!("reference/cel.txt");

/// The answer, with the messages of a denial.
fn told(result: &Result<Verdict, Fault>, token: &TokenRequest) -> Value {
    match result {
        Ok(Verdict::Deny(reasons)) => {
            // As the policy gave them: a decision has them escaped.
            let message = |text: &str| text.replace("\\\\", "\\");
            reasons.iter().map(|one| format!("{} {}", one.code, message(&one.message))).collect()
        }
        other => answer(other, token),
    }
}

/// A program that decides by a policy, in a language's own implementation.
fn program(program: &str, script: &str, policy: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/engines/reference").join(script))
        .arg(policy);
    command
}

/// Policies with their settings: parts of the language, the rules that all languages have, and what an author begins with.
fn policies(
    parts: &'static str,
    alike: &'static str,
    template: &'static str,
) -> [(&'static str, Value); 3] {
    let also = || json!({"also": ["team-a", "team-b"]});
    [(parts, json!({})), (alike, also()), (template, also())]
}

/// The same answers often, of each kind where the policy gives all.
fn compare(set: &PolicySet, program: Command, gives_all: bool) {
    let met = compare_with(program, None, set, told);
    let often = met.iter().filter(|count| **count > 500).count();
    assert!(if gives_all { often == met.len() } else { often > 1 }, "{met:?}");
}

#[test]
#[ignore = "needs the engines, and node: `make languages`"]
fn javascript_answers_as_in_node() {
    let template = include_str!("../../../cli/templates/javascript/policy.js");
    for (text, own) in policies(JAVASCRIPT, alike::JAVASCRIPT, template) {
        let settings = json!({"files": {"policy.js": text}, "settings": own});
        let set = prepare(&component(EngineName::Javascript), &settings).unwrap();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("policy.js"), text).unwrap();
        let mut node = program("node", "node.mjs", folder.path());
        node.arg(own.to_string());
        compare(&set, node, text == JAVASCRIPT);
    }
}

#[test]
#[ignore = "needs the engines, and python3: `make languages`"]
fn python_answers_as_in_cpython() {
    let template = include_str!("../../../cli/templates/python/policy.py");
    for (text, own) in policies(PYTHON, alike::PYTHON, template) {
        let settings = json!({"files": {"policy.py": text}, "settings": own});
        let set = prepare(&component(EngineName::Python), &settings).unwrap();
        let folder = TempDir::new().unwrap();
        let policy = folder.path().join("policy.py");
        fs::write(&policy, text).unwrap();
        let mut cpython = program("python3", "cpython.py", &policy);
        cpython.arg(own.to_string());
        compare(&set, cpython, text == PYTHON);
    }
}

#[test]
#[ignore = "needs the engines, and cel-js: `make languages`"]
fn cel_answers_as_in_cel_js() {
    let folder =
        std::env::var_os("COUNTERSIGN_CEL").expect("a folder with cel-js: `make languages`");
    let expressions: Vec<_> = CEL.lines().filter(|line| !line.starts_with('#')).collect();
    // Which of them is told turns with the number of the run, which some have no answer for.
    let rules = expressions.iter().enumerate().map(|(at, message)| {
        json!({"when": format!("run.number % {} == {at}", expressions.len() + 1), "message": message})
    });
    let rules: Vec<Value> = rules.collect();
    let denials = rules.iter().map(|rule| {
        let (when, message) = (&rule["when"], &rule["message"]);
        format!("- {{code: told, when: {when}, message_expression: {message}}}\n")
    });
    let settings = json!({"policy": format!("deny:\n{}", denials.collect::<String>())});
    let set = prepare(&component(EngineName::Cel), &settings).unwrap();
    let cel = program("node", "cel.mjs", Path::new(&folder));
    let [permits, restrictions, denials, abstentions, faults] =
        compare_with(cel, Some(json!(rules)), &set, told);
    assert_eq!((permits, restrictions), (0, 0));
    let met = [denials, abstentions, faults];
    assert!(met.iter().all(|count| *count > 500), "{met:?}");
}
