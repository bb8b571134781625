//! Runs come, get their tokens, and end.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use countersign::Digest;
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{
    ACCESS_TOKEN, AWS, AZURE, CONTROL_PLANE, GRANT, ISSUER, JWT, OTHER_RUNNER, OTHER_SUBJECT, RUN,
    RUN_TOKEN, Running, SHARED_RUNNER, SHARED_SUBJECT, START, Setup, answer, contains, folder,
    records, run, run_of,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_run_gets_a_token_until_it_is_finished() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    assert_eq!(service.get("/readyz").await.status(), StatusCode::OK);
    let (status, body) = answer(service.register(&run(), SHARED_RUNNER).await).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(body, json!({"run": RUN, "runner": SHARED_RUNNER, "expires_at": START + 10_800}));

    let response = service.by_run_token(RUN, AWS).await;
    let request = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (status, body) = answer(response).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("N_A"), &json!(3600)));
    assert_eq!(body["issued_token_type"], JWT);
    let token = body["access_token"].as_str().unwrap();
    let claims = service.verified(token, AWS).await;
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(ISSUER), &json!(AWS)));
    assert_eq!(
        claims["sub"],
        "system:serviceaccount:demo:workspace.my-workspace.buildingblockdefinition.\
         b23cfb9a-6974-444f-9d33-62134a632373"
    );

    // Its runner gets one too, by its own identity.
    let (status, body) =
        answer(service.by_identity(RUN, &service.identity(SHARED_SUBJECT)).await).await;
    assert_eq!(status, StatusCode::OK, "{body}");

    // What left is on record, and no secret is.
    let on_record = records(folder.path());
    assert_eq!(on_record.len(), 2);
    let first = &on_record[0];
    assert_eq!((&first["kind"], &first["request"]), (&json!("token"), &json!(request)));
    assert_eq!(first["issued"]["token"], Digest::of(token.as_bytes()).to_string());
    assert_eq!(first["issued"]["jti"], claims["jti"]);
    assert_eq!(first["decision"]["id"], claims["countersign"]["decision"]);
    assert_eq!(first["requester"], json!({"run_token": {"runner": SHARED_RUNNER}}));
    assert_eq!(on_record[1]["requester"]["runner"]["subject"], SHARED_SUBJECT);
    assert!(!json!(on_record).to_string().contains(RUN_TOKEN));

    assert_eq!(service.finish(RUN).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(service.finish(RUN).await.status(), StatusCode::NO_CONTENT);
    let (status, body) = answer(service.by_run_token(RUN, AWS).await).await;
    assert_eq!((status, &body["error"]), (StatusCode::FORBIDDEN, &json!("access_denied")));
    assert_eq!(body["reasons"][0]["code"], "run-finished");
    assert_eq!(records(folder.path()).len(), 2);
    service.stop().await;
    assert!(!contains(folder.path(), RUN_TOKEN.as_bytes()), "the run token is on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn registering_is_idempotent_and_facts_do_not_change() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::CREATED);
    service.advance(100);
    let (status, body) = answer(service.register(&run(), SHARED_RUNNER).await).await;
    assert_eq!((status, &body["expires_at"]), (StatusCode::OK, &json!(START + 10_800)));
    // What is no fact may be another.
    let mut renamed = run();
    renamed["spec"]["buildingBlock"]["spec"]["displayName"] = "other".into();
    renamed["status"] = "SUCCEEDED".into();
    assert_eq!(service.register(&renamed, SHARED_RUNNER).await.status(), StatusCode::OK);
    for (pointer, value) in [
        ("/spec/buildingBlock/spec/workspaceIdentifier", "team-network"),
        ("/spec/behavior", "DESTROY"),
        ("/spec/runToken", "another-run-token-with-many-bits"),
        ("/spec/buildingBlockDefinition/uuid", OTHER_RUNNER),
    ] {
        let mut changed = run();
        *changed.pointer_mut(pointer).unwrap() = value.into();
        let (status, body) = answer(service.register(&changed, SHARED_RUNNER).await).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::CONFLICT, &json!("conflict")),
            "{pointer}"
        );
    }
    assert_eq!(service.register(&run(), OTHER_RUNNER).await.status(), StatusCode::CONFLICT);
    service.finish(RUN).await;
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::CONFLICT);
    assert_eq!(service.finish(OTHER_RUNNER).await.status(), StatusCode::NOT_FOUND);
    service.stop().await;
}

