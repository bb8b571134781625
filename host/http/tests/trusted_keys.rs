//! Keys of trusted issuers: sets as real issuers publish them, rotation, and issuers that do not answer.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/refusals.rs"]
mod refusals;
#[path = "../../issuer/tests/support/stand_in.rs"]
mod stand_in;
mod support;
#[path = "support/trusted.rs"]
mod trusted;

use refusals::{LOGGED, started};
use reqwest::StatusCode;
use serde_json::{Value, json};
use stand_in::{DISCOVERY, StandIn};
use support::{AWS, RUN, Running, Setup, answer, unsigned};
use trusted::{TestKey, exchanged, issuer, runner_claims, trust};

/// The signature algorithms that are accepted.
const ALGORITHMS: [&str; 5] = ["RS256", "PS256", "ES256", "ES384", "EdDSA"];

/// The counters and gauges of one trusted issuer, by name and result.
async fn metric(service: &Running, series: &str, url: &str) -> Option<f64> {
    let request = service.client.get(service.url("/metrics")).bearer_auth(&service.api_key);
    let text = request.send().await.unwrap().text().await.unwrap();
    let (name, result) = series.split_once(' ').unwrap_or((series, ""));
    let line = text.lines().find(|line| {
        line.starts_with(&format!("countersign_{name}{{"))
            && line.contains(&format!("issuer=\"{url}\""))
            && (result.is_empty() || line.contains(&format!("result=\"{result}\"")))
    })?;
    line.rsplit_once(' ').unwrap().1.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_key_sets_of_real_issuers_are_accepted() {
    let (_folder, service) = started(Setup::default()).await;
    let other = StandIn::start().await;
    let (rsa, another, ec) = (TestKey::new("RS256"), TestKey::new("RS256"), TestKey::new("ES256"));
    let encryption = json!({"use": "enc", "alg": "RSA-OAEP"});
    let deep = (0..50).fold(json!(1), |value, _| json!({"a": value}));
    let plain = json!({});
    let header = rsa.header();
    let with = |name: &str, value: Value| {
        let mut header = header.clone();
        match value {
            Value::Null => drop(header.as_object_mut().unwrap().remove(name)),
            value => header[name] = value,
        }
        header
    };
    let key = rsa.jwk(&plain);
    let cases = [
        (
            "one `kid`, told apart by use",
            vec![another.jwk(&encryption), key.clone()],
            header.clone(),
            200,
        ),
        ("in the other order", vec![key.clone(), another.jwk(&encryption)], header.clone(), 200),
        (
            "by key_ops",
            vec![another.jwk(&json!({"key_ops": ["encrypt"]})), key.clone()],
            header.clone(),
            200,
        ),
        ("by alg", vec![another.jwk(&json!({"alg": "PS256"})), key.clone()], header.clone(), 200),
        ("by kty", vec![ec.jwk(&plain), key.clone()], header.clone(), 200),
        ("one key twice", vec![key.clone(), key.clone()], header.clone(), 200),
        (
            "two keys, one `kid`, one `alg`",
            vec![another.jwk(&plain), key.clone()],
            header.clone(),
            400,
        ),
        (
            "a strange member",
            vec![another.jwk(&json!({"kid": "x", "x": deep})), key.clone()],
            header.clone(),
            200,
        ),
        (
            "a strange type",
            vec![json!({"kty": "AKP", "kid": "x"}), key.clone()],
            header.clone(),
            200,
        ),
        (
            "a weak key",
            vec![another.jwk(&json!({"kid": "x", "n": "AQAB"})), key.clone()],
            header.clone(),
            200,
        ),
        (
            "the weak key",
            vec![ec.jwk(&json!({"kid": "x"})), rsa.jwk(&json!({"e": "AQ"}))],
            header.clone(),
            400,
        ),
        ("no `kid`, one key", vec![key.clone()], with("kid", Value::Null), 200),
        ("no `kid` anywhere", vec![rsa.jwk(&json!({"kid": null}))], with("kid", Value::Null), 200),
        (
            "no `kid`, one key to sign",
            vec![another.jwk(&encryption), key.clone()],
            with("kid", Value::Null),
            200,
        ),
        ("no `kid`, one key twice", vec![key.clone(), key.clone()], with("kid", Value::Null), 200),
        (
            "no `kid`, two keys",
            vec![key.clone(), ec.jwk(&json!({"kid": "x"}))],
            with("kid", Value::Null),
            400,
        ),
        ("a `kid` that the key has not", vec![rsa.jwk(&json!({"kid": null}))], header.clone(), 400),
        ("typ", vec![key.clone()], with("typ", json!("jwt")), 200),
        ("typ", vec![key.clone()], with("typ", json!("at+jwt")), 200),
        ("typ", vec![key.clone()], with("typ", json!("AT+JWT")), 200),
        ("typ", vec![key.clone()], with("typ", json!("application/at+jwt")), 200),
        ("typ", vec![key.clone()], with("typ", json!("Application/AT+JWT")), 200),
        ("typ", vec![key.clone()], with("typ", json!("application/jwt")), 200),
        ("no typ", vec![key.clone()], with("typ", Value::Null), 200),
        ("typ", vec![key.clone()], with("typ", json!("dpop+jwt")), 400),
        ("typ", vec![key.clone()], with("typ", json!("text/jwt")), 400),
        ("typ", vec![key.clone()], with("typ", json!("application/application/jwt")), 400),
    ];
    for (what, keys, header, expected) in cases {
        other.publish_jwks(&keys);
        trust(&service, [issuer(&other.url)]);
        let token = rsa.token(&header, &runner_claims(&other, service.now()));
        let (status, description, _) = exchanged(&service, &token).await;
        assert_eq!(status, expected, "{what} {header}: {description}");
        if what == "the weak key" {
            assert!(description.contains("key `k`: its `n` is even, or its `e`"), "{description}");
        }
    }
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_verifies_the_algorithms_of_its_type_alone() {
    let (_folder, service) = started(Setup::default()).await;
    let other = StandIn::start().await;
    let claims = runner_claims(&other, service.now());
    for algorithm in ALGORITHMS {
        let key = TestKey::new(algorithm);
        for (what, members) in [("", json!({})), ("without alg", json!({"alg": null}))] {
            other.publish_jwks(&[key.jwk(&members)]);
            trust(&service, [issuer(&other.url)]);
            let (status, description, _) =
                exchanged(&service, &key.token(&key.header(), &claims)).await;
            assert_eq!(status, 200, "{algorithm} {what}: {description}");
            // The same signature under another name, and none.
            for name in ALGORITHMS.into_iter().chain(["RS384", "ES512", "HS256", "none", "EDDSA"]) {
                if name == algorithm {
                    continue;
                }
                let token = key.token(&json!({"alg": name, "kid": "k"}), &claims);
                let (status, description, _) = exchanged(&service, &token).await;
                assert_eq!(status, 400, "{algorithm} {what} as {name}: {description}");
            }
            let token = key.token(&key.header(), &claims);
            let (input, _) = token.rsplit_once('.').unwrap();
            for signature in ["", "AAAA", &"A".repeat(86), &"A".repeat(128), &"A".repeat(342)] {
                let token = format!("{input}.{signature}");
                assert_eq!(exchanged(&service, &token).await.0, 400, "{algorithm} {signature}");
            }
        }
        // A key whose `alg` is another one is for that, whoever signs with it.
        for alg in ALGORITHMS.into_iter().filter(|alg| *alg != algorithm) {
            other.publish_jwks(&[key.jwk(&json!({"alg": alg}))]);
            trust(&service, [issuer(&other.url)]);
            let (status, ..) = exchanged(&service, &key.token(&key.header(), &claims)).await;
            assert!(status == 400 || status == 503, "{algorithm} by a key for {alg}: {status}");
        }
    }
    // RFC 9864 names the algorithm by its curve.
    let key = TestKey::new("EdDSA");
    other.publish_jwks(&[key.jwk(&json!({"alg": "Ed25519"}))]);
    trust(&service, [issuer(&other.url)]);
    let token = key.token(&json!({"alg": "Ed25519", "kid": "k"}), &claims);
    assert_eq!(exchanged(&service, &token).await.0, 200);
    service.stop().await;
}

/// A key that was just rotated gets no final answer before its issuer could be asked for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_just_rotated_is_asked_for_later() {
    let (_folder, service) = started(Setup::default()).await;
    let (old, new) = (TestKey::new("ES256"), TestKey::new("ES256"));
    for (what, kids) in [("by kid", Some(("old", "new"))), ("the only key has no kid", None)] {
        let other = StandIn::start().await;
        let name = |key: &TestKey, kid: Option<&str>| {
            (key.jwk(&json!({"kid": kid})), json!({"alg": key.algorithm, "kid": kid}))
        };
        let (old_jwk, mut old_header) = name(&old, kids.map(|kids| kids.0));
        let (new_jwk, mut new_header) = name(&new, kids.map(|kids| kids.1));
        if kids.is_none() {
            for header in [&mut old_header, &mut new_header] {
                header.as_object_mut().unwrap().remove("kid");
            }
        }
        trust(&service, [issuer(&other.url)]);
        other.publish_jwks(&[old_jwk]);
        let token = |key: &TestKey, header: &Value| {
            key.token(header, &runner_claims(&other, service.now()))
        };
        assert_eq!(exchanged(&service, &token(&old, &old_header)).await.0, 200, "{what}");
        // Anybody can have the keys fetched just before they change.
        service.advance(20);
        let forged = new.token(&json!({"alg": "ES256", "kid": "x"}), &runner_claims(&other, 1));
        assert_eq!(exchanged(&service, &forged).await.0, 400, "{what}: published by nobody");
        other.publish_jwks(&[new_jwk]);
        for left in [10, 7, 1] {
            let (status, description, retry) = exchanged(&service, &token(&new, &new_header)).await;
            assert_eq!((status, retry), (503, Some(left)), "{what}: {description}");
            service.advance(if left == 10 { 3 } else { left.min(6) });
        }
        assert_eq!(exchanged(&service, &token(&new, &new_header)).await.0, 200, "{what}");
        // The one from before is refused for good, since the issuer was asked after it was gone.
        service.advance(10);
        assert_eq!(exchanged(&service, &token(&old, &old_header)).await.0, 400, "{what}");
    }
    service.stop().await;
}

/// Not every issuer has a new name for a new key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_same_name_takes_the_place_of_another() {
    let (_folder, service) = started(Setup::default()).await;
    let other = StandIn::start().await;
    let (old, new) = (TestKey::new("ES256"), TestKey::new("ES256"));
    trust(&service, [issuer(&other.url)]);
    other.publish_jwks(&[old.jwk(&json!({}))]);
    let token = |key: &TestKey| key.token(&key.header(), &runner_claims(&other, service.now()));
    assert_eq!(exchanged(&service, &token(&old)).await.0, 200);
    other.publish_jwks(&[new.jwk(&json!({}))]);
    service.advance(10);
    assert_eq!(exchanged(&service, &token(&new)).await.0, 200);
    let asked = other.asked();
    for second in 0..10 {
        // Signatures that are wrong do not have the issuer asked more often.
        assert_eq!(exchanged(&service, &token(&old)).await.0, 400, "{second}");
        service.advance(1);
    }
    assert_eq!(other.asked(), asked);
    assert_eq!(exchanged(&service, &token(&old)).await.0, 400);
    assert_eq!(other.asked(), asked + 2);
    service.stop().await;
}

