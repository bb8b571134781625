//! Compares policies in JavaScript with node, and policies in Python with CPython: the languages' own implementations.

use std::fs;
use std::path::Path;
use std::process::Command;

use countersign::{Fault, TokenRequest, Verdict};
use countersign_engines::EngineName;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::comparison::{answer, compare_with};
use crate::{component, prepare};

const JAVASCRIPT: &str = include_str!("reference/policy.js");
const PYTHON: &str = include_str!("reference/policy.py");

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

#[test]
#[ignore = "needs the engines, and node: `make languages`"]
fn javascript_answers_as_in_node() {
    let settings = json!({"files": {"policy.js": JAVASCRIPT}});
    let set = prepare(&component(EngineName::Javascript), &settings).unwrap();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("policy.js"), JAVASCRIPT).unwrap();
    let node = program("node", "node.mjs", folder.path());
    let met = compare_with(node, None, &set, told);
    // Every kind of answer was met, and often.
    assert!(met.iter().all(|count| *count > 500), "{met:?}");
}

#[test]
#[ignore = "needs the engines, and python3: `make languages`"]
fn python_answers_as_in_cpython() {
    let settings = json!({"files": {"policy.py": PYTHON}});
    let set = prepare(&component(EngineName::Python), &settings).unwrap();
    let folder = TempDir::new().unwrap();
    let policy = folder.path().join("policy.py");
    fs::write(&policy, PYTHON).unwrap();
    let met = compare_with(program("python3", "cpython.py", &policy), None, &set, told);
    assert!(met.iter().all(|count| *count > 500), "{met:?}");
}
