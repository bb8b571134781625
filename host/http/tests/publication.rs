//! Documents that anybody may read: scripts of web pages, caches, and clients of OAuth.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;
#[path = "support/wire.rs"]
mod wire;

use serde_json::Value;
use support::{ISSUER, MANIFEST, Running, Setup, folder};
use wire::{Heard, Wire};

const DOCUMENTS: [&str; 5] = [
    "/.well-known/openid-configuration",
    "/.well-known/oauth-authorization-server",
    "/.well-known/jwks.json",
    "/jwks.json",
    "/openapi.json",
];

async fn ask(service: &Running, method: &str, path: &str, fields: &str) -> Heard {
    let mut wire = Wire::open(service.address).await;
    wire.send(format!("{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")).await;
    wire.hear(method != "HEAD").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_and_caches_may_read_what_is_published() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    for path in DOCUMENTS {
        let origin = "Origin: https://page.example\r\n";
        let read = ask(&service, "GET", path, origin).await;
        assert_eq!((read.status, read.header("access-control-allow-origin")), (200, Some("*")));
        assert_eq!(read.header("cache-control"), Some("public, max-age=3600"), "{path}");
        let tag = read.header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        let head = ask(&service, "HEAD", path, "").await;
        assert_eq!((head.status, head.header("etag")), (200, Some(tag.as_str())), "{path}");
        for (tags, status) in [
            (tag.clone(), 304),
            (format!("W/{tag}"), 304),
            (format!("\"a\", {tag}"), 304),
            ("*".to_owned(), 304),
            ("\"a\"".to_owned(), 200),
            ("a".to_owned(), 200),
        ] {
            for method in ["GET", "HEAD"] {
                let fields = format!("If-None-Match: {tags}\r\n");
                let heard = ask(&service, method, path, &fields).await;
                assert_eq!(heard.status, status, "{method} {path} {tags}");
                assert_eq!(heard.header("etag"), Some(tag.as_str()));
                assert_eq!(heard.header("access-control-allow-origin"), Some("*"));
                assert_eq!(heard.header("cache-control"), Some("public, max-age=3600"));
                assert_eq!(heard.body.is_empty(), status == 304 || method == "HEAD");
            }
        }
        let preflight = format!("{origin}Access-Control-Request-Method: GET\r\n");
        let allowed = ask(&service, "OPTIONS", path, &preflight).await;
        assert_eq!(allowed.status, 204, "{path}");
        assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
        assert_eq!(allowed.header("access-control-allow-methods"), Some("GET, HEAD"));
        assert_eq!(allowed.header("access-control-allow-credentials"), None);
    }
    // Nothing else is anybody's page's.
    for path in ["/v1/token", "/v1/decisions", "/metrics", "/healthz"] {
        let heard = ask(&service, "OPTIONS", path, "Origin: https://page.example\r\n").await;
        assert_eq!((heard.status, heard.header("access-control-allow-origin")), (405, None));
    }
    service.stop().await;
}

/// RFC 8414 section 3.1 and OpenID Connect Discovery section 4.1 have the path of an issuer in different places.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_with_a_path_is_found_by_both_standards() {
    let folder = folder();
    let url = format!("{ISSUER}/tenant/a");
    let manifest = MANIFEST.replace(ISSUER, &url);
    let service = Running::with(folder.path(), Setup { manifest, ..Setup::default() }).await;
    assert_eq!(service.service.url().as_str(), url, "the test's own");
    for path in [
        "/.well-known/oauth-authorization-server/tenant/a",
        "/tenant/a/.well-known/oauth-authorization-server",
        "/tenant/a/.well-known/openid-configuration",
        "/.well-known/openid-configuration",
    ] {
        let heard = ask(&service, "GET", path, "").await;
        assert_eq!(heard.status, 200, "{path}");
        let document: Value = serde_json::from_str(&heard.body).unwrap();
        assert_eq!(document["issuer"], url, "{path}");
        assert_eq!(document["jwks_uri"], format!("{url}/jwks.json"));
        assert_eq!(document["token_endpoint"], format!("{url}/v1/token"));
        let refused = ask(&service, "POST", path, "").await;
        assert_eq!(refused.header("allow"), Some("GET, HEAD, OPTIONS"), "{path}");
    }
    service.stop().await;
}
