//! The request half of what attackers send: each gets an answer of its own, one line in the log, and no
//! token; and the next honest request is answered as ever.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_issuer::{Algorithm, Signer, SigningKey};
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{
    AWS, CLUSTER, GRANT, ISSUER, JWT, RUN, RUN_TOKEN, Running, SHARED_RUNNER, SHARED_SUBJECT,
    Setup, answer, claims, folder, records, run, unsigned,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// All that was logged by this process, as JSON.
static LOGGED: LazyLock<Arc<Mutex<Vec<u8>>>> = LazyLock::new(|| {
    let logged = Arc::new(Mutex::new(Vec::new()));
    let writer = Arc::clone(&logged);
    tracing_subscriber::fmt()
        .json()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || Writer(Arc::clone(&writer)))
        .init();
    logged
});

struct Writer(Arc<Mutex<Vec<u8>>>);

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines of this crate's own that name the request.
fn lines_of(request: &str) -> usize {
    let logged = String::from_utf8(LOGGED.lock().unwrap().clone()).unwrap();
    logged
        .lines()
        .filter(|line| line.contains(request))
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|line| line["target"].as_str().is_some_and(|t| t.starts_with("countersign")))
        .count()
}

async fn started(setup: Setup) -> (tempfile::TempDir, Running) {
    LazyLock::force(&LOGGED);
    let folder = folder();
    let service = Running::with(folder.path(), setup).await;
    assert_eq!(service.register(&run(), SHARED_RUNNER).await.status(), StatusCode::CREATED);
    (folder, service)
}

/// Asks, and checks that the answer is a refusal of its own, with one line in the log.
async fn refused(
    service: &Running,
    what: &str,
    response: reqwest::Response,
) -> (StatusCode, Value) {
    let request = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let (status, body) = answer(response).await;
    assert!(status.is_client_error(), "{what}: {status} {body}");
    assert!(body["error"].is_string() && body.get("access_token").is_none(), "{what}: {body}");
    assert_eq!(lines_of(&request), 1, "{what}");
    let honest = service.by_identity(RUN, &service.identity(SHARED_SUBJECT)).await.status();
    assert_eq!(honest, StatusCode::OK, "after {what}");
    (status, body)
}

