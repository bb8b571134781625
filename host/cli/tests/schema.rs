//! The schemas of settings, from the command line: manifests are checked against them, and editors get them.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;
use std::path::Path;

use countersign_engines::{EngineName, Places};
use countersign_hostile_policies::guest::with_schema;
use serde_json::{Value, json};
use support::{countersign, folder};

const ASK: &str = "--run run.json --audience api://AzureADTokenExchange --ttl 900";

/// A manifest of bindings `one`, `two`, …, each with a policy and settings.
fn manifest(folder: &Path, bindings: &[(&str, &str)]) {
    let names = ["one", "two", "three"];
    let bindings = names.iter().zip(bindings).map(|(name, (policy, settings))| {
        format!(
            "[[binding]]\nname = \"{name}\"\npolicy = \"{policy}.wasm\"\nscope = \"all\"\nsettings = {settings}\n\
             limits = {{ prepare-ms = 120_000, wall-clock-ms = 10_000 }}\n"
        )
    });
    let issuer = "[issuer]\nurl = \"https://oidc.example.com\"\nmeshstack-id = \"demo\"\n";
    fs::write(folder.join("m.toml"), issuer.to_owned() + &bindings.collect::<String>()).unwrap();
}

#[test]
fn wrong_settings_are_found_before_anything_runs() {
    let folder = folder();
    // Only the policy itself can find the error of the first; its `configure` is not called.
    let freezes = "{ freezes = [{ from = \"tomorrow\", to = \"later\" }] }";
    manifest(
        folder.path(),
        &[("change-window", freezes), ("same-workspace", "{ also = [\"Team\"], more = 1 }")],
    );
    let expected = "binding `two`: the settings do not fit the policy `same-workspace`:\n  \
         /also/0: expected text that matches `^[a-z0-9]+(-[a-z0-9]+)*$`, found `Team`\n  \
         /more: unknown key, expected one of `also`, `also-max-ttl`";
    let key = countersign(folder.path(), "keys generate --algorithm es256 --out key.pem");
    assert_eq!(key.status, 0, "{}", key.stderr);
    for line in [
        format!("evaluate -p m.toml {ASK}"),
        format!("explain -p m.toml {ASK}"),
        format!("sign -p m.toml {ASK} --key key.pem"),
        "check --policies m.toml".to_owned(),
        "inspect --policies m.toml".to_owned(),
    ] {
        let ran = countersign(folder.path(), &line);
        assert_eq!((ran.status, ran.stdout.as_str()), (1, ""), "{line}");
        assert!(ran.stderr.contains(expected), "{line}: {}", ran.stderr);
    }
    // Nor if bindings are prepared on demand.
    let text = fs::read_to_string(folder.path().join("m.toml")).unwrap();
    fs::write(
        folder.path().join("m.toml"),
        "[preparation]\nbindings = \"on-demand\"\n".to_owned() + &text,
    )
    .unwrap();
    let ran = countersign(folder.path(), &format!("evaluate -p m.toml {ASK}"));
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn the_policy_has_the_last_word() {
    let folder = folder();
    manifest(
        folder.path(),
        &[("change-window", "{ freezes = [{ from = \"tomorrow\", to = \"later\" }] }")],
    );
    let ran = countersign(folder.path(), &format!("evaluate -p m.toml {ASK}"));
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("/freezes/0/from: "), "{}", ran.stderr);
}

