//! Discovery and key set, which anybody may read.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

use super::OPENAPI;
use super::answer::{Rejection, document};
use super::token::GRANT_TYPE;
use countersign_issuer::{Problem, Service};

/// OpenID Connect Discovery section 3, as far as there is something to say.
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

/// `GET /.well-known/openid-configuration`
pub(super) async fn discovery(State(service): State<Arc<Service>>) -> Result<Response, Rejection> {
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
    Ok(document(text, "application/json", &cache(&service)))
}

/// `GET /jwks.json`
pub(super) async fn key_set(State(service): State<Arc<Service>>) -> Result<Response, Rejection> {
    let cache = cache(&service);
    Ok(document(service.key_set()?, "application/jwk-set+json", &cache))
}

/// `GET /openapi.json`
pub(super) async fn openapi(State(service): State<Arc<Service>>) -> Response {
    document(OPENAPI, "application/json", &cache(&service))
}

fn cache(service: &Service) -> String {
    format!("public, max-age={}", service.config().key_set_max_age)
}
