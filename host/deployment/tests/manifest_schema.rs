//! The schema of `countersign.toml` against the parser of `countersign.toml`.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;

use boon::{Compiler, SchemaIndex, Schemas};
use countersign_deployment::{Manifest, PolicySchema, manifest_schema};
use countersign_schema::SettingsSchema;
use serde_json::Value;

const EXAMPLES: [&str; 2] = [
    include_str!("../../../examples/countersign.toml"),
    include_str!("../../../examples/six-policies.toml"),
];

const SETTINGS: [(&str, &str); 7] = [
    ("same-workspace", include_str!("../../../guest-policies/same-workspace/settings.schema.json")),
    (
        "allowed-consumers",
        include_str!("../../../guest-policies/allowed-consumers/settings.schema.json"),
    ),
    ("ttl-ceiling", include_str!("../../../guest-policies/ttl-ceiling/settings.schema.json")),
    (
        "audience-per-implementation",
        include_str!("../../../guest-policies/audience-per-implementation/settings.schema.json"),
    ),
    ("trigger-gate", include_str!("../../../guest-policies/trigger-gate/settings.schema.json")),
    ("change-window", include_str!("../../../guest-policies/change-window/settings.schema.json")),
    ("scripted", include_str!("../../../guest-policies/scripted/settings.schema.json")),
];

const BINDING: &str = "[[binding]]\nname = \"a\"\npolicy = \"a.wasm\"\nscope = \"all\"\n";

/// The schema with the settings of all policies here.
fn with_policies() -> Value {
    let schemas = SETTINGS.map(|(name, text)| {
        (name, format!("../target/policies/{name}.wasm"), SettingsSchema::parse(text).unwrap())
    });
    let policies = schemas.iter().map(|(name, path, schema)| PolicySchema {
        path,
        name,
        summary: "One sentence.",
        schema,
    });
    manifest_schema(&policies.collect::<Vec<_>>())
}

struct Validator(Schemas, SchemaIndex);

impl Validator {
    fn new(schema: &Value) -> Self {
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.add_resource("mem:///manifest", schema.clone()).unwrap();
        // That it follows draft-07 is checked here.
        let index = compiler.compile("mem:///manifest", &mut schemas).unwrap();
        Self(schemas, index)
    }

    /// The pointers of the innermost errors of a manifest.
    fn wrong(&self, manifest: &str) -> Vec<String> {
        fn innermost(error: &boon::ValidationError<'_, '_>, wrong: &mut Vec<String>) {
            if error.causes.is_empty() {
                wrong.push(error.instance_location.to_string());
            }
            error.causes.iter().for_each(|cause| innermost(cause, wrong));
        }
        let value: Value = toml::from_str(manifest).unwrap();
        let mut wrong = Vec::new();
        if let Err(error) = self.0.validate(&value, self.1) {
            innermost(&error, &mut wrong);
        }
        wrong
    }
}

#[test]
fn the_examples_are_valid() {
    let (alone, with) = (Validator::new(&manifest_schema(&[])), Validator::new(&with_policies()));
    for example in EXAMPLES {
        assert_eq!(alone.wrong(example), [] as [&str; 0]);
        assert_eq!(with.wrong(example), [] as [&str; 0]);
    }
}

/// The words in backticks of what the parser says after `expected`.
fn expected(manifest: &str) -> BTreeSet<String> {
    let error = Manifest::parse(manifest).unwrap_err().to_string();
    let (_, words) = error.rsplit_once("expected").unwrap_or_else(|| unreachable!("{error}"));
    let words = words.split('`').skip(1).step_by(2).map(str::to_owned);
    words.filter(|word| word != "\"all\"").collect()
}