/// An issuer that does not answer holds up its own tokens, and no others: `limits.requests` is one here.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_for_keys_takes_no_slot() {
    let config = "[limits]\nrequests = 1\nrun-per-second = 100000\nrun-burst = 100000\n\
                  runner-per-second = 100000\nrunner-burst = 100000\n";
    let setup = Setup { config: config.to_owned(), ..Setup::default() };
    let (_folder, service) = started(setup).await;
    let (slow, key) = (StandIn::start().await, TestKey::new("ES256"));
    slow.publish_jwks(&[key.jwk(&json!({}))]);
    trust(&service, [issuer(&slow.url)]);
    slow.hold(true);
    let token = key.token(&key.header(), &runner_claims(&slow, service.now()));
    let forged = unsigned(&key.header().to_string(), &runner_claims(&slow, 1).to_string()) + ".AA";
    let waiting: Vec<_> = (0..40)
        .map(|number| {
            let form = [
                ("grant_type", support::GRANT),
                ("subject_token_type", support::JWT),
                ("subject_token", if number == 0 { &token } else { &forged }),
                ("run", RUN),
                ("audience", AWS),
            ];
            let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
            let request = service.client.post(service.url("/v1/token")).body(form);
            let request = request.header("content-type", "application/x-www-form-urlencoded");
            tokio::spawn(async move {
                let response = request.send().await.unwrap();
                let retry = response.headers().contains_key("retry-after");
                (response.status().as_u16(), retry)
            })
        })
        .collect();
    // Few wait; the others are told to come again at once, though the issuer has not answered.
    let is_answered = || waiting.iter().filter(|request| request.is_finished()).count();
    while is_answered() < 40 - 16 {
        tokio::task::yield_now().await;
    }
    // Some may only be arriving, each of which takes the one slot for a moment.
    let mut in_a_row = 0;
    while in_a_row < 5 {
        let run_token = service.by_run_token(RUN, AWS).await.status();
        let identity = service.identity(support::SHARED_SUBJECT);
        let other_issuer = service.by_identity(RUN, &identity).await.status();
        in_a_row += 1;
        if [run_token, other_issuer] != [StatusCode::OK; 2] {
            in_a_row = 0;
        }
    }
    assert!(is_answered() < 40, "somebody waits");
    slow.hold(false);
    let mut answers = Vec::new();
    for request in waiting {
        answers.push(request.await.unwrap());
    }
    assert!(
        answers.iter().all(|answer| *answer == (503, true) || answer.0 == 400 || answer.0 == 200)
    );
    assert!(answers.iter().filter(|answer| **answer == (503, true)).count() >= 40 - 16);
    assert_eq!(exchanged(&service, &token).await.0, 200);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_waits_for_the_keys_of_trusted_issuers() {
    let (_folder, service) = started(Setup::default()).await;
    let (other, key) = (StandIn::start().await, TestKey::new("ES256"));
    other.publish_jwks(&[key.jwk(&json!({}))]);
    trust(&service, [issuer(&other.url)]);
    other.hold(true);
    let ready = async || service.get("/readyz").await.status();
    assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK, "it serves");
    other.hold(false);
    while ready().await != StatusCode::OK {
        tokio::task::yield_now().await;
    }
    assert_eq!(other.asked(), 2, "fetched once, before any token came");
    // One that does not answer does not keep it so for ever.
    let dead = StandIn::start().await;
    dead.fail(DISCOVERY, 500);
    trust(&service, [issuer(&dead.url)]);
    for _ in 0..3 {
        assert_eq!(ready().await, StatusCode::SERVICE_UNAVAILABLE);
        service.advance(3);
    }
    service.advance(1);
    for _ in 0..3 {
        assert_eq!(ready().await, StatusCode::OK);
    }
    let logged = String::from_utf8(LOGGED.lock().unwrap().clone()).unwrap();
    let said =
        logged.lines().filter(|l| l.contains("ready without the keys") && l.contains(&dead.url));
    assert_eq!(said.count(), 1);
    service.stop().await;
}

