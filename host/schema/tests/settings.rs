//! Settings checked against schemas: the place of each problem, and its message.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use countersign::Settings;
use countersign_schema::SettingsSchema;
use serde_json::{Value, json};

const POLICIES: [(&str, &str); 6] = [
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
];

const SCRIPTED: &str = include_str!("../../../guest-policies/scripted/settings.schema.json");

/// The problems, each as `pointer: message`.
fn problems(schema: &str, settings: &Value) -> Vec<String> {
    let settings = Settings::from_json(&settings.to_string()).unwrap();
    let problems = SettingsSchema::parse(schema).unwrap().check(&settings).unwrap();
    problems.iter().map(|problem| format!("{}: {}", problem.pointer, problem.message)).collect()
}

fn of(policy: &str, settings: &Value) -> Vec<String> {
    let (_, schema) = POLICIES.iter().find(|(name, _)| *name == policy).unwrap();
    problems(schema, settings)
}

#[test]
fn policies_take_their_settings() {
    for (policy, settings) in [
        ("same-workspace", json!({ "also": ["team-network"], "also-max-ttl": 1800 })),
        ("allowed-consumers", json!({ "workspaces": ["a", "b-c"] })),
        ("ttl-ceiling", json!({ "apply": 3600, "detect": null, "longer": "deny" })),
        (
            "audience-per-implementation",
            json!({ "implementations": { "terraform": ["api://A:b"] } }),
        ),
        ("trigger-gate", json!({ "behaviors": { "destroy": ["user"] } })),
        (
            "change-window",
            json!({ "windows": [{ "days": ["monday"], "from": "08:00", "to": "24:00" }] }),
        ),
    ] {
        assert_eq!(of(policy, &settings), [] as [&str; 0], "{policy}");
    }
    assert_eq!(problems(SCRIPTED, &json!({ "answer": { "permit": {} } })), [] as [&str; 0]);
}

#[test]
fn several_problems_come_at_once_in_the_order_of_pointers() {
    assert_eq!(
        of("same-workspace", &json!({ "also-max-ttl": 0, "also": ["Team", "a", "a"], "more": 1 })),
        [
            "/also/0: expected text that matches `^[a-z0-9]+(-[a-z0-9]+)*$`, found `Team`",
            "/also/2: the same as item 1; each may be there once",
            "/also-max-ttl: expected 1 or more, found 0",
            "/more: unknown key, expected one of `also`, `also-max-ttl`",
        ]
    );
    assert_eq!(of("allowed-consumers", &json!({})), ["/workspaces: missing"]);
    assert_eq!(
        of("trigger-gate", &json!({ "behaviors": { "apply": ["robot"], "destroy": "user" } })),
        [
            "/behaviors/apply/0: expected one of `user`, `api-key`, `api-user`, `system`, found `robot`",
            "/behaviors/destroy: expected an array, found a string",
        ]
    );
    assert_eq!(
        of("audience-per-implementation", &json!({ "definitions": { "a/b": [] } })),
        ["/definitions/a~1b: unknown key, expected one that matches \
          `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`"]
    );
}

#[test]
fn of_several_forms_the_one_that_was_meant_is_spoken_of() {
    assert_eq!(
        of("ttl-ceiling", &json!({ "longer": "never", "apply": "1h" })),
        [
            "/apply: expected a whole number or null, found a string",
            "/longer: expected one of `narrow`, `deny`, found `never`",
        ]
    );
    // One form has the key, the others do not.
    assert_eq!(
        problems(SCRIPTED, &json!({ "answer": { "flood": { "reasons": -1 } } })),
        ["/answer/flood/bytes: missing", "/answer/flood/reasons: expected 0 or more, found -1",]
    );
    let optional = r##"{"properties": {"a": {"anyOf": [{"$ref": "#/$defs/A"}, {"type": "null"}]}},
        "$defs": {"A": {"type": "object", "required": ["b"]}}}"##;
    assert_eq!(problems(optional, &json!({ "a": {} })), ["/a/b: missing"]);
    assert_eq!(
        problems(optional, &json!({ "a": 7 })),
        ["/a: expected an object or null, found a whole number"]
    );
    let forms =
        json!({ "properties": { "a": { "anyOf": [{ "minLength": 3 }, { "pattern": "^b" }] } } });
    assert_eq!(
        problems(&forms.to_string(), &json!({ "a": "c" })),
        ["/a: matches none of 2 forms: expected 3 characters or more, found 1; or \
          expected text that matches `^b`, found `c`"]
    );
}

