//! Hostile schemas: none of them is used, and rejecting them is cheap.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use countersign::Settings;
use countersign_schema::{MAX_DEPTH, MAX_PATTERNS, SettingsSchema, Unusable};
use serde_json::{Value, json};

fn unusable(schema: &Value) -> Unusable {
    SettingsSchema::parse(&schema.to_string()).unwrap_err()
}

fn settings(value: &Value) -> Settings {
    Settings::from_json(&value.to_string()).unwrap()
}

/// Definitions `0` to `count`, each referring to the next one.
fn chain(count: usize, of: impl Fn(Value) -> Value) -> Value {
    let definitions = (0..count).map(|index| {
        let next = json!({ "$ref": format!("#/$defs/{}", index + 1) });
        (index.to_string(), of(next))
    });
    let mut definitions: serde_json::Map<_, _> = definitions.collect();
    definitions.insert(count.to_string(), json!({ "type": "object" }));
    json!({ "$ref": "#/$defs/0", "$defs": definitions })
}

#[test]
fn references_that_double_are_counted_and_not_followed() {
    let doubling = chain(30, |next| json!({ "allOf": [next, next] }));
    assert_eq!(unusable(&doubling), Unusable::TooWide);
    // Not more than can be counted either: 2 to the power of 60, and past what 64 bits hold.
    let four = chain(30, |next| json!({ "allOf": [next, next, next, next], "anyOf": [next] }));
    assert_eq!(unusable(&four), Unusable::TooWide);
    // A few are fine.
    let few = chain(8, |next| json!({ "allOf": [next, next] }));
    let schema = SettingsSchema::parse(&few.to_string()).unwrap();
    assert_eq!(schema.check(&settings(&json!({}))).unwrap(), []);
}

#[test]
fn references_that_lead_back_have_no_bound() {
    for schema in [
        json!({ "$ref": "#" }),
        json!({ "properties": { "a": { "$ref": "#" } } }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } }),
        json!({ "$ref": "#/$defs/a", "$defs": { "a": { "items": { "$ref": "#/$defs/a" } } } }),
    ] {
        assert!(matches!(unusable(&schema), Unusable::Recursive { .. }), "{:?}", unusable(&schema));
    }
}

#[test]
fn long_chains_of_references_do_not_use_up_the_stack() {
    assert!(matches!(unusable(&chain(1500, |next| next)), Unusable::TooDeep { .. }));
    assert!(matches!(
        unusable(&chain(MAX_DEPTH, |next| json!({ "items": next }))),
        Unusable::TooDeep { .. }
    ));
    // Read from the far end, so that each is known when the one before it is read.
    let mut far = chain(900, |next| next).as_object().unwrap().clone();
    let backwards: Vec<_> =
        (0..900).rev().map(|index| json!({ "$ref": format!("#/$defs/{index}") })).collect();
    far.remove("$ref");
    far.insert("anyOf".to_owned(), backwards.into());
    let far = unusable(&Value::Object(far));
    assert!(matches!(far, Unusable::TooDeep { .. }), "{far}");
}

#[test]
fn the_deepest_that_is_used_fits_a_small_stack() {
    let deep = chain(20, |next| json!({ "anyOf": [{ "items": next }, false] }));
    let mut value = json!(7);
    for _ in 0..20 {
        value = json!([value]);
    }
    let of_a =
        json!({ "properties": { "a": { "$ref": "#/$defs/0" } }, "$defs": deep["$defs"].clone() });
    let of_a = SettingsSchema::parse(&of_a.to_string()).unwrap();
    let problems = of_a.check(&settings(&json!({ "a": value }))).unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems.first().unwrap().pointer, format!("/a{}", "/0".repeat(20)));
    let mut nested = json!({ "type": "string" });
    for _ in 1..MAX_DEPTH {
        nested = json!({ "items": nested });
    }
    assert!(SettingsSchema::parse(&nested.to_string()).is_ok());
    nested = json!({ "items": nested });
    assert!(matches!(unusable(&nested), Unusable::TooDeep { .. }));
}

#[test]
fn nothing_is_fetched() {
    for reference in [
        "https://example.com/schema.json",
        "file:///etc/passwd",
        "other.json#/$defs/a",
        "//example.com/a",
    ] {
        let schema = json!({ "properties": { "a": { "$ref": reference } } });
        let expected =
            Unusable::Remote { place: "#/properties/a".into(), reference: reference.into() };
        assert_eq!(unusable(&schema), expected);
    }
    for reference in ["#/$defs/none", "#anchor", "#/%FF"] {
        assert!(
            matches!(unusable(&json!({ "$ref": reference })), Unusable::Missing { .. }),
            "{reference}"
        );
    }
    let own = json!({ "$id": "https://example.com/mine", "$schema": "https://json-schema.org/draft/2020-12/schema" });
    assert!(SettingsSchema::parse(&own.to_string()).is_ok());
}

