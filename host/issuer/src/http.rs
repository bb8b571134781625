//! The service over HTTP/1.1.
//!
//! ```text
//! connection ─limits→ request ─admit→ route ─parse→ Service ─→ answer ─one line→ log
//! ```

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

use crate::problem::{Problem, ProblemKind};
use crate::service::Service;

pub use server::{ServeError, Tls, TlsError, serve};

/// What the service answers, as OpenAPI 3.1 has it.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Everything that is answered, below the path of the issuer identifier and below `/`, since a proxy in
/// front may take the path away.
pub(crate) fn routes(service: &Arc<Service>) -> Router {
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
            Problem::new(ProblemKind::MethodNotAllowed, "not by this method")
        })
        .fallback(async || {
            Problem::new(
                ProblemKind::NotFound,
                "there is nothing here; `GET /openapi.json` says what there is",
            )
        })
        .layer(from_fn_with_state(Arc::clone(service), admission::admit))
        .with_state(Arc::clone(service))
}
