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
    AuthorKind, Behavior, BuildingBlock, ClaimField, Claims, Decision, Definition, Facts,
    FieldForm, Implementation, Parent, PolicySet, Run, SubjectFormat, SubjectTemplate,
    TokenRequest, Trigger, read_run, run_record,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::{option, prop_assert_eq, proptest};
use serde_json::{Value, json};
use support::{enforce, facts, runner, subject_form, token};

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
    fn claims_of_a_record_are_the_claims(claims in claims()) {
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

fn claims() -> impl Strategy<Value = Claims> {
    let token = (btree_set("[!-~]{1,40}", 1..10), 1_u32..=86_400, 0_u64..=253_402_300_799);
    let facts = btree_map("[a-z][A-Za-z0-9._:/-]{0,30}", line(0), 0..8);
    let by_runner = any::<bool>();
    (run(), option::of(id()), facts, token, by_runner).prop_map(
        |(run, runner, facts, (audiences, ttl, now), by_runner)| {
            let format = match by_runner && runner.is_some() {
                true => SubjectFormat::ByRunner,
                false => SubjectFormat::ByDefinition,
            };
            let subject = SubjectTemplate { profile: format, meshstack_id: "m".parse().unwrap() };
            let facts = Facts::new(facts.iter().map(|(n, v)| (n.as_str(), v.as_str()))).unwrap();
            let audiences = audiences.iter().map(|audience| audience.parse().unwrap()).collect();
            let token = TokenRequest::new(audiences, ttl, now).unwrap();
            let runner = runner.map(|runner| runner.parse().unwrap());
            Claims::new(run, runner, facts, &subject, token).unwrap()
        },
    )
}

fn run() -> impl Strategy<Value = Run> {
    (
        (name(), name(), option::of(name()), option::of((name(), name()))),
        (0_u64..1 << 53, 0_u64..1 << 53),
        (select(Behavior::ALL), select(Implementation::ALL)),
        (id(), id(), id()),
        vec((id(), id()), 0..4),
        option::of((option::of(line(1)), line(1), select(AuthorKind::ALL))),
    )
        .prop_map(|(names, numbers, (behavior, implementation), ids, parents, trigger)| Run {
            id: ids.0.parse().unwrap(),
            number: numbers.0,
            behavior,
            building_block: BuildingBlock {
                id: ids.1.parse().unwrap(),
                workspace: names.0.parse().unwrap(),
                project: names.2.map(|name| name.parse().unwrap()),
                platform: names.3.map(|(a, b)| format!("{a}.{b}").parse().unwrap()),
                parents: parents
                    .iter()
                    .map(|(block, definition)| Parent {
                        building_block: block.parse().unwrap(),
                        definition: definition.parse().unwrap(),
                    })
                    .collect(),
            },
            definition: Definition {
                id: ids.2.parse().unwrap(),
                workspace: names.1.parse().unwrap(),
                version: numbers.1,
                implementation,
            },
            trigger: trigger.map(|(reason, author, author_kind)| Trigger {
                reason,
                author,
                author_kind,
            }),
        })
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9]{1,10}(-[a-z0-9]{1,8}){0,3}"
}

fn id() -> impl Strategy<Value = String> {
    "[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
}

/// Any text on one line.
fn line(min: usize) -> impl Strategy<Value = String> {
    vec(any::<char>().prop_filter("a control character", |c| !c.is_control()), min..60)
        .prop_map(String::from_iter)
}
