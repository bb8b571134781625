//! The HTTP door of an issuer: HTTP/1.1 over a [`Service`].
//!
//! ```text
//! connection ─limits→ request ─admit→ route ─parse→ Service ─→ answer ─one line→ log
//! ```
//!
//! It parses requests, calls the service, and translates its answers: every status code and error word is in
//! `answer.rs`. [`OPENAPI`] describes all of it, and is served too.

#![forbid(unsafe_code)]

mod admission;
mod answer;
mod caller;
mod decisions;
mod input;
mod operations;
mod publication;
mod registration;
mod runs;
mod server;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post, put};

use countersign_issuer::{Problem, ProblemKind, Service};

use self::answer::Rejection;

pub use server::{ServeError, Tls, TlsError, serve};

/// The description of the API, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// All routes, below the path of the issuer identifier and below `/`, since a proxy in
/// front may take the path away.
fn routes(service: &Arc<Service>) -> Router {
    let answered = Router::new()
        .route("/.well-known/openid-configuration", get(publication::discovery))
        .route("/jwks.json", get(publication::key_set))
        .route("/openapi.json", get(publication::openapi))
        .route("/v1/runs/{uuid}", put(runs::register))
        .route("/v1/runs/{uuid}/finish", post(runs::finish))
        .route("/v1/runs/{uuid}/token", get(token::get))
        .route("/v1/token", post(token::exchange))
        .route("/v1/decisions", post(decisions::decide))
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics));
    let path = service.url().path();
    let answered = if path.is_empty() {
        answered
    } else {
        Router::new().nest(path, answered.clone()).merge(answered)
    };
    answered
        .method_not_allowed_fallback(async || {
            let description = "the method is not allowed here";
            Rejection::from(Problem::new(ProblemKind::MethodNotAllowed, description))
        })
        .fallback(async || {
            let description = "no such path; `GET /openapi.json` lists the paths";
            Rejection::from(Problem::new(ProblemKind::NotFound, description))
        })
        .layer(from_fn_with_state(Arc::clone(service), admission::admit))
        .with_state(Arc::clone(service))
}
