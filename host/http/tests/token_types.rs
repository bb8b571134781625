//! Token types and errors as RFC 8693 has them.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use reqwest::StatusCode;
use support::{
    ACCESS_TOKEN, AWS, GRANT, JWT, RUN, RUN_TOKEN, Running, SHARED_RUNNER, SHARED_SUBJECT, answer,
    folder, records, run,
};

const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Sections 2.1 and 2.2.1.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_of_the_type_that_is_requested() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let identity = service.identity(SHARED_SUBJECT);
    for (subject, kind) in [(&*identity, JWT), (&*identity, ID_TOKEN), (RUN_TOKEN, ACCESS_TOKEN)] {
        for (requested, issued) in [
            (None, Some(JWT)),
            (Some(""), Some(JWT)),
            (Some(JWT), Some(JWT)),
            (Some(ID_TOKEN), Some(ID_TOKEN)),
            (Some(ACCESS_TOKEN), None),
            (Some("jwt"), None),
        ] {
            let mut form = vec![
                ("grant_type", GRANT),
                ("subject_token_type", kind),
                ("subject_token", subject),
                ("run", RUN),
                ("audience", AWS),
            ];
            form.extend(requested.map(|requested| ("requested_token_type", requested)));
            let (status, body) = answer(service.exchange(&form).await).await;
            match issued {
                Some(issued) => assert_eq!(body["issued_token_type"], issued, "{form:?} {body}"),
                None => assert_eq!(
                    (status, body["error"].as_str().unwrap()),
                    (StatusCode::BAD_REQUEST, "invalid_request")
                ),
            }
        }
    }
    service.stop().await;
}

/// Section 2.2.2: an audience that nothing is issued for is the client's error, whatever policies say; it is on record.
#[tokio::test(flavor = "multi_thread")]
async fn an_audience_that_nothing_is_issued_for_is_an_invalid_target() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let mut stranger = run();
    let other = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    stranger["metadata"]["uuid"] = other.into();
    stranger["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-b".into();
    service.register(&stranger, SHARED_RUNNER).await;
    for (run, audience, status, word) in [
        (RUN, AWS, 200, None),
        (RUN, "https://unknown", 400, Some("invalid_target")),
        (other, "https://unknown", 400, Some("invalid_target")),
        // Refused by a policy: a decision on record, and not an error of the request.
        (other, AWS, 403, Some("access_denied")),
    ] {
        let (found, body) = answer(service.by_run_token(run, audience).await).await;
        assert_eq!((found.as_u16(), body["error"].as_str()), (status, word), "{body}");
        let record = records(folder.path()).pop().unwrap();
        assert_eq!(body["decision"], record["decision"]["id"], "{body}");
    }
    // Whoever has proved nothing is not told what is configured.
    let form = [
        ("grant_type", GRANT),
        ("subject_token_type", ACCESS_TOKEN),
        ("subject_token", "another-run-token-of-some-length"),
        ("run", RUN),
        ("audience", "https://unknown"),
    ];
    let (_, body) = answer(service.exchange(&form).await).await;
    assert_eq!(body["error"], "invalid_request");
    service.stop().await;
}