#[test]
fn the_schema_has_the_keys_of_the_parser_and_no_others() {
    let schema = manifest_schema(&[]);
    let item = "/properties/binding/items/properties";
    for (manifest, pointer) in [
        (format!("no-such-key = 1\n{BINDING}"), "/properties".to_owned()),
        (format!("[issuer]\nno-such-key = 1\n{BINDING}"), "/properties/issuer/properties".into()),
        (
            format!("[ceilings]\nno-such-key = 1\n{BINDING}"),
            "/properties/ceilings/properties".into(),
        ),
        (
            format!("[preparation]\nno-such-key = 1\n{BINDING}"),
            "/properties/preparation/properties".into(),
        ),
        (format!("{BINDING}no-such-key = 1"), item.to_owned()),
        (format!("{BINDING}limits = {{ no-such-key = 1 }}"), format!("{item}/limits/properties")),
    ] {
        let keys = schema.pointer(&pointer).and_then(Value::as_object).unwrap();
        assert_eq!(expected(&manifest), keys.keys().cloned().collect(), "{pointer}");
    }
    let scopes = expected(&BINDING.replace("\"all\"", "{ no-such-key = 1 }"));
    let forms = schema.pointer(&format!("{item}/scope/oneOf")).and_then(Value::as_array).unwrap();
    let of_schema = forms
        .iter()
        .filter_map(|form| form["properties"].as_object())
        .flat_map(|form| form.keys().cloned());
    assert_eq!(scopes, of_schema.collect());
}

#[test]
fn the_schema_has_the_words_of_the_parser_and_no_others() {
    let schema = manifest_schema(&[]);
    let issuer = "[issuer]\nmeshstack-id = \"a\"\n";
    let uuid = "b23cfb9a-6974-444f-9d33-62134a632373";
    for (manifest, pointer) in [
        (format!("{BINDING}mode = \"none\""), "/properties/binding/items/properties/mode/enum"),
        (
            format!("{issuer}subject-profile = \"none\"\n{BINDING}"),
            "/properties/issuer/properties/subject-profile/enum",
        ),
        (
            format!("{issuer}subject-profiles = {{ {uuid} = \"none\" }}\n{BINDING}"),
            "/properties/issuer/properties/subject-profiles/additionalProperties/enum",
        ),
        (
            format!("{issuer}audiences = {{ a = \"none\" }}\n{BINDING}"),
            "/properties/issuer/properties/audiences/additionalProperties/enum",
        ),
        (
            format!("[preparation]\nbindings = \"none\"\n{BINDING}"),
            "/properties/preparation/properties/bindings/enum",
        ),
    ] {
        let words = schema.pointer(pointer).and_then(Value::as_array).unwrap();
        let words = words.iter().map(|word| word.as_str().unwrap().to_owned());
        assert_eq!(expected(&manifest), words.collect(), "{pointer}");
    }
}

