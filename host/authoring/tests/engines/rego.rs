//! Policies in Rego whose mistakes were found by the first run that reached them, or by nobody.

use std::sync::{Arc, LazyLock};

use countersign::{Facts, Fault, Policy, Verdict};
use countersign_engines::EngineName;
use serde_json::{Value, json};

use crate::{RUN, bind, check_refused, claims_of, component, prepare, unoptimised};

/// The engine, compiled once for all tests.
fn engine() -> &'static Arc<Policy> {
    static ENGINE: LazyLock<Arc<Policy>> =
        LazyLock::new(|| unoptimised(&component(EngineName::Rego)));
    &ENGINE
}

macro_rules! case {
    ($file:literal) => {
        include_str!(concat!("rego/", $file))
    };
}

fn decide(settings: &Value) -> Result<Verdict, Fault> {
    let set = bind(engine(), settings).unwrap_or_else(|error| panic!("{settings}: {error}"));
    set.evaluate(claims_of(RUN, None, Facts::default())).trace()[0].result.clone()
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_mistake_is_found_before_the_policy_is_bound() {
    for (policy, says) in [
        (
            case!("function-misspelt/policy.rego"),
            "policy.rego:7:6: there is no function `startwith`; did you mean `startswith`?",
        ),
        (
            case!("unsafe-variable/policy.rego"),
            "policy.rego:7:39: variable `i` is unsafe: nothing gives it a value",
        ),
        (
            case!("two-defaults/policy.rego"),
            "policy.rego:5:9: rule `life` has another default in policy.rego:3:9",
        ),
    ] {
        check_refused(engine(), &json!({"policy": policy}), says);
    }
    let policy = case!("second-file-ignored/policy.rego");
    let says = "policy.rego:3:1: nothing is at `data.lib`";
    check_refused(engine(), &json!({"policy": policy}), says);
}

#[test]
#[ignore = "needs the engines: `make languages`"]
fn a_policy_answers_as_in_opa() {
    let library = json!({"lib.rego": case!("second-file-ignored/lib.rego")});
    let settings = json!({"policy": case!("second-file-ignored/policy.rego"), "files": library});
    assert_eq!(denial(&settings), ("blocked".to_owned(), "blocked".to_owned()));
    let shown = "[my-workspace  ] [  my-workspace] [%!d(string=my-workspace)]";
    let settings = json!({"policy": case!("sprintf/policy.rego")});
    assert_eq!(denial(&settings), ("shown".to_owned(), shown.to_owned()));
    let settings = json!({"policy": case!("template-match/policy.rego")});
    assert!(matches!(decide(&settings), Ok(Verdict::Permit(_))));
}

/// 300 patterns took 151,000,000 units, since each was compiled in each evaluation.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn patterns_of_data_are_compiled_once() {
    let globs: Vec<_> = (0..300).map(|number| format!("team-{number}-*")).collect();
    let near: Vec<_> = (0..300).map(|number| format!("my-{number}-*")).collect();
    let regexes: Vec<_> = (0..300).map(|number| format!("^team-{number}-[a-z]+$")).collect();
    let names: Vec<_> = (0..5000).map(|number| format!("team-{number}")).collect();
    let policy = case!("many-patterns/policy.rego");
    let matching = policy.replace(
        "glob.match(pattern, [\"-\"], input.run.building_block.workspace)",
        "regex.match(pattern, input.run.building_block.workspace)",
    );
    let member =
        "package countersign\n\npermit if input.run.building_block.workspace in data.patterns\n";
    for (policy, patterns, most) in [
        (policy, globs, 200_000),
        // Each begins as the value does, and has to be matched to the end.
        (policy, near, 1_500_000),
        (matching.as_str(), regexes, 1_500_000),
        (member, names, 200_000),
    ] {
        let settings = json!({"policy": policy, "data": {"patterns": patterns}});
        let set = prepare(&component(EngineName::Rego), &settings).unwrap();
        let decision = set.evaluate(claims_of(RUN, None, Facts::default()));
        let entry = &decision.trace()[0];
        assert_eq!(entry.result, Ok(Verdict::Abstain));
        let fuel = entry.used.fuel.unwrap();
        assert!(fuel < most, "{fuel} units for {}", patterns[0]);
    }
}

/// The code and message of the one reason of a denial.
fn denial(settings: &Value) -> (String, String) {
    match decide(settings) {
        Ok(Verdict::Deny(reasons)) if reasons.len() == 1 => {
            (reasons[0].code.clone(), reasons[0].message.clone())
        }
        other => panic!("{settings}: {other:?}"),
    }
}
