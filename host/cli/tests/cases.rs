//! Cases of `policy test` that cannot be run, are selected, or whose changes end in a fault.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;

use countersign_test_artifacts::SCRIPTED;
use serde_json::{Value, json};
use support::{Ran, countersign, folder};

#[track_caller]
fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).expect(&ran.stderr)
}

#[test]
fn a_case_that_cannot_be_run_fails_alone() {
    let folder = folder();
    fs::write(folder.path().join("policy.wasm"), SCRIPTED).unwrap();
    let case = |name: &str, more: &str| {
        format!(
            "[[case]]\nname = \"{name}\"\nexpect = \"abstain\"\nsettings = {{ answer = \"abstain\" }}\n{more}\n"
        )
    };
    let cases = [
        case("fine", ""),
        case("no run", "set = { \"/spec/behavior\" = \"DANCE\" }"),
        case("no settings", "set-settings = { \"/answer\" = \"dance\" }"),
        case("nowhere in the settings", "set-settings = { \"/answr/x\" = 1 }"),
        case("changed settings", "set-settings = { \"/answer\" = \"abstain\" }"),
        case("no data", "data = { a = 1 }"),
        case("no audience", "token = { audiences = [\"a b\"] }"),
        case("fine, too", ""),
    ];
    fs::write(folder.path().join("cases.toml"), cases.concat()).unwrap();
    let tested = json_of(&countersign(folder.path(), "policy test --format json"));
    let found: Vec<_> = tested["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| {
            let error = case["error"]["message"].as_str().unwrap_or_default();
            (
                case["name"].as_str().unwrap(),
                case["passed"] == true,
                error.lines().last().unwrap_or_default(),
            )
        })
        .collect();
    let expected = [
        ("fine", true, ""),
        (
            "no run",
            false,
            "/spec/behavior: expected one of `APPLY`, `DETECT`, `DESTROY`, found `DANCE`",
        ),
        ("no settings", false, "dance"),
        (
            "nowhere in the settings",
            false,
            "set-settings: `/answr/x` leads nowhere: there is no `answr`; did you mean `answer`?",
        ),
        ("changed settings", true, ""),
        ("no data", false, "/data: unknown key"),
        ("no audience", false, "audience"),
        ("fine, too", true, ""),
    ];
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.0, found.1), (expected.0, expected.1));
        assert!(found.2.contains(expected.2), "{found:?}");
    }
    assert_eq!(found.len(), expected.len());

    // Only one of them, by its name; no claim is changed then.
    let tested = json_of(&countersign(folder.path(), "policy test --format json --case fine"));
    assert_eq!((&tested["passed"], &tested["claims"]), (&json!(true), &Value::Null));
    assert_eq!(tested["cases"].as_array().unwrap().len(), 1);
    let ran = countersign(folder.path(), "policy test --case fnie");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("no case is named `fnie`; did you mean `fine`?"), "{}", ran.stderr);
}

/// A changed claim for which the policy faults: found before the first such run.
#[test]
fn a_changed_claim_that_ends_in_a_fault_fails_the_test() {
    let folder = folder();
    // Grants more than an hour to whoever asks for less.
    let case = "[[case]]\nname = \"a\"\nsettings = { answer = { permit = { max-ttl = 3600 } } }\n\
                expect = { permit = { max-ttl = 3600 } }\n";
    fs::write(folder.path().join("policy.wasm"), SCRIPTED).unwrap();
    fs::write(folder.path().join("cases.toml"), case).unwrap();
    let ran = countersign(folder.path(), "policy test");
    assert_eq!(ran.status, 1, "{}{}", ran.stdout, ran.stderr);
    let says = "  fault grant-widens-ttl: a run with another token.ttl-seconds gets no verdict: ";
    assert!(ran.stdout.contains(says), "{}", ran.stdout);
    let tested = json_of(&countersign(folder.path(), "policy test --format json"));
    assert_eq!(tested["passed"], false);
    let fault = &tested["faults"][0];
    assert_eq!((&fault["claim"], &fault["case"]), (&json!("token.ttl-seconds"), &json!("a")));
    assert_eq!(fault["code"], "grant-widens-ttl");
    assert!(fault["count"].as_u64().unwrap() > 1, "{fault}");
    let ran = countersign(folder.path(), "policy test --format junit");
    assert!(ran.stdout.contains("changes of token.ttl-seconds end in no fault"), "{}", ran.stdout);

    // Who expects such a fault knows of it.
    let known = "[[case]]\nname = \"b\"\nsettings = { answer = { permit = { max-ttl = 3600 } } }\n\
                 token = { ttl = 60 }\nexpect = { fault = \"grant-widens-ttl\" }\n";
    fs::write(folder.path().join("cases.toml"), format!("{case}{known}")).unwrap();
    let ran = countersign(folder.path(), "policy test");
    assert_eq!(ran.status, 0, "{}", ran.stdout);
}
