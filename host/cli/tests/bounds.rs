//! The bounds of `policy test`, `explain` and `inspect`: a policy that takes all that each evaluation gives it does not
//! keep them busy for hours.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;

use countersign_authoring::EvaluationBudget;
use countersign_hostile_policies::guest::{ABSTAIN, GUEST, Guest};
use serde_json::{Value, json};
use support::{Ran, countersign, folder};

/// Takes some millions of units of fuel.
const BURN: &str = "(loop $l
    (global.set $turns (i32.add (global.get $turns) (i32.const 1)))
    (br_if $l (i32.lt_u (global.get $turns) (i32.const 300000))))";
const TURNS: &str = "(global $turns (mut i32) (i32.const 0))";

/// A trap after which no fuel can be read.
const TRAP: &str = "(i32.div_u (i32.const 1) (i32.const 0))";

/// Writes a policy and cases that expect the same of it.
fn policy(folder: &Path, component: &[u8], cases: usize, expect: &str) {
    fs::write(folder.join("policy.wasm"), component).unwrap();
    let case = |n| {
        let set = format!("{{ \"/spec/runNumber\" = {n} }}");
        format!("[[case]]\nname = \"case {n}\"\nset = {set}\nexpect = {expect}\n")
    };
    let cases: String = (1..=cases).map(case).collect();
    fs::write(folder.join("cases.toml"), cases).unwrap();
}

/// Writes a manifest with one binding of a policy.
fn manifest(folder: &Path, component: &[u8], limits: &str) {
    fs::write(folder.join("hostile.wasm"), component).unwrap();
    let manifest = format!(
        "[issuer]\nurl = \"https://token.example.com\"\nmeshstack-id = \"demo\"\n\n[[binding]]\nname = \"hostile\"\n\
         policy = \"hostile.wasm\"\nscope = \"all\"\nlimits = {{ prepare-ms = 120_000, {limits} }}\n"
    );
    fs::write(folder.join("hostile.toml"), manifest).unwrap();
}

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

#[test]
fn the_mutations_of_a_test_have_a_bound_of_fuel() {
    let burns = format!("{BURN} {ABSTAIN}");
    let burns_in_configure = format!("{BURN} (i32.const 2240)");
    let traps = format!("{BURN} {TRAP}");
    let policies = [
        ("burns", Guest { evaluate: &burns, more: TURNS, ..GUEST }, "\"abstain\"", 100_000_000),
        // `policy test` gives the settings in each evaluation.
        (
            "burns in `configure`",
            Guest { configure: &burns_in_configure, more: TURNS, ..GUEST },
            "\"abstain\"",
            100_000_000,
        ),
        // Counts for its limit of ten million.
        (
            "traps",
            Guest { evaluate: &traps, more: TURNS, ..GUEST },
            "{ fault = \"trap\" }",
            300_000_000,
        ),
    ];
    for (name, guest, expect, total) in policies {
        let folder = folder();
        policy(folder.path(), &guest.component(), 2, expect);
        let line = format!("policy test --total-fuel {total}");
        let ran = countersign(folder.path(), &format!("{line} --format json"));
        let tested = json_of(&ran);
        let (made, planned) = (
            tested["evaluations"].as_u64().unwrap(),
            tested["evaluations_planned"].as_u64().unwrap(),
        );
        assert_eq!((ran.status, &tested["passed"]), (1, &json!(false)), "{name}");
        assert_eq!(tested["stopped_by"], "fuel", "{name}");
        assert!(made > 2 && made < 100 && planned > 120, "{name}: {made} of {planned}");
        assert_eq!(tested["cases"].as_array().unwrap().len(), 2, "{name}");
        assert_eq!((&tested["missed"], &tested["error"]), (&Value::Null, &Value::Null), "{name}");
        // Every change that is reported was made.
        let claims = tested["claims"].as_array().unwrap();
        let changes: u64 = claims.iter().map(|claim| claim["changes"].as_u64().unwrap()).sum();
        assert_eq!(changes, made - 2, "{name}");
        // The same everywhere.
        let again = countersign(folder.path(), &format!("{line} --format json"));
        assert_eq!(again.stdout, ran.stdout, "{name}");
        let ran = countersign(folder.path(), &line);
        let says = format!(
            "\nstopped after {made} of {planned} evaluations: together they took the maximum of {total} units of fuel; \
             --total-fuel raises the maximum\n"
        );
        assert!(ran.status == 1 && ran.stdout.contains(&says), "{name}: {}", ran.stdout);
        let ran = countersign(folder.path(), &format!("{line} --format junit"));
        assert_eq!(ran.status, 1, "{name}");
        for part in ["errors=\"1\"", "<error message=\"stopped after ", "<skipped "] {
            assert!(ran.stdout.contains(part), "{name}: {}", ran.stdout);
        }
    }
}

