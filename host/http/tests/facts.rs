//! Facts that are registered with a run: policies see them, and they are on record.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{
    AWS, RUN, RUN_TOKEN, Running, SHARED_RUNNER, Setup, answer, contains, folder, records, run,
};

/// A policy that decides on a fact, beside those that let the run in.
const ON_A_FACT: &str = r#"
[[binding]]
name = "ticket"
policy = "scripted.wasm"
scope = "all"
settings = { answer = { fact = ["change-ticket", "CHG-7 \"ü\""] } }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

/// The facts of the run object.
fn of_object() -> Value {
    json!({
        "building-block-name": "block",
        "opentofu-version": "v1",
        "repository-url": "https://example.com",
    })
}

/// Inputs are dropped unread: nothing that they hold is a reason to refuse, and they may be long.
#[tokio::test(flavor = "multi_thread")]
async fn inputs_of_any_kind_are_registered() {
    let folder = folder();
    let service = Running::with(folder.path(), Setup::default()).await;
    let file = format!(r#"{{"value": "{}"}}"#, "a".repeat(3 << 20));
    for inputs in [r#"{"k": 1, "k": 2}, {"value": 1e999}, {"value": "\ud800"}"#, &file] {
        let run =
            run().to_string().replacen(r#""inputs":["#, &format!(r#""inputs":[{inputs},"#), 1);
        assert!(run.contains(inputs));
        let answered = service.register_at(RUN, run.clone(), SHARED_RUNNER).await;
        assert!(answered.status().is_success(), "{}", answered.status());
        let with_facts = format!(r#"{{"run":{run},"facts":{{}}}}"#);
        assert_eq!(service.register_with_facts(with_facts).await.status(), StatusCode::OK);
    }
    // A fact of the run object is nobody's to register.
    let pretended = json!({"run": run(), "facts": {"opentofu-version": "9"}}).to_string();
    let (status, body) = answer(service.register_with_facts(pretended).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    assert!(body.to_string().contains("a fact of the run object"), "{body}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_of_a_registration_reach_policies_and_the_record() {
    let folder = folder();
    let setup = || Setup {
        manifest: format!("{}{ON_A_FACT}", Setup::default().manifest),
        ..Setup::default()
    };
    let service = Running::with(folder.path(), setup()).await;
    let facts = json!({"cost-centre": "4711", "change-ticket": "CHG-7 \"ü\""});
    // With those that the run object has.
    let mut all = facts.clone();
    for (name, value) in of_object().as_object().unwrap() {
        all[name] = value.clone();
    }
    let with = |facts: Value| json!({"run": run(), "facts": facts}).to_string();
    let created = service.register_with_facts(with(facts.clone())).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    assert_eq!(service.register_with_facts(with(facts.clone())).await.status(), StatusCode::OK);
    // Facts are part of what is registered: neither other ones nor none are the same registration.
    for other in [
        json!({"cost-centre": "4711"}),
        json!({"cost-centre": "4712", "change-ticket": "CHG-7 \"ü\""}),
        json!({}),
    ] {
        let (status, body) = answer(service.register_with_facts(with(other)).await).await;
        assert_eq!((status, &body["error"]), (StatusCode::CONFLICT, &json!("conflict")));
    }
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::CONFLICT);
    // The run token is found in `run`, and the fact lets the run in.
    let (status, body) = answer(service.by_run_token(RUN, AWS).await).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    service.stop().await;

    // After a restart it is read back from the store.
    let service = Running::with(folder.path(), setup()).await;
    let (status, body) = answer(service.by_run_token(RUN, AWS).await).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let on_record = records(folder.path());
    for record in &on_record {
        let claims = &record["decision"]["claims"];
        assert_eq!(claims["run"]["facts"], all);
        let read = countersign::Claims::from_record(claims.to_string().as_bytes()).unwrap();
        assert_eq!(read.facts().len(), 5);
    }
    assert_eq!(on_record.len(), 2);
    service.stop().await;
    assert!(!contains(folder.path(), RUN_TOKEN.as_bytes()), "the run token is on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_take_facts_and_a_run_without_them_is_refused() {
    let folder = folder();
    let manifest = format!("{}{ON_A_FACT}", Setup::default().manifest);
    let service = Running::with(folder.path(), Setup { manifest, ..Setup::default() }).await;
    let decide = |facts: Option<Value>| {
        let mut body = json!({"run": run(), "audiences": [AWS], "ttl_seconds": 900});
        if let Some(facts) = facts {
            body["facts"] = facts;
        }
        let request = service.client.post(service.url("/v1/decisions"));
        let request = request.bearer_auth(&service.api_key).body(body.to_string());
        request.header("content-type", "application/json").send()
    };
    let (_, body) =
        answer(decide(Some(json!({"change-ticket": "CHG-7 \"ü\""}))).await.unwrap()).await;
    assert_eq!(body["outcome"], "approved", "{body}");
    for facts in [None, Some(Value::Null), Some(json!({})), Some(json!({"change-ticket": "other"}))]
    {
        let (_, body) = answer(decide(facts).await.unwrap()).await;
        assert_eq!(body["outcome"], "refused", "{body}");
        assert_eq!(body["reasons"][0]["code"], "no-fact");
    }
    let on_record = records(folder.path());
    assert_eq!(on_record[0]["decision"]["claims"]["run"]["facts"]["change-ticket"], "CHG-7 \"ü\"");
    assert_eq!(on_record[1]["decision"]["claims"]["run"]["facts"], of_object());
    let (status, body) = answer(decide(Some(json!({"author-kind": "Robot"}))).await.unwrap()).await;
    assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    service.stop().await;
}
