//! Claims of records, read back: the same claims to the byte, and nothing that was never written.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::sync::OnceLock;

use countersign::{
    AuthorKind, ClaimField, Claims, Decision, FieldForm, Parent, PolicySet, Trigger, read_run,
    run_record,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{arbitrary, enforce, facts, runner, subject_form, token};

/// The `claims` of a decision's record, as they stand in it.
fn recorded(decision: &Decision) -> String {
    #[derive(serde::Deserialize)]
    struct Record<'r> {
        #[serde(borrow)]
        claims: &'r serde_json::value::RawValue,
    }
    serde_json::from_str::<Record<'_>>(decision.json()).unwrap().claims.get().to_owned()
}

fn permits() -> &'static PolicySet {
    static SET: OnceLock<PolicySet> = OnceLock::new();
    SET.get_or_init(|| support::set(&[enforce("a", r#"{"permit": {}}"#)]))
}

fn evaluate(claims: Claims) -> Decision {
    permits().evaluate(claims)
}

fn with_everything() -> Claims {
    let mut run = support::run();
    let id = "11111111-1111-4111-8111-111111111111";
    run.building_block.parents =
        vec![Parent { building_block: id.parse().unwrap(), definition: id.parse().unwrap() }];
    run.trigger = Some(Trigger {
        reason: Some("by \"hand\"".to_owned()),
        author: "ü@example.com".to_owned(),
        author_kind: AuthorKind::User,
    });
    Claims::new(run, Some(runner()), facts(), &subject_form(), token(&["aws", "azure"], 60))
        .unwrap()
}

#[test]
fn a_decision_on_what_was_read_back_is_the_same_to_the_byte() {
    for claims in [support::claims(), with_everything()] {
        let decision = evaluate(claims.clone());
        let again = Claims::from_record(recorded(&decision).as_bytes()).unwrap();
        assert_eq!(again, claims);
        assert_eq!(evaluate(again).json(), decision.json());
    }
}

/// The record with one member changed, or taken away where there is no value.
fn changed(pointer: &str, value: Option<Value>) -> String {
    let mut record: Value = serde_json::from_str(&recorded(&evaluate(with_everything()))).unwrap();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match (record.pointer_mut(parent).unwrap(), value) {
        (Value::Object(members), Some(value)) => drop(members.insert(name.to_owned(), value)),
        (Value::Object(members), None) => drop(members.remove(name)),
        _ => panic!("{pointer}"),
    }
    record.to_string()
}

#[track_caller]
fn refuses(pointer: &str, value: Value, expected: &str) {
    let error = Claims::from_record(changed(pointer, Some(value)).as_bytes()).unwrap_err();
    assert!(error.to_string().starts_with(expected), "{error}");
}

#[test]
fn each_field_has_the_bounds_that_it_was_made_with() {
    for field in ClaimField::ALL {
        let pointer = field.record_pointer();
        let missing = Claims::from_record(changed(pointer, None).as_bytes());
        // Without a trigger there is neither author nor kind, and with one both are.
        let optional =
            field.is_optional() && !matches!(field, ClaimField::Author | ClaimField::AuthorKind);
        assert_eq!(missing.is_ok(), optional || *field == ClaimField::Facts, "{field}");
        refuses(pointer, Value::Null, pointer);
        let bad = match field.form() {
            FieldForm::Identifier(_) => vec![json!(""), json!("A b"), json!(1)],
            FieldForm::Word(_) => vec![json!("apply"), json!("")],
            FieldForm::Integer { max, .. } => vec![json!(max + 1), json!(-1), json!(1.5)],
            FieldForm::Line { max_bytes, .. } => {
                vec![json!(""), json!("a\nb"), json!("x".repeat(max_bytes + 1))]
            }
            FieldForm::Identifiers { max, .. } => {
                vec![json!([1]), json!(["a b"]), json!(vec!["a"; max + 1])]
            }
            FieldForm::Parents { max, .. } => {
                vec![json!([1]), json!([{}]), json!(vec![json!({}); max + 1])]
            }
            FieldForm::Facts { max_bytes, .. } => vec![
                json!([]),
                json!({"a": 1}),
                json!({"a b": ""}),
                json!({"author-kind": "Robot"}),
                json!({"a": "x".repeat(max_bytes + 1)}),
            ],
        };
        for value in bad {
            refuses(pointer, value, pointer);
        }
    }
    refuses("/token/audiences", json!([]), "/token: requested 0 audiences");
    refuses("/token/audiences", json!(["a", "a"]), "/token: the audience `a`");
    refuses("/token/ttl_seconds", json!(0), "/token/ttl_seconds: expected a whole number from 1");
}

#[test]
fn what_this_version_does_not_know_refuses() {
    refuses("/more", json!(1), "/more: not a member");
    refuses("/run/more", json!(1), "/run/more: not a member");
    refuses("/run/trigger/more", json!({}), "/run/trigger/more: not a member");
    refuses("/token/more", json!([]), "/token/more: not a member");
    // A name that reads as the pointer to a field is none.
    let mut record: Value = serde_json::from_str(&recorded(&evaluate(with_everything()))).unwrap();
    record.as_object_mut().unwrap().insert("run/id".to_owned(), json!("x"));
    let error = Claims::from_record(record.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.to_string(), "/run/id: not a member that this version knows");
    let id = "11111111-1111-4111-8111-111111111111";
    let parent = json!([{"building_block": id, "definition": id, "more": 1}]);
    let expected = "/run/building_block/parents/0/more: not a member";
    refuses("/run/building_block/parents", parent, expected);
    let twice = recorded(&evaluate(with_everything())).replacen('{', r#"{"run": {}, "#, 1);
    assert!(Claims::from_record(twice.as_bytes()).unwrap_err().to_string().contains("twice"));
    assert!(Claims::from_record(b"[]").is_err());
    assert!(read_run(br#"{"run": null}"#).is_err());
}

#[test]
fn a_subject_is_that_of_the_run() {
    let other = "system:serviceaccount:test:workspace.my-workspace.buildingblockdefinition.\
                 11111111-1111-4111-8111-111111111111";
    refuses("/token/subject", json!(other), "/token/subject: expected `system:");
    let by_runner = "system:serviceaccount:test:11111111-1111-4111-8111-111111111111";
    refuses("/token/subject", json!(by_runner), "/token/subject: expected `system:");
    refuses("/token/subject", json!("somebody"), "/token/subject: expected `system:");
    let own = format!("system:serviceaccount:test:{}", runner());
    let claims = Claims::from_record(changed("/token/subject", Some(json!(own))).as_bytes());
    assert_eq!(claims.unwrap().subject().as_str(), own);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever is decided on, its record is the same claims again.
    #[test]
    fn claims_of_a_record_are_the_claims(claims in arbitrary::claims()) {
        let (run, facts) = (claims.run().clone(), claims.facts().clone());
        let stored = run_record(&run, &facts);
        prop_assert_eq!(read_run(stored.as_bytes()).unwrap(), (run, facts));

        let set = permits();
        let decision = set.evaluate(claims.clone());
        let again = Claims::from_record(recorded(&decision).as_bytes()).unwrap();
        prop_assert_eq!(&again, &claims);
        let decided = set.evaluate(again);
        prop_assert_eq!(decided.json(), decision.json());
    }
}
