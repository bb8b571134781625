//! The fixture of AuthZEN's certification scenario: eight decisions, served by policies over the real door.
//!
//! The scenario's subjects are users, and its resources are records. This service decides on tokens of runs and on nothing else, so
//! that each of its entities stands for one of the fixture's: a run for a user in a role, an audience for an action on a record. The
//! literal requests of the scenario are answered too, as it wants their answers to be formed, and with a no.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{Running, SHARED_RUNNER, Setup, answer, folder, run};

/// The runs and the definitions that users stand for.
const ALICE: [&str; 2] =
    ["a1111111-1111-4111-8111-111111111111", "a2222222-2222-4222-8222-222222222222"];
const BOB: [&str; 2] =
    ["b1111111-1111-4111-8111-111111111111", "b2222222-2222-4222-8222-222222222222"];
const ADMIN: [&str; 2] =
    ["c1111111-1111-4111-8111-111111111111", "c2222222-2222-4222-8222-222222222222"];

/// Each user's actions on records; all others are denied.
fn manifest() -> String {
    let [alice, bob, admin] = [ALICE, BOB, ADMIN].map(|[_, definition]| definition);
    let audiences = [
        "record-1/read",
        "record-1/write",
        "record-1/delete?soft=true",
        "record-1/delete?soft=false",
        "record-2/write?status=archived",
    ];
    let assigned: Vec<_> =
        audiences.iter().map(|audience| format!("\"{audience}\" = \"other\"")).collect();
    format!(
        r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "demo"
audiences = {{ {assigned} }}

[[binding]]
name = "users"
policy = "same-workspace.wasm"
scope = "all"
settings = {{}}
limits = {{ prepare-ms = 120_000, wall-clock-ms = 10_000 }}

[[binding]]
name = "actions"
policy = "audience-per-implementation.wasm"
scope = "all"
limits = {{ prepare-ms = 120_000, wall-clock-ms = 10_000 }}

[binding.settings.definitions]
"{alice}" = ["record-1/read", "record-1/write", "record-1/delete?soft=true"]
"{bob}" = ["record-1/read"]
"{admin}" = ["record-1/read", "record-2/write?status=archived"]
"#,
        assigned = assigned.join(", ")
    )
}

/// A question of the fixture in the words of this service.
fn translated(question: &Value) -> Value {
    let property = |entity: &str, name: &str| question[entity]["properties"][name].clone();
    let subject = match (question["subject"]["id"].as_str().unwrap(), property("subject", "role")) {
        ("alice", _) => ALICE,
        ("bob", role) if role == "admin" => ADMIN,
        _ => BOB,
    };
    let [record, action] = [&question["resource"]["id"], &question["action"]["name"]];
    let mut audience = format!("{}/{}", record.as_str().unwrap(), action.as_str().unwrap());
    for (entity, name) in [("resource", "status"), ("action", "soft")] {
        let value = property(entity, name);
        if !value.is_null() {
            audience += &format!("?{name}={}", value.to_string().trim_matches('"'));
        }
    }
    json!({
        "subject": {"type": "run", "id": subject[0]},
        "action": {"name": "issue-token", "properties": {"ttl_seconds": 900}},
        "resource": {"type": "audience", "id": audience},
        "context": question["context"].as_object().cloned().unwrap_or_default(),
    })
}

/// A question of the fixture, with properties of its subject, action and resource.
fn question(subject: &str, action: &str, resource: &str, properties: [Value; 3]) -> Value {
    let [of_subject, of_action, of_resource] = properties;
    json!({
        "subject": {"type": "user", "id": subject, "properties": of_subject},
        "action": {"name": action, "properties": of_action},
        "resource": {"type": "record", "id": resource, "properties": of_resource},
    })
}

async fn ask(service: &Running, path: &str, body: &Value) -> (StatusCode, Value) {
    let request = service.client.post(service.url(path)).bearer_auth(&service.api_key);
    let request = request.header("content-type", "application/json").body(body.to_string());
    answer(request.send().await.unwrap()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_eight_decisions_of_the_certification_scenario() {
    let folder = folder();
    let setup = Setup { manifest: manifest(), ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    for [id, definition] in [ALICE, BOB, ADMIN] {
        let mut run = run();
        run["metadata"]["uuid"] = id.into();
        run["spec"]["buildingBlockDefinition"]["uuid"] = definition.into();
        run["spec"]["runToken"] = format!("a-run-token-of-some-length-{id}").into();
        assert!(service.register(&run, SHARED_RUNNER).await.status().is_success());
    }
    let none = || [json!({}), json!({}), json!({})];
    let archived = || json!({"status": "archived"});
    let rules = [
        (question("alice", "read", "record-1", none()), true),
        (question("alice", "write", "record-1", none()), true),
        (question("bob", "read", "record-1", none()), true),
        (question("bob", "write", "record-1", none()), false),
        (question("alice", "write", "record-2", [json!({}), json!({}), archived()]), false),
        (
            question("bob", "write", "record-2", [json!({"role": "admin"}), json!({}), archived()]),
            true,
        ),
        (
            question("alice", "delete", "record-1", [json!({}), json!({"soft": true}), json!({})]),
            true,
        ),
        (
            question("alice", "delete", "record-1", [json!({}), json!({"soft": false}), json!({})]),
            false,
        ),
    ];
    for (number, (rule, expected)) in rules.iter().enumerate() {
        let mut with_context = rule.clone();
        with_context["context"] = json!({"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"});
        for asked in [rule, &with_context] {
            let (status, body) = ask(&service, "/access/v1/evaluation", &translated(asked)).await;
            assert_eq!(
                (status, &body["decision"]),
                (StatusCode::OK, &json!(expected)),
                "{number} {body}"
            );
        }
        // As the scenario sends it: an answer of its form, and a no.
        for more in [json!(null), json!({"nested": true})] {
            let mut literal = rule.clone();
            literal["futureField"] = more;
            let (status, body) = ask(&service, "/access/v1/evaluation", &literal).await;
            assert_eq!((status, &body["decision"]), (StatusCode::OK, &json!(false)), "{body}");
            assert_eq!(body["context"]["reasons"][0]["code"], "unknown-subject");
        }
    }
    // The same at once.
    let all: Vec<_> = rules.iter().map(|(rule, _)| translated(rule)).collect();
    let (status, body) =
        ask(&service, "/access/v1/evaluations", &json!({"evaluations": all})).await;
    assert_eq!(status, StatusCode::OK);
    let decisions: Vec<_> =
        body["evaluations"].as_array().unwrap().iter().map(|one| one["decision"].clone()).collect();
    assert_eq!(decisions, rules.map(|(_, expected)| json!(expected)));
    service.stop().await;
}
