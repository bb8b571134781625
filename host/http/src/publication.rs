//! Discovery and key set, which anybody may read, scripts of any web page included.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CONTENT_TYPE, ETAG, HeaderValue,
    IF_NONE_MATCH,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use countersign::Digest;
use serde::Serialize;

use super::OPENAPI;
use super::answer::{Rejection, document, no_content};
use super::token::GRANT_TYPE;
use countersign_issuer::{Problem, Service};

/// OpenID Connect Discovery section 3, and RFC 8414 section 2, as far as there is something to say.
#[derive(Serialize)]
struct Discovery<'s> {
    issuer: &'s str,
    jwks_uri: String,
    authorization_endpoint: String,
    token_endpoint: String,
    response_types_supported: [&'static str; 1],
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<&'static str>,
    grant_types_supported: [&'static str; 1],
    token_endpoint_auth_methods_supported: [&'static str; 1],
    claims_supported: [&'static str; 9],
}

/// `GET /.well-known/openid-configuration`, and `GET /.well-known/oauth-authorization-server`
pub(super) async fn discovery(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    let issuer = service.url().as_str();
    let discovery = Discovery {
        issuer,
        jwks_uri: format!("{issuer}/jwks.json"),
        // Required, and strict clients read no document without it. There is nothing there.
        authorization_endpoint: format!("{issuer}/v1/authorize"),
        token_endpoint: format!("{issuer}/v1/token"),
        // Required, too: as Kubernetes' issuer has it.
        response_types_supported: ["id_token"],
        subject_types_supported: ["public"],
        id_token_signing_alg_values_supported: service
            .config()
            .algorithms()
            .iter()
            .map(|algorithm| algorithm.as_str())
            .collect(),
        grant_types_supported: [GRANT_TYPE],
        token_endpoint_auth_methods_supported: ["none"],
        claims_supported: [
            "iss",
            "sub",
            "aud",
            "iat",
            "nbf",
            "exp",
            "jti",
            "meshstack",
            "countersign",
        ],
    };
    let text = serde_json::to_vec(&discovery).map_err(Problem::failed)?;
    Ok(published(&service, &headers, text, "application/json"))
}

/// `GET /jwks.json`, and `GET /.well-known/jwks.json`
pub(super) async fn key_set(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
) -> Result<Response, Rejection> {
    Ok(published(&service, &headers, service.key_set()?, "application/jwk-set+json"))
}

/// `GET /openapi.json`
pub(super) async fn openapi(State(service): State<Arc<Service>>, headers: HeaderMap) -> Response {
    published(&service, &headers, OPENAPI.as_bytes(), "application/json")
}

/// `OPTIONS` of what is published: any page may read it. Nothing about who asks is needed for it, so none is allowed.
pub(super) async fn options() -> Response {
    let mut response = no_content();
    let headers = response.headers_mut();
    for (name, value) in [
        (ALLOW, "GET, HEAD, OPTIONS"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, HEAD"),
        (ACCESS_CONTROL_ALLOW_HEADERS, "If-None-Match"),
        (ACCESS_CONTROL_MAX_AGE, "86400"),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A document with its validator; without its content, where the client has that already (RFC 9110 section 13.1.2).
pub(super) fn published(
    service: &Service,
    asked: &HeaderMap,
    content: impl Into<Bytes>,
    content_type: &'static str,
) -> Response {
    let content = content.into();
    let tag = format!("\"{}\"", Digest::of(&content));
    let cache = format!("public, max-age={}", service.config().key_set_max_age);
    let is_known = matches_tag(asked, &tag);
    let mut response = if is_known {
        let mut response = document(Body::empty(), content_type, &cache);
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response.headers_mut().remove(CONTENT_TYPE);
        response
    } else {
        document(content, content_type, &cache)
    };
    let headers = response.headers_mut();
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, tag);
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag"));
    response
}

/// Compares weakly, as RFC 9110 section 13.1.2 has it.
fn matches_tag(asked: &HeaderMap, tag: &str) -> bool {
    let lines = asked.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    // A tag of ours has no comma.
    lines
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one) == tag)
}
