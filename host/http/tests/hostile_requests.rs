//! The request half of what attackers send, but for tokens: each gets an answer of its own, one line in the log,
//! and no token; and the next honest request is answered as ever.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/refusals.rs"]
mod refusals;
mod support;

use std::time::Duration;

use refusals::{LOGGED, refused, started};
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{AWS, GRANT, JWT, RUN, RUN_TOKEN, SHARED_RUNNER, SHARED_SUBJECT, Setup, answer, run};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test(flavor = "multi_thread")]
async fn hostile_runs_are_refused() {
    let (_folder, service) = started(Setup::default()).await;
    let text = run().to_string();
    let with = |pointer: &str, value: Value| {
        let mut changed = run();
        *changed.pointer_mut(pointer).unwrap() = value;
        changed.to_string()
    };
    let mut bodies: Vec<(String, String)> = Vec::new();
    for workspace in [
        "a:definition:b",
        "a.b",
        "a/b",
        "a%3Ab",
        "",
        " ",
        "a ",
        "a.",
        "A",
        "a--b",
        "-a",
        "e\u{301}",
        "\u{e9}",
        "a\u{ff1a}b",
        "a\u{2024}b",
        "\u{430}",
        "a\u{200b}",
        "\u{202e}a",
        "a\0",
        "*",
        "a?",
        "${a}",
    ] {
        let what = format!("workspace {workspace:?}");
        bodies.push((what, with("/spec/buildingBlock/spec/workspaceIdentifier", workspace.into())));
    }
    bodies.push((
        "long workspace".into(),
        with("/spec/buildingBlock/spec/workspaceIdentifier", "a".repeat(64).into()),
    ));
    for uuid in [
        "{b23cfb9a-6974-444f-9d33-62134a632373}",
        "B23CFB9A-6974-444F-9D33-62134A632373",
        "urn:uuid:b23cfb9a-6974-444f-9d33-62134a632373",
        "00000000-0000-0000-0000-000000000000",
        "",
    ] {
        bodies.push((
            format!("uuid {uuid}"),
            with("/spec/buildingBlockDefinition/uuid", uuid.into()),
        ));
    }
    for (pointer, value) in [
        ("/spec/behavior", json!("apply")),
        ("/spec/behavior", json!(1)),
        ("/spec", json!([])),
        ("/spec/runNumber", json!(-1)),
        ("/spec/runNumber", json!(1.5)),
        ("/kind", json!("other")),
        ("/spec/runToken", json!("short")),
        ("/spec/runToken", json!(7)),
        ("/metadata/uuid", json!(SHARED_RUNNER)),
    ] {
        bodies.push((format!("{pointer} {value}"), with(pointer, value)));
    }
    for (what, body) in [
        ("spec twice", text.replacen("\"spec\"", "\"spec\":{},\"spec\"", 1)),
        ("spec twice, escaped", text.replacen("\"spec\"", "\"\\u0073pec\":{},\"spec\"", 1)),
        ("deep", "[".repeat(100_000)),
        ("1e9999", text.replacen("\"runNumber\":1", "\"runNumber\":1e9999", 1)),
        ("a BOM", format!("\u{feff}{text}")),
        ("trailing garbage", format!("{text}x")),
        ("a lone surrogate", text.replacen("my-workspace", "\\ud800", 1)),
        ("nothing", String::new()),
        ("null", "null".to_owned()),
    ] {
        assert_ne!(body, text, "{what}");
        bodies.push((what.to_owned(), body));
    }
    for (what, body) in bodies {
        let response = service.register_at(RUN, body, SHARED_RUNNER).await;
        let (status, body) = refused(&service, &what, response).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{what}: {body}");
    }
    // UTF-16, which is no text here.
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let response = service
        .client
        .put(service.url(&format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}")))
        .bearer_auth(&service.api_key)
        .header("content-type", "application/json")
        .body(wide);
    refused(&service, "UTF-16", response.send().await.unwrap()).await;
    // Paths and queries.
    for path in [
        format!("/v1/runs/{}?runner={SHARED_RUNNER}", RUN.to_uppercase()),
        format!("/v1/runs/%7B{RUN}%7D?runner={SHARED_RUNNER}"),
        format!("/v1/runs/%ff?runner={SHARED_RUNNER}"),
        format!("/v1/runs/{RUN}"),
        format!("/v1/runs/{RUN}?runner="),
        format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}&runner={SHARED_RUNNER}"),
        format!("/v1/runs/{RUN}?runner=%zz"),
        format!("/v1/runs/{RUN}?runner=%ff"),
        format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}&lifetime_seconds=0"),
        format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}&lifetime_seconds=99999999999999999999"),
        // Its name before, which must not be ignored: the run would have the maximum.
        format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}&life_seconds=60"),
    ] {
        let put = service.client.put(service.url(&path)).bearer_auth(&service.api_key);
        let response = put.header("content-type", "application/json").body(text.clone()).send();
        let (status, _) = refused(&service, &path, response.await.unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_http_is_refused() {
    let config = "[limits]\nbody-bytes = 4096\nheader-seconds = 3\nbody-seconds = 3\n".to_owned();
    let (_folder, service) = started(Setup { config, ..Setup::default() }).await;
    let form = |padding: usize| {
        let identity = service.identity(SHARED_SUBJECT);
        let form = format!(
            "grant_type={GRANT}&subject_token_type={JWT}&run={RUN}&audience={AWS}&subject_token={identity}&x="
        );
        let padding = padding - form.len();
        form + &"x".repeat(padding)
    };
    let ask = |body: String| service.client.post(service.url("/v1/token")).body(body);
    const FORM: &str = "application/x-www-form-urlencoded";
    // To the byte.
    let at_the_limit = ask(form(4096)).header("content-type", FORM).send().await.unwrap();
    assert_eq!(at_the_limit.status(), StatusCode::OK);
    let beyond = ask(form(4097)).header("content-type", FORM).send().await.unwrap();
    assert_eq!(refused(&service, "a byte too long", beyond).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    for kind in [
        "",
        "text/plain",
        "application/json",
        "application/x-www-form-urlencoded; charset=utf-16",
        "multipart/form-data; boundary=x",
    ] {
        let response = ask(form(2000)).header("content-type", kind).send().await.unwrap();
        let (status, _) = refused(&service, kind, response).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    let untyped = ask(form(2000)).send().await.unwrap();
    assert_eq!(refused(&service, "no type", untyped).await.0, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for encoding in ["gzip", "br", "identity", "deflate, gzip"] {
        let packed =
            ask(form(2000)).header("content-type", FORM).header("content-encoding", encoding);
        let (status, _) = refused(&service, encoding, packed.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{encoding}");
    }
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"] {
        let request = service.client.request(method.parse().unwrap(), service.url("/v1/token"));
        let (status, _) = refused(&service, method, request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
    }
    let many = "a=1&".repeat(100);
    for (what, body) in [
        ("too many parameters", many.as_str()),
        ("a broken escape", "grant_type=%zz"),
        ("bytes", "grant_type=%ff"),
        ("nothing", ""),
        ("ampersands", "&&&&"),
        ("no value", "grant_type"),
    ] {
        let response = ask(body.to_owned()).header("content-type", FORM).send().await.unwrap();
        assert_eq!(refused(&service, what, response).await.0, StatusCode::BAD_REQUEST, "{what}");
    }

    // What no client sends.
    let raw = async |text: String| {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        tokio::time::timeout(Duration::from_secs(30), read).await.expect("it hangs").ok();
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    let head = format!(
        "POST /v1/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {FORM}\r\n"
    );
    let chunked = format!("{head}transfer-encoding: chunked\r\n\r\n");
    let body = form(1800);
    let whole = format!("{chunked}{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    assert_eq!(raw(whole).await, "HTTP/1.1 200 OK");
    let endless: String = (0..10).map(|_| format!("400\r\n{}\r\n", "x".repeat(1024))).collect();
    for (what, text, expected) in [
        ("chunks without end", format!("{chunked}{endless}"), "HTTP/1.1 413"),
        (
            "a body that does not come",
            format!("{head}content-length: 100\r\n\r\nabc"),
            "HTTP/1.1 408",
        ),
        (
            "two lengths",
            format!("{head}content-length: 5\r\ncontent-length: 6\r\n\r\nabcde"),
            "HTTP/1.1 400",
        ),
        ("an invalid length", format!("{head}content-length: -1\r\n\r\n"), "HTTP/1.1 400"),
        ("an invalid chunk", format!("{chunked}zz\r\n"), "HTTP/1.1 400"),
        ("no HTTP", "GET\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        // `http2.rs` has the whole of it.
        ("most of HTTP/2's preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\rX".to_owned(), "HTTP/1.1 400"),
        (
            "a megabyte of token",
            format!("{head}content-length: 1048576\r\n\r\n{}", "a".repeat(5000)),
            "HTTP/1.1 413",
        ),
        ("a flood of headers", format!("{head}{}\r\n", "a: b\r\n".repeat(200)), "HTTP/1.1 431"),
        ("a long header", format!("{head}a: {}\r\n\r\n", "x".repeat(100_000)), "HTTP/1.1 431"),
        ("a header with a NUL", format!("{head}a: \0\r\n\r\n"), "HTTP/1.1 400"),
        // A head that does not come is no request, and is closed.
        ("slow headers", "POST /v1/token HTTP/1.1\r\nhost: x\r\n".to_owned(), ""),
    ] {
        let status = raw(text).await;
        assert!(!expected.is_empty() || status.is_empty(), "{what}: {status}");
        assert!(
            status.starts_with(expected) && !status.contains(" 5") && !status.contains("200"),
            "{what}: {status}"
        );
        let honest = service.by_identity(RUN, &service.identity(SHARED_SUBJECT)).await.status();
        assert_eq!(honest, StatusCode::OK, "after {what}");
    }
    // Those who leave while their token is signed.
    for _ in 0..20 {
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        let body = form(1800);
        let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
        stream.write_all(request.as_bytes()).await.unwrap();
        drop(stream);
    }
    assert_eq!(
        service.by_identity(RUN, &service.identity(SHARED_SUBJECT)).await.status(),
        StatusCode::OK
    );
    service.stop().await;
}

/// Whatever was logged at any level, by any crate, no secret is in it.
#[tokio::test(flavor = "multi_thread")]
async fn secrets_are_never_logged() {
    let (_folder, service) = started(Setup::default()).await;
    let mut object = run();
    object["metadata"]["uuid"] = "eeeeeeee-eeee-4eee-8eee-eeeeeeeeeeee".into();
    object["spec"]["buildingBlock"]["spec"]["inputs"][0]["value"] = "sensitive-input-value".into();
    object["spec"]["buildingBlockDefinition"]["spec"]["implementation"]["sshPrivateKey"] =
        "ssh-private-key-text".into();
    assert_eq!(service.register(&object, SHARED_RUNNER).await.status(), StatusCode::CREATED);
    // Those that are refused are logged at more length.
    object["spec"]["behavior"] = "OTHER".into();
    service.register(&object, SHARED_RUNNER).await;
    let identity = service.identity(SHARED_SUBJECT);
    let (_, first) = answer(service.by_identity(RUN, &identity).await).await;
    let (_, second) = answer(service.by_run_token(RUN, AWS).await).await;
    service.by_identity(SHARED_RUNNER, &identity).await;
    service.by_run_token(SHARED_RUNNER, AWS).await;
    service.get(&format!("/v1/token?subject_token={RUN_TOKEN}")).await;
    let wrong = format!("{}x", service.api_key);
    service.client.get(service.url("/metrics")).bearer_auth(wrong).send().await.unwrap();
    let logged = String::from_utf8(LOGGED.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("\"jti\""));
    let signature = |token: &str| token.rsplit('.').next().unwrap().to_owned();
    for secret in [
        RUN_TOKEN,
        &service.api_key,
        "sensitive-input-value",
        "ssh-private-key-text",
        "PRIVATE KEY",
        &signature(&identity),
        &signature(first["access_token"].as_str().unwrap()),
        &signature(second["access_token"].as_str().unwrap()),
    ] {
        assert!(!logged.contains(secret), "{secret}");
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_registrations_with_facts_are_refused() {
    let (_folder, service) = started(Setup::default()).await;
    let run = run().to_string();
    let many: Vec<_> = (0..65).map(|n| format!(r#""f{n}":"""#)).collect();
    let long = "x".repeat(1025);
    for facts in [
        "[]",
        "\"a\"",
        r#"{"a":1}"#,
        r#"{"a":null}"#,
        r#"{"a":{}}"#,
        r#"{"a":"1","a":"2"}"#,
        r#"{"a":"1","\u0061":"2"}"#,
        r#"{"":"1"}"#,
        r#"{"1a":"1"}"#,
        r#"{"a b":"1"}"#,
        r#"{"a":"\n"}"#,
        r#"{"a":"\u0085"}"#,
        r#"{"implementation-type":"PULUMI"}"#,
        r#"{"author-kind":"Robot"}"#,
        &format!("{{{}}}", many.join(",")),
        &format!(r#"{{"a":"{long}"}}"#),
        &format!(r#"{{"{}":""}}"#, "a".repeat(129)),
    ] {
        let body = format!(r#"{{"run":{run},"facts":{facts}}}"#);
        let (status, body) = answer(service.register_with_facts(body).await).await;
        let found = (status, &body["error"]);
        assert_eq!(found, (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{facts}: {body}");
        assert!(!body.to_string().contains(RUN_TOKEN) && !body.to_string().contains(&long));
    }
    for body in [
        run.clone(),
        "{}".to_owned(),
        format!(r#"{{"run":{run},"run":{run}}}"#),
        format!(r#"{{"run":{run},"facts":{{}},"facts":{{}}}}"#),
        format!(r#"{{"run":{run},"other":1}}"#),
        format!(r#"{{"run":[{run}]}}"#),
        r#"{"facts":{"a":"1"}}"#.to_owned(),
        format!(r#"{{"run":{},"facts":{{}}}}"#, run.replace("b3116611", "B3116611")),
    ] {
        let (status, answered) = answer(service.register_with_facts(body).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{answered}");
        assert!(!answered.to_string().contains(RUN_TOKEN));
    }
    // Nothing of it has changed the run that is registered. A run object with a member `facts` has none: unknown members are dropped, as ever.
    let mut with_member: Value = serde_json::from_str(&run).unwrap();
    with_member["facts"] = json!({"a": "1"});
    assert_eq!(service.register(&with_member, SHARED_RUNNER).await.status(), StatusCode::OK);
    let empty = service.register_with_facts(format!(r#"{{"run":{run},"facts":{{}}}}"#)).await;
    assert_eq!(empty.status(), StatusCode::OK, "no facts are the same as none");
    service.stop().await;
}
