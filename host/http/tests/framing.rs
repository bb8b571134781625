//! Requests as bytes: their framing, their fields, and the connection after them.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;
#[path = "support/wire.rs"]
mod wire;

use std::time::Duration;

use support::{AWS, RUN, RUN_TOKEN, Running, SHARED_RUNNER, Setup, folder, run};
use wire::Wire;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

async fn started(config: &str) -> (tempfile::TempDir, Running) {
    let folder = folder();
    let setup = Setup { config: config.to_owned(), ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    service.register(&run(), SHARED_RUNNER).await;
    (folder, service)
}

/// RFC 9112 sections 3.2, 6.1 and 6.3.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let (_folder, service) = started("").await;
    let post =
        "POST /v1/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let cases: Vec<(&str, String, u16)> = vec![
        ("no host", "GET /healthz HTTP/1.1\r\n\r\n".into(), 400),
        ("no host, absolute", "GET http://a/healthz HTTP/1.1\r\n\r\n".into(), 400),
        ("two hosts", "GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n".into(), 400),
        ("two hosts in one", "GET /healthz HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), 400),
        ("a host with a user", "GET /healthz HTTP/1.1\r\nHost: a@b\r\n\r\n".into(), 400),
        ("a host with a path", "GET /healthz HTTP/1.1\r\nHost: a/b\r\n\r\n".into(), 400),
        ("a host that is none", "GET /healthz HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
        ("no host of HTTP/1.0", "GET /healthz HTTP/1.0\r\n\r\n".into(), 200),
        ("a port", "GET /healthz HTTP/1.1\r\nHost: a:1\r\n\r\n".into(), 200),
        ("an address", "GET /healthz HTTP/1.1\r\nHost: [::1]:1\r\n\r\n".into(), 200),
        ("an absolute target", "GET http://a/healthz HTTP/1.1\r\nHost: a\r\n\r\n".into(), 200),
        ("two encodings", format!("{post}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), 501),
        (
            "two encodings apart",
            format!("{post}Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            501,
        ),
        (
            "chunked twice",
            format!("{post}Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n"),
            501,
        ),
        (
            "a length and an encoding",
            format!("{post}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400,
        ),
        (
            "an encoding and a length",
            format!("{post}Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"),
            400,
        ),
        // Without `chunked` at its end, the end of the request is not known (RFC 9112 section 6.3).
        ("another encoding", format!("{post}Transfer-Encoding: gzip\r\n\r\n"), 400),
        (
            "an encoding of HTTP/1.0",
            post.replace("1.1", "1.0") + "Transfer-Encoding: chunked\r\n\r\n",
            400,
        ),
    ];
    for (what, request, status) in cases {
        // As the first request of a connection, and as a later one.
        for before in ["", HEALTH] {
            let mut wire = Wire::open(service.address).await;
            if !before.is_empty() {
                assert_eq!(wire.ask(before).await.status, 200);
            }
            let heard = wire.ask(&request).await;
            assert_eq!(heard.status, status, "{what}: {heard:?}");
            if request.contains("Transfer-Encoding") {
                assert!(heard.closes() && wire.ends().await, "{what}: {heard:?}");
            }
        }
    }
    let whole = format!("{post}Transfer-Encoding: Chunked\r\n\r\n3\r\na=b\r\n0\r\n\r\n");
    let mut wire = Wire::open(service.address).await;
    let heard = wire.ask(whole).await;
    assert!(heard.status == 400 && heard.body.contains("grant_type"), "{heard:?}");
    assert_eq!(wire.ask(HEALTH).await.status, 200, "it goes on");
    service.stop().await;
}

/// A head is as long as it is, however it arrives.
#[tokio::test(flavor = "multi_thread")]
async fn heads_are_bounded_to_the_byte() {
    let (_folder, service) = started("[limits]\nheader-bytes = 32_768\n").await;
    for (bytes, status) in [(32_768, 200), (32_769, 431), (40_000, 431)] {
        let frame = HEALTH.replace("\r\n\r\n", "\r\nA: \r\n\r\n");
        let request = frame.replace("A: ", &format!("A: {}", "x".repeat(bytes - frame.len())));
        assert_eq!(request.len(), bytes);
        for size in [bytes, 30_000, 4096] {
            let mut wire = Wire::open(service.address).await;
            for piece in request.as_bytes().chunks(size) {
                // What is too long may be refused before it is there.
                if !wire.try_send(piece).await {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let heard = wire.hear(true).await.expect("a response");
            assert_eq!(heard.status, status, "{bytes} in pieces of {size}");
            assert_eq!(heard.closes(), status == 431);
        }
    }
    service.stop().await;
}

/// RFC 9110 section 15.5.6.
#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_is_not_allowed_says_which_are() {
    let (_folder, service) = started("").await;
    for (path, allowed) in [
        ("/.well-known/openid-configuration", "GET, HEAD, OPTIONS"),
        ("/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
        ("/.well-known/jwks.json", "GET, HEAD, OPTIONS"),
        ("/jwks.json", "GET, HEAD, OPTIONS"),
        ("/openapi.json", "GET, HEAD, OPTIONS"),
        ("/v1/runs", "GET, HEAD"),
        ("/v1/runs/b3116611-e08b-4b00-91c5-10365b25a6ef", "GET, HEAD, PUT"),
        ("/v1/runners/b3116611-e08b-4b00-91c5-10365b25a6ef/finish", "POST"),
        ("/v1/runs/b3116611-e08b-4b00-91c5-10365b25a6ef/finish", "POST"),
        ("/v1/runs/b3116611-e08b-4b00-91c5-10365b25a6ef/token", "GET"),
        ("/v1/token", "POST"),
        ("/v1/decisions", "POST"),
        ("/healthz", "GET, HEAD"),
        ("/readyz", "GET, HEAD"),
        ("/metrics", "GET, HEAD"),
    ] {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]
        {
            let mut wire = Wire::open(service.address).await;
            let request =
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            wire.send(request).await;
            let heard = wire.hear(method != "HEAD").await.expect("a response");
            let is_allowed = allowed.split(", ").any(|one| one == method);
            assert_eq!(heard.status != 405, is_allowed, "{method} {path}: {heard:?}");
            if !is_allowed {
                assert_eq!(heard.header("allow"), Some(allowed), "{method} {path}");
            }
        }
    }
    service.stop().await;
}

/// Refused before its body is read: the connection goes on, or says that it does not (RFC 9112 section 9.6).
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_closed_says_so() {
    let (_folder, service) = started("[limits]\nbody-seconds = 1\n").await;
    let finish = format!("POST /v1/runs/{RUN}/finish");
    let register = format!("PUT /v1/runs/{RUN}?runner={SHARED_RUNNER}");
    let token = format!("GET /v1/runs/{RUN}/token?audience=x%20y");
    let key = format!("Authorization: Bearer {RUN_TOKEN}\r\n");
    let cases = [
        ("POST /v1/token", "Content-Type: application/json\r\n", 415),
        (
            "POST /v1/token",
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Encoding: gzip\r\n",
            415,
        ),
        ("POST /nothing", "", 404),
        ("POST /healthz", "", 405),
        ("DELETE /v1/token", "", 405),
        ("POST /v1/decisions", "", 401),
        ("POST /v1/decisions", "Authorization: Bearer csk_x\r\n", 401),
        (finish.as_str(), "", 401),
        (register.as_str(), "", 401),
        (token.as_str(), key.as_str(), 400),
        ("GET /metrics", "", 401),
        ("GET /healthz", "", 200),
        ("POST /healthz", "Host: b\r\n", 400),
    ];
    for (ask, fields, status) in cases {
        for version in ["HTTP/1.1", "HTTP/1.0"] {
            if version == "HTTP/1.0" && fields.starts_with("Host") {
                continue;
            }
            // The body comes with the head, after it, in chunks, is too long to be read for nothing, or never comes.
            for body in ["small", "later", "chunked", "large", "never", "expected"] {
                if version == "HTTP/1.0" && ["chunked", "expected"].contains(&body) {
                    continue;
                }
                let length = match body {
                    "chunked" => "Transfer-Encoding: chunked\r\n".to_owned(),
                    "large" => "Content-Length: 2000000\r\n".to_owned(),
                    "expected" => "Content-Length: 300\r\nExpect: 100-continue\r\n".to_owned(),
                    _ => "Content-Length: 300\r\n".to_owned(),
                };
                let head = format!(
                    "{ask} {version}\r\nHost: a\r\nConnection: keep-alive\r\n{fields}{length}\r\n"
                );
                let mut wire = Wire::open(service.address).await;
                let content = "x".repeat(300);
                match body {
                    "small" => wire.send(format!("{head}{content}")).await,
                    "chunked" => wire.send(format!("{head}12c\r\n{content}\r\n0\r\n\r\n")).await,
                    "later" => {
                        wire.send(head).await;
                        tokio::task::yield_now().await;
                        wire.send(content).await;
                    }
                    _ => wire.send(head).await,
                }
                let heard = wire.hear(true).await.expect("a response");
                assert_eq!(heard.status, status, "{ask} {version} {body}: {heard:?}");
                let must_close = ["large", "never", "expected"].contains(&body);
                assert_eq!(heard.closes(), must_close, "{ask} {version} {body}: {heard:?}");
                if must_close {
                    assert!(wire.ends().await, "{ask} {version} {body}");
                } else {
                    let again = wire.ask(HEALTH).await;
                    assert_eq!(again.status, 200, "{ask} {version} {body}");
                }
            }
        }
    }
    service.stop().await;
}

/// Whether a body comes in parts, and soon or late, it is read whole.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_parts_is_the_whole_body() {
    let (_folder, service) = started("").await;
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&run={RUN}&audience={AWS}&subject_token={RUN_TOKEN}\
         &subject_token_type=urn:ietf:params:oauth:token-type:access_token"
    );
    let head =
        "POST /v1/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let (first, rest) = form.split_at(form.len() / 2);
    let (second, third) = rest.split_at(1);
    let parts = [first, second, third];
    let of_length = parts.map(str::to_owned);
    let chunks = parts.map(|part| format!("{:x}\r\n{part}\r\n", part.len()));
    let bytes =
        parts.map(|part| part.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect::<String>());
    for pause in [0, 30, 400] {
        for (framing, parts, end) in [
            (format!("Content-Length: {}", form.len()), &of_length, ""),
            ("Transfer-Encoding: chunked".to_owned(), &chunks, "0\r\n\r\n"),
            ("Transfer-Encoding: chunked".to_owned(), &bytes, "0\r\nX-After: a\r\n\r\n"),
        ] {
            let mut wire = Wire::open(service.address).await;
            wire.send(format!("{head}{framing}\r\n\r\n")).await;
            for part in parts {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                wire.send(part.clone()).await;
            }
            wire.send(end).await;
            let heard = wire.hear(true).await.expect("a response");
            assert_eq!(heard.status, 200, "{framing}, {pause} ms: {heard:?}");
            // What follows is the next request.
            assert_eq!(wire.ask(HEALTH).await.status, 200, "{framing}, {pause} ms");
        }
    }
    service.stop().await;
}

/// Whoever goes on sending after the answer gets the answer all the same.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_arrives_although_its_request_goes_on() {
    let (_folder, service) = started("").await;
    for _ in 0..20 {
        let mut wire = Wire::open(service.address).await;
        let head = "POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n";
        wire.send(head).await;
        for _ in 0..9 {
            if !wire.try_send(vec![b'x'; 100_000]).await {
                break;
            }
        }
        assert_eq!(wire.hear(true).await.expect("not reset").status, 404);
    }
    service.stop().await;
}

/// RFC 6750 sections 2.1 and 3.
#[tokio::test(flavor = "multi_thread")]
async fn credentials_are_read_as_they_are_written_and_challenges_say_what_lacks() {
    let (_folder, service) = started("").await;
    let path = format!("/v1/runs/{RUN}/token?audience={AWS}");
    let realm = "Bearer realm=\"countersign\"";
    let invalid = format!("{realm}, error=\"invalid_token\"");
    let of_runner = service.identity(support::SHARED_SUBJECT);
    let cases: Vec<(&str, String, u16, Option<&str>)> = vec![
        (&path, format!("Authorization: Bearer {RUN_TOKEN}\r\n"), 200, None),
        (&path, format!("Authorization: bEARER    {RUN_TOKEN}\r\n"), 200, None),
        (&path, format!("Authorization:   Bearer {RUN_TOKEN}  \r\n"), 200, None),
        (&path, format!("Authorization: Bearer\t{RUN_TOKEN}\r\n"), 401, Some(realm)),
        (&path, String::new(), 401, Some(realm)),
        (&path, format!("Authorization: Basic {RUN_TOKEN}\r\n"), 401, Some(realm)),
        (&path, "Authorization: Bearer\r\n".into(), 401, Some(&invalid)),
        (&path, "Authorization: Bearer  \r\n".into(), 401, Some(&invalid)),
        (&path, format!("Authorization: Bearer {RUN_TOKEN}\r\n").repeat(2), 401, Some(&invalid)),
        (
            &path,
            "Authorization: Bearer another-run-token-of-length\r\n".into(),
            401,
            Some(&invalid),
        ),
        ("/metrics", String::new(), 401, Some(realm)),
        ("/metrics", "Authorization: Bearer csk_x\r\n".into(), 401, Some(&invalid)),
    ];
    for (path, fields, status, challenge) in &cases {
        let mut wire = Wire::open(service.address).await;
        let heard = wire.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
        assert_eq!(heard.status, *status, "{fields}: {heard:?}");
        assert_eq!(heard.header("www-authenticate"), *challenge, "{fields}");
        if *challenge == Some(realm) {
            let body: serde_json::Value = serde_json::from_str(&heard.body).unwrap();
            assert!(body.get("error").is_none(), "{body}");
        }
    }
    let mut wire = Wire::open(service.address).await;
    let fields = format!("Authorization: Bearer {of_runner}\r\n");
    let heard = wire.ask(format!("GET /metrics HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    assert_eq!(heard.status, 403);
    let insufficient = format!("{realm}, error=\"insufficient_scope\"");
    assert_eq!(heard.header("www-authenticate"), Some(insufficient.as_str()));
    // A decision is no question of credentials.
    service.finish(RUN).await;
    let mut wire = Wire::open(service.address).await;
    let fields = format!("Authorization: Bearer {RUN_TOKEN}\r\n");
    let heard = wire.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    assert_eq!((heard.status, heard.header("www-authenticate")), (403, None));
    service.stop().await;
}
