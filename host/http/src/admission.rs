//! The way of every request: an id, one line in the log, and the metrics.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::http::Method;
use axum::http::header::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Span, info_span};

use super::answer::{Detail, Rejection};
use countersign_issuer::{LogFields, Problem, RequestOrigin, Service};
use countersign_signing::TokenId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The methods that are logged as they are.
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

impl RequestId {
    /// The request, as records have it.
    pub(super) fn origin(self) -> RequestOrigin {
        RequestOrigin { id: self.0, client: None }
    }
}

/// A request until its line is logged, which it is also when the client goes before.
struct Admitted {
    service: Arc<Service>,
    route: String,
    started: Instant,
    span: Span,
    answered: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if !self.answered {
            let milliseconds = milliseconds(self.started.elapsed());
            self.span.in_scope(|| tracing::warn!(milliseconds, "the client has gone"));
            self.service.record_request(&self.route, "gone", None);
        }
    }
}

pub(super) async fn admit(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    // The route and not the path is logged: a path can hold anything.
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str());
    let route = route_of(&service, route);
    let method = match request.method() {
        method if STANDARD.contains(method) => method.as_str().to_owned(),
        _ => "other".to_owned(),
    };
    let Some(id) = TokenId::random().map(|id| id.to_string()) else {
        let problem = Problem::unavailable("the system's random number generator failed");
        return Rejection::from(problem).into_response();
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = info_span!("request", id, method, route);
    let mut admitted = Admitted { service, route, started, span: span.clone(), answered: false };
    async {
        let mut response = next.run(request).await;
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        admitted.answered = true;
        note(&admitted.service, &admitted.route, &response, started);
        response
    }
    .instrument(span)
    .await
}

/// Logs one line, and counts.
fn note(service: &Service, route: &str, response: &Response, started: Instant) {
    let (status, code) = (response.status(), response.status().as_u16());
    let elapsed = started.elapsed();
    let milliseconds = milliseconds(elapsed);
    let extensions = response.extensions();
    let LogFields { run, runner, caller, jti, decision, reasons } =
        extensions.get::<LogFields>().cloned().unwrap_or_default();
    match extensions.get::<Detail>() {
        Some(Detail(error, detail)) if status.is_server_error() => {
            tracing::error!(status = code, milliseconds, error, detail, run, caller, "failed");
        }
        Some(Detail(error, detail)) => tracing::warn!(
            status = code,
            milliseconds,
            error,
            detail,
            run,
            runner,
            caller,
            decision,
            reasons,
            "refused"
        ),
        None => tracing::info!(
            status = code,
            milliseconds,
            run,
            runner,
            caller,
            jti,
            decision,
            "answered"
        ),
    }
    service.record_request(route, status.as_str(), Some(elapsed));
}

/// A route without the issuer's path.
fn route_of(service: &Service, matched: &str) -> String {
    let path = service.url().path();
    matched.strip_prefix(path).filter(|rest| rest.starts_with('/')).unwrap_or(matched).to_owned()
}

/// To a thousandth, as a line of the log has it.
fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}
