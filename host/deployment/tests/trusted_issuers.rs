//! The keys of a trusted issuer, found as OIDC discovery says, over TLS.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "../../issuer/tests/support/stand_in.rs"]
mod stand_in;
#[path = "../../issuer/tests/support/mod.rs"]
mod support;

use std::collections::HashMap;
use std::sync::Arc;

use countersign_deployment::{Config, FetchToken, HttpsFetch, Origin};
use countersign_issuer::{
    Fetch, FetchErrorKind, Identity, IdentityError, Jwks, KeySource, TrustedIssuer, TrustedIssuers,
};
use countersign_signing::{Algorithm, SigningKey};
use serde_json::{Value, json};
use stand_in::{DISCOVERY, StandIn};
use support::{Cluster, ISSUER, SHARED_RUNNER, SHARED_SUBJECT, START, claims, identities};

fn cluster(algorithm: Algorithm) -> Cluster {
    let key = || SigningKey::generate(algorithm).unwrap().0;
    Cluster { key: key(), other: key() }
}

/// An issuer with a key.
struct Other {
    issuer: StandIn,
    key: Cluster,
}

impl std::ops::Deref for Other {
    type Target = StandIn;

    fn deref(&self) -> &StandIn {
        &self.issuer
    }
}

impl Other {
    async fn start() -> Self {
        let (issuer, key) = (StandIn::start().await, cluster(Algorithm::Es256));
        issuer.publish(&[&key.key]);
        Self { issuer, key }
    }

