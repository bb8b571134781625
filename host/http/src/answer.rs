//! From problems to answers: every status code and error word is here.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, PRAGMA, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use countersign::{Reason, ReasonSource};
use serde::Serialize;

use crate::problem::{Problem, ProblemKind};

/// What only the operator reads of a problem. The answer carries it as far as the log.
#[derive(Clone)]
pub(crate) struct Detail(pub(crate) &'static str, pub(crate) String);

/// The error of an answer (RFC 6749 section 5.2), with the reasons of a decision.
#[derive(Serialize)]
struct ErrorBody<'p> {
    error: &'static str,
    error_description: Cow<'p, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonBody<'p>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<String>,
}

/// A reason, as requesters read it.
#[derive(Serialize)]
pub(crate) struct ReasonBody<'r> {
    code: &'r str,
    message: &'r str,
    source: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'r str>,
}

impl<'r> ReasonBody<'r> {
    pub(crate) fn new(reason: &'r Reason) -> Self {
        Self {
            code: &reason.code,
            message: &reason.message,
            source: match reason.source {
                ReasonSource::Policy => "policy",
                ReasonSource::Host => "host",
            },
            binding: reason.binding.as_ref().map(|name| name.as_str()),
        }
    }
}

impl ProblemKind {
    fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest
            | Self::NotEntitled
            | Self::UnsupportedGrantType
            | Self::InvalidTarget
            | Self::InvalidScope => StatusCode::BAD_REQUEST,
            Self::AccessDenied | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict => StatusCode::CONFLICT,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooManyRequests => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// RFC 6749 sections 4.1.2.1 and 5.2, RFC 6750 section 3.1, RFC 8693 section 2.2.2, and our own where
    /// these have none.
    fn word(self) -> &'static str {
        match self {
            Self::InvalidRequest | Self::NotEntitled => "invalid_request",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidTarget => "invalid_target",
            Self::InvalidScope => "invalid_scope",
            Self::AccessDenied => "access_denied",
            Self::Unauthenticated => "invalid_token",
            Self::Forbidden => "insufficient_scope",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooSlow => "request_timeout",
            Self::Conflict => "conflict",
            Self::TooLarge => "content_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::TooManyRequests => "too_many_requests",
            Self::Unavailable => "temporarily_unavailable",
            Self::Internal => "server_error",
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let refusal = self.refusal.as_deref();
        let body = ErrorBody {
            error: self.kind.word(),
            error_description: Cow::Borrowed(&self.description),
            reasons: refusal.iter().flat_map(|r| &r.reasons).map(ReasonBody::new).collect(),
            decision: refusal.and_then(|refusal| refusal.decision).map(|id| id.to_string()),
        };
        let mut response = json(self.kind.status(), &body);
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.kind == ProblemKind::Unauthenticated {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        // What follows on the connection may be the rest of a body that was not read.
        if matches!(self.kind, ProblemKind::TooLarge | ProblemKind::TooSlow) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let mut told = self.about.map(|about| *about).unwrap_or_default();
        if let Some(refusal) = &self.refusal {
            told.decision = refusal.decision.map(|decision| decision.to_string());
            let codes: Vec<_> = refusal.reasons.iter().map(|r| r.code.as_str()).collect();
            told.reasons = Some(codes.join(" "));
        }
        response.extensions_mut().insert(told);
        let detail = self.detail.unwrap_or(self.description);
        response.extensions_mut().insert(Detail(self.kind.word(), detail));
        response
    }
}

/// An answer in JSON that nobody keeps (RFC 6749 section 5.1).
pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> axum::response::Response {
    let (status, body) = match serde_json::to_vec(body) {
        Ok(body) => (status, body),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, br#"{"error":"server_error"}"#.to_vec()),
    };
    let mut response = with_headers(status, body, "application/json", "no-store");
    response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
    response
}

/// An answer with its type, and whether it is kept.
pub(crate) fn with_headers(
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
