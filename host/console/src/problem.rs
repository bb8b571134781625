//! Requests that are not answered with a page: the status, and the problem in words.

use hyper::StatusCode;

use crate::index::IndexError;
use crate::log::with_sources;

/// A request that is not answered with what it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    /// The problem in words, not escaped.
    pub(crate) text: String,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, text: impl Into<String>) -> Self {
        Self { status, text: text.into() }
    }

    /// A request that is malformed.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, text)
    }

    /// A page, or a part of one, that is not there.
    pub(crate) fn not_found(text: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, text)
    }

    /// The word for programs.
    pub(crate) fn word(&self) -> &'static str {
        match self.status {
            StatusCode::BAD_REQUEST => "invalid_request",
            StatusCode::FORBIDDEN => "forbidden",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            StatusCode::NOT_ACCEPTABLE => "not_acceptable",
            StatusCode::MISDIRECTED_REQUEST => "foreign_host",
            StatusCode::PAYLOAD_TOO_LARGE => "content_too_large",
            StatusCode::SERVICE_UNAVAILABLE => "temporarily_unavailable",
            _ => "server_error",
        }
    }
}

impl From<IndexError> for Problem {
    fn from(error: IndexError) -> Self {
        let problem = with_sources(&error);
        tracing::error!(problem, "the index failed");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, format!("the index cannot be read: {problem}"))
    }
}
