//! The table of a run's fields, compared with everything that writes the fields down once more.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use countersign::{
    AuthorKind, ClaimField, Claims, FieldForm, FieldValue, PARENT_MEMBERS, Parent, Run, Trigger,
};
use serde_json::{Value, json};
use support::{PUBLISHED_RUN, decide, enforce, token};
use wit_parser::{Resolve, Type, TypeDefKind, TypeId};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[track_caller]
fn source(path: &str) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The parts of a field's path in the contract: records first, then the field.
fn parts(field: ClaimField) -> Vec<&'static str> {
    field.path().split('.').collect()
}

/// Claims that have everything.
fn claims() -> Claims {
    let mut run = support::run();
    let id = "11111111-1111-4111-8111-111111111111";
    run.building_block.parents =
        vec![Parent { building_block: id.parse().unwrap(), definition: id.parse().unwrap() }];
    run.trigger = Some(Trigger {
        reason: Some("ORDERED".to_owned()),
        author: "ada@example.com".to_owned(),
        author_kind: AuthorKind::User,
    });
    let (runner, form) = (Some(support::runner()), support::subject_form());
    Claims::new(run, runner, support::facts(), &form, token(&["aws", "azure"], 3600)).unwrap()
}

/// The type behind an option.
fn some(resolve: &Resolve, ty: Type) -> (Type, bool) {
    match ty {
        Type::Id(id) => match resolve.types[id].kind {
            TypeDefKind::Option(inner) => (inner, true),
            TypeDefKind::Type(inner) => some(resolve, inner),
            _ => (ty, false),
        },
        _ => (ty, false),
    }
}

/// The fields of a record and of the records in it, with whether they are optional.
fn leaves(
    resolve: &Resolve,
    id: TypeId,
    path: &str,
    optional: bool,
    found: &mut BTreeMap<String, bool>,
) {
    let TypeDefKind::Record(record) = &resolve.types[id].kind else { panic!("{path}: no record") };
    for field in &record.fields {
        let path = format!("{path}.{}", field.name);
        let (ty, is_option) = some(resolve, field.ty);
        let optional = optional || is_option;
        match ty {
            Type::Id(id) if matches!(resolve.types[id].kind, TypeDefKind::Record(_)) => {
                leaves(resolve, id, &path, optional, found);
            }
            _ => drop(found.insert(path, optional)),
        }
    }
}

#[test]
fn the_contract_has_the_fields_of_the_table() {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("policy.wit", &source("wit/policy.wit")).unwrap();
    let interface = resolve.packages[package].interfaces["policy"];
    let types = &resolve.interfaces[interface].types;
    let mut found = BTreeMap::new();
    for name in ["run", "token"] {
        leaves(&resolve, types[name], name, false, &mut found);
    }
    let table: BTreeMap<_, _> = ClaimField::ALL
        .iter()
        .map(|field| (field.path().to_owned(), field.is_optional()))
        .collect();
    assert_eq!(found, table, "wit/policy.wit on the left, the table on the right");

    let mut members = BTreeMap::new();
    leaves(&resolve, types["parent"], "parent", false, &mut members);
    let table: BTreeSet<_> =
        PARENT_MEMBERS.iter().map(|member| format!("parent.{}", member.name)).collect();
    assert_eq!(members.into_keys().collect::<BTreeSet<_>>(), table);
}

