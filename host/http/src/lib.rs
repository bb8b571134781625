//! The HTTP door of an issuer: HTTP/1.1 and HTTP/2 over a [`Service`].
//!
//! ```text
//! connection ─room, time→ request ─admit→ route ─parse→ Service ─→ answer ─one line→ log
//! ```
//!
//! It parses requests, calls the service, and translates its answers: every status code and error word is in
//! `answer.rs`. [`OPENAPI`] describes all of it, and is served too.

#![forbid(unsafe_code)]

mod administration;
mod admission;
mod answer;
mod arrival;
mod authzen;
mod caller;
mod client_address;
mod connection;
mod connections;
mod console;
mod decisions;
mod edge;
mod framing;
mod heads;
mod input;
mod operations;
mod pace;
mod publication;
mod registration;
mod rest;
mod runs;
mod server;
mod streams;
mod table;
mod tls;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, post, put};

use countersign_issuer::{Problem, ProblemKind, Service};

use self::answer::Rejection;
use self::edge::Edge;

pub use connections::max_sockets;
pub use console::{CONSOLE, ConsolePages};
pub use server::{Listeners, ServeError, serve};
pub use tls::{Tls, TlsError, Validity};

/// The description of the API, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// All routes, below the path of the issuer identifier and below `/`, since a proxy in
/// front may take the path away.
fn routes(edge: &Arc<Edge>) -> Router {
    let public = |read: MethodRouter<Arc<Service>>| read.options(publication::options);
    let answered = Router::new()
        .route("/.well-known/openid-configuration", public(get(publication::discovery)))
        .route(table::METADATA, public(get(publication::discovery)))
        .route("/.well-known/jwks.json", public(get(publication::key_set)))
        .route("/jwks.json", public(get(publication::key_set)))
        .route("/openapi.json", public(get(publication::openapi)))
        .route("/v1/runs", get(administration::list))
        .route("/v1/runs/{uuid}", put(runs::register).get(administration::show))
        .route("/v1/runs/{uuid}/finish", post(runs::finish))
        .route("/v1/runs/{uuid}/token", get(token::get))
        .route("/v1/runners/{uuid}/finish", post(administration::finish_runner))
        .route("/v1/token", post(token::exchange))
        .route("/v1/decisions", post(decisions::decide))
        .route(table::AUTHZEN_METADATA, public(get(authzen::metadata)))
        .route("/access/v1/evaluation", post(authzen::evaluation))
        .route("/access/v1/evaluations", post(authzen::evaluations))
        .merge(operations());
    let path = edge.service.url().path();
    let answered = if path.is_empty() {
        answered
    } else {
        // RFC 8414 section 3.1 and AuthZEN section 9.2 have the path of the issuer at the end.
        let metadata = format!("{}{path}", table::METADATA);
        let authzen = format!("{}{path}", table::AUTHZEN_METADATA);
        Router::new()
            .nest(path, answered.clone())
            .route(&metadata, public(get(publication::discovery)))
            .route(&authzen, public(get(authzen::metadata)))
            .merge(answered)
    };
    admitted(edge, answered)
}

/// The routes of the listener for probes and metrics, and for the console where there is one.
fn probes(edge: &Arc<Edge>, console: Option<ConsolePages>) -> Router {
    let console = console.map(console::routes).unwrap_or_default();
    admitted(edge, operations().merge(console))
}

fn operations() -> Router<Arc<Service>> {
    Router::new()
        .route("/healthz", get(operations::healthz))
        .route("/readyz", get(operations::readyz))
        .route("/metrics", get(operations::metrics))
}

/// The routes, on the way of every request.
fn admitted(edge: &Arc<Edge>, routes: Router<Arc<Service>>) -> Router {
    routes
        .method_not_allowed_fallback(async || Rejection::from(Problem::method_not_allowed()))
        .fallback(async || {
            let description = "no such path; `GET /openapi.json` lists the paths";
            Rejection::from(Problem::new(ProblemKind::NotFound, description))
        })
        .layer(from_fn_with_state(Arc::clone(edge), admission::admit))
        .with_state(Arc::clone(&edge.service))
}
