//! Requests that get no token: one text for the requester, another for the operator alone.

use std::error::Error;
use std::fmt;

use countersign::{Digest, Reason};

/// A request that is not answered with what it requested.
#[derive(Debug)]
pub struct Problem {
    /// The kind, which a door translates into a status of its own.
    pub kind: ProblemKind,
    /// For the requester.
    pub description: String,
    /// For the operator's log, never for the requester.
    pub detail: Option<String>,
    /// The reasons for which no token may be issued.
    pub refusal: Option<Box<Refused>>,
    /// The run and the caller that it is about, for the operator's log.
    pub about: Option<Box<LogFields>>,
    /// The seconds after which a retry may succeed.
    pub retry_after: Option<u64>,
}

/// The fields of a request's line in the service's own log, beside its status.
#[derive(Debug, Clone, Default)]
pub struct LogFields {
    /// The run.
    pub run: Option<String>,
    /// The runner that executes it.
    pub runner: Option<String>,
    /// The caller of the control plane.
    pub caller: Option<String>,
    /// The id of the token that was issued.
    pub jti: Option<String>,
    /// The id of the decision.
    pub decision: Option<String>,
    /// Codes of the reasons of a refusal, separated by spaces.
    pub reasons: Option<String>,
}

/// A run for which no token may be issued.
#[derive(Debug)]
pub struct Refused {
    /// At least one.
    pub reasons: Vec<Reason>,
    /// The decision that refused; `None` where there was nothing to decide.
    pub decision: Option<Digest>,
}

/// The kind of a problem. Each door has one table from kinds to its own statuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProblemKind {
    /// The request is not one that can be answered.
    InvalidRequest,
    /// The length of the request can be read in two ways.
    AmbiguousLength,
    /// The subject token is not for the run, or there is no such run.
    NotEntitled,
    /// The grant type is another one.
    UnsupportedGrantType,
    /// The audience cannot be requested.
    InvalidTarget,
    /// A scope was requested, and there are none.
    InvalidScope,
    /// A decision refused, or the run may have no token.
    AccessDenied,
    /// The credentials are not accepted.
    Unauthenticated,
    /// There are no credentials.
    NoCredentials,
    /// The caller lacks a permission.
    Forbidden,
    /// There is nothing there.
    NotFound,
    /// There is something there, but for other methods.
    MethodNotAllowed,
    /// The request did not arrive in time.
    TooSlow,
    /// It contradicts an earlier request.
    Conflict,
    /// It is too long.
    TooLarge,
    /// It has a media type that is not accepted.
    UnsupportedMediaType,
    /// The runner or the run exceeds its rate.
    TooManyRequests,
    /// Not now.
    Unavailable,
    /// The service has a fault.
    Internal,
    /// The request uses what nobody here understands.
    NotImplemented,
}

impl Problem {
    /// A problem without details.
    pub fn new(kind: ProblemKind, description: impl Into<String>) -> Self {
        Self {
            kind,
            description: description.into(),
            detail: None,
            refusal: None,
            about: None,
            retry_after: None,
        }
    }

    /// A request that cannot be answered.
    pub fn invalid(description: impl Into<String>) -> Self {
        Self::new(ProblemKind::InvalidRequest, description)
    }

    /// A path with other methods than that of the request.
    pub fn method_not_allowed() -> Self {
        Self::new(ProblemKind::MethodNotAllowed, "the method is not allowed here")
    }

    /// A run that gets no token, for these reasons.
    pub fn refused(description: &str, reasons: Vec<Reason>, decision: Option<Digest>) -> Self {
        let refusal = Some(Box::new(Refused { reasons, decision }));
        Self { refusal, ..Self::new(ProblemKind::AccessDenied, description) }
    }

    /// A service that can issue no token now; the cause is for the operator.
    pub fn unavailable(detail: impl fmt::Display) -> Self {
        let description = "no token can be issued now; ask again later";
        Self::new(ProblemKind::Unavailable, description).retry_after(5).detail(detail)
    }

    /// The same, for an error and its sources.
    pub fn failed(error: impl Error) -> Self {
        Self::unavailable(with_sources(&error))
    }

    /// Adds what only the operator reads.
    pub fn detail(self, detail: impl fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    /// Adds the run and the caller.
    pub fn about(self, about: LogFields) -> Self {
        Self { about: Some(Box::new(about)), ..self }
    }

    /// Adds the seconds after which a retry may succeed.
    pub fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// The message of an error, and those of its sources.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
