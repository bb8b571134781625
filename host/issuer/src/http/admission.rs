//! What every request goes through: a bound on how many there are, an id, one line in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, info_span};

use super::answer::Detail;
use crate::problem::{Problem, ProblemKind};
use crate::service::Service;
use crate::token::TokenId;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The id of a request: in its answer, in the log, and in the record of its decision.
#[derive(Clone)]
pub(super) struct RequestId(pub(super) String);

/// Counts a request for as long as it is being answered.
struct InFlight<'s> {
    service: &'s Service,
    requests: &'s AtomicUsize,
}

impl<'s> InFlight<'s> {
    fn new(service: &'s Service) -> Option<Self> {
        let requests = &service.in_flight;
        let before = requests.fetch_add(1, Ordering::AcqRel);
        // Made first, so that it counts down where there is no room.
        let counted = Self { service, requests };
        service.metrics.in_flight.inc();
        (before < service.settings().most_requests).then_some(counted)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.requests.fetch_sub(1, Ordering::AcqRel);
        self.service.metrics.in_flight.dec();
    }
}

pub(super) async fn admit(
    State(service): State<Arc<Service>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    // What was asked for is not written down as it came: it can hold anything.
    let route =
        request.extensions().get::<MatchedPath>().map_or("", |path| path.as_str()).to_owned();
    let route = service.route_of(&route);
    let method = request.method().as_str();
    let method =
        if method.len() <= 7 && method.is_ascii() { method.to_owned() } else { "other".to_owned() };
    let Some(id) = TokenId::random().map(|id| id.to_string()) else {
        return Problem::unavailable("the system gives no randomness").into_response();
    };
    request.extensions_mut().insert(RequestId(id.clone()));
    let span = info_span!("request", id, method, route);
    async {
        // Whether it is alive must be said also when there is much to do.
        let always = route == "/healthz";
        let mut response = match InFlight::new(&service) {
            Some(_counted) => next.run(request).await,
            None if always => next.run(request).await,
            None => Problem::new(
                ProblemKind::Unavailable,
                "too many requests at a time; ask again later",
            )
            .retry_after(1)
            .into_response(),
        };
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert(REQUEST_ID, value);
        }
        note(&service, &route, &response, started);
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
        None => tracing::info!(status = status.as_u16(), milliseconds, "answered"),
    }
    service.metrics.requests.with_label_values(&[route, status.as_str()]).inc();
    service.metrics.request_seconds.with_label_values(&[route]).observe(seconds);
}