/// Headers and claims that are nearly right, and what is wrong with them.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_tokens_are_refused() {
    let (folder, service) = started(Setup::default()).await;
    let cluster = &service.cluster;
    let (header, now) = (cluster.header(), service.now());
    let good = claims(SHARED_SUBJECT, now);
    let kid = header["kid"].as_str().unwrap();
    let with = |base: &Value, name: &str, value: Value| {
        let mut changed = base.clone();
        changed[name] = value;
        changed
    };
    let without = |name: &str| {
        let mut changed = good.clone();
        changed.as_object_mut().unwrap().remove(name);
        changed
    };
    let mut tokens: Vec<(String, String)> = Vec::new();
    let mut add = |what: &str, token: String| tokens.push((what.to_owned(), token));

    // Claims, signed as they are.
    for (name, values) in [
        (
            "aud",
            vec![
                Value::Null,
                json!(1),
                json!({"a": ISSUER}),
                json!([]),
                json!(["evil", ISSUER]),
                json!([ISSUER, ISSUER]),
                json!("evil"),
                json!(format!("{ISSUER}/")),
                json!([[ISSUER]]),
            ],
        ),
        (
            "iss",
            vec![
                Value::Null,
                json!([CLUSTER]),
                json!("https://evil.example.com"),
                json!(1),
                json!(format!("{CLUSTER}/")),
                json!(CLUSTER.to_uppercase()),
                json!(ISSUER),
            ],
        ),
        (
            "sub",
            vec![
                Value::Null,
                json!(""),
                json!(1),
                json!("system:serviceaccount:runners:unknown"),
                json!(format!("{SHARED_SUBJECT} ")),
                json!([SHARED_SUBJECT]),
            ],
        ),
        (
            "exp",
            vec![
                Value::Null,
                json!(now),
                json!(now - 1),
                json!(0),
                json!(-1),
                json!(now as f64 + 600.5),
                json!(1e300),
                json!("1790000600"),
                json!(u64::MAX),
                json!(253_402_300_800_u64),
                json!(true),
            ],
        ),
        ("iat", vec![Value::Null, json!(now + 6), json!(1.5), json!(u64::MAX), json!("x")]),
        ("nbf", vec![Value::Null, json!(now + 6), json!(1.5), json!(u64::MAX), json!([])]),
        ("jti", vec![json!(1), json!(""), json!("x".repeat(257)), json!([])]),
    ] {
        for value in values {
            let what = format!("{name} {value}");
            add(&what, cluster.token(&header, &with(&good, name, value)));
        }
    }
    for name in ["aud", "iss", "sub", "exp", "iat"] {
        add(&format!("no {name}"), cluster.token(&header, &without(name)));
    }
    let text = good.to_string();
    let twice = |name: &str, value: &str| text.replacen('{', &format!("{{\"{name}\":{value},"), 1);
    add("sub twice", cluster.token_of(&header.to_string(), &twice("sub", "\"x\"")));
    add("sub twice, escaped", cluster.token_of(&header.to_string(), &twice("s\\u0075b", "\"x\"")));
    add("another claim twice", cluster.token_of(&header.to_string(), &twice("a\":1,\"a", "2")));
    add("claims that are no object", cluster.token_of(&header.to_string(), "[]"));
    add(
        "claims that are deep",
        cluster.token_of(&header.to_string(), &twice("a", &"[".repeat(10_000))),
    );
    add("claims with a BOM", cluster.token_of(&header.to_string(), &format!("\u{feff}{text}")));
    add("claims and more", cluster.token_of(&header.to_string(), &format!("{text} x")));
    add("claims of 1e9999", cluster.token_of(&header.to_string(), &twice("a", "1e9999")));
    add(
        "a nested token",
        cluster.token_of(&header.to_string(), &format!("\"{}\"", cluster.token(&header, &good))),
    );

    // Headers, signed as they are.
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("crit", json!("x")),
        ("zip", json!("DEF")),
        ("jku", json!("https://evil.example.com/jwks")),
        ("x5u", json!("https://evil.example.com")),
        ("x5c", json!(["AA=="])),
        ("jwk", json!({"kty": "oct", "k": "AA"})),
        ("b64", json!(false)),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("p2c", json!(1_000_000_000)),
        ("typ", json!("JWE")),
        ("typ", json!(1)),
        ("kid", Value::Null),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("kid", json!("../../../etc/passwd")),
        ("kid", json!("' OR 1=1 --")),
        ("kid", json!("a\0b")),
        ("kid", json!("x".repeat(1000))),
        ("kid", json!("unknown")),
        ("kid", json!([kid])),
    ] {
        let what =
            format!("header {name} {}", value.to_string().chars().take(40).collect::<String>());
        add(&what, cluster.token(&with(&header, name, value), &good));
    }
    for algorithm in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "HS256",
        "HS512",
        "RS512",
        "PS256",
        "ES256",
        "EdDSA",
        "",
        "rs256",
        "RS256 ",
        "dir",
        "PBES2-HS256+A128KW",
    ] {
        let changed = with(&header, "alg", json!(algorithm));
        add(&format!("alg {algorithm}, signed"), cluster.token(&changed, &good));
        add(&format!("alg {algorithm}, unsigned"), unsigned(&changed.to_string(), &text) + ".");
    }
    let twice = format!("{{\"alg\":\"RS256\",\"alg\":\"RS256\",\"kid\":\"{kid}\"}}");
    add("alg twice", cluster.token_of(&twice, &text));
    add("no kid", cluster.token(&json!({"alg": "RS256"}), &good));
    add("no alg", cluster.token(&json!({"kid": kid}), &good));

    // Signatures and forms.
    let token = cluster.token(&header, &good);
    let input = unsigned(&header.to_string(), &text);
    let (_, signature) = token.rsplit_once('.').unwrap();
    // RS to HS: the public key as a secret, in the forms that it has.
    let public = include_str!("data/rsa-2048-public.pem");
    let jwk = serde_json::to_string(cluster.key.public()).unwrap();
    for secret in [public, public.trim_end(), &jwk, kid, ""] {
        for (algorithm, hash) in [
            ("HS256", hmac::HMAC_SHA256),
            ("HS384", hmac::HMAC_SHA384),
            ("HS512", hmac::HMAC_SHA512),
        ] {
            let input = unsigned(&with(&header, "alg", json!(algorithm)).to_string(), &text);
            let tag = hmac::sign(&hmac::Key::new(hash, secret.as_bytes()), input.as_bytes());
            add("RS to HS", format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag)));
        }
    }
    let (other, _) = SigningKey::generate(Algorithm::Rs256).unwrap();
    let forged = BASE64_URL_SAFE_NO_PAD.encode(other.sign(input.as_bytes()).unwrap());
    add("another key's signature", format!("{input}.{forged}"));
    let (ec, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let es = unsigned(&with(&header, "alg", json!("ES256")).to_string(), &text);
    let ec = BASE64_URL_SAFE_NO_PAD.encode(ec.sign(es.as_bytes()).unwrap());
    add("ES256 by an RSA key's kid", format!("{es}.{ec}"));
    // By the kid of an EC key that is published.
    let es_header = json!({"alg": "ES256", "kid": cluster.other.public().kid()});
    let es = unsigned(&es_header.to_string(), &text);
    let signed = cluster.other.sign(es.as_bytes()).unwrap();
    let with_signature = |bytes: &[u8]| format!("{es}.{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
    let honest = service.by_identity(RUN, &with_signature(&signed)).await.status();
    assert_eq!(honest, StatusCode::OK, "an ES256 token is taken");
    let (r, s) = signed.split_at(32);
    let integer = |bytes: &[u8]| [&[2, 33, 0], bytes].concat();
    let der = [vec![0x30, 70], integer(r), integer(s)].concat();
    add("r = s = 0", with_signature(&[0; 64]));
    add("r = 0", with_signature(&[&[0; 32], s].concat()));
    add("s = 0", with_signature(&[r, &[0; 32]].concat()));
    add("r and s swapped", with_signature(&[s, r].concat()));
    add("r = s = n - 1", with_signature(&[0xff; 64]));
    add("DER", with_signature(&der));
    add("a byte more", with_signature(&[signed.as_slice(), &[0]].concat()));
    add(
        "RS256 by an EC key's kid",
        cluster.token(&json!({"alg": "RS256", "kid": cluster.other.public().kid()}), &good),
    );
    add("no signature", format!("{input}."));
    add("two parts", input.clone());
    add("four parts", format!("{token}.x"));
    add("five parts", "a.b.c.d.e".to_owned());
    add("signature cut", token[..token.len() - 4].to_owned());
    add("signature padded", format!("{token}=="));
    add("signature in base64", format!("{input}.{}", signature.replace(['-', '_'], "+")));
    add("whitespace", format!(" {token}"));
    add("a line break", format!("{token}\n"));
    add("JSON serialisation", json!({"payload": "x", "signature": "y"}).to_string());
    add("17 KiB", format!("{input}.{}", "A".repeat(17 << 10)));
    add("nothing but dots", "..".to_owned());
    add("not base64", "ä.ö.ü".to_owned());
    add(
        "other claims under the signature",
        format!(
            "{}.{signature}",
            unsigned(
                &header.to_string(),
                &with(&good, "sub", json!("system:serviceaccount:runners:other")).to_string()
            )
        ),
    );

    let mut count = 0;
    for (what, token) in &tokens {
        let response = service.by_identity(RUN, token).await;
        let (status, body) = refused(&service, what, response).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{what}"
        );
        count += 1;
    }
    assert!(count > 100, "{count}");
    // Honest ones only are on record.
    let on_record = records(folder.path());
    assert_eq!(on_record.len(), count + 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_taken_once_is_taken_once() {
    let (_folder, service) = started(Setup { single_use: true, ..Setup::default() }).await;
    let token = service.identity(SHARED_SUBJECT);
    assert_eq!(service.by_identity(RUN, &token).await.status(), StatusCode::OK);
    let (status, body) = answer(service.by_identity(RUN, &token).await).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(body["error_description"].as_str().unwrap().contains("used before"), "{body}");
    let mut without = claims(SHARED_SUBJECT, service.now());
    without.as_object_mut().unwrap().remove("jti");
    let token = service.cluster.token(&service.cluster.header(), &without);
    assert_eq!(service.by_identity(RUN, &token).await.status(), StatusCode::BAD_REQUEST);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_to_the_second() {
    let (_folder, service) = started(Setup::default()).await;
    let token = service.identity(SHARED_SUBJECT);
    service.advance(599);
    assert_eq!(service.by_identity(RUN, &token).await.status(), StatusCode::OK);
    service.advance(1);
    assert_eq!(service.by_identity(RUN, &token).await.status(), StatusCode::BAD_REQUEST);
    service.advance(1);
    assert_eq!(service.by_identity(RUN, &token).await.status(), StatusCode::BAD_REQUEST);
    service.stop().await;
}

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
        format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}&life_seconds=0"),
        format!("/v1/runs/{RUN}?runner={SHARED_RUNNER}&life_seconds=99999999999999999999"),
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
        ("a length that is none", format!("{head}content-length: -1\r\n\r\n"), "HTTP/1.1 400"),
        ("a chunk that is none", format!("{chunked}zz\r\n"), "HTTP/1.1 400"),
        ("no HTTP", "GET\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
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