#[test]
fn each_keyword_says_what_it_expected() {
    for (schema, value, message) in [
        (json!({ "const": 7 }), json!("7"), "expected `7`, found `7`"),
        (
            json!({ "type": ["boolean", "array"] }),
            json!(1.5),
            "expected a boolean or an array, found a number",
        ),
        (json!({ "maxLength": 1 }), json!("äöü"), "expected at most 1 character, found 3"),
        (json!({ "minItems": 2 }), json!([1]), "expected 2 items or more, found 1"),
        (json!({ "maxItems": 0 }), json!([1]), "expected no item, found 1"),
        (json!({ "minProperties": 1 }), json!({}), "expected 1 key or more, found 0"),
        (
            json!({ "maxProperties": 1 }),
            json!({ "b": 1, "c": 2 }),
            "expected at most 1 key, found 2",
        ),
        (json!({ "maximum": 2 }), json!(3), "expected 2 or less, found 3"),
        (json!({ "exclusiveMinimum": 2 }), json!(2), "expected more than 2, found 2"),
        (json!({ "exclusiveMaximum": 2 }), json!(2), "expected less than 2, found 2"),
        (json!({ "multipleOf": 2 }), json!(3), "expected a multiple of 2, found 3"),
        (json!({ "not": { "const": 1 } }), json!(1), "expected a value that does not match `not`"),
        (
            json!({ "oneOf": [true, true] }),
            json!(1),
            "expected a value that matches exactly one of several forms, found one that matches 0 and 1",
        ),
        (
            json!({ "contains": { "const": 1 } }),
            json!([2]),
            "expected at least one item that matches `contains`",
        ),
        (json!(false), json!(2), "nothing is allowed here"),
    ] {
        let schema = json!({ "properties": { "a": schema } }).to_string();
        assert_eq!(
            problems(&schema, &json!({ "a": value })),
            [format!("/a: {message}")],
            "{schema}"
        );
    }
    let keys = json!({ "propertyNames": { "maxLength": 2 }, "dependentRequired": { "a": ["b"] } });
    assert_eq!(
        problems(&keys.to_string(), &json!({ "a": 1, "long": 2 })),
        [
            "/b: missing, and needed beside `a`",
            "/long: the key: expected at most 2 characters, found 4"
        ]
    );
}

#[test]
fn formats_are_for_the_policy_to_judge() {
    let freeze = json!({ "freezes": [{ "from": "tomorrow", "to": "later" }] });
    assert_eq!(of("change-window", &freeze), [] as [&str; 0]);
}

#[test]
fn references_lead_to_their_place_whatever_it_is_called() {
    let schema = r##"{
        "properties": {"a": {"$ref": "#/$defs/x~1y%20z"}, "b": {"$ref": "#/properties/c"}, "c": {"type": "string"}},
        "definitions": {"x/y z": {"type": "boolean"}},
        "$defs": {"x/y z": {"type": "integer"}}
    }"##;
    assert_eq!(
        problems(schema, &json!({ "a": "1", "b": 2, "c": 3 })),
        [
            "/a: expected a whole number, found a string",
            "/b: expected a string, found a whole number",
            "/c: expected a string, found a whole number",
        ]
    );
}

#[test]
fn items_after_the_first_are_counted_and_left_to_the_policy() {
    let closed =
        r#"{"properties": {"a": {"prefixItems": [{"type": "string"}, true], "items": false}}}"#;
    assert_eq!(
        problems(closed, &json!({ "a": [1, 2, 3] })),
        ["/a: expected at most 2 items, found 3", "/a/0: expected a string, found a whole number"]
    );
    let open = r#"{"properties": {"a": {"prefixItems": [true], "items": {"type": "string"},
        "unevaluatedItems": false}}}"#;
    assert_eq!(problems(open, &json!({ "a": [1, 2] })), [] as [&str; 0]);
    let rest =
        r#"{"properties": {"a": {"allOf": [{"prefixItems": [true]}], "unevaluatedItems": false}}}"#;
    assert_eq!(problems(rest, &json!({ "a": [1, 2] })), ["/a/1: nothing is allowed here"]);
}
