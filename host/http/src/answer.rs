//! Translates problems into answers: every status code and error word is here.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use countersign::Reason;
use serde::Serialize;

use countersign_issuer::{Problem, ProblemKind};

/// The part of a problem that only the operator reads. The answer carries it as far as the log.
#[derive(Clone)]
pub(super) struct Detail(pub(super) &'static str, pub(super) String);

/// The error of an answer (RFC 6749 section 5.2), with the reasons of a decision.
#[derive(Serialize)]
struct ErrorBody<'p> {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    error_description: Cow<'p, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonBody<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
}

/// A reason, as requesters read it.
#[derive(Serialize)]
pub(super) struct ReasonBody<'r> {
    code: &'r str,
    message: &'r str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'r str>,
}

impl<'r> ReasonBody<'r> {
    pub(super) fn new(reason: &'r Reason) -> Self {
        Self {
            code: &reason.code,
            message: &reason.message,
            source: reason.source.as_str(),
            binding: reason.binding.as_ref().map(|name| name.as_str()),
        }
    }
}

/// The status of a kind.
pub(super) fn status(kind: ProblemKind) -> StatusCode {
    match kind {
        ProblemKind::InvalidRequest
        | ProblemKind::AmbiguousLength
        | ProblemKind::NotEntitled
        | ProblemKind::UnsupportedGrantType
        | ProblemKind::InvalidTarget
        | ProblemKind::InvalidScope => StatusCode::BAD_REQUEST,
        ProblemKind::AccessDenied | ProblemKind::Forbidden => StatusCode::FORBIDDEN,
        ProblemKind::NoCredentials | ProblemKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ProblemKind::NotFound => StatusCode::NOT_FOUND,
        ProblemKind::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ProblemKind::TooSlow => StatusCode::REQUEST_TIMEOUT,
        ProblemKind::Conflict => StatusCode::CONFLICT,
        ProblemKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemKind::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemKind::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
        ProblemKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        ProblemKind::NotImplemented => StatusCode::NOT_IMPLEMENTED,
    }
}

/// The error word of a kind: of RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1, RFC 8693 section 2.2.2, and
/// our own where these have none.
fn word(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::InvalidRequest | ProblemKind::AmbiguousLength | ProblemKind::NotEntitled => {
            "invalid_request"
        }
        ProblemKind::UnsupportedGrantType => "unsupported_grant_type",
        ProblemKind::InvalidTarget => "invalid_target",
        ProblemKind::InvalidScope => "invalid_scope",
        ProblemKind::AccessDenied => "access_denied",
        // In the log alone: RFC 6750 section 3.1 has none.
        ProblemKind::NoCredentials => "no_credentials",
        ProblemKind::Unauthenticated => "invalid_token",
        ProblemKind::Forbidden => "insufficient_scope",
        ProblemKind::NotFound => "not_found",
        ProblemKind::MethodNotAllowed => "method_not_allowed",
        ProblemKind::TooSlow => "request_timeout",
        ProblemKind::Conflict => "conflict",
        ProblemKind::TooLarge => "content_too_large",
        ProblemKind::UnsupportedMediaType => "unsupported_media_type",
        ProblemKind::TooManyRequests => "too_many_requests",
        ProblemKind::Unavailable => "temporarily_unavailable",
        ProblemKind::Internal => "server_error",
        ProblemKind::NotImplemented => "not_implemented",
    }
}

/// The challenge of an answer to a request whose credentials do not suffice (RFC 6750 section 3).
fn challenge(kind: ProblemKind) -> Option<&'static str> {
    match kind {
        // Whoever has not tried to authenticate is told nothing but how.
        ProblemKind::NoCredentials => Some("Bearer realm=\"countersign\""),
        ProblemKind::Unauthenticated => {
            Some("Bearer realm=\"countersign\", error=\"invalid_token\"")
        }
        ProblemKind::Forbidden => {
            Some("Bearer realm=\"countersign\", error=\"insufficient_scope\"")
        }
        _ => None,
    }
}

/// Tells whether the rest of the connection cannot be read as requests after this: it may be a body that was not read, or
/// one whose end is not known.
fn closes(kind: ProblemKind) -> bool {
    matches!(
        kind,
        ProblemKind::TooLarge
            | ProblemKind::TooSlow
            | ProblemKind::AmbiguousLength
            | ProblemKind::NotImplemented
    )
}

/// A [`Problem`] as an answer.
pub(super) struct Rejection(Problem);

impl From<Problem> for Rejection {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> axum::response::Response {
        let Self(problem) = self;
        let refusal = problem.refusal.as_deref();
        let body = ErrorBody {
            error: (problem.kind != ProblemKind::NoCredentials).then(|| word(problem.kind)),
            error_description: Cow::Borrowed(&problem.description),
            reasons: refusal.iter().flat_map(|r| &r.reasons).map(ReasonBody::new).collect(),
            decision: refusal.and_then(|refusal| refusal.decision).map(|id| id.to_string()),
        };
        let mut response = json(status(problem.kind), &body);
        let headers = response.headers_mut();
        if let Some(seconds) = problem.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = challenge(problem.kind) {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if closes(problem.kind) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut fields = problem.about.map(|about| *about).unwrap_or_default();
        if let Some(refusal) = &problem.refusal {
            fields.decision = refusal.decision.map(|decision| decision.to_string());
            let codes: Vec<_> = refusal.reasons.iter().map(|r| r.code.as_str()).collect();
            fields.reasons = Some(codes.join(" "));
        }
        response.extensions_mut().insert(fields);
        let detail = problem.detail.unwrap_or(problem.description);
        response.extensions_mut().insert(Detail(word(problem.kind), detail));
        response
    }
}

/// A success in JSON, which is not cached (RFC 6749 section 5.1).
pub(super) fn ok(body: &impl Serialize) -> axum::response::Response {
    json(StatusCode::OK, body)
}

/// The same, for a resource that is new.
pub(super) fn created(body: &impl Serialize) -> axum::response::Response {
    json(StatusCode::CREATED, body)
}

/// A success without a body.
pub(super) fn no_content() -> axum::response::Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A success of another type, with its cache control.
pub(super) fn document(
    body: impl Into<Body>,
    content_type: &'static str,
    cache: &str,
) -> axum::response::Response {
    with_headers(StatusCode::OK, body, content_type, cache)
}

/// An answer in JSON that is not cached.
fn json(status: StatusCode, body: &impl Serialize) -> axum::response::Response {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, br#"{"error":"server_error"}"#.to_vec()),
    };
    let mut response = with_headers(status, body, "application/json", "no-store");
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// An answer with its type, and its cache control.
fn with_headers(
    status: StatusCode,
    body: impl Into<Body>,
    content_type: &'static str,
    cache: &str,
) -> axum::response::Response {
    const NO_SNIFF: HeaderName = HeaderName::from_static("x-content-type-options");
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    let cache = HeaderValue::from_str(cache).unwrap_or(HeaderValue::from_static("no-store"));
    headers.insert(CACHE_CONTROL, cache);
    headers.insert(NO_SNIFF, HeaderValue::from_static("nosniff"));
    response
}