/// The page of codes has those that are met above and below.
#[test]
fn codes_of_runs_are_documented() {
    let page = include_str!("../../../docs/codes.md");
    let (_, table) = page.split_once("| run | what it means |").unwrap();
    let codes: Vec<_> = table.split('`').skip(1).step_by(2).collect();
    // The last two are met in `runners.rs`.
    assert_eq!(codes, ["run-finished", "run-expired", "runner-dedicated", "runner-unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_expires() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    service.advance(10_799);
    assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
    service.advance(1);
    let (status, body) = answer(service.by_run_token(RUN, AWS).await).await;
    assert_eq!(
        (status, &body["reasons"][0]["code"]),
        (StatusCode::FORBIDDEN, &json!("run-expired"))
    );
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::CONFLICT);
    service.stop().await;
}

/// Two platform teams, one runner: each run has its own subject, and nobody else's runner gets any.
#[tokio::test(flavor = "multi_thread")]
async fn each_run_of_a_shared_runner_gets_its_own_subject_only() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let runs = [
        ("aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa", "team-a", "cccccccc-cccc-4ccc-8ccc-cccccccccccc"),
        ("bbbbbbbb-bbbb-4bbb-8bbb-bbbbbbbbbbbb", "team-b", "dddddddd-dddd-4ddd-8ddd-dddddddddddd"),
    ];
    for (id, workspace, definition) in runs {
        let mut run = run_of(id, workspace, definition);
        run["spec"]["runToken"] = format!("{RUN_TOKEN}-{workspace}").into();
        assert_eq!(service.register(&run, SHARED_RUNNER).await.status(), StatusCode::CREATED);
    }
    for (id, workspace, definition) in runs {
        let (status, body) =
            answer(service.by_identity(id, &service.identity(SHARED_SUBJECT)).await).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        let claims = service.verified(body["access_token"].as_str().unwrap(), AWS).await;
        let expected = format!(
            "system:serviceaccount:demo:workspace.{workspace}.buildingblockdefinition.{definition}"
        );
        assert_eq!(claims["sub"], expected);
        assert_eq!(claims["meshstack"]["workspace"], workspace);

        // Another runner, the other run's token, the control plane, and a run that is not there: one answer.
        let other = if workspace == "team-a" { "team-b" } else { "team-a" };
        let others_token = format!("{RUN_TOKEN}-{other}");
        let with = |kind, token, run| {
            [
                ("grant_type", GRANT),
                ("subject_token_type", kind),
                ("subject_token", token),
                ("run", run),
                ("audience", AWS),
            ]
        };
        let (runner, control_plane, own) = (
            service.identity(OTHER_SUBJECT),
            service.identity(CONTROL_PLANE),
            service.identity(SHARED_SUBJECT),
        );
        let mut answers = Vec::new();
        for parameters in [
            with(JWT, &runner, id),
            with(JWT, &control_plane, id),
            with(ACCESS_TOKEN, &others_token, id),
            with(JWT, &own, OTHER_RUNNER),
            with(ACCESS_TOKEN, &others_token, OTHER_RUNNER),
        ] {
            answers.push(answer(service.exchange(&parameters).await).await);
        }
        for answer in &answers {
            assert_eq!(answer, &answers[0]);
            assert_eq!(answer.0, StatusCode::BAD_REQUEST);
            assert_eq!(answer.1["error"], "invalid_request");
        }
    }
    assert_eq!(records(folder.path()).len(), 2);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_its_reasons_and_nothing_of_the_operators() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let mut stranger = run();
    stranger["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-b".into();
    service.register(&stranger, SHARED_RUNNER).await;
    let (status, body) = answer(service.by_run_token(RUN, AWS).await).await;
    assert_eq!((status, &body["error"]), (StatusCode::FORBIDDEN, &json!("access_denied")));
    assert_eq!(body["reasons"][0]["binding"], "consumers");
    let on_record = records(folder.path());
    assert_eq!((on_record.len(), &on_record[0]["issued"]), (1, &Value::Null));
    assert_eq!(on_record[0]["decision"]["id"], body["decision"]);
    for word in ["fuel", "trace", "digest", "limits"] {
        assert!(!body.to_string().contains(word), "{word}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_one_audience_and_lives_as_long_as_it_may() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let ask = [
        ("grant_type", GRANT),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token", RUN_TOKEN),
        ("run", RUN),
    ];
    let with = |more: &[(&'static str, &'static str)]| [&ask[..], more].concat();
    for (more, status, error) in [
        (&[("audience", AWS), ("audience", AZURE)][..], StatusCode::BAD_REQUEST, "invalid_target"),
        (&[], StatusCode::BAD_REQUEST, "invalid_target"),
        (&[("audience", "a b")], StatusCode::BAD_REQUEST, "invalid_target"),
        (
            &[("audience", AWS), ("resource", "https://x")],
            StatusCode::BAD_REQUEST,
            "invalid_target",
        ),
        (&[("audience", AWS), ("scope", "x")], StatusCode::BAD_REQUEST, "invalid_scope"),
        (&[("audience", AWS), ("actor_token", "x")], StatusCode::BAD_REQUEST, "invalid_request"),
        (&[("audience", AWS), ("ttl_seconds", "0")], StatusCode::BAD_REQUEST, "invalid_request"),
        (&[("audience", AWS), ("ttl_seconds", "7201")], StatusCode::BAD_REQUEST, "invalid_request"),
        (&[("audience", AWS), ("ttl_seconds", "1e3")], StatusCode::BAD_REQUEST, "invalid_request"),
        (&[("audience", AWS), ("ttl_seconds", "+1")], StatusCode::BAD_REQUEST, "invalid_request"),
        (&[("audience", AWS), ("run", RUN)], StatusCode::BAD_REQUEST, "invalid_request"),
    ] {
        let (found, body) = answer(service.exchange(&with(more)).await).await;
        assert_eq!((found, &body["error"]), (status, &json!(error)), "{more:?}");
    }
    // A policy narrows; unknown parameters do not matter.
    let more = [("audience", AWS), ("ttl_seconds", "7200"), ("other", "x")];
    let (status, body) = answer(service.exchange(&with(&more)).await).await;
    assert_eq!((status, &body["expires_in"]), (StatusCode::OK, &json!(3600)));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_made_and_kept_without_tokens() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let ask = |body: Value| {
        service
            .client
            .post(service.url("/v1/decisions"))
            .bearer_auth(&service.api_key)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
    };
    let question =
        json!({"run": run(), "audiences": [AWS, "sts.amazonaws.com"], "ttl_seconds": 7200});
    let (status, body) = answer(ask(question.clone()).await.unwrap()).await;
    assert_eq!((status, &body["outcome"]), (StatusCode::OK, &json!("approved")), "{body}");
    assert_eq!(
        body["terms"],
        json!({"audiences": [AWS, "sts.amazonaws.com"], "ttl_seconds": 3600, "claims": {}})
    );
    let mut stranger = question.clone();
    stranger["run"]["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-b".into();
    let (status, body) = answer(ask(stranger).await.unwrap()).await;
    assert_eq!((status, &body["outcome"]), (StatusCode::OK, &json!("refused")));
    assert_eq!(body["reasons"][0]["binding"], "consumers");
    for broken in [
        json!({"run": run(), "audiences": [AWS]}),
        json!({"run": run(), "audiences": [], "ttl_seconds": 1}),
        json!({"run": run(), "audiences": [AWS], "ttl_seconds": 1, "other": 1}),
        json!({"run": {}, "audiences": [AWS], "ttl_seconds": 1}),
        json!([]),
    ] {
        let (status, body) = answer(ask(broken).await.unwrap()).await;
        assert_eq!((status, &body["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")));
    }
    let on_record = records(folder.path());
    let kinds: Vec<_> = on_record.iter().map(|record| &record["kind"]).collect();
    assert_eq!(kinds, ["decision", "decision"]);
    assert_eq!(on_record[0]["requester"], json!({"control_plane": {"name": "test"}}));
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_open_by_accident() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let bearer = |token: &str| format!("Bearer {token}");
    let control_plane = service.identity(CONTROL_PLANE);
    let runner = service.identity(SHARED_SUBJECT);
    for (method, path) in [
        ("PUT", format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}")),
        ("GET", format!("/v1/runs/{RUN}")),
        ("GET", "/v1/runs".to_owned()),
        ("POST", format!("/v1/runs/{RUN}/finish")),
        ("POST", format!("/v1/runners/{SHARED_RUNNER}/finish")),
        ("POST", "/v1/decisions".to_owned()),
        ("GET", "/metrics".to_owned()),
    ] {
        let ask = |value: Option<String>| {
            let method = method.parse().unwrap();
            let request = service.client.request(method, service.url(&path));
            match value {
                Some(value) => request.header("authorization", value),
                None => request,
            }
            .send()
        };
        for value in [
            None,
            Some("Bearer".to_owned()),
            Some("Bearer ".to_owned()),
            Some("Basic dGVzdDp0ZXN0".to_owned()),
            Some(bearer("csk_unknown")),
            Some(bearer(&service.api_key.to_uppercase())),
            Some(bearer(&format!("{}x", service.api_key))),
            Some(bearer("a.b.c")),
        ] {
            let response = ask(value.clone()).await.unwrap();
            // RFC 6750 section 3.1: whoever has not tried is told no more than how.
            let tried = value.as_ref().is_some_and(|value| value.starts_with("Bearer"));
            let (challenge, word) = match tried {
                true => (
                    "Bearer realm=\"countersign\", error=\"invalid_token\"",
                    json!("invalid_token"),
                ),
                false => ("Bearer realm=\"countersign\"", Value::Null),
            };
            assert_eq!(response.headers()["www-authenticate"], challenge);
            let (status, body) = answer(response).await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{path} {value:?}");
            assert_eq!(body["error"], word);
        }
        let (status, body) = answer(ask(Some(bearer(&runner))).await.unwrap()).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(body["error"], "insufficient_scope");
        // The control plane of this cluster may register runs, and nothing else.
        let may = path.starts_with("/v1/run");
        let status = ask(Some(bearer(&control_plane))).await.unwrap().status();
        assert_eq!(status != StatusCode::FORBIDDEN, may, "{path}");
    }
    for path in
        ["/healthz", "/readyz", "/jwks.json", "/openapi.json", "/.well-known/openid-configuration"]
    {
        assert_eq!(service.get(path).await.status(), StatusCode::OK, "{path}");
    }
    assert_eq!(service.get("/v1/run").await.status(), StatusCode::NOT_FOUND);
    assert_eq!(service.get("/v1/token").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    service.stop().await;
}

/// The service answers exactly the paths and methods that its description names.
#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_of_what_there_is() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let served: Value =
        serde_json::from_str(&service.get("/openapi.json").await.text().await.unwrap()).unwrap();
    assert_eq!(served, serde_json::from_str::<Value>(countersign_http::OPENAPI).unwrap());
    let paths = served["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 18);
    for (path, operations) in paths {
        let url = service.url(&path.replace("{uuid}", RUN));
        for method in ["get", "put", "post", "delete", "patch"] {
            let request = service.client.request(method.to_uppercase().parse().unwrap(), &url);
            let (status, body) = answer(request.send().await.unwrap()).await;
            let described = operations.get(method);
            assert_eq!(
                described.is_none(),
                status == StatusCode::METHOD_NOT_ALLOWED,
                "{method} {path}"
            );
            let nothing = body["error_description"].as_str().unwrap_or_default();
            assert!(!nothing.contains("there is nothing here"), "{method} {path}");
            if let Some(operation) = described {
                let answered = &operation["responses"][status.as_str()];
                assert!(answered.is_object(), "{method} {path}: {status} is not described");
            }
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let other = run_of(OTHER_RUNNER, "team-a", OTHER_RUNNER);
    service.register(&other, SHARED_RUNNER).await;
    service.finish(OTHER_RUNNER).await;
    let (_, before) = answer(service.by_run_token(RUN, AWS).await).await;
    let keys = service.get("/jwks.json").await.text().await.unwrap();
    service.stop().await;

    let service = Running::start(folder.path()).await;
    assert_eq!(service.get("/jwks.json").await.text().await.unwrap(), keys);
    service.verified(before["access_token"].as_str().unwrap(), AWS).await;
    assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
    assert_eq!(service.by_run_token(OTHER_RUNNER, AWS).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::OK);
    service.stop().await;
    assert_eq!(records(folder.path()).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_counted_can_be_seen() {
    let folder = folder();
    let manifest = support::MANIFEST.replace(
        "meshstack-id = \"demo\"",
        "meshstack-id = \"demo\"\nsubject-profiles = { cccccccc-cccc-4ccc-8ccc-cccccccccccc = \"by-runner\" }",
    );
    let config = format!("[tokens]\nes256-audiences = [\"{AWS}\"]\n");
    let setup = Setup { manifest, config, ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    let old = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    service.register(&run(), SHARED_RUNNER).await;
    service
        .register(&run_of(old, "team-a", "cccccccc-cccc-4ccc-8ccc-cccccccccccc"), SHARED_RUNNER)
        .await;
    service.by_run_token(RUN, AWS).await;
    service.by_run_token(RUN, AZURE).await;
    let (_, body) = answer(service.by_run_token(old, AWS).await).await;
    let claims = service.verified(body["access_token"].as_str().unwrap(), AWS).await;
    assert_eq!(claims["sub"], format!("system:serviceaccount:demo:{SHARED_RUNNER}"));
    let metrics = service.client.get(service.url("/metrics")).bearer_auth(&service.api_key);
    let text = metrics.send().await.unwrap().text().await.unwrap();
    for line in [
        "countersign_tokens_issued_total{algorithm=\"ES256\",profile=\"by-definition\"} 1",
        "countersign_tokens_issued_total{algorithm=\"RS256\",profile=\"by-definition\"} 1",
        "countersign_tokens_issued_total{algorithm=\"ES256\",profile=\"by-runner\"} 1",
        "countersign_decisions_total{kind=\"token\",outcome=\"approved\"} 3",
        "countersign_http_requests_total{route=\"/v1/token\",status=\"200\"} 3",
        "countersign_keys{algorithm=\"ES256\",phase=\"active\"} 1",
        "countersign_log_failed 0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    service.stop().await;
}