#[test]
fn settings_in_files_are_checked_too() {
    let folder = folder();
    manifest(folder.path(), &[("ttl-ceiling", "{}")]);
    let text = fs::read_to_string(folder.path().join("m.toml")).unwrap();
    fs::write(
        folder.path().join("m.toml"),
        text.replace("settings = {}", "settings-file = \"s.json\""),
    )
    .unwrap();
    fs::write(folder.path().join("s.json"), r#"{"longer": "never"}"#).unwrap();
    let ran = countersign(folder.path(), "check -p m.toml");
    assert_eq!(ran.status, 1);
    let expected = "  /longer: expected one of `narrow`, `deny`, found `never`";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

/// Hostile schemas, each with its message.
fn hostile() -> Vec<(&'static str, Value, &'static str)> {
    let doubling: serde_json::Map<_, _> = (0..30)
        .map(|index| {
            let next = json!({ "$ref": format!("#/$defs/{}", index + 1) });
            (index.to_string(), json!({ "allOf": [next, next] }))
        })
        .chain([("30".to_owned(), json!({}))])
        .collect();
    vec![
        ("doubling", json!({ "$ref": "#/$defs/0", "$defs": doubling }), "more than 16384 keywords"),
        ("recursive", json!({ "properties": { "a": { "$ref": "#" } } }), "leads back to itself"),
        ("remote", json!({ "$ref": "https://example.com/x" }), "in the same document"),
        ("lookahead", json!({ "pattern": "^(?=(a+)+$)" }), "matched in linear time"),
        ("states", json!({ "pattern": "((a{200}){200}){200}" }), "matched in linear time"),
        ("unknown", json!({ "typ": "object" }), "unknown keyword `typ`"),
        ("malformed", json!({ "type": "nonsense" }), "does not follow the draft"),
    ]
}

#[test]
fn a_hostile_schema_is_not_used_and_a_warning_says_so() {
    let folder = folder();
    for (name, schema, why) in hostile() {
        fs::write(folder.path().join("x.wasm"), with_schema(&schema.to_string())).unwrap();
        manifest(folder.path(), &[("x", "{ a = 1 }"), ("x", "{ a = 2 }")]);
        let ran = countersign(folder.path(), &format!("evaluate -p m.toml {ASK} --no-cache"));
        // It abstains, so the run is refused.
        assert_eq!(ran.status, 2, "{name}: {}", ran.stderr);
        let warning = "warning: the settings schema of the policy `guest` is not used: ";
        assert_eq!(ran.stderr.matches(warning).count(), 1, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(why), "{name}: {}", ran.stderr);
        let ran = countersign(folder.path(), "inspect --format json x.wasm");
        let inspected: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(inspected[0]["description"]["settings_schema"], schema);
        let said = inspected[0]["description"]["schema_not_used"].as_str().unwrap();
        assert!(said.contains(why), "{name}: {said}");
        let ran = countersign(folder.path(), "schema --policies m.toml");
        assert_eq!(ran.status, 0, "{name}: {}", ran.stderr);
        assert!(ran.stderr.contains(why), "{name}: {}", ran.stderr);
        let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert!(schema.get("definitions").is_none());
    }
}

#[test]
fn a_schema_is_used_though_the_policy_would_take_anything() {
    let folder = folder();
    let schema = json!({ "properties": { "a": { "type": "string" } } });
    fs::write(folder.path().join("x.wasm"), with_schema(&schema.to_string())).unwrap();
    manifest(folder.path(), &[("x", "{ a = 1 }")]);
    let ran = countersign(folder.path(), &format!("evaluate -p m.toml {ASK}"));
    assert_eq!(ran.status, 1);
    let expected = "binding `one`: the settings do not fit the policy `guest`:\n  \
                    /a: expected a string, found a whole number";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
}

#[test]
fn inspect_prints_the_schema() {
    let folder = folder();
    let ran = countersign(folder.path(), "inspect ttl-ceiling.wasm");
    assert!(ran.stdout.contains("\"title\": \"Settings\""), "{}", ran.stdout);
    let ran = countersign(folder.path(), "inspect --format json ttl-ceiling.wasm");
    let inspected: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(inspected[0]["description"]["settings_schema"]["title"], "Settings");
    assert_eq!(inspected[0]["description"]["schema_not_used"], Value::Null);
}

#[test]
fn editors_get_the_schema_of_a_manifest_with_its_policies() {
    let folder = folder();
    // Invalid settings must not keep an editor from getting the schema.
    manifest(folder.path(), &[("ttl-ceiling", "{ longer = \"never\" }"), ("change-window", "{}")]);
    let ran = countersign(folder.path(), "schema --policies m.toml");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""));
    let of_manifest: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(of_manifest["$schema"], "http://json-schema.org/draft-07/schema#");
    let conditions = &of_manifest["properties"]["binding"]["items"]["allOf"];
    assert_eq!(conditions[0]["if"]["properties"]["policy"]["const"], "ttl-ceiling.wasm");
    assert_eq!(
        conditions[0]["then"]["properties"]["settings"]["$ref"],
        "#/definitions/settings-of-ttl-ceiling"
    );
    assert!(of_manifest["definitions"]["settings-of-change-window.Window"].is_object());
    let ran = countersign(folder.path(), "schema ttl-ceiling.wasm change-window.wasm");
    assert_eq!(serde_json::from_str::<Value>(&ran.stdout).unwrap(), of_manifest);
    let ran = countersign(folder.path(), "schema");
    let alone: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert!(alone["properties"]["binding"]["items"].get("allOf").is_none());
}

