//! Administration of runs: shown, listed in pages, finished by their runner.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{
    AWS, OTHER_RUNNER, RUN, RUN_TOKEN, Running, SHARED_RUNNER, all_records, answer, folder, run,
};

fn id(number: u32) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

async fn read(service: &Running, path: &str) -> (StatusCode, Value) {
    let request = service.client.get(service.url(path)).bearer_auth(&service.api_key);
    answer(request.send().await.unwrap()).await
}

async fn finish_runner(service: &Running, runner: &str) -> (StatusCode, Value) {
    let url = service.url(&format!("/v1/runners/{runner}/finish"));
    let request = service.client.post(url).bearer_auth(&service.api_key);
    answer(request.send().await.unwrap()).await
}

async fn register(service: &Running, id: &str, runner: &str) {
    let mut run = run();
    run["metadata"]["uuid"] = id.into();
    assert_eq!(service.register(&run, runner).await.status(), StatusCode::CREATED);
}

/// The ids of all runs, page by page.
async fn list(service: &Running, query: &str) -> Vec<String> {
    let (mut found, mut after) = (Vec::new(), String::new());
    loop {
        let (status, page) = read(service, &format!("/v1/runs?{query}{after}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        for run in page["runs"].as_array().unwrap() {
            found.push(run["run"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { return found };
        after = format!("&after={next}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_shown_without_secrets() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let path = format!("/v1/runs/{RUN}");
    assert_eq!(read(&service, &path).await.0, StatusCode::NOT_FOUND);
    register(&service, RUN, SHARED_RUNNER).await;
    let (now, (status, shown)) = (service.now(), read(&service, &path).await);
    assert_eq!(status, StatusCode::OK);
    let expires_at = shown["expires_at"].as_u64().unwrap();
    let expected = json!({
        "run": RUN,
        "runner": SHARED_RUNNER,
        "workspace": "my-workspace",
        "definition_workspace": "my-workspace",
        "definition": "b23cfb9a-6974-444f-9d33-62134a632373",
        "state": "live",
        "registered_at": now,
        "expires_at": expires_at,
        "finished_at": null,
    });
    assert_eq!(shown, expected);
    assert!(expires_at > now && !shown.to_string().contains(RUN_TOKEN));
    service.advance(7);
    service.finish(RUN).await;
    let (_, shown) = read(&service, &path).await;
    assert_eq!((&shown["state"], &shown["finished_at"]), (&json!("finished"), &json!(now + 7)));
    register(&service, &id(1), SHARED_RUNNER).await;
    service.clock.0.store(expires_at + 7, std::sync::atomic::Ordering::SeqCst);
    assert_eq!(read(&service, &format!("/v1/runs/{}", id(1))).await.1["state"], "expired");
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_listed_in_pages() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    assert!(list(&service, "").await.is_empty());
    let ids: Vec<_> = (1..=7).map(id).collect();
    // In another order than they are listed in.
    for (number, id) in ids.iter().enumerate().rev() {
        let runner = if number % 2 == 0 { SHARED_RUNNER } else { OTHER_RUNNER };
        register(&service, id, runner).await;
    }
    for limit in [1, 2, 6, 7, 8, 1000] {
        assert_eq!(list(&service, &format!("limit={limit}")).await, ids, "{limit}");
    }
    let shared: Vec<_> = ids.iter().step_by(2).cloned().collect();
    service.finish(&shared[1]).await;
    let live: Vec<_> = [0, 2, 3].map(|number| shared[number].clone()).into();
    for limit in [1, 3, 4, 100] {
        let of = |query: &str| format!("limit={limit}&runner={SHARED_RUNNER}{query}");
        assert_eq!(list(&service, &of("")).await, shared, "{limit}");
        assert_eq!(list(&service, &of("&live=true")).await, live, "{limit}");
        assert_eq!(list(&service, &of("&live=false")).await, shared[1..2], "{limit}");
        assert_eq!(list(&service, &format!("limit={limit}&live=false")).await, shared[1..2]);
    }
    let none = "11111111-2222-4333-8444-555555555555";
    assert!(list(&service, &format!("runner={none}")).await.is_empty());
    assert_eq!(list(&service, &format!("after={}", ids[4])).await, ids[5..]);
    assert!(list(&service, &format!("after={none}")).await.is_empty());
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_that_cannot_be_meant_are_refused() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=-1",
        "limit=01",
        "limit=1e3",
        "limit=99999999999999999999999",
        "limit=1&limit=2",
        "live=yes",
        "live=True",
        "live=true&live=true",
        "runner=x",
        "runner=98520496-627D-43e6-82da-ce499179ff3f",
        "runner=00000000-0000-0000-0000-000000000000",
        "runner=%27%20OR%201%3D1--",
        "runner=%ff",
        "runner=%zz",
        "after=x",
        "after=00000000-0000-0000-0000-000000000000",
        "after=b3116611-e08b-4b00-91c5-10365b25a6ef%00",
    ] {
        let (status, body) = read(&service, &format!("/v1/runs?{query}")).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(body["error"], "invalid_request", "{query}");
    }
    for id in ["x", "00000000-0000-0000-0000-000000000000", "%ff", "%27%3B--"] {
        assert_eq!(read(&service, &format!("/v1/runs/{id}")).await.0, StatusCode::BAD_REQUEST);
        assert_eq!(finish_runner(&service, id).await.0, StatusCode::BAD_REQUEST, "{id}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_runs_of_a_runner_are_finished_on_record() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    // More than a portion.
    let ids: Vec<_> = (1..=103).map(id).collect();
    for id in &ids {
        register(&service, id, SHARED_RUNNER).await;
    }
    register(&service, RUN, OTHER_RUNNER).await;
    service.finish(&ids[0]).await;
    // Known to the service, and so what it knows must change.
    assert_eq!(service.by_run_token(&ids[5], AWS).await.status(), StatusCode::OK);
    let (status, body) = finish_runner(&service, SHARED_RUNNER).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(body, json!({ "runner": SHARED_RUNNER, "finished": 102 }));
    assert_eq!(finish_runner(&service, SHARED_RUNNER).await.1["finished"], 0);
    assert_eq!(service.by_run_token(&ids[5], AWS).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
    assert!(list(&service, &format!("live=true&runner={SHARED_RUNNER}")).await.is_empty());
    service.stop().await;
    let records = all_records(folder.path());
    let finished: Vec<_> = records.iter().filter(|record| record["kind"] == "finished").collect();
    assert_eq!(finished.len(), 103);
    for id in &ids {
        assert_eq!(finished.iter().filter(|record| record["run"] == **id).count(), 1, "{id}");
    }
    // As many changes as records of them, and a store that is as far starts.
    let changes = finished.iter().filter_map(|record| record["changes"].as_u64()).max();
    assert_eq!(changes, Some(104 + 103));
    let service = Running::start(folder.path()).await;
    assert_eq!(service.by_run_token(&ids[7], AWS).await.status(), StatusCode::FORBIDDEN);
    service.stop().await;
}
