//! Runners as the platform has them: whose each is, whom it serves, and what policies learn of it.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::path::Path;

use countersign_issuer::{Authorizer, RunnerEntry, RunnerKind, Runners};
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{
    AWS, OTHER_RUNNER, RUN, Running, SHARED_RUNNER, all_records, answer, folder, records, run,
};

/// The workspace of the definition that the test's run is of.
fn definition_workspace() -> String {
    run()["spec"]["buildingBlockDefinition"]["spec"]["workspaceIdentifier"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn runners(entries: &[(&str, &str, RunnerKind)]) -> Runners {
    let mut runners = Runners::default();
    for (id, workspace, kind) in entries {
        let entry = RunnerEntry { workspace: workspace.parse().unwrap(), kind: *kind };
        assert!(runners.add(id.parse().unwrap(), entry));
    }
    runners
}

/// The last record is of a refusal by the host, with its reason, the run and who asked.
fn assert_refused_on_record(folder: &Path, code: &str, requester: &str) {
    let record = all_records(folder).pop().unwrap();
    assert_eq!((&record["kind"], &record["run"]), (&json!("refused"), &json!(RUN)), "{record}");
    assert_eq!(record["reasons"][0]["code"], code);
    assert!(record["reasons"][0]["message"].as_str().unwrap().len() > 10, "{record}");
    assert!(record["requester"][requester].is_object(), "{record}");
    assert!(record["request"].is_string() && record["time"].is_u64(), "{record}");
}

/// The facts on record, without those of the run object.
fn facts_on_record(record: &Value) -> Value {
    let mut facts = record["decision"]["claims"]["run"]["facts"].clone();
    for fact in countersign::OBJECT_FACTS {
        facts.as_object_mut().unwrap().remove(fact.name);
    }
    facts
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dedicated_runner_serves_its_own_workspaces_definitions_alone() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let own = definition_workspace();
    let (dedicated, shared) = (RunnerKind::Dedicated, RunnerKind::Shared);
    for (entries, refused) in [
        (vec![], None),
        (vec![(SHARED_RUNNER, &*own, dedicated)], None),
        (vec![(SHARED_RUNNER, &*own, shared)], None),
        (vec![(SHARED_RUNNER, "team-other", shared)], None),
        (vec![(SHARED_RUNNER, "team-other", dedicated)], Some("runner-dedicated")),
        // The owner of the building block is not that of its definition.
        (vec![(OTHER_RUNNER, &*own, shared)], Some("runner-unknown")),
    ] {
        let authorizer = Authorizer { runners: runners(&entries), ..service.authorizer() };
        service.service.replace_authorizer(authorizer);
        let before = records(folder.path()).len();
        let (status, body) = answer(service.by_run_token(RUN, AWS).await).await;
        let Some(code) = refused else {
            assert_eq!(status, StatusCode::OK, "{entries:?}");
            let record = records(folder.path()).pop().unwrap();
            let expected = entries.first().map_or(json!(null), |(_, workspace, kind)| {
                json!({ "runner-kind": kind.as_str(), "runner-workspace": workspace })
            });
            let facts = facts_on_record(&record);
            let none = facts.is_null() || facts == json!({});
            assert!(facts == expected || (none && entries.is_empty()), "{facts}");
            continue;
        };
        assert_eq!((status, &body["reasons"][0]["code"]), (StatusCode::FORBIDDEN, &json!(code)));
        assert_eq!(body["error"], "access_denied");
        assert_eq!(records(folder.path()).len(), before, "no policy was asked");
        assert_refused_on_record(folder.path(), code, "run_token");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_for_other_issuers_hold_to_it_too() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let entries = [(SHARED_RUNNER, "team-other", RunnerKind::Dedicated)];
    let authorizer = Authorizer { runners: runners(&entries), ..service.authorizer() };
    service.service.replace_authorizer(authorizer);
    let ask = async |runner: Option<&str>| {
        let mut body = json!({ "run": run(), "audiences": [AWS], "ttl_seconds": 600 });
        if let Some(runner) = runner {
            body["runner"] = json!(runner);
        }
        let request = service.client.post(service.url("/v1/decisions"));
        let request = request.bearer_auth(&service.api_key);
        let request = request.header("content-type", "application/json").body(body.to_string());
        answer(request.send().await.unwrap()).await
    };
    for (runner, code) in [(SHARED_RUNNER, "runner-dedicated"), (OTHER_RUNNER, "runner-unknown")] {
        let (status, body) = ask(Some(runner)).await;
        assert_eq!((status, &body["reasons"][0]["code"]), (StatusCode::FORBIDDEN, &json!(code)));
        assert_refused_on_record(folder.path(), code, "control_plane");
    }
    // Nothing is known of a runner that is not named.
    let (status, body) = ask(None).await;
    assert_eq!((status, &body["outcome"]), (StatusCode::OK, &json!("approved")), "{body}");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_registers_what_the_host_says_of_a_runner() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    for name in ["runner-kind", "runner-workspace"] {
        let body = json!({ "run": run(), "facts": { name: "shared" } });
        let (status, body) = answer(service.register_with_facts(body.to_string()).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name}");
        let says = body["error_description"].as_str().unwrap();
        assert!(says.starts_with(&format!("/facts: /{name}: a fact of the host")), "{says}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_has_an_end() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let ends = service.now() + 100;
    let mut authorizer = service.authorizer();
    authorizer.api_keys[0].expires_at = Some(ends);
    service.service.replace_authorizer(authorizer);
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::CREATED);
    service.advance(99);
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::OK);
    service.advance(1);
    let (status, body) = answer(service.finish(RUN).await).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert_eq!(body["error_description"], "the API key has expired");
    service.stop().await;
}