/// A component that embeds an engine is larger than the default limit.
#[test]
#[ignore = "needs the engines: `make languages`"]
fn editors_get_the_settings_of_a_component_with_an_engine() {
    let folder = folder();
    let program = std::env::current_exe().unwrap();
    let component = Places::of(Some(&program), None).read(EngineName::Rego).unwrap();
    fs::write(folder.path().join("rego.wasm"), component).unwrap();
    let ran = countersign(folder.path(), "schema rego.wasm");
    assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
    let definitions = schema["definitions"].as_object().unwrap();
    let rego = definitions.values().find(|of| of["properties"].get("policy").is_some());
    let of_data = &rego.unwrap()["properties"]["data"]["type"];
    assert_eq!(*of_data, json!(["object", "null"]), "{}", ran.stdout);
}

#[test]
fn a_schema_is_not_made_of_a_component_that_the_manifest_does_not_pin() {
    let folder = folder();
    manifest(folder.path(), &[("ttl-ceiling", "{}")]);
    let text = fs::read_to_string(folder.path().join("m.toml")).unwrap();
    let pin = format!("digest = \"sha256:{}\"\nscope", "0".repeat(64));
    fs::write(folder.path().join("m.toml"), text.replace("scope", &pin)).unwrap();
    let ran = countersign(folder.path(), "schema --policies m.toml");
    assert_eq!((ran.status, ran.stdout.as_str()), (1, ""));
    assert!(ran.stderr.contains("the manifest pins sha256:0000"), "{}", ran.stderr);
}

#[test]
fn cases_must_have_settings_that_fit_the_schema() {
    let folder = folder();
    let cases = |settings: &str| {
        let text =
            format!("[[case]]\nname = \"any\"\nsettings = {settings}\nexpect = \"abstain\"\n");
        fs::write(folder.path().join("cases.toml"), text).unwrap();
        countersign(folder.path(), "policy test --component x.wasm")
    };
    let schema = json!({ "properties": { "a": { "type": "string" } } });
    fs::write(folder.path().join("x.wasm"), with_schema(&schema.to_string())).unwrap();
    let ran = cases("{ a = 1 }");
    assert_eq!(ran.status, 1);
    // The case fails alone, in the report.
    assert!(ran.stdout.contains("any"), "{}{}", ran.stdout, ran.stderr);
    let expected = "the settings do not fit the policy `guest`";
    assert!(ran.stdout.contains(expected), "{}{}", ran.stdout, ran.stderr);
    let expected = "/a: expected a string, found a whole number";
    assert!(ran.stdout.contains(expected), "{}{}", ran.stdout, ran.stderr);
    let ran = cases("{ a = \"b\" }");
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
}
