//! Arbitrary schemas and settings never panic, and settings made to match do.
#![allow(missing_docs, clippy::unwrap_used, reason = "tests")]

use countersign::Settings;
use countersign_schema::SettingsSchema;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(4, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-c]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Valid and invalid schemas.
fn schema() -> impl Strategy<Value = Value> {
    let types = ["null", "boolean", "integer", "number", "string", "array", "object", "nonsense"];
    let assertion = prop_oneof![
        any::<bool>().prop_map(Value::from),
        proptest::sample::select(types.to_vec()).prop_map(|of| json!({ "type": of })),
        vec(value(), 0..4).prop_map(|values| json!({ "enum": values })),
        value().prop_map(|of| json!({ "const": of })),
        (0_u64..4, 0_u64..4).prop_map(
            |(a, b)| json!({ "minLength": a, "maxLength": b, "maxItems": a, "minContains": b })
        ),
        (-3_i64..4, 1_i64..4)
            .prop_map(|(a, b)| json!({ "minimum": a, "multipleOf": b, "exclusiveMaximum": b })),
        any::<bool>().prop_map(|unique| json!({ "uniqueItems": unique })),
        "[a-c.*+?()|\\[\\]^$\\\\dws-]{0,6}".prop_map(|pattern| json!({ "pattern": pattern })),
        vec("[a-c]", 0..3).prop_map(|keys| json!({ "required": keys })),
        proptest::sample::select(vec![
            "#",
            "#/$defs/a",
            "#/$defs/b",
            "#/items",
            "#/allOf/0",
            "x:y"
        ])
        .prop_map(|reference| json!({ "$ref": reference })),
        leaf(),
    ];
    assertion.prop_recursive(4, 40, 4, |inner| {
        let keywords = [
            "items",
            "not",
            "contains",
            "additionalProperties",
            "propertyNames",
            "if",
            "then",
            "else",
            "unevaluatedItems",
            "unevaluatedProperties",
        ];
        let lists = ["allOf", "anyOf", "oneOf", "prefixItems"];
        let maps = ["properties", "patternProperties", "dependentSchemas", "$defs"];
        let one = (proptest::sample::select(keywords.to_vec()), inner.clone());
        let list = (proptest::sample::select(lists.to_vec()), vec(inner.clone(), 0..4));
        let map = (proptest::sample::select(maps.to_vec()), btree_map("[a-c]{1,2}", inner, 0..4));
        (one, list, map).prop_map(|((keyword, one), (list_keyword, list), (map_keyword, map))| {
            let map = Value::Object(map.into_iter().collect());
            json!({ keyword: one, list_keyword: list, map_keyword: map })
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics(schema in schema(), value in value()) {
        if let Ok(schema) = SettingsSchema::parse(&schema.to_string()) {
            let settings = Settings::from_json(&json!({ "a": value }).to_string()).unwrap();
            if let Ok(problems) = schema.check(&settings) {
                for problem in problems {
                    prop_assert!(!problem.message.is_empty());
                    prop_assert!(problem.pointer.is_empty() || problem.pointer.starts_with('/'));
                }
            }
        }
    }
}