#[test]
fn keywords_are_those_of_the_draft() {
    for (schema, keyword) in [
        (json!({ "typ": "object" }), "typ"),
        (json!({ "items": { "$id": "https://example.com/other" } }), "$id"),
        (json!({ "$dynamicRef": "#a" }), "$dynamicRef"),
        (json!({ "$anchor": "a" }), "$anchor"),
        (json!({ "$vocabulary": {} }), "$vocabulary"),
        (json!({ "dependencies": {} }), "dependencies"),
    ] {
        match unusable(&schema) {
            Unusable::Keyword { keyword: found, .. } => assert_eq!(found, keyword),
            other => assert_eq!(other.to_string(), keyword),
        }
    }
    assert!(
        SettingsSchema::parse(r#"{"x-order": 3, "format": "uint32", "$comment": "no"}"#).is_ok()
    );
    for draft in ["http://json-schema.org/draft-07/schema#", "https://example.com/own"] {
        assert_eq!(unusable(&json!({ "$schema": draft })), Unusable::Draft { found: draft.into() });
    }
}

#[test]
fn what_does_not_follow_the_draft_is_not_used() {
    for schema in [
        json!({ "type": "text" }),
        json!({ "allOf": 3 }),
        json!({ "properties": [] }),
        json!({ "items": 3 }),
        json!({ "minLength": -1 }),
        json!({ "required": "a" }),
        json!({ "enum": "a" }),
        json!({ "pattern": 3 }),
        json!({ "$ref": 3 }),
        json!(3),
        json!([]),
    ] {
        assert!(
            matches!(unusable(&schema), Unusable::Malformed { .. }),
            "{schema}: {:?}",
            unusable(&schema)
        );
    }
    for text in ["", "{", "nul", &"[".repeat(1000)] {
        assert!(matches!(SettingsSchema::parse(text), Err(Unusable::NotJson { .. })), "{text}");
    }
    let large = " ".repeat(65_537);
    assert_eq!(SettingsSchema::parse(&large).unwrap_err(), Unusable::TooLarge { bytes: 65_537 });
}

#[test]
fn patterns_are_linear_and_small() {
    for pattern in ["(?=a)", "(a)\\1", "((a{200}){200}){200}", "\\p{Nonsense}", "("] {
        for schema in
            [json!({ "pattern": pattern }), json!({ "patternProperties": { pattern: {} } })]
        {
            assert!(matches!(unusable(&schema), Unusable::Pattern { .. }), "{schema}");
        }
    }
    // What takes an engine that goes back for ever, this one reads once.
    let schema = SettingsSchema::parse(r#"{"properties": {"a": {"pattern": "^(a+)+$"}}}"#).unwrap();
    let long = json!({ "a": format!("{}b", "a".repeat(500_000)) });
    assert_eq!(schema.check(&settings(&long)).unwrap().len(), 1);
    let many: serde_json::Map<_, _> =
        (0..=MAX_PATTERNS).map(|index| (format!("^{index}$"), json!({}))).collect();
    assert_eq!(unusable(&json!({ "patternProperties": many })), Unusable::TooManyPatterns);
    // Large, and applied to much text: given up before it begins.
    let heavy = json!({ "additionalProperties": { "items": { "pattern": "^([a-z]{1,40}|[0-9]{1,40}){1,20}$" } } });
    let schema = SettingsSchema::parse(&heavy.to_string()).unwrap();
    let long = settings(&json!({ "a": ["a".repeat(900_000)] }));
    assert!(matches!(schema.check(&long).unwrap_err(), Unusable::TooMuchText { .. }));
    assert_eq!(schema.check(&settings(&json!({ "a": ["abc"] }))).unwrap(), []);
}

#[test]
fn large_settings_are_too_much_for_wide_schemas() {
    let words: Vec<_> = (0..5000).map(|index| format!("word-{index}")).collect();
    let schema = json!({ "properties": { "a": { "items": { "enum": words } } } });
    let schema = SettingsSchema::parse(&schema.to_string()).unwrap();
    let many = settings(&json!({ "a": vec!["none"; 60_000] }));
    assert!(matches!(schema.check(&many).unwrap_err(), Unusable::TooMuch { .. }));
    let few = settings(&json!({ "a": ["word-4999", "none"] }));
    let problems = schema.check(&few).unwrap();
    assert_eq!(problems.len(), 1);
    assert_eq!(problems.first().unwrap().pointer, "/a/1");
}

#[test]
fn unique_items_take_as_long_as_reading_them() {
    let schema = SettingsSchema::parse(r#"{"properties": {"a": {"uniqueItems": true}}}"#).unwrap();
    let mut items: Vec<_> = (0..15_000).map(|index| json!({ "x": [index] })).collect();
    assert_eq!(schema.check(&settings(&json!({ "a": items.clone() }))).unwrap(), []);
    items.push(json!({ "x": [7] }));
    let problems = schema.check(&settings(&json!({ "a": items }))).unwrap();
    let problem = problems.first().unwrap();
    assert_eq!(problem.pointer, "/a/15000");
    assert_eq!(problem.message, "the same as item 7; each may be there once");
}
