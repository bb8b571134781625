//! The way of every request: an id, its framing, its client's rate, one line in the log, and the metrics.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ALLOW, CONNECTION, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode, Version};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, Span, info_span};

use super::answer::{Detail, Rejection};
use super::connections::{Connection, InRequest};
use super::edge::Edge;
use super::framing;
use super::rest::Rest;
use super::table::{Purpose, Route};
use countersign_issuer::{LogFields, Problem, RequestOrigin, Trace, TraceParent, TraceValue};
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

/// The knowledge of a request beside what it says.
#[derive(Clone)]
pub(super) struct Caller {
    /// The id of the request: in its answer, in the log, and in the record of its decision.
    pub(super) id: String,
    /// The address of the client that sent it.
    pub(super) client: Option<IpAddr>,
    /// True once it has proved something: by an API key, a run token, or a token of a trusted issuer.
    pub(super) proven: Arc<AtomicBool>,
    /// The trace of the request, where it has one.
    pub(super) trace: Option<Trace>,
    connection: Option<Arc<Connection>>,
}

/// A request until its line is logged, which it is also when the client goes before.
struct Admitted {
    edge: Arc<Edge>,
    caller: Caller,
    route: &'static Route,
    method: String,
    started: Instant,
    span: Span,
    answered: bool,
}

impl Caller {
    /// The request, as records have it.
    pub(super) fn origin(&self) -> RequestOrigin {
        RequestOrigin { id: self.id.clone(), client: self.client, trace: self.trace.clone() }
    }

    /// Waits for a turn among the requests of its connection that have proved nothing.
    pub(super) async fn turn(&self) -> Option<tokio::sync::OwnedSemaphorePermit> {
        let turns = Arc::clone(&self.connection.as_ref()?.turns);
        turns.acquire_owned().await.ok()
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        let milliseconds = milliseconds(self.started.elapsed());
        self.end_trace(None);
        let span = self.span.clone();
        span.in_scope(|| match self.line() {
            Line::Suppressed => tracing::debug!(milliseconds, "the client has gone"),
            Line::Written { suppressed } => {
                tracing::warn!(milliseconds, suppressed, "the client has gone");
            }
        });
        self.edge.service.record_request(self.route.path, "gone", None);
    }
}

/// The choice of the level that a line is written at.
enum Line {
    Written {
        /// The number of lines before it that were not, where somebody has brought about more than are read.
        suppressed: Option<u64>,
    },
    Suppressed,
}

pub(super) async fn admit(
    State(edge): State<Arc<Edge>>,
    mut request: Request,
    next: Next,
) -> Response {
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    if let Some(connection) = &connection
        && connection.paced().await
    {
        edge.service.record_paced_request();
    }
    let started = Instant::now();
    // The route and not the path is logged: a path can hold anything.
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = Route::of(edge.service.url().path(), matched);
    let method = match request.method() {
        method if STANDARD.contains(method) => method.as_str().to_owned(),
        _ => "other".to_owned(),
    };
    let Some(id) = TokenId::random().map(|id| id.to_string()) else {
        let problem = Problem::unavailable("the system's random number generator failed");
        return Rejection::from(problem).into_response();
    };
    let _in_request = connection.clone().map(InRequest::begin);
    let client = connection.as_ref().map(|one| edge.client(one.peer, request.headers()));
    let proven = Arc::new(AtomicBool::new(false));
    let trace = trace_of(&edge, route, started, request.headers());
    let caller = Caller { id: id.clone(), client, proven, trace, connection };
    request.extensions_mut().insert(caller.clone());
    let client = client.map(tracing::field::display);
    let span = info_span!("request", id, method = method.as_str(), route = route.path, client);
    // AuthZEN section 10.1.3: whoever names a request gets the name back. The log has the service's own.
    let name = request.headers().get(REQUEST_ID).filter(|_| route.is_authzen()).cloned();
    let mut admitted =
        Admitted { edge, caller, route, method, started, span: span.clone(), answered: false };
    async {
        let version = request.version();
        let checked = admitted.check(&request);
        let (mut rest, request) = Rest::of(request, admitted.caller.connection.as_ref());
        let mut response = match checked {
            Ok(()) => next.run(request).await,
            Err(problem) => {
                drop(request);
                Rejection::from(problem).into_response()
            }
        };
        let headers = response.headers_mut();
        if let Some(value) = name.or_else(|| HeaderValue::from_str(&id).ok()) {
            headers.insert(REQUEST_ID, value);
        }
        // Streams of HTTP/2 end on their own.
        if version < Version::HTTP_2 && !headers.contains_key(CONNECTION) && !rest.drain().await {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if version == Version::HTTP_10 && headers.contains_key(CONNECTION) {
            // Else `keep-alive` is put beside it, where the client has asked for that.
            *response.version_mut() = Version::HTTP_10;
        }
        // RFC 9110 section 15.5.6, of whichever handler it comes.
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(route.allow));
        }
        admitted.answered = true;
        admitted.note(&response);
        response
    }
    .instrument(span)
    .await
}

