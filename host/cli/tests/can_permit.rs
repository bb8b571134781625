//! Policies that only limit tokens permit nobody, and `check` and `inspect` show the bindings that can.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use support::{countersign, folder};

const DEFINITION: &str = "b23cfb9a-6974-444f-9d33-62134a632373";

const ASK: &str = "evaluate --policies issue.toml --run run.json --audience aws-workload-identity-provider:demo \
                   --ttl 900 --now 1790000000 --format json";

/// A policy that only limits is bound to all runs, and a policy that permits to one other workspace. When the permit of
/// any policy counted, this manifest approved every run of everybody.
const APPROVED_EVERYBODY: &str = r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "demo"

[[binding]]
name = "ceiling"
policy = "ttl-ceiling.wasm"
scope = "all"
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
settings = { apply = 3600, detect = 900, destroy = 3600 }

[[binding]]
name = "consumers"
policy = "same-workspace.wasm"
scope = { definition-workspace = "another-team" }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

/// The manifest with `may-permit = false` on the policy that only limits.
fn capped() -> String {
    APPROVED_EVERYBODY.replacen("scope = \"all\"\n", "scope = \"all\"\nmay-permit = false\n", 1)
}

fn write(folder: &Path, manifest: &str) {
    fs::write(folder.join("issue.toml"), manifest).unwrap();
}

fn decide(folder: &Path) -> (i32, Value) {
    let ran = countersign(folder, ASK);
    (ran.status, serde_json::from_str(&ran.stdout).unwrap_or_else(|_| json!(ran.stderr)))
}

#[test]
fn the_manifest_that_approved_everybody_refuses() {
    let folder = folder();
    write(folder.path(), APPROVED_EVERYBODY);
    let (status, decision) = decide(folder.path());
    assert_eq!((status, &decision["outcome"]), (2, &json!("refused")), "{decision}");
    let codes: Vec<_> =
        decision["reasons"].as_array().unwrap().iter().map(|reason| &reason["code"]).collect();
    assert_eq!(codes, ["no-permit"]);
    assert_eq!(decision["trace"].as_array().unwrap().len(), 1);
    assert_eq!(decision["trace"][0]["verdict"], json!({ "restrict": {} }));
    // Where the other binding applies, it permits, and the ceiling narrows.
    write(folder.path(), &APPROVED_EVERYBODY.replace("another-team", "my-workspace"));
    let (status, decision) = decide(folder.path());
    assert_eq!((status, &decision["outcome"]), (0, &json!("approved")), "{decision}");
}

#[test]
fn a_binding_that_may_not_permit_lets_nobody_in() {
    let folder = folder();
    let manifest = APPROVED_EVERYBODY.replace("another-team", "my-workspace");
    write(folder.path(), &manifest);
    assert_eq!(decide(folder.path()).0, 0);
    let scope = "scope = { definition-workspace = \"my-workspace\" }";
    write(folder.path(), &manifest.replace(scope, &format!("{scope}\nmay-permit = false")));
    let (status, decision) = decide(folder.path());
    assert_eq!((status, &decision["reasons"][0]["code"]), (2, &json!("no-permit")), "{decision}");
    // The record has the policy's own verdict, and the reason that it did not count.
    let consumers = &decision["trace"][1];
    assert_eq!(consumers["binding"], "consumers");
    assert_eq!(consumers["verdict"], json!({ "permit": {} }));
    assert_eq!(consumers["may_permit"], false);
    let text = countersign(folder.path(), &ASK.replace(" --format json", "")).stdout;
    assert!(text.contains("consumers  restricts (permits, but may not)"), "{text}");
}

#[test]
fn check_shows_the_bindings_that_can_permit() {
    let folder = folder();
    write(folder.path(), APPROVED_EVERYBODY);
    let line = format!("check -p issue.toml --definition my-workspace/{DEFINITION} --format json");
    let ran = countersign(folder.path(), &line);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let checked: Value = serde_json::from_str(&ran.stdout).unwrap();
    let of = |runs: Value, all: &[&str], some: &[&str]| json!({ "runs": runs, "all_runs": all, "some_runs": some });
    let definition = json!({ "definition_workspace": "my-workspace", "definition": DEFINITION });
    let another = json!({ "definition_workspace": "another-team" });
    // No policy is evaluated, so a binding whose policy only restricts is among them,
    assert_eq!(
        checked["can_permit"],
        json!([
            of(definition.clone(), &["ceiling"], &[]),
            of(json!("all"), &["ceiling"], &["consumers"]),
            of(another.clone(), &["ceiling", "consumers"], &[]),
        ])
    );
    assert_eq!(checked["redundant"], json!([]));
    // unless it may not permit.
    write(folder.path(), &capped());
    let ran = countersign(folder.path(), &line);
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let checked: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        checked["can_permit"],
        json!([
            of(definition, &[], &[]),
            of(json!("all"), &[], &["consumers"]),
            of(another, &["consumers"], &[]),
        ])
    );
}

#[test]
fn strict_fails_where_no_binding_can_permit() {
    let folder = folder();
    write(folder.path(), &capped());
    let text = format!(
        "bindings that can permit\n  definition my-workspace/{DEFINITION}: none, so each of these runs is refused\n  \
         scope all: for some of these runs consumers\n  scope definition workspace another-team: consumers\n"
    );
    for command in ["check", "inspect"] {
        let outside = format!("{command} -p issue.toml --definition my-workspace/{DEFINITION}");
        for (line, status) in [
            (outside.clone(), 0),
            (format!("{outside} --strict"), 1),
            (format!("{command} -p issue.toml --strict"), 0),
            (format!("{command} -p issue.toml --definition another-team/{DEFINITION} --strict"), 0),
        ] {
            let ran = countersign(folder.path(), &line);
            assert_eq!((ran.status, ran.stderr.as_str()), (status, ""), "{line}: {}", ran.stdout);
            assert_eq!(ran.stdout.contains(&text), line.contains("my-workspace"), "{}", ran.stdout);
        }
    }
    // A scope that nothing else overlaps, and whose own binding is only tried out.
    let tried = capped().replace(
        "scope = { definition-workspace = \"another-team\" }",
        "scope = { definition-workspace = \"another-team\" }\nmode = \"shadow\"",
    );
    write(folder.path(), &tried);
    let ran = countersign(folder.path(), "check -p issue.toml --strict");
    assert_eq!(ran.status, 1);
    let none = "scope definition workspace another-team: none, so each of these runs is refused";
    assert!(ran.stdout.contains(none), "{}", ran.stdout);
    let ran = countersign(folder.path(), "inspect ttl-ceiling.wasm --strict");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("require --policies"), "{}", ran.stderr);
}

#[test]
fn a_redundant_binding_is_named() {
    let folder = folder();
    let twice = APPROVED_EVERYBODY.replace("another-team", "my-workspace");
    let (_, last) = twice.rsplit_once("[[binding]]").unwrap();
    let twice =
        format!("{twice}\n[[binding]]{}", last.replace("\"consumers\"", "\"consumers-again\""));
    write(folder.path(), &twice);
    let ran = countersign(folder.path(), "check -p issue.toml");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let says =
        "binding `consumers-again` is redundant: `consumers` has the same policy, settings, scope";
    assert!(ran.stdout.contains(says), "{}", ran.stdout);
    let ran = countersign(folder.path(), "inspect -p issue.toml --format json");
    let inspected: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(
        inspected["redundant"],
        json!([{ "binding": "consumers-again", "beside": "consumers" }])
    );
    assert_eq!(inspected["bindings"].as_array().unwrap().len(), 3);
}
