//! Tokens that attackers show: each gets an answer of its own, one line in the log, and no token; and the next
//! honest request is answered as ever.
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

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_signing::{Algorithm, Signer, SigningKey};
use refusals::{refused, started};
use reqwest::StatusCode;
use serde_json::{Value, json};
use support::{CLUSTER, ISSUER, RUN, SHARED_SUBJECT, Setup, answer, claims, records, unsigned};

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
