//! Keys of trusted issuers, as an operator sees them: `check --online`, and SIGHUP.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/platform.rs"]
mod platform;
#[path = "support/service.rs"]
mod service;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_signing::{Algorithm, KeySet, Signer, SigningKey};
use platform::{MANIFEST, Platform};
use rustix::process::Signal;
use serde_json::{Value, json};
use service::{AWS, Client, RUN_ID, RUNNER, Served, configure, run};

/// Publishes a key set on loopback. Returns its URL, and the set to change.
fn published(keys: Value) -> (String, Arc<Mutex<Value>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let keys = Arc::new(Mutex::new(keys));
    let of_server = Arc::clone(&keys);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap_or(0) > 2 {
                line.clear();
            }
            let body = of_server.lock().unwrap().to_string();
            let head = format!("connection: close\r\ncontent-length: {}", body.len());
            let _ = write!(stream.get_mut(), "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}");
        }
    });
    (url, keys)
}

fn key_set(key: &SigningKey) -> Value {
    serde_json::to_value(KeySet::new([key.public()])).unwrap()
}

/// Each problem has its own cause, and an issuer without a problem shows its keys.
#[tokio::test(flavor = "multi_thread")]
async fn keys_of_trusted_issuers_are_checked_online() {
    let no_migrations = "{\"version\": 1, \"migrations\": []}\n";
    let platform = Platform::start(MANIFEST, no_migrations, "").await;
    let (key, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let mut keys = key_set(&key);
    keys["keys"].as_array_mut().unwrap().push(json!({"kty": "oct", "kid": "secret"}));
    let (good, _) = published(keys);
    let (none, _) = published(json!({"keys": [{"kty": "RSA", "kid": "e", "use": "enc"}]}));
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tls = platform.url();
    let config = fs::read_to_string(platform.path("issuer.toml")).unwrap();
    let trusted = |name: &str, jwks: &str, more: &str| {
        format!(
            "[[trusted-issuer]]\nurl = \"https://{name}.example\"\njwks-url = \"{jwks}\"\n{more}\n"
        )
    };
    let write = |issuers: &[String]| {
        fs::write(platform.path("online.toml"), format!("{config}{}", issuers.concat())).unwrap();
    };
    let known = trusted("known", &format!("{tls}/jwks.json"), "ca-file = \"authority.pem\"");
    // Nobody listens at its own address: the proxy answers.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxied =
        trusted("proxied", &format!("http://{nobody}/jwks"), &format!("proxy = \"{good}\""));
    let fine = [known, trusted("good", &format!("{good}/jwks"), ""), proxied];
    write(&fine);
    let checked = platform.json("check --config online.toml --online --format json");
    let issuers = &checked["online"]["trusted_issuers"];
    assert_eq!(issuers[0]["issuer"], "https://good.example");
    assert_eq!(issuers[0]["keys"], json!([{"kid": key.public().kid(), "algorithms": ["ES256"]}]));
    assert_eq!(issuers[0]["passed_over"], json!(["key `secret`: its `kty` `oct` is not accepted"]));
    assert_eq!(issuers[1]["keys"][0]["algorithms"], json!(["RS256"]));
    assert_eq!(
        (&issuers[2]["issuer"], &issuers[2]["keys"]),
        (&json!("https://proxied.example"), &issuers[0]["keys"])
    );
    let certificates = &checked["online"]["certificates"];
    assert_eq!(certificates[1]["file"], "authority.pem");
    assert_eq!(
        (&certificates[0]["file"], &certificates[0]["expired"]),
        (&json!("certificate.pem"), &json!(false))
    );
    // Without --online nobody is asked.
    let checked = platform.json("check --config online.toml --format json");
    assert!(checked.get("online").is_none());

    write(&[
        trusted("none", &format!("{none}/jwks"), ""),
        trusted("refused", &format!("http://{refused}/jwks"), ""),
        trusted("status", &format!("{tls}/absent"), "ca-file = \"authority.pem\""),
        trusted("unknown-authority", &format!("{tls}/jwks.json"), ""),
    ]);
    let ran = platform.countersign("check --config online.toml --online");
    assert_eq!(ran.status, 1, "{}", ran.stderr);
    for expected in [
        "key `e`: its `use` is not `sig`",
        "onnection refused",
        "the server answered 404",
        "invalid peer certificate: UnknownIssuer",
        "good  certificate authority.pem expires ",
    ] {
        assert!(ran.stdout.contains(expected), "{expected}: {}", ran.stdout);
    }
    assert_eq!(ran.stdout.matches("bad  https://").count(), 4, "{}", ran.stdout);
    let ran = platform.countersign("check --policies countersign.toml --online");
    assert!(ran.status != 0 && ran.stderr.contains("--online"), "{}", ran.stderr);
}

/// A key that was withdrawn, after a theft perhaps, is not accepted any more once an operator says so.
#[test]
fn sighup_fetches_the_keys_of_trusted_issuers() {
    let folder = support::folder();
    let (stolen, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let (next, _) = SigningKey::generate(Algorithm::Es256).unwrap();
    let (url, keys) = published(key_set(&stolen));
    let api_key = configure(folder.path(), "");
    let config = fs::read_to_string(folder.path().join("issuer.toml")).unwrap();
    let trusted = format!(
        "[[trusted-issuer]]\nurl = \"{url}\"\njwks-url = \"{url}/jwks\"\n[[trusted-issuer.identity]]\n\
         subject = \"runner\"\nrunner = \"{RUNNER}\"\n"
    );
    fs::write(folder.path().join("issuer.toml"), config + &trusted).unwrap();
    let served = Served::start(folder.path());
    assert_eq!(served.register(&api_key, &run()).status, 201);
    let token = |key: &SigningKey| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let encoded = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
        let header = encoded(json!({"alg": "ES256", "kid": key.public().kid()}));
        let claims =
            encoded(json!({"iss": url, "sub": "runner", "aud": "https://oidc.example.com",
            "iat": now, "exp": now + 600}));
        let input = format!("{header}.{claims}");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap());
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&run={RUN_ID}&audience={AWS}\
             &subject_token_type=urn:ietf:params:oauth:token-type:jwt&subject_token={input}.{signature}"
        );
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        Client::new(served.address).unwrap().ask("POST", "/v1/token", headers, &form).unwrap()
    };
    assert_eq!(token(&stolen).status, 200);
    *keys.lock().unwrap() = key_set(&next);
    assert_eq!(token(&stolen).status, 200, "kept for an hour");
    let seen = served.logged().len();
    served.signal(Signal::HUP);
    served.wait_for("fetched the keys of trusted issuers", seen);
    let refused = token(&stolen);
    assert!(matches!(refused.status, 400 | 503), "{refused:?}");
    assert_eq!(token(&next).status, 200);
    served.stop();
}
