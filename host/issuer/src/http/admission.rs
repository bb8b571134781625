//! What every request goes through: an id, one line in the log, and the counters.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Span, info_span};

use super::answer::Detail;
use crate::problem::Problem;
use crate::service::Service;
use crate::token::TokenId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Those that are written down as they are.
const STANDARD: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

/// The id of a request: in its answer, in the log, and in the record of its decision.
#[derive(Clone)]
pub(super) struct RequestId(pub(super) String);

/// What its line in the log says of an answer beside its status.
#[derive(Clone, Default)]
pub(super) struct Told {
    pub(super) run: Option<String>,
    pub(super) runner: Option<String>,
    /// Of the control plane.
    pub(super) caller: Option<String>,
    pub(super) jti: Option<String>,
    pub(super) decision: Option<String>,
}

/// A request until its line is written; also when whoever asked goes before.
struct Asked {
    service: Arc<Service>,
    route: String,
    started: Instant,
    span: Span,
    answered: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.answered {
            let milliseconds = self.started.elapsed().as_secs_f64() * 1000.0;
            self.span.in_scope(|| tracing::warn!(milliseconds, "whoever asked has gone"));
            self.service.metrics.requests.with_label_values(&[&self.route, "gone"]).inc();
        }
    }
}

pub(super) async fn admit(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    // What was asked for is not written down as it came: it can hold anything.
    let route = request.extensions().get::<MatchedPath>().map_or("", |path| path.as_str());
    let route = service.route_of(route);
    let method = match request.method() {
        method if STANDARD.contains(method) => method.as_str().to_owned(),
        _ => "other".to_owned(),
    };
    let Some(id) = TokenId::random().map(|id| id.to_string()) else {
        return Problem::unavailable("the system gives no randomness").into_response();
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = info_span!("request", id, method, route);
    let mut asked = Asked { service, route, started, span: span.clone(), answered: false };
    async {
        let mut response = next.run(request).await;
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        asked.answered = true;
        note(&asked.service, &asked.route, &response, started);
        response
    }
    .instrument(span)
    .await
}

/// One line, and the counters.
fn note(service: &Service, route: &str, response: &Response, started: Instant) {
    let status = response.status();
    let seconds = started.elapsed().as_secs_f64();
    let milliseconds = seconds * 1000.0;
    match response.extensions().get::<Detail>() {
        Some(Detail(error, detail)) if status.is_server_error() => {
            tracing::error!(status = status.as_u16(), milliseconds, error, detail, "failed");
        }
        Some(Detail(error, detail)) => {
            tracing::warn!(status = status.as_u16(), milliseconds, error, detail, "refused");
        }
        None => {
            let told = response.extensions().get::<Told>().cloned().unwrap_or_default();
            let Told { run, runner, caller, jti, decision } = told;
            let status = status.as_u16();
            tracing::info!(status, milliseconds, run, runner, caller, jti, decision, "answered");
        }
    }
    service.metrics.requests.with_label_values(&[route, status.as_str()]).inc();
    service.metrics.request_seconds.with_label_values(&[route]).observe(seconds);
}
