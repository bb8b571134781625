//! The keys of a trusted issuer, found as OIDC discovery says, over TLS.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "../../issuer/tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, Uri};
use countersign_deployment::HttpsFetch;
use countersign_issuer::{Identity, IdentityError, Jwks, KeySource, TrustedIssuer, TrustedIssuers};
use countersign_signing::{Algorithm, KeySet, SigningKey};
use serde_json::{Value, json};
use support::{Cluster, ISSUER, SHARED_RUNNER, SHARED_SUBJECT, START, claims};

/// The other issuer's responses, by path.
type Pages = Arc<Mutex<HashMap<String, (u16, String)>>>;

fn cluster(algorithm: Algorithm) -> Cluster {
    let key = || SigningKey::generate(algorithm).unwrap().0;
    Cluster { key: key(), other: key() }
}

struct Other {
    url: String,
    pages: Pages,
    key: Cluster,
    asked: Arc<Mutex<usize>>,
}

impl Other {
    async fn start() -> Self {
        let (pages, asked) = (Pages::default(), Arc::new(Mutex::new(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = (Arc::clone(&pages), Arc::clone(&asked));
        let answer = async |State((pages, asked)): State<(Pages, Arc<Mutex<usize>>)>, uri: Uri| {
            *asked.lock().unwrap() += 1;
            let (status, body) =
                pages.lock().unwrap().get(uri.path()).cloned().unwrap_or((404, String::new()));
            Response::builder()
                .status(StatusCode::from_u16(status).unwrap())
                .header("location", "/jwks")
                .body(Body::from(body))
                .unwrap()
        };
        let router = Router::new().fallback(answer).with_state(state);
        tokio::spawn(async move { axum_serve(listener, router).await });
        let key = cluster(Algorithm::Es256);
        let other = Self { url, pages, key, asked };
        other.set("/.well-known/openid-configuration", other.document());
        other.publish(&other.key.key);
        other
    }

    fn document(&self) -> String {
        json!({"issuer": self.url, "jwks_uri": format!("{}/jwks", self.url)}).to_string()
    }

    fn set(&self, path: &str, body: String) {
        self.pages.lock().unwrap().insert(path.to_owned(), (200, body));
    }

    fn fail(&self, path: &str, status: u16) {
        self.pages.lock().unwrap().insert(path.to_owned(), (status, String::new()));
    }

    fn publish(&self, key: &SigningKey) {
        self.set("/jwks", serde_json::to_string(&KeySet::new([key.public()])).unwrap());
    }

    fn trusted(&self) -> TrustedIssuers {
        let fetch = Arc::new(HttpsFetch::new(None, None).unwrap());
        let issuer = TrustedIssuer {
            url: self.url.clone(),
            audience: ISSUER.to_owned(),
            keys: Arc::new(KeySource::published(self.url.clone(), None, fetch)),
            single_use: false,
            identities: HashMap::from([(
                SHARED_SUBJECT.to_owned(),
                Identity::Runner(SHARED_RUNNER.parse().unwrap()),
            )]),
        };
        TrustedIssuers(HashMap::from([(self.url.clone(), issuer)]))
    }

    /// A token of this issuer at a time, signed by a key.
    fn token(&self, key: &Cluster, now: u64) -> String {
        let mut claims: Value = claims(SHARED_SUBJECT, now);
        claims["iss"] = self.url.as_str().into();
        key.token(&key.header(), &claims)
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

/// Serves plain HTTP without a limit of any kind.
async fn axum_serve(listener: tokio::net::TcpListener, router: Router) {
    use hyper_util::rt::TokioIo;
    use hyper_util::service::TowerToHyperService;
    while let Ok((stream, _)) = listener.accept().await {
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service),
        );
    }
}

#[tokio::test]
async fn keys_are_found_kept_and_found_again() {
    let other = Other::start().await;
    let trusted = other.trusted();
    let verify = async |token: &str, now: u64| trusted.verify(token, now).await;
    let token = other.token(&other.key, START);
    assert!(verify(&token, START).await.is_ok());
    assert_eq!(other.asked(), 2);
    for second in 1..50 {
        assert!(verify(&token, START + second).await.is_ok());
    }
    assert_eq!(other.asked(), 2, "kept");

    // A new key is found when it is met, and no more often than every ten seconds.
    let next = cluster(Algorithm::Rs256);
    other.publish(&next.key);
    let with_next = other.token(&next, START + 50);
    assert!(verify(&with_next, START + 50).await.is_ok());
    let asked = other.asked();
    let unknown = cluster(Algorithm::Es256);
    let with_unknown = other.token(&unknown, START + 51);
    for second in 51..60 {
        assert_eq!(verify(&with_unknown, START + second).await, Err(IdentityError::Key));
    }
    assert_eq!(other.asked(), asked, "asked again for an unknown key");
    // The key that is no longer published is believed no more.
    assert_eq!(verify(&token, START + 60).await, Err(IdentityError::Key));

    // While nothing can be fetched, those from before are used: for a day.
    other.fail("/.well-known/openid-configuration", 500);
    for hours in [2, 12, 23] {
        let now = START + hours * 3600;
        assert!(verify(&other.token(&next, now), now).await.is_ok(), "{hours} hours");
    }
    // Whether an unknown key is published cannot be said then.
    let now = START + 23 * 3600 + 60;
    assert_eq!(verify(&other.token(&unknown, now), now).await, Err(IdentityError::Unavailable));
    let now = START + 25 * 3600;
    assert_eq!(verify(&other.token(&next, now), now).await, Err(IdentityError::Unavailable));
}

#[tokio::test]
async fn what_an_issuer_publishes_is_not_believed_blindly() {
    let other = Other::start().await;
    let document = "/.well-known/openid-configuration";
    let (good, keys) = (other.document(), other.pages.lock().unwrap()["/jwks"].1.clone());
    let token = other.token(&other.key, START);
    let verify = async || other.trusted().verify(&token, START).await;
    let unavailable = async |what: &str| {
        assert_eq!(verify().await, Err(IdentityError::Unavailable), "{what}");
    };
    for (what, text) in [
        ("another issuer", good.replacen("127.0.0.1", "localhost", 1)),
        ("no issuer", good.replacen("issuer", "iss", 1)),
        (
            "keys over plain HTTP",
            good.replace(&format!("{}/jwks", other.url), "http://evil.example/jwks"),
        ),
        ("twice", good.replacen('{', "{\"issuer\":\"x\",", 1)),
        ("no JSON", "x".to_owned()),
        ("too long", format!("{good}{}", " ".repeat(70_000))),
    ] {
        assert_ne!(text, good, "{what}");
        other.set(document, text);
        unavailable(what).await;
    }
    other.set(document, good.clone());
    for status in [404, 301, 302, 204, 500] {
        other.fail("/jwks", status);
        unavailable(&status.to_string()).await;
    }
    let jwk: Value = serde_json::from_str(&keys).unwrap();
    let with = |name: &str, value: Value| {
        let mut changed = jwk.clone();
        changed["keys"][0][name] = value;
        changed.to_string()
    };
    let rsa_of = |bytes: usize| {
        use base64::Engine as _;
        let n = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(vec![0xff; bytes]);
        json!({"keys": [{"kty": "RSA", "kid": "a", "n": n, "e": "AQAB"}]}).to_string()
    };
    for (what, text) in [
        ("for encryption", with("use", json!("enc"))),
        ("to sign only", with("key_ops", json!(["sign"]))),
        ("of another algorithm", with("alg", json!("ES384"))),
        ("on another curve", with("crv", json!("P-384"))),
        (
            "symmetric",
            json!({"keys": [{"kty": "oct", "kid": "a", "k": "AAAA", "alg": "HS256"}]}).to_string(),
        ),
        ("RSA of 1,024 bits", rsa_of(128)),
        ("RSA of 16,384 bits", rsa_of(2048)),
        ("a short coordinate", with("x", json!("AAAA"))),
        ("no kid", with("kid", Value::Null)),
        ("no keys", json!({"keys": []}).to_string()),
        ("one kid twice", json!({"keys": [jwk["keys"][0], jwk["keys"][0]]}).to_string()),
        ("no set", "[]".to_owned()),
    ] {
        assert!(Jwks::parse(text.as_bytes()).is_err(), "{what}");
        other.set("/jwks", text);
        unavailable(what).await;
    }
    other.set("/jwks", keys);
    assert!(verify().await.is_ok());
}

/// Kubernetes tells its keys to who has a token only.
#[tokio::test]
async fn a_token_is_shown_where_there_is_one() {
    use axum::http::HeaderMap;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let answer = async |headers: HeaderMap| match headers.get("authorization") {
        Some(value) if value == "Bearer the-token" => StatusCode::OK,
        _ => StatusCode::FORBIDDEN,
    };
    tokio::spawn(axum_serve(listener, Router::new().fallback(answer)));
    let folder = support::folder();
    let file = folder.path().join("token");
    let with = HttpsFetch::new(None, Some(file.clone())).unwrap();
    let fetch = async |fetch: &HttpsFetch| countersign_issuer::Fetch::fetch(fetch, &url, 10).await;
    assert!(fetch(&with).await.unwrap_err().problem.contains("token"));
    std::fs::write(&file, "another-token").unwrap();
    assert!(fetch(&with).await.unwrap_err().problem.contains("403"));
    std::fs::write(&file, "the-token\n").unwrap();
    assert!(fetch(&with).await.is_ok());
    assert!(fetch(&HttpsFetch::new(None, None).unwrap()).await.is_err());
}
