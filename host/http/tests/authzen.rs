//! The Authorization API 1.0 of AuthZEN: requests, answers and errors as its certification scenario asks for them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use support::{AWS, RUN, Running, SHARED_RUNNER, answer, folder, records, run};

const OTHER: &str = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";

async fn ask(service: &Running, path: &str, body: &str) -> Response {
    let request = service.client.post(service.url(path)).bearer_auth(&service.api_key);
    request.header("content-type", "application/json").body(body.to_owned()).send().await.unwrap()
}

async fn evaluation(service: &Running, body: &Value) -> (StatusCode, Value) {
    answer(ask(service, "/access/v1/evaluation", &body.to_string()).await).await
}

async fn evaluations(service: &Running, body: &Value) -> (StatusCode, Value) {
    answer(ask(service, "/access/v1/evaluations", &body.to_string()).await).await
}

fn subject(run: &str) -> Value {
    json!({"type": "run", "id": run})
}

fn action() -> Value {
    json!({"name": "issue-token", "properties": {"ttl_seconds": 900}})
}

fn resource() -> Value {
    json!({"type": "audience", "id": AWS})
}

fn question() -> Value {
    json!({"subject": subject(RUN), "action": action(), "resource": resource()})
}

/// A service with a run that policies approve, and one of another workspace that they refuse.
async fn started(folder: &std::path::Path) -> Running {
    let service = Running::start(folder).await;
    service.register(&run(), SHARED_RUNNER).await;
    let mut other = run();
    other["metadata"]["uuid"] = OTHER.into();
    other["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-b".into();
    other["spec"]["runToken"] = "another-run-token-of-some-length".into();
    service.register(&other, SHARED_RUNNER).await;
    service
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decision_is_yes_or_no_and_on_record() {
    let folder = folder();
    let service = started(folder.path()).await;
    let (status, yes) = evaluation(&service, &question()).await;
    assert_eq!((status, &yes["decision"]), (StatusCode::OK, &json!(true)), "{yes}");
    assert_eq!(yes["context"]["terms"]["ttl_seconds"], 900);
    let record = records(folder.path()).pop().unwrap();
    assert_eq!(yes["context"]["decision"], record["decision"]["id"]);

    let mut asked = question();
    asked["subject"] = subject(OTHER);
    let (status, no) = evaluation(&service, &asked).await;
    assert_eq!((status, &no["decision"]), (StatusCode::OK, &json!(false)), "{no}");
    assert_eq!(no["context"]["reasons"][0]["source"], "policy");
    let record = records(folder.path()).pop().unwrap();
    assert_eq!(no["context"]["decision"], record["decision"]["id"]);

    // A run that has ended gets nothing, by whichever door.
    service.finish(RUN).await;
    let (status, no) = evaluation(&service, &question()).await;
    assert_eq!((status, &no["decision"]), (StatusCode::OK, &json!(false)), "{no}");
    assert_eq!(no["context"]["reasons"][0]["code"], "run-finished");
    service.stop().await;
}

/// Whoever asks for more than is approved, and does not say that it takes what is, would issue too much.
#[tokio::test(flavor = "multi_thread")]
async fn an_approval_of_less_is_a_no_unless_it_is_applied() {
    let folder = folder();
    let lower = ("apply = 3600", "apply = 600");
    let manifest = support::MANIFEST.replace(lower.0, lower.1);
    assert_ne!(manifest, support::MANIFEST);
    let setup = support::Setup { manifest, ..support::Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    service.register(&run(), SHARED_RUNNER).await;
    let (status, no) = evaluation(&service, &question()).await;
    assert_eq!((status, &no["decision"]), (StatusCode::OK, &json!(false)), "{no}");
    assert_eq!(no["context"]["reasons"][0]["code"], "door-cannot-narrow");
    assert_eq!(no["context"]["terms"]["ttl_seconds"], 600);
    for properties in
        [json!({"ttl_seconds": 600}), json!({"ttl_seconds": 900, "applies_terms": true})]
    {
        let mut asked = question();
        asked["action"]["properties"] = properties;
        let (_, yes) = evaluation(&service, &asked).await;
        assert_eq!(yes["decision"], true, "{asked} {yes}");
        assert_eq!(yes["context"]["terms"]["ttl_seconds"], 600);
    }
    // Without a lifetime, the default one is asked for.
    let mut asked = question();
    asked["action"].as_object_mut().unwrap().remove("properties");
    assert_eq!(evaluation(&service, &asked).await.1["decision"], false);
    service.stop().await;
}

/// Sections 5, 6 and 10.1 of the standard, and 2.2 to 2.5 of the scenario.
#[tokio::test(flavor = "multi_thread")]
async fn requests_are_accepted_and_refused_as_the_standard_has_it() {
    let folder = folder();
    let service = started(folder.path()).await;
    let with = |path: &[&str], value: Value| {
        let mut question = question();
        let mut place = &mut question;
        for name in path {
            place = &mut place[*name];
        }
        *place = value;
        question
    };
    let without = |path: &str, name: &str| {
        let mut question = question();
        let place = if path.is_empty() { &mut question } else { &mut question[path] };
        place.as_object_mut().unwrap().remove(name);
        question
    };
    let decided = Some(true);
    let denied = Some(false);
    for (asked, expected) in [
        (with(&["context"], json!({"time": "2026-11-30T02:00:00Z"})), decided),
        (with(&["futureField"], json!({"nested": true})), decided),
        (with(&["subject", "properties"], json!({"department": "sales"})), decided),
        (with(&["resource", "properties"], json!({"owner": "bob"})), decided),
        (with(&["subject", "more"], json!(1)), decided),
        // About something that this service does not decide on.
        (
            json!({"subject": {"type": "user", "id": "alice"}, "action": {"name": "read", "properties": {"method": "GET"}},
                "resource": {"type": "record", "id": "record-1"}}),
            denied,
        ),
        (with(&["subject", "id"], json!(OTHER.replace('a', "b"))), denied),
        (with(&["action", "name"], json!("read")), denied),
        (with(&["resource", "type"], json!("record")), denied),
        (with(&["resource", "id"], json!("https://unknown.example.com")), denied),
        (without("", "subject"), None),
        (without("", "action"), None),
        (without("", "resource"), None),
        (without("subject", "type"), None),
        (without("subject", "id"), None),
        (without("action", "name"), None),
        (without("resource", "type"), None),
        (without("resource", "id"), None),
        (with(&["subject"], json!("alice")), None),
        (with(&["action", "name"], json!(123)), None),
        (with(&["context"], json!("now")), None),
        (with(&["subject", "properties"], json!([])), None),
        (with(&["subject", "id"], json!("not-a-uuid")), None),
        // A misspelt property of our own would be a longer lifetime than was meant.
        (with(&["action", "properties"], json!({"ttl": 900})), None),
        (with(&["action", "properties"], json!({"ttl_seconds": 0})), None),
        (with(&["action", "properties"], json!({"ttl_seconds": 1e9})), None),
        (with(&["action", "properties"], json!({"ttl_seconds": "900"})), None),
    ] {
        let (status, body) = evaluation(&service, &asked).await;
        match expected {
            Some(decision) => {
                assert_eq!(
                    (status.as_u16(), &body["decision"]),
                    (200, &json!(decision)),
                    "{asked} {body}"
                );
                assert!(body["context"].is_object(), "{body}");
            }
            None => assert_eq!(status, StatusCode::BAD_REQUEST, "{asked} {body}"),
        }
    }
    let twice = question().to_string().replacen('{', "{\"subject\":{},", 1);
    for body in ["", "{", "[]", "null", &twice, &"[".repeat(1000)] {
        let (status, body) = answer(ask(&service, "/access/v1/evaluation", body).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    let url = service.url("/access/v1/evaluation");
    let request = || service.client.post(&url).body(question().to_string());
    let text = request().bearer_auth(&service.api_key).header("content-type", "text/plain");
    assert_eq!(text.send().await.unwrap().status(), StatusCode::BAD_REQUEST);
    let nobody = request().header("content-type", "application/json").send().await.unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
    service.stop().await;
}

/// Section 10.1.3, also for what is refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_its_own_id_back() {
    let folder = folder();
    let service = started(folder.path()).await;
    for (path, body) in [
        ("/access/v1/evaluation", question().to_string()),
        ("/access/v1/evaluations", "{".to_owned()),
    ] {
        let request = service.client.post(service.url(path)).bearer_auth(&service.api_key);
        let request = request
            .header("content-type", "application/json")
            .header("x-request-id", "of the asker");
        let response = request.body(body.clone()).send().await.unwrap();
        assert_eq!(response.headers()["x-request-id"], "of the asker");
        assert_ne!(ask(&service, path, &body).await.headers()["x-request-id"], "of the asker");
    }
    // Elsewhere the id is the service's, by which its log is searched.
    let request =
        service.client.get(service.url("/healthz")).header("x-request-id", "of the asker");
    assert_ne!(request.send().await.unwrap().headers()["x-request-id"], "of the asker");
    service.stop().await;
}

/// Section 7, and 3 of the scenario.
#[tokio::test(flavor = "multi_thread")]
async fn several_are_answered_in_their_order() {
    let folder = folder();
    let service = started(folder.path()).await;
    let decisions = |body: &Value| -> Vec<bool> {
        let answers = body["evaluations"].as_array().unwrap_or_else(|| panic!("{body}"));
        answers.iter().map(|answer| answer["decision"].as_bool().unwrap()).collect()
    };
    let (yes, no) = (json!({"subject": subject(RUN)}), json!({"subject": subject(OTHER)}));
    let ask = |evaluations: Value, semantic: Option<&str>| {
        let mut body =
            json!({"action": action(), "resource": resource(), "evaluations": evaluations});
        if let Some(semantic) = semantic {
            body["options"] = json!({"evaluations_semantic": semantic, "another_option": 1});
        }
        body
    };
    for (asked, expected) in [
        (ask(json!([yes, no, yes]), None), vec![true, false, true]),
        (ask(json!([yes, no, yes]), Some("execute_all")), vec![true, false, true]),
        (ask(json!([yes, no, yes]), Some("deny_on_first_deny")), vec![true, false]),
        (ask(json!([no, yes, yes]), Some("permit_on_first_permit")), vec![false, true]),
        // An own member takes the place of the one around it; an error of one is a no.
        (
            ask(json!([{"subject": subject(RUN), "action": {"name": "read"}}, yes]), None),
            vec![false, true],
        ),
        (ask(json!([{"action": action()}, yes]), None), vec![false, true]),
        (ask(json!([{"action": action()}, yes]), Some("deny_on_first_deny")), vec![false]),
    ] {
        let (status, body) = evaluations(&service, &asked).await;
        assert_eq!(status, StatusCode::OK, "{asked} {body}");
        assert_eq!(decisions(&body), expected, "{asked} {body}");
    }
    let (_, body) = evaluations(&service, &ask(json!([{}]), None)).await;
    assert_eq!(body["evaluations"][0]["context"]["error"]["status"], 400);
    // Without any, it is a request for one.
    for asked in [question(), {
        let mut asked = question();
        asked["evaluations"] = json!([]);
        asked
    }] {
        let (status, body) = evaluations(&service, &asked).await;
        assert_eq!((status, &body["decision"]), (StatusCode::OK, &json!(true)), "{body}");
    }
    for asked in [
        ask(json!([yes]), Some("some")),
        ask(json!({"0": yes}), None),
        ask(json!(vec![yes.clone(); 65]), None),
        json!({"evaluations": ["x"]}),
    ] {
        assert_eq!(evaluations(&service, &asked).await.0, StatusCode::BAD_REQUEST, "{asked}");
    }
    service.stop().await;
}

#[test]
fn its_codes_are_documented() {
    let page =
        include_str!("../../../docs/codes.md").split("## Answers of AuthZEN").nth(1).unwrap();
    let page = page.split("\n## ").next().unwrap();
    let source = include_str!("../src/authzen.rs");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let codes: Vec<&str> = rows.map(|(code, _)| code).collect();
    assert_eq!(codes.len(), 4);
    for code in codes {
        assert!(source.contains(&format!("\"{code}\"")), "{code}");
    }
}

/// Section 9.
#[tokio::test(flavor = "multi_thread")]
async fn its_metadata_is_found() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let (status, body) = answer(service.get("/.well-known/authzen-configuration").await).await;
    assert_eq!(status, StatusCode::OK);
    let issuer = service.service.url().as_str();
    assert_eq!(
        body,
        json!({
            "policy_decision_point": issuer,
            "access_evaluation_endpoint": format!("{issuer}/access/v1/evaluation"),
            "access_evaluations_endpoint": format!("{issuer}/access/v1/evaluations"),
        })
    );
    service.stop().await;
}