/// With nothing given, a policy that takes all of an interpreter's fuel is left after a thousand evaluations or two.
#[test]
fn the_bound_that_is_not_given_ends_what_takes_all_its_fuel() {
    let folder = folder();
    let guest = Guest { evaluate: TRAP, ..GUEST };
    policy(folder.path(), &guest.component(), 25, "{ fault = \"trap\" }");
    let line = "policy test --profile interpreter --format json";
    let tested = json_of(&countersign(folder.path(), line));
    assert_eq!(tested["stopped_by"], "fuel", "{tested}");
    let made = tested["evaluations"].as_u64().unwrap();
    assert!((1_000..2_000).contains(&made), "{made}");
}

#[test]
fn cases_that_were_not_run_fail_the_test() {
    let folder = folder();
    let burns = format!("{BURN} {ABSTAIN}");
    let guest = Guest { evaluate: &burns, more: TURNS, ..GUEST };
    policy(folder.path(), &guest.component(), 5, "\"abstain\"");
    let ran = countersign(folder.path(), "policy test --total-fuel 1");
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    assert!(ran.stdout.contains("\n0 cases, 0 failed, and 5 not run\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("\nstopped after 0 of 5 evaluations: "), "{}", ran.stdout);
    let ran = countersign(folder.path(), "policy test --total-fuel 4000000 --format json");
    let tested = json_of(&ran);
    assert_eq!((ran.status, &tested["passed"]), (1, &json!(false)));
    assert_eq!((&tested["claims"], &tested["evaluations_planned"]), (&Value::Null, &json!(5)));
    assert!(tested["cases"].as_array().unwrap().len() < 5);
}

const ASK: &str =
    "--audience aws-workload-identity-provider:demo --ttl 900 --now 1790000000 --run run.json";

#[test]
fn explaining_has_a_bound_of_fuel() {
    let folder = folder();
    let burns = format!("{BURN} {ABSTAIN}");
    let guest = Guest { evaluate: &burns, more: TURNS, ..GUEST };
    manifest(folder.path(), &guest.component(), "wall-clock-ms = 10_000");
    let line = format!("explain --policies hostile.toml {ASK}");
    let bounded = format!("{line} --total-fuel 100000000");
    let ran = countersign(folder.path(), &format!("{bounded} --format json"));
    let explained = json_of(&ran);
    let (made, planned) = (
        explained["evaluations"].as_u64().unwrap(),
        explained["evaluations_planned"].as_u64().unwrap(),
    );
    assert_eq!((ran.status, &explained["stopped_by"]), (1, &json!("fuel")), "{}", ran.stderr);
    assert!(made > 1 && made < 100 && planned > 60, "{made} of {planned}");
    // The decision itself is whole.
    assert_eq!(
        (&explained["outcome"], &explained["bindings"][0]["outcome"]),
        (&json!("refused"), &json!("abstain"))
    );
    let again = countersign(folder.path(), &format!("{bounded} --format json"));
    assert_eq!(again.stdout, ran.stdout);
    let ran = countersign(folder.path(), &bounded);
    let says = format!(
        "\nstopped after {made} of {planned} evaluations: together they took the maximum of 100000000"
    );
    assert!(ran.status == 1 && ran.stdout.contains(&says), "{}", ran.stdout);
    // One that takes all that it is given, as often as without a bound.
    let guest = Guest { evaluate: TRAP, ..GUEST };
    manifest(folder.path(), &guest.component(), "fuel = 10_000_000_000");
    let ran = countersign(folder.path(), &format!("{line} --format json"));
    let explained = json_of(&ran);
    assert_eq!((ran.status, &explained["stopped_by"]), (1, &json!("fuel")), "{}", ran.stderr);
    assert!(explained["evaluations"].as_u64().unwrap() <= 40, "{explained}");
}

#[test]
fn an_explanation_without_a_bound_reached_is_whole() {
    let folder = folder();
    let ran = countersign(
        folder.path(),
        &format!("explain --policies countersign.toml {ASK} --format json"),
    );
    let explained = json_of(&ran);
    assert_eq!((ran.status, &explained["stopped_by"]), (0, &Value::Null), "{}", ran.stderr);
    assert_eq!(explained["evaluations"], explained["evaluations_planned"]);
}

/// Singles that were left out keep pairs from being tried; pairs that were left out are counted.
#[test]
fn what_an_explanation_reports_when_it_stops_was_found() {
    let folder = folder();
    let mut run: Value = serde_json::from_str(support::RUN).unwrap();
    run["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!("team-b");
    fs::write(folder.path().join("run.json"), run.to_string()).unwrap();
    let ask = ASK.replace("aws-workload", "gcp-workload");
    let line = format!("explain --policies countersign.toml {ask} --format json --total-fuel");
    let explain = |total: u64| {
        let ran = countersign(folder.path(), &format!("{line} {total}"));
        let explained = json_of(&ran);
        assert_eq!(ran.status, if explained["stopped_by"].is_null() { 0 } else { 1 });
        explained
    };
    let list = |value: &Value| value.as_array().unwrap().clone();
    let whole = explain(100_000_000_000);
    let (pairs, singles) = (whole["evaluations_planned"].as_u64().unwrap(), 1_000);
    assert!(whole["stopped_by"].is_null() && pairs > singles, "{whole}");
    let mut planned = Vec::new();
    for total in [1, 1_000_000, 4_000_000, 10_000_000, 20_000_000] {
        let explained = explain(total);
        assert_eq!(explained["stopped_by"], "fuel", "{total}");
        for part in ["claims", "counterfactuals"] {
            let (found, all) = (list(&explained[part]), list(&whole[part]));
            assert!(found.iter().all(|one| all.contains(one)), "{total}: {found:?}");
        }
        planned.push(explained["evaluations_planned"].as_u64().unwrap());
    }
    assert!(planned.is_sorted() && planned.first() < Some(&singles), "{planned:?}");
    assert_eq!(planned.last(), Some(&pairs));
}

#[test]
fn inspecting_has_a_bound_of_time() {
    let folder = folder();
    let ran = countersign(
        folder.path(),
        "inspect --policies countersign.toml --total-prepare-ms 1 --format json",
    );
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    for says in [
        "countersign.toml: preparing took longer than 1 ms in all, which --total-prepare-ms raises: ",
        ": stopped before it, after ",
    ] {
        assert!(ran.stderr.contains(says), "{}", ran.stderr);
    }
    let line = "inspect --total-prepare-ms 1 --format json same-workspace.wasm ttl-ceiling.wasm change-window.wasm";
    let ran = countersign(folder.path(), line);
    let inspected = json_of(&ran);
    assert_eq!(ran.status, 1);
    assert!(inspected.as_array().unwrap().len() < 3, "{inspected}");
    assert!(
        ran.stderr.contains(" of 3 components: preparing took longer than 1 ms"),
        "{}",
        ran.stderr
    );
}

#[test]
fn the_documentation_has_the_bounds() {
    let page = include_str!("../../../docs/policies.md");
    let digits = EvaluationBudget::DEFAULT_FUEL.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().collect();
    let fuel = groups.join(&b',');
    assert!(page.contains(&format!("{} units of fuel", String::from_utf8(fuel).unwrap())));
    assert_eq!(EvaluationBudget::MAX_DEADLINE_MS, 60 * 1000);
    assert!(page.contains("a minute of `wall-clock-ms`"));
    let folder = folder();
    let default = |command: &str, option: &str| {
        let help = countersign(folder.path(), &format!("{command} --help")).stdout;
        let (_, after) = help.split_once(option).unwrap();
        let (_, after) = after.split_once("[default: ").unwrap();
        after.split_once(']').unwrap().0.to_owned()
    };
    for command in ["explain", "policy test"] {
        assert_eq!(default(command, "--total-fuel <FUEL>"), digits);
    }
    for command in ["explain", "inspect"] {
        assert_eq!(default(command, "--total-prepare-ms <MS>"), (30 * 60 * 1000).to_string());
    }
    assert!(page.contains("`--total-prepare-ms` (half an hour)"));
}