#[test]
fn the_schema_takes_the_values_that_the_parser_takes() {
    let validator = Validator::new(&manifest_schema(&[]));
    let mut manifests = vec![
        "[issuer]\nmeshstack-id = \"a\"".to_owned(),
        "binding = []".to_owned(),
        BINDING.replace("name = \"a\"", "name = \"A\""),
        BINDING.replace("name = \"a\"\n", ""),
        BINDING.replace("policy = \"a.wasm\"\n", ""),
        BINDING.replace("scope = \"all\"\n", ""),
        BINDING.replace("\"all\"", "\"some\""),
        BINDING.replace("\"all\"", "{}"),
        BINDING.replace("\"all\"", "{ definition = \"b23cfb9a-6974-444f-9d33-62134a632373\" }"),
        BINDING.replace("\"all\"", "{ definition = \"B23cfb9a-6974-444f-9d33-62134a632373\" }"),
        BINDING.replace("\"all\"", "{ definition-workspace = \"a-b\" }"),
        BINDING.replace("\"all\"", "{ definition-workspace = \"a--b\" }"),
        BINDING.replace("\"all\"", "{ owning-workspace = \"a\", definition-workspace = \"b\" }"),
        BINDING.replace("\"all\"", "{ owning-workspace = 7 }"),
    ];
    for name in ["a".repeat(63), "a".repeat(64), "a-".into(), "ä".into(), String::new()] {
        manifests.push(BINDING.replace("name = \"a\"", &format!("name = \"{name}\"")));
        manifests.push(format!("[issuer]\nmeshstack-id = \"{name}\"\n{BINDING}"));
    }
    for more in [
        "settings = { a = 1 }",
        "settings = 1",
        "settings-file = \"a.json\"",
        "settings-file = 1",
        "settings = {}\nsettings-file = \"a.json\"",
        "mode = \"shadow\"",
        "claims = [\"team\", \"a.b_c:d/e-f\"]",
        "claims = [\"1a\"]",
        "claims = [\"a b\"]",
        "claims = \"team\"",
        "digest = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"",
        "digest = \"sha256:000000000000000000000000000000000000000000000000000000000000000A\"",
        "digest = \"0000\"",
    ] {
        manifests.push(format!("{BINDING}{more}"));
    }
    for more in [
        "url = 1",
        "url = \"https://example.com\"",
        "subject-migrations = \"moves.json\"",
        "subject-profiles = { b23cfb9a-6974-444f-9d33-62134a632373 = \"by-runner\" }",
        "subject-profiles = { no = \"by-runner\" }",
        "audiences = { \"https://vault.example.com\" = \"other\" }",
        "audiences = { \"a b\" = \"other\" }",
        "audiences = { \"\" = \"other\" }",
    ] {
        manifests.push(format!("[issuer]\nmeshstack-id = \"a\"\n{more}\n{BINDING}"));
        manifests.push(format!("[issuer]\n{more}\n{BINDING}"));
    }
    for bytes in ["1048576", "1048575", "0", "-1", "1.5", "\"1\"", "9223372036854775807"] {
        manifests.push(format!("[preparation]\nresident-bytes = {bytes}\n{BINDING}"));
    }
    let schema = manifest_schema(&[]);
    for (key, limit) in schema["properties"]["ceilings"]["properties"].as_object().unwrap() {
        let mut values: Vec<i64> = vec![-1, 0, 1];
        for bound in ["minimum", "maximum"] {
            values.extend(
                limit[bound].as_i64().iter().flat_map(|bound| [bound - 1, *bound, bound + 1]),
            );
        }
        for size in limit["enum"].as_array().into_iter().flatten().filter_map(Value::as_i64) {
            values.extend([size / 2, size - 1, size, size + 1, size * 2]);
        }
        for value in values {
            manifests.push(format!("[ceilings]\n{key} = {value}\n{BINDING}"));
            manifests.push(format!("{BINDING}limits = {{ {key} = {value} }}"));
        }
    }
    let mut taken = [0, 0];
    for manifest in &manifests {
        let (parsed, wrong) = (Manifest::parse(manifest), validator.wrong(manifest));
        assert_eq!(parsed.is_ok(), wrong.is_empty(), "{manifest}\n{parsed:?}\n{wrong:?}");
        taken[usize::from(parsed.is_ok())] += 1;
    }
    assert!(taken.iter().all(|count| *count > 40), "{taken:?}");
}