#[test]
fn a_record_has_the_fields_of_the_table() {
    fn walk(value: &Value, pointer: &str, leaves: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) if pointer != ClaimField::Facts.record_pointer() => {
                for (name, value) in members {
                    walk(value, &format!("{pointer}/{name}"), leaves);
                }
            }
            _ => drop(leaves.insert(pointer.to_owned())),
        }
    }
    let decision = decide(&[enforce("a", r#"{"permit": {}}"#)], claims());
    let record = serde_json::to_value(decision.record()).unwrap();
    let mut found = BTreeSet::new();
    walk(&record["claims"], "", &mut found);
    let table: BTreeSet<_> =
        ClaimField::ALL.iter().map(|field| field.record_pointer().to_owned()).collect();
    assert_eq!(found, table, "a record on the left, the table on the right");

    for field in ClaimField::ALL {
        let recorded = record["claims"].pointer(field.record_pointer()).unwrap();
        let expected = match field.get(decision.claims()) {
            FieldValue::Absent => Value::Null,
            FieldValue::Text(text) => json!(text),
            FieldValue::Number(number) => json!(number),
            FieldValue::Texts(texts) => json!(texts),
            FieldValue::Parents(parents) => {
                let parent = |parent: &Parent| {
                    json!({
                        PARENT_MEMBERS[0].record: parent.building_block.as_str(),
                        PARENT_MEMBERS[1].record: parent.definition.as_str(),
                    })
                };
                parents.iter().map(parent).collect()
            }
            FieldValue::Facts(facts) => {
                facts.iter().map(|(name, value)| (name.to_string(), json!(value))).collect()
            }
        };
        assert_eq!(*recorded, expected, "{field}");
    }
}

/// The run object at a field's pointer is where the field is read from, and from nowhere else.
#[test]
fn a_run_object_is_read_at_the_pointers_of_the_table() {
    let mut whole: Value = serde_json::from_str(PUBLISHED_RUN).unwrap();
    whole["spec"]["trigger"] =
        json!({"reason": "ORDERED", "author": {"identifier": "ada", "type": "User"}});
    let parsed = Run::parse(whole.to_string().as_bytes()).unwrap();
    for field in ClaimField::ALL {
        let Some(pointer) = field.object_pointer() else { continue };
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let mut without = whole.clone();
        let removed = without.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
        assert!(removed.is_some(), "{pointer}");
        match Run::parse(without.to_string().as_bytes()) {
            Ok(run) => {
                let list = matches!(field.form(), FieldForm::Parents { .. });
                assert!(field.is_optional() || list, "{field} may not be missing");
                assert!(list || run != parsed, "{field} is not read from {pointer}");
            }
            Err(error) => assert!(error.to_string().starts_with(pointer), "{field}: {error}"),
        }
        let mut wrong = whole.clone();
        *wrong.pointer_mut(pointer).unwrap() = json!({});
        let error = Run::parse(wrong.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{pointer}: expected ")), "{field}: {error}");
    }
}

/// Every field's name is in a text, as `write` writes the names of records and fields.
#[track_caller]
fn names_all(path: &str, left_out: &[ClaimField], write: impl Fn(&str) -> String) {
    let text = source(path);
    let members = PARENT_MEMBERS.iter().map(|member| member.name);
    let fields = ClaimField::ALL.iter().filter(|field| !left_out.contains(field));
    for name in fields.flat_map(|field| parts(*field).into_iter().skip(1)).chain(members) {
        let name = write(name);
        assert!(text.contains(&name), "{path} lacks `{name}`");
    }
}

fn snake(name: &str) -> String {
    name.replace('-', "_")
}

fn camel(name: &str) -> String {
    let mut words = name.split('-');
    let first = words.next().unwrap().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

#[test]
fn engines_templates_and_samples_name_every_field() {
    let quoted = |name: &str| format!("\"{}\"", snake(name));
    for engine in ["rego/src/input.rs", "cel/src/claims.rs", "python/src/claims.rs"] {
        names_all(&format!("guest-policies/engines/{engine}"), &[], quoted);
    }
    let in_javascript = |name: &str| format!("\"{}\"", camel(name));
    names_all("guest-policies/engines/javascript/src/claims.rs", &[], in_javascript);
    let annotated = |name: &str| format!("{}: ", snake(name));
    names_all("host/cli/templates/python/countersign.pyi", &[], annotated);
    // In Cedar the behavior is the action.
    let other = [ClaimField::Behavior];
    let schema = "guest-policies/engines/cedar/src/schema.cedarschema";
    let attribute = |name: &str| match name {
        "project" | "platform" | "trigger" | "reason" | "runner" => format!("{}?: ", snake(name)),
        name => format!("{}: ", snake(name)),
    };
    names_all(schema, &other, attribute);
    let request = "guest-policies/engines/cedar/src/request.rs";
    names_all(request, &other, quoted);
    names_all("host/cli/templates/javascript/types/policy.d.ts", &[], camel);
    // The samples have no parents.
    let text = source("guest-policies/sdk/src/sample.rs");
    let python = source("host/cli/templates/cpython/countersign.py");
    for name in ClaimField::ALL.iter().filter(|field| !field.path().starts_with("run.trigger.")) {
        let name = snake(parts(*name).last().unwrap());
        assert!(text.contains(&format!("{name}: ")), "the SDK's sample lacks `{name}`");
        assert!(python.contains(&format!("{name}=")), "the Python sample lacks `{name}`");
    }
}

#[test]
fn the_description_of_the_api_has_the_fields_of_run_objects() {
    let path = "host/http/openapi.json";
    let api: Value = serde_json::from_str(&source(path)).unwrap();
    let schemas = &api["components"]["schemas"];
    for field in ClaimField::ALL {
        let Some(pointer) = field.object_pointer() else { continue };
        let mut schema = &schemas["RunObject"];
        for name in pointer.split('/').skip(1) {
            if let Some(either) = schema.get("oneOf") {
                schema = &either[0];
            }
            schema = schema.pointer(&format!("/properties/{name}")).unwrap_or_else(|| {
                panic!("{path} lacks {pointer} of the run object");
            });
        }
        match field.form() {
            FieldForm::Word(words) => assert_eq!(schema["enum"], json!(words), "{field}"),
            FieldForm::Integer { min, max, .. } => {
                assert_eq!((&schema["minimum"], &schema["maximum"]), (&json!(min), &json!(max)));
            }
            FieldForm::Line { max_bytes, .. } => {
                assert_eq!(schema["maxLength"], json!(max_bytes), "{field}");
            }
            FieldForm::Parents { max, .. } => {
                assert_eq!(schema["maxItems"], json!(max), "{field}");
                for member in PARENT_MEMBERS {
                    assert!(schema["items"]["properties"].get(member.object).is_some());
                }
            }
            FieldForm::Identifier(_) | FieldForm::Identifiers { .. } | FieldForm::Facts { .. } => {}
        }
    }
    let FieldForm::Facts { max, max_bytes, .. } = ClaimField::Facts.form() else { panic!() };
    let facts = &schemas["Facts"];
    assert_eq!(facts["maxProperties"], json!(max));
    assert_eq!(facts["additionalProperties"]["maxLength"], json!(max_bytes));
}
