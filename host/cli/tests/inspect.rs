//! `countersign inspect`: components and bindings.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;

use serde_json::Value;
use support::{countersign, folder};

#[test]
fn every_policy_can_be_looked_at() {
    let folder = folder();
    let names: Vec<_> =
        countersign_policy_artifacts::POLICIES.iter().map(|(name, _)| *name).collect();
    let files: Vec<_> = names.iter().map(|name| format!("{name}.wasm")).collect();
    let ran = countersign(folder.path(), &format!("inspect --format json {}", files.join(" ")));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let inspected: Vec<Value> = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(inspected.len(), 6);
    for (inspected, name) in inspected.iter().zip(&names) {
        assert_eq!(inspected["description"]["name"], *name);
        assert_eq!(inspected["loads"], true);
        assert_eq!(inspected["imports"], serde_json::json!([]));
        assert!(inspected["bytes"].as_u64().unwrap() < 100 << 10, "{inspected}");
        assert!(inspected["digest"].as_str().unwrap().starts_with("sha256:"));
        assert_eq!(inspected["description"]["settings_schema"]["type"], "object");
    }
    let text = countersign(folder.path(), "inspect ttl-ceiling.wasm");
    assert!(text.stdout.starts_with("loads  ttl-ceiling.wasm\n"), "{}", text.stdout);
    let schema = countersign(folder.path(), "inspect --settings-schema ttl-ceiling.wasm");
    assert!(serde_json::from_str::<Value>(&schema.stdout).is_ok());
}

#[test]
fn a_component_that_would_not_load_says_why() {
    let folder = folder();
    fs::write(folder.path().join("x.wasm"), "no").unwrap();
    let ran = countersign(folder.path(), "inspect x.wasm");
    assert_eq!(ran.status, 1);
    assert!(ran.stdout.starts_with("does not load  x.wasm\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("(not-wasm)"), "{}", ran.stdout);
    let ran = countersign(folder.path(), "inspect --format json x.wasm");
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.status, &value[0]["problem"]["code"]), (1, &Value::from("not-wasm")));
}

#[test]
fn a_component_says_what_it_takes_of_its_limits() {
    let folder = folder();
    // Valid, but larger than the default limit: a custom section of 2 MiB.
    let large = [
        countersign_policy_artifacts::TTL_CEILING,
        &countersign_hostile_policies::section(0, &[&[1, b'x'][..], &[0; 2 << 20]].concat()),
    ]
    .concat();
    fs::write(folder.path().join("large.wasm"), &large).unwrap();
    let ran = countersign(folder.path(), "inspect --format json large.wasm ttl-ceiling.wasm");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(value[0]["needs"], serde_json::json!({ "component-bytes": large.len() }));
    assert_eq!(value[1]["needs"], serde_json::json!({}));
    // As `policy build` loads a component that is too large to be a compiled policy.
    assert_eq!(
        (&value[0]["profile"], &value[1]["profile"]),
        (&"interpreter".into(), &"compiled".into())
    );
    let ran =
        countersign(folder.path(), "inspect --format json --profile interpreter ttl-ceiling.wasm");
    let named: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(named[0]["profile"], "interpreter");
    let ran =
        countersign(folder.path(), "inspect --profile compiled --prepare-ms 1 ttl-ceiling.wasm");
    assert!(
        ran.stdout.contains("(prepare-time)") && ran.stdout.contains("--profile interpreter"),
        "{}",
        ran.stdout
    );
    assert_eq!(value[1]["limits"]["memory_bytes"]["limit"], 16 << 20);
    assert_eq!(value[1]["limits"]["memory_bytes"]["used"], 65_536);
    assert_eq!(value[1]["limits"]["wall_clock_ms"]["used"], Value::Null);
    let text = countersign(folder.path(), "inspect large.wasm").stdout;
    let needs = format!("limits = {{ component-bytes = {} }}", large.len());
    assert!(text.contains(&needs), "{text}");
    assert!(text.contains("in a child process"), "{text}");
}

#[test]
fn bindings_show_their_limits() {
    let folder = folder();
    let manifest = fs::read_to_string(folder.path().join("countersign.toml")).unwrap();
    let own = manifest.replace("limits = { prepare-ms", "limits = { fuel = 77, prepare-ms");
    assert_ne!(own, manifest);
    fs::write(folder.path().join("countersign.toml"), own).unwrap();
    let ran = countersign(folder.path(), "inspect --policies countersign.toml --format json");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let value: Value = serde_json::from_str(&ran.stdout).unwrap();
    let shadow = &value["bindings"].as_array().unwrap()[2];
    assert_eq!(shadow["may_permit"], true);
    assert_eq!(
        (&shadow["binding"], &shadow["mode"]),
        (&"destroy-by-people-only".into(), &"shadow".into())
    );
    assert_eq!((&shadow["scope"], &shadow["file"]), (&"all".into(), &"trigger-gate.wasm".into()));
    assert_eq!(shadow["limits"]["fuel"], serde_json::json!({ "used": null, "limit": 77 }));
    let configure = &shadow["limits"]["configure_fuel"];
    assert!((1..=100_000_000).contains(&configure["used"].as_u64().unwrap()), "{configure}");
    let text = countersign(folder.path(), "inspect -p countersign.toml").stdout;
    assert!(text.contains("active  destroy-by-people-only\n"), "{text}");
    // A binding that does not become active is an error, as it is for a decision.
    let broken = manifest.replace("trigger-gate.wasm", "none.wasm");
    fs::write(folder.path().join("countersign.toml"), broken).unwrap();
    let ran = countersign(folder.path(), "inspect -p countersign.toml");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("destroy-by-people-only"), "{}", ran.stderr);
}