/// Keys that are old are fetched without a token that needs them, so that few have to wait.
#[tokio::test(flavor = "multi_thread")]
async fn maintenance_fetches_keys_that_are_old() {
    let (_folder, service) = started(Setup::default()).await;
    let (other, key) = (StandIn::start().await, TestKey::new("ES256"));
    other.publish_jwks(&[key.jwk(&json!({}))]);
    trust(&service, [issuer(&other.url)]);
    let maintained = async |asked: usize| {
        service.service.run_maintenance().await.unwrap();
        // The fetch runs by itself.
        while other.asked() < asked {
            tokio::task::yield_now().await;
        }
        assert_eq!(other.asked(), asked);
    };
    for (seconds, asked) in [(0, 2), (3599, 2), (1, 4)] {
        service.advance(seconds);
        maintained(asked).await;
        // It has ended when a token needs the key.
        let token = key.token(&key.header(), &runner_claims(&other, service.now()));
        assert_eq!(exchanged(&service, &token).await.0, 200);
        assert_eq!(other.asked(), asked);
    }
    // One that fails is not asked at each maintenance.
    other.fail(DISCOVERY, 500);
    service.advance(3600);
    maintained(5).await;
    service.advance(15);
    maintained(5).await;
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_why_keys_cannot_be_fetched() {
    let (_folder, service) = started(Setup::default()).await;
    let (other, key) = (StandIn::start().await, TestKey::new("ES256"));
    // A port that nobody listens on.
    let refused = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    trust(&service, [issuer(&other.url), issuer(&refused)]);
    let fetches = "trusted_issuer_fetches_total";
    for result in ["success", "timeout", "connection", "broken", "status", "document", "token"] {
        let count = metric(&service, &format!("{fetches} {result}"), &other.url).await;
        assert_eq!(count, Some(0.0), "{result}: before the first event");
    }
    for name in ["keys", "key_age_seconds", "last_failure_timestamp_seconds"] {
        let series = format!("trusted_issuer_{name}");
        assert_eq!(metric(&service, &series, &other.url).await, Some(0.0), "{series}");
    }
    let failures = [
        (&refused, "connection", "onnection refused", None),
        (&other.url, "status", "the server answered 503", Some((DISCOVERY, 503, String::new()))),
        (
            &other.url,
            "document",
            "not a discovery document",
            Some((DISCOVERY, 200, "{}".to_owned())),
        ),
        (
            &other.url,
            "document",
            "key `k`: its `use` is not `sig`; key 2: its `kty` `oct` is not accepted",
            Some((
                "/jwks",
                200,
                json!({"keys": [key.jwk(&json!({"use": "enc"})), {"kty": "oct"}]}).to_string(),
            )),
        ),
        (
            &other.url,
            "document",
            "it has no keys",
            Some(("/jwks", 200, json!({"keys": []}).to_string())),
        ),
    ];
    let document = other.page(DISCOVERY);
    for (url, kind, expected, page) in failures {
        other.set(DISCOVERY, document.clone());
        if let Some((path, status, body)) = page {
            if status == 200 { other.set(path, body) } else { other.fail(path, status) }
        }
        service.advance(20);
        let mut claims = runner_claims(&other, service.now());
        claims["iss"] = url.as_str().into();
        let before = metric(&service, &format!("{fetches} {kind}"), url).await.unwrap();
        let from = LOGGED.lock().unwrap().len();
        let (status, description, retry) =
            exchanged(&service, &key.token(&key.header(), &claims)).await;
        assert_eq!((status, retry), (503, Some(10)), "{expected}: {description}");
        assert!(!description.contains("127.0.0.1"), "not for the requester: {description}");
        let logged = String::from_utf8(LOGGED.lock().unwrap()[from..].to_vec()).unwrap();
        let said = logged.lines().find(|line| {
            line.contains("failed to fetch the JWKS") && line.contains(&format!("\"{url}\""))
        });
        assert!(said.is_some_and(|line| line.contains(expected)), "{expected}: {logged}");
        let after = metric(&service, &format!("{fetches} {kind}"), url).await.unwrap();
        assert_eq!(after, before + 1.0, "{expected}");
        let last = metric(&service, "trusted_issuer_last_failure_timestamp_seconds", url).await;
        assert_eq!(last, Some(service.now() as f64), "{expected}");
    }
    service.advance(20);
    other.publish_jwks(&[key.jwk(&json!({}))]);
    let token = key.token(&key.header(), &runner_claims(&other, service.now()));
    assert_eq!(exchanged(&service, &token).await.0, 200);
    service.advance(30);
    for (series, expected) in [
        (format!("{fetches} success"), 1.0),
        ("trusted_issuer_keys".to_owned(), 1.0),
        ("trusted_issuer_key_age_seconds".to_owned(), 30.0),
    ] {
        assert_eq!(metric(&service, &series, &other.url).await, Some(expected), "{series}");
    }
    // An issuer that is trusted no longer has no series.
    trust(&service, []);
    assert_eq!(metric(&service, "trusted_issuer_keys", &other.url).await, None);
    service.stop().await;
}

/// Tokens that are valid for longer than is configured are refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_lifetime_of_tokens_is_bounded() {
    let (_folder, service) = started(Setup::default()).await;
    let (other, key) = (StandIn::start().await, TestKey::new("ES256"));
    other.publish_jwks(&[key.jwk(&json!({}))]);
    trust(&service, [issuer(&other.url)]);
    let now = service.now();
    for (issued, expires, expected) in [
        (now, now + 3600, 200),
        (now, now + 3601, 400),
        (now - 7200, now + 60, 400),
        (now, 253_402_300_799, 400),
    ] {
        let mut claims = runner_claims(&other, now);
        (claims["iat"], claims["exp"]) = (issued.into(), expires.into());
        let (status, description, _) =
            exchanged(&service, &key.token(&key.header(), &claims)).await;
        assert_eq!(status, expected, "{description}");
        assert_eq!(status == 400, description.contains("at most 3600 are accepted"));
    }
    let (status, _) = answer(service.get("/readyz").await).await;
    assert_eq!(status, StatusCode::OK);
    service.stop().await;
}
