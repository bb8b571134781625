//! A token that a cloud would not accept is refused before it is signed, and recorded.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{
    AWS, AZURE, MANIFEST, RUN, RUN_TOKEN, Running, SHARED_RUNNER, Setup, answer, folder, records,
    run,
};

const GCP: &str = "gcp-workload-identity-provider:demo";
const VAULT: &str = "https://vault.example.com";

/// Subjects that leave GCP no room, ES256 for Entra, and an audience that nobody knows.
fn setup() -> Setup {
    let issuer = "meshstack-id = \"a-name-that-leaves-no-room-for-a-workspace\"\naudiences = { \"other\" = \"other\" }";
    Setup {
        manifest: MANIFEST.replace("meshstack-id = \"demo\"", issuer),
        config: format!("[tokens]\nes256-audiences = [\"{AZURE}\"]\nmax-audiences = 2\n"),
        ..Setup::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_cloud_would_take_is_not_signed() {
    let folder = folder();
    let service = Running::with(folder.path(), setup()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let mut expected = Vec::new();
    for (audience, code, says) in [
        (AWS, "", ""),
        ("other", "", ""),
        (AZURE, "azure-algorithm", "Entra accepts RS256, and this token has ES256"),
        (GCP, "gcp-subject", "at most 127 bytes for `google.subject`"),
        (VAULT, "audience-without-cloud", "`issuer.audiences`"),
    ] {
        // RFC 8693 section 2.2.2.
        let (expected_status, word, description) = match code {
            "audience-without-cloud" => {
                (StatusCode::BAD_REQUEST, "invalid_target", "no tokens are issued for it")
            }
            _ => (
                StatusCode::FORBIDDEN,
                "access_denied",
                "the cloud of the audience would reject this token",
            ),
        };
        let (status, body) = answer(service.by_run_token(RUN, audience).await).await;
        let record = records(folder.path()).pop().unwrap();
        assert_eq!(record["decision"]["outcome"], "approved", "policies have nothing against it");
        if code.is_empty() {
            assert_eq!(status, StatusCode::OK, "{audience}: {body}");
            assert_eq!(record["preflight"], Value::Null);
            continue;
        }
        assert_eq!((status, &body["error"]), (expected_status, &json!(word)), "{body}");
        assert!(body["error_description"].as_str().unwrap().contains(description), "{body}");
        let reason = &body["reasons"][0];
        assert_eq!((&reason["code"], &reason["source"]), (&json!(code), &json!("host")), "{body}");
        assert!(reason["message"].as_str().unwrap().contains(says), "{body}");
        assert_eq!(body["decision"], record["decision"]["id"]);
        assert_eq!(record["preflight"][0]["code"], code);
        assert_eq!(record["issued"], Value::Null, "{record}");
        expected.push(code);
    }
    assert_eq!(expected.len(), 3);
    // Two clouds' tokens in one.
    let (status, body) = answer(two(&service).await).await;
    assert_eq!(
        (status, &body["reasons"][0]["code"]),
        (StatusCode::FORBIDDEN, &json!("audiences-of-several-clouds"))
    );
    // Nor is it reported as approved where only a decision is requested.
    let question =
        json!({"run": run(), "runner": SHARED_RUNNER, "audiences": [GCP], "ttl_seconds": 60});
    let response = service
        .client
        .post(service.url("/v1/decisions"))
        .bearer_auth(&service.api_key)
        .header("content-type", "application/json")
        .body(question.to_string())
        .send()
        .await
        .unwrap();
    let (status, body) = answer(response).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        (&body["outcome"], &body["reasons"][0]["code"]),
        (&json!("refused"), &json!("gcp-subject"))
    );
    service.stop().await;
}

async fn two(service: &Running) -> reqwest::Response {
    service
        .exchange(&[
            ("grant_type", support::GRANT),
            ("subject_token_type", support::ACCESS_TOKEN),
            ("subject_token", RUN_TOKEN),
            ("run", RUN),
            ("audience", AWS),
            ("audience", AZURE),
        ])
        .await
}

/// As Google's libraries and OpenTofu's providers ask that can only get a URL.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_can_be_got_by_its_url() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let path = format!("/v1/runs/{RUN}/token?audience={AWS}&ttl_seconds=60");
    let get = async |path: &str, bearer: Option<&str>| {
        let mut request = service.client.get(service.url(path));
        if let Some(bearer) = bearer {
            request = request.bearer_auth(bearer);
        }
        answer(request.send().await.unwrap()).await
    };
    let (status, body) = get(&path, Some(RUN_TOKEN)).await;
    assert_eq!((status, &body["expires_in"]), (StatusCode::OK, &json!(60)), "{body}");
    let claims = service.verified(body["value"].as_str().unwrap(), AWS).await;
    assert_eq!(claims["countersign"]["decision"], body["decision"]);
    let elsewhere = path.replace(RUN, support::OTHER_RUNNER);
    let doubled = format!("{path}&ttl_seconds=61");
    let long = "x".repeat(20_000);
    let without = format!("/v1/runs/{RUN}/token");
    for (path, bearer, status, word) in [
        // RFC 6750 section 3.1: no word for who has not tried.
        (&path, None, 401, ""),
        (&path, Some("another-run-token-with-many-bits"), 401, "invalid_token"),
        (&elsewhere, Some(RUN_TOKEN), 401, "invalid_token"),
        (&path, Some(service.api_key.as_str()), 401, "invalid_token"),
        (&path, Some(long.as_str()), 400, "invalid_request"),
        (&doubled, Some(RUN_TOKEN), 400, "invalid_request"),
        (&without, Some(RUN_TOKEN), 400, "invalid_target"),
        (&format!("{without}?audience=a%20b"), Some(RUN_TOKEN), 400, "invalid_target"),
        (&format!("/v1/runs/x/token?audience={AWS}"), Some(RUN_TOKEN), 400, "invalid_request"),
    ] {
        let (found, body) = get(path, bearer).await;
        assert_eq!(
            (found.as_u16(), body["error"].as_str().unwrap_or_default()),
            (status, word),
            "{path}"
        );
        assert!(body.get("value").is_none());
    }
    let head = service.client.head(service.url(&path)).bearer_auth(RUN_TOKEN).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::METHOD_NOT_ALLOWED);
    service.finish(RUN).await;
    let (status, body) = get(&path, Some(RUN_TOKEN)).await;
    assert_eq!(
        (status, &body["reasons"][0]["code"]),
        (StatusCode::FORBIDDEN, &json!("run-finished"))
    );
    service.stop().await;
}