impl Admitted {
    /// Checks what is the same for all routes.
    fn check(&self, request: &Request) -> Result<(), Problem> {
        let Caller { connection, client, .. } = &self.caller;
        framing::check(request, connection.as_deref())?;
        match client {
            // Whoever asks if it is alive must know, also where others have asked too often.
            Some(client) if self.route.purpose != Purpose::Probe => {
                let checked = self.edge.rate.check(*client);
                checked.inspect_err(|_| self.edge.service.record_rate_limited_client())
            }
            _ => Ok(()),
        }
    }

    /// Ends the span of the request, which was answered unless the client has gone.
    fn end_trace(&self, status: Option<StatusCode>) {
        let Some(trace) = &self.caller.trace else { return };
        let text = |text: &str| TraceValue::Text(text.to_owned());
        let mut attributes = vec![
            ("http.request.method", text(&self.method)),
            ("http.route", text(self.route.path)),
            ("countersign.request.id", text(&self.caller.id)),
        ];
        match status {
            Some(status) => {
                let status = TraceValue::Integer(status.as_u16().into());
                attributes.push(("http.response.status_code", status));
            }
            None => attributes.push(("error.type", text("gone"))),
        }
        let name = format!("{} {}", self.method, self.route.path);
        let has_failed = status.is_some_and(|status| status.is_server_error());
        trace.end(name, Instant::now(), attributes, has_failed);
    }

    /// Logs one line, and counts.
    fn note(&self, response: &Response) {
        let (status, code) = (response.status(), response.status().as_u16());
        self.end_trace(Some(status));
        let elapsed = self.started.elapsed();
        let milliseconds = milliseconds(elapsed);
        let extensions = response.extensions();
        let LogFields { run, runner, caller, jti, decision, reasons } =
            extensions.get::<LogFields>().cloned().unwrap_or_default();
        if let Some(connection) = &self.caller.connection {
            connection.has_answered(self.caller.proven.load(Ordering::Relaxed));
        }
        match extensions.get::<Detail>() {
            Some(Detail(error, detail)) => match self.line() {
                Line::Suppressed => tracing::debug!(
                    status = code,
                    milliseconds,
                    error,
                    detail,
                    run,
                    runner,
                    caller,
                    "refused"
                ),
                Line::Written { .. } if status.is_server_error() => {
                    tracing::error!(
                        status = code,
                        milliseconds,
                        error,
                        detail,
                        run,
                        caller,
                        "failed"
                    );
                }
                Line::Written { suppressed } => tracing::warn!(
                    status = code,
                    milliseconds,
                    error,
                    detail,
                    run,
                    runner,
                    caller,
                    decision,
                    reasons,
                    suppressed,
                    "refused"
                ),
            },
            // Nothing that matters has happened.
            None if self.route.purpose != Purpose::Api => {
                tracing::debug!(status = code, milliseconds, "answered");
            }
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
        self.edge.service.record_request(self.route.path, status.as_str(), Some(elapsed));
    }

    /// Anybody can bring about as many lines as they like that have proved nothing: of those that ask for what is public, or
    /// for nothing that is there, none is written at the usual level, and of others as many as somebody may read.
    fn line(&self) -> Line {
        if self.caller.proven.load(Ordering::Relaxed) {
            return Line::Written { suppressed: None };
        }
        if self.route.purpose != Purpose::Api {
            return Line::Suppressed;
        }
        match self.edge.lines.suppressed() {
            Some(suppressed) => {
                Line::Written { suppressed: Some(suppressed).filter(|count| *count > 0) }
            }
            None => Line::Suppressed,
        }
    }
}

/// To a thousandth, as a line of the log has it.
fn milliseconds(elapsed: Duration) -> f64 {
    (elapsed.as_secs_f64() * 1e6).round() / 1e3
}

/// The trace of a request, if it has one. Of probes and published documents there are many, and none is of interest.
fn trace_of(edge: &Edge, route: &Route, started: Instant, headers: &HeaderMap) -> Option<Trace> {
    if route.purpose != Purpose::Api {
        return None;
    }
    edge.service.begin_trace(started, || (unix_nanoseconds(), traceparent(headers)))
}

/// The trace that the caller says its request is a part of (W3C Trace Context section 3.2): of one header alone.
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all("traceparent").iter();
    match (values.next(), values.next()) {
        (Some(value), None) => TraceParent::parse(value.to_str().ok()?),
        _ => None,
    }
}

/// The time in nanoseconds since 1970: of spans, which no decision depends on.
fn unix_nanoseconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