#[test]
fn settings_are_those_of_the_policy_at_the_path() {
    let validator = Validator::new(&with_policies());
    let binding = |policy: &str, more: &str| {
        BINDING.replace("a.wasm", &format!("../target/policies/{policy}.wasm")) + more
    };
    for (policy, settings, pointer) in [
        ("same-workspace", "also = [\"A\"]", "/also/0"),
        ("same-workspace", "alsoo = []", ""),
        ("ttl-ceiling", "longer = \"never\"", "/longer"),
        ("ttl-ceiling", "apply = 0", "/apply"),
        ("trigger-gate", "behaviors = { apply = [\"robot\"] }", "/behaviors/apply/0"),
        (
            "change-window",
            "windows = [{ days = [\"may\"], from = \"08:00\", to = \"09:00\" }]",
            "/windows/0/days/0",
        ),
        ("scripted", "answer = { deny = [[\"a\", 7]] }", "/answer/deny/0/1"),
        ("scripted", "answer = { deny = [[\"a\", \"b\", \"c\"]] }", "/answer/deny/0"),
    ] {
        let wrong = validator.wrong(&binding(policy, &format!("settings = {{ {settings} }}")));
        let place = format!("/binding/0/settings{pointer}");
        assert!(wrong.contains(&place), "{policy} {settings}: {wrong:?}");
        // Another policy's settings are not looked at.
        assert_eq!(
            validator.wrong(&format!("{BINDING}settings = {{ {settings} }}")),
            [] as [&str; 0]
        );
    }
    // Without settings they are `{}`, which these two do and do not take.
    assert_eq!(validator.wrong(&binding("same-workspace", "")), [] as [&str; 0]);
    assert!(!validator.wrong(&binding("allowed-consumers", "")).is_empty());
    assert_eq!(
        validator.wrong(&binding("allowed-consumers", "settings-file = \"a.json\"")),
        [] as [&str; 0]
    );
}

#[test]
fn what_draft_7_has_other_words_for_is_translated() {
    let text = r##"{
        "properties": {
            "pair": {"prefixItems": [{"type": "string"}], "items": {"type": "integer"}},
            "beside": {"$ref": "#/$defs/short", "minLength": 1, "description": "Kept.", "default": null},
            "digits": {"pattern": "^\\d+$"},
            "some": {"contains": {"const": 1}, "minContains": 0}
        },
        "dependentRequired": {"a": ["b"], "c": ["b"]},
        "dependentSchemas": {"a": {"required": ["c"]}},
        "unevaluatedProperties": false,
        "$defs": {"short": {"maxLength": 2}}
    }"##;
    let schema = SettingsSchema::parse(text).unwrap();
    let policy = |path| PolicySchema { path, name: "p", summary: "One sentence.", schema: &schema };
    let whole = manifest_schema(&[policy("one.wasm"), policy("two.wasm")]);
    let names: Vec<_> =
        whole["definitions"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["settings-of-p", "settings-of-p-2", "settings-of-p-2.short", "settings-of-p.short"]
    );
    let own = &whole["definitions"]["settings-of-p-2"];
    assert_eq!(own["description"], "One sentence.");
    assert_eq!(own["properties"]["digits"]["pattern"], "^\\d+$");
    assert_eq!(own["properties"]["some"], serde_json::json!({}));
    assert_eq!(
        own["properties"]["beside"]["allOf"][0]["$ref"],
        "#/definitions/settings-of-p-2.short"
    );
    assert!(own["properties"]["beside"].get("default").is_none());
    let validator = Validator::new(&whole);
    let wrong = |settings: &str| {
        validator.wrong(
            &BINDING
                .replace("a.wasm", "two.wasm")
                .replace("scope", &format!("settings = {settings}\nscope")),
        )
    };
    for (settings, place) in [
        ("{ pair = [1] }", "/pair/0"),
        // The validator counts from the first item after those that have schemas of their own.
        ("{ pair = [\"a\", \"b\"] }", "/pair/0"),
        ("{ beside = \"abc\" }", "/beside"),
        ("{ beside = \"\" }", "/beside"),
        ("{ digits = \"x\" }", "/digits"),
        ("{ c = 1 }", ""),
        ("{ a = 1, b = 1 }", ""),
    ] {
        assert_eq!(wrong(settings), [format!("/binding/0/settings{place}")], "{settings}");
    }
    assert_eq!(
        wrong("{ a = 1, b = 1, c = 1, pair = [\"a\", 2], beside = \"ab\" }"),
        [] as [&str; 0]
    );
}