    fn trusted(&self) -> TrustedIssuers {
        let fetch = Arc::new(HttpsFetch::new(None, None, None).unwrap());
        let issuer = TrustedIssuer {
            url: self.url.clone(),
            audience: ISSUER.to_owned(),
            keys: Arc::new(KeySource::published(self.url.clone(), None, fetch)),
            single_use: false,
            max_token_lifetime: 3600,
            identities: identities(&[(
                SHARED_SUBJECT,
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
}

/// The seconds after which a retry may succeed.
fn retry_after<T>(verified: Result<T, IdentityError>) -> Option<u64> {
    match verified {
        Err(IdentityError::Unavailable { retry_after, .. }) => Some(retry_after),
        _ => None,
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
    other.publish(&[&next.key]);
    let with_next = other.token(&next, START + 50);
    assert!(verify(&with_next, START + 50).await.is_ok());
    let asked = other.asked();
    let unknown = cluster(Algorithm::Es256);
    let with_unknown = other.token(&unknown, START + 51);
    // It may have been published since, which is not known before it may be asked again.
    for second in 51..60 {
        let verified = verify(&with_unknown, START + second).await;
        assert_eq!(retry_after(verified), Some(60 - second));
    }
    assert_eq!(other.asked(), asked, "asked again for an unknown key");
    // The key that is no longer published is believed no more.
    assert_eq!(verify(&token, START + 60).await, Err(IdentityError::Key));

    // While nothing can be fetched, those from before are used: for a day.
    other.fail(DISCOVERY, 500);
    for hours in [2, 12, 23] {
        let now = START + hours * 3600;
        assert!(verify(&other.token(&next, now), now).await.is_ok(), "{hours} hours");
    }
    // Whether an unknown key is published cannot be said then.
    let now = START + 23 * 3600 + 60;
    assert_eq!(retry_after(verify(&other.token(&unknown, now), now).await), Some(10));
    let now = START + 25 * 3600;
    assert_eq!(retry_after(verify(&other.token(&next, now), now).await), Some(10));
}

#[tokio::test]
async fn what_an_issuer_publishes_is_not_believed_blindly() {
    let other = Other::start().await;
    let document = DISCOVERY;
    let (good, keys) = (other.page(DISCOVERY), other.page("/jwks"));
    let token = other.token(&other.key, START);
    let verify = async || other.trusted().verify(&token, START).await;
    let unavailable = async |what: &str| {
        assert_eq!(retry_after(verify().await), Some(10), "{what}");
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
        ("a kid that is no text", with("kid", Value::Null)),
        ("no keys", json!({"keys": []}).to_string()),
        ("no set", "[]".to_owned()),
    ] {
        assert!(Jwks::parse(text.as_bytes()).is_err(), "{what}");
        other.set("/jwks", text);
        unavailable(what).await;
    }
    other.set("/jwks", keys);
    assert!(verify().await.is_ok());
}

#[test]
fn the_configuration_names_the_origins_that_see_a_token() {
    let parse = |more: &str| {
        let text = format!(
            "policies = \"p\"\nstate = \"s\"\n[[trusted-issuer]]\nurl = \"https://a.example/id\"\n{more}"
        );
        Config::parse(&text).map(|config| config.trusted_issuers[0].clone())
    };
    let token = "token-file = \"t\"\n";
    for (more, origins) in [
        ("", &[] as &[&str]),
        (token, &["https://a.example"]),
        (
            "token-file = \"t\"\njwks-url = \"https://b.example:1/x\"",
            &["https://a.example", "https://b.example:1"],
        ),
        (
            "token-file = \"t\"\ntoken-origins = [\"https://c.example/\"]",
            &["https://a.example", "https://c.example"],
        ),
    ] {
        let expected: Vec<_> = origins.iter().map(|url| Origin::of(url).unwrap()).collect();
        assert_eq!(parse(more).unwrap().token_origins, expected, "{more}");
    }
    assert_eq!(parse("").unwrap().max_token_lifetime, 172_800);
    for (more, says) in [
        ("token-origins = [\"https://c.example\"]", "there is none"),
        ("proxy = \"proxy.example:3128\"", "expected http://HOST:PORT"),
        ("proxy = \"socks5://proxy.example:1080\"", "expected http://HOST:PORT"),
        ("proxy = \"http://user:secret@proxy.example\"", "without user and path"),
        ("proxy = \"http://proxy.example/x\"", "without user and path"),
        ("token-file = \"t\"\ntoken-origins = [\"https://c.example/x\"]", "expected https://HOST"),
        ("token-file = \"t\"\ntoken-origins = [\"http://c.example\"]", "expected https://HOST"),
        ("token-file = \"t\"\ntoken-origins = [\"c.example\"]", "expected https://HOST"),
        ("token-file = \"t\"\ntoken-origins = [\"https://c.example?x\"]", "expected https://HOST"),
        ("token-file = \"t\"\ntoken-origins = [\"https://*\"]", "expected https://HOST"),
        ("max-token-lifetime-seconds = 59", "59 is not in 60 to"),
        ("max-token-lifetime-seconds = 99999999", "is not in 60 to"),
    ] {
        let error = parse(more).unwrap_err().to_string();
        assert!(error.contains(says), "{more}: {error}");
    }
}

/// Kubernetes tells its keys to who has a token only. Nobody else learns the token: not another origin that a
/// document names, nor where a redirect leads.
#[tokio::test]
async fn a_token_is_shown_to_the_origins_that_it_is_for() {
    let (cluster, storage) = (Other::start().await, Other::start().await);
    let folder = support::folder();
    let file = folder.path().join("token");
    let with = |origins: &[&str]| {
        let origins = origins.iter().map(|url| Origin::of(url).unwrap()).collect();
        HttpsFetch::new(None, Some(FetchToken { file: file.clone(), origins }), None).unwrap()
    };
    let jwks = format!("{}/jwks", cluster.url);
    let error = with(&[&cluster.url]).fetch(&jwks, 10_000).await.unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Token);
    assert!(error.problem.contains("token: "), "{error}");
    std::fs::write(&file, "the-token\n").unwrap();
    let shown = |issuer: &Other| {
        let requests = issuer.requests();
        let tokens = requests.iter().filter_map(|(_, headers)| headers.get("authorization"));
        tokens.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The document names another origin for the keys.
    let document = json!({"issuer": cluster.url, "jwks_uri": format!("{}/jwks", storage.url)});
    cluster.set(DISCOVERY, document.to_string());
    let keys_of = async |fetch: HttpsFetch| {
        KeySource::published(cluster.url.clone(), None, Arc::new(fetch)).refetch(START).await
    };
    assert!(keys_of(with(&[&cluster.url])).await.is_ok());
    assert_eq!(shown(&cluster), ["Bearer the-token"]);
    assert_eq!(shown(&storage), [""; 0]);
    // Where keys are not for everybody, the error says what to do.
    storage.fail("/jwks", 403);
    let error = keys_of(with(&[&cluster.url])).await.unwrap_err();
    assert!(error.problem.contains("`token-origins`"), "{error}");
    storage.publish(&[&storage.key.key]);
    assert!(keys_of(with(&[&cluster.url, &storage.url])).await.is_ok());
    assert_eq!(shown(&storage), ["Bearer the-token"]);
    for status in [301, 302, 307, 308] {
        cluster.fail("/jwks", status);
        let error = with(&[&cluster.url]).fetch(&jwks, 10_000).await.unwrap_err();
        assert!(error.problem.contains("redirect"), "{error}");
    }
}

#[tokio::test]
async fn a_key_set_is_kept_as_long_as_its_server_says() {
    let other = Other::start().await;
    let next = cluster(Algorithm::Es256);
    for (cache_control, kept) in [
        ("", 3600),
        ("max-age=600", 600),
        ("public, max-age=86400", 3600),
        ("max-age=1", 10),
        ("max-age=0", 10),
        ("no-store", 10),
        ("no-cache, max-age=600", 10),
        ("max-age=x", 10),
    ] {
        let trusted = other.trusted();
        let keys = |key: &Cluster| {
            let jwk = serde_json::to_value(key.key.public()).unwrap();
            other.set_cached("/jwks", json!({"keys": [jwk]}).to_string(), cache_control);
        };
        let verify = async |now: u64| trusted.verify(&other.token(&other.key, now), now).await;
        keys(&other.key);
        assert!(verify(START).await.is_ok(), "{cache_control}");
        let asked = other.asked();
        assert!(verify(START + kept - 1).await.is_ok(), "{cache_control}");
        assert_eq!(other.asked(), asked, "{cache_control}: asked before it was old");
        // The key is withdrawn.
        keys(&next);
        let verified = verify(START + kept).await;
        assert_eq!(verified, Err(IdentityError::Key), "{cache_control}");
        assert_eq!(other.asked(), asked + 2, "{cache_control}: asked once");
    }
}

/// A key that was withdrawn after a theft is not accepted once an operator has the keys fetched anew.
#[tokio::test]
async fn keys_are_fetched_anew_when_asked_for() {
    let other = Other::start().await;
    let (trusted, token) = (other.trusted(), other.token(&other.key, START));
    let verify = async || trusted.verify(&token, START + 1).await;
    assert!(trusted.verify(&token, START).await.is_ok());
    let source = &trusted.0[&other.url].keys;
    let next = cluster(Algorithm::Es256);
    other.fail("/jwks", 500);
    assert_eq!(source.refetch(START + 1).await.unwrap_err().kind, FetchErrorKind::Status);
    assert!(verify().await.is_ok(), "the keys from before are used while none can be fetched");
    other.publish(&[&next.key]);
    assert_eq!(source.refetch(START + 1).await.unwrap().usable().len(), 1);
    assert!(verify().await.is_err());
    assert!(trusted.verify(&other.token(&next, START), START + 1).await.is_ok());
}

/// A request that goes away, as clients do that wait for too long, does not end the fetch that others wait for.
#[tokio::test]
async fn a_fetch_outlives_the_request_that_needed_it() {
    let other = Other::start().await;
    let (trusted, token) = (other.trusted(), other.token(&other.key, START));
    other.hold(true);
    let gone =
        tokio::time::timeout(std::time::Duration::from_millis(50), trusted.verify(&token, START));
    assert!(gone.await.is_err());
    other.hold(false);
    // It is in time for one that comes within the pause after it.
    assert!(trusted.verify(&token, START + 1).await.is_ok());
    assert_eq!(other.asked(), 2);
}

/// A server that stops in the middle of an answer is as slow as one that does not begin.
#[tokio::test]
async fn a_timeout_is_told_from_a_broken_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    for (begun, is_closed, kind, says) in [
        ("", false, FetchErrorKind::Timeout, "timed out after 300ms"),
        ("HTTP/1.1 200 OK\r\n", false, FetchErrorKind::Timeout, "timed out after 300ms"),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            false,
            FetchErrorKind::Timeout,
            "timed out",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
            true,
            FetchErrorKind::Broken,
            "end of file",
        ),
        ("", true, FetchErrorKind::Broken, "connection closed"),
        ("SSH-2.0\r\n", true, FetchErrorKind::Broken, "invalid HTTP version"),
    ] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            stream.write_all(begun.as_bytes()).await.unwrap();
            if !is_closed {
                std::future::pending::<()>().await;
            }
        });
        let fetch = HttpsFetch::new(None, None, None).unwrap();
        // A machine that is busy must not be taken for a server that is slow.
        let milliseconds = if is_closed { 30_000 } else { 300 };
        let fetch = fetch.with_timeout(std::time::Duration::from_millis(milliseconds));
        let error = fetch.fetch(&url, 100).await.unwrap_err();
        assert_eq!(error.kind, kind, "{begun:?}: {error}");
        assert!(error.problem.contains(says), "{begun:?}: {error}");
        server.abort();
    }
}

/// A document from elsewhere does not send the service to this machine.
#[tokio::test]
async fn plain_http_is_for_the_configuration_to_choose() {
    struct Documents(Value);
    impl Fetch for Documents {
        fn fetch<'f>(
            &'f self,
            url: &'f str,
            _: usize,
        ) -> countersign_issuer::BoxFuture<
            'f,
            Result<countersign_issuer::FetchedDocument, countersign_issuer::FetchError>,
        > {
            let body =
                if url.ends_with("openid-configuration") { self.0.clone() } else { json!({}) };
            let bytes = body.to_string().into_bytes();
            Box::pin(async {
                Ok(countersign_issuer::FetchedDocument { bytes, fresh_seconds: None })
            })
        }
    }
    for (issuer, jwks_uri, is_asked) in [
        ("https://a.example", "https://b.example/jwks", true),
        ("https://a.example", "http://b.example/jwks", false),
        ("https://a.example", "http://127.0.0.1:9/jwks", false),
        ("https://a.example", "http://localhost/jwks", false),
        ("http://127.0.0.1:1", "http://127.0.0.1:2/jwks", true),
        ("http://127.0.0.1:1", "https://b.example/jwks", true),
        ("http://127.0.0.1:1", "http://b.example/jwks", false),
    ] {
        let documents = Documents(json!({"issuer": issuer, "jwks_uri": jwks_uri}));
        let source = KeySource::published(issuer.to_owned(), None, Arc::new(documents));
        let error = source.refetch(START).await.unwrap_err();
        let expected = if is_asked { jwks_uri } else { "`jwks_uri` is not https" };
        assert!(error.to_string().contains(expected), "{issuer} {jwks_uri}: {error}");
    }
}
