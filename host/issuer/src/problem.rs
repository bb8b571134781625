//! Why a request gets no token: what the requester reads, and what only the operator does.

use std::error::Error;
use std::fmt;

use countersign::{Digest, Reason};

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub struct Problem {
    pub(crate) kind: ProblemKind,
    /// For the requester.
    pub(crate) description: String,
    /// For the operator's log.
    pub(crate) detail: Option<String>,
    /// Why no token may be issued.
    pub(crate) refusal: Option<Box<Refused>>,
    /// What it is about, for the operator's log.
    pub(crate) about: Option<Box<Told>>,
    /// After how many seconds it may be worth asking again.
    pub(crate) retry_after: Option<u64>,
}

/// What the line of a request in the log says beside its status.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    pub(crate) run: Option<String>,
    pub(crate) runner: Option<String>,
    /// Of the control plane.
    pub(crate) caller: Option<String>,
    pub(crate) jti: Option<String>,
    pub(crate) decision: Option<String>,
    /// Codes of the reasons of a refusal.
    pub(crate) reasons: Option<String>,
}

/// Why no token may be issued for a run.
#[derive(Debug)]
pub(crate) struct Refused {
    /// At least one.
    pub(crate) reasons: Vec<Reason>,
    /// The decision that refused; `None` where there was nothing to decide.
    pub(crate) decision: Option<Digest>,
}

/// What kind of problem it is. `http::answer` has the status and the word of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProblemKind {
    /// The request is not one that can be answered.
    InvalidRequest,
    /// The subject token is not for the run, or there is no such run.
    NotEntitled,
    /// The grant type is another one.
    UnsupportedGrantType,
    /// The audience is none that can be asked for.
    InvalidTarget,
    /// A scope was asked for, and there are none.
    InvalidScope,
    /// A decision refused, or the run may have no token.
    AccessDenied,
    /// Nobody says who asks, or it is not believed.
    Unauthenticated,
    /// Who asks may not.
    Forbidden,
    /// There is nothing there.
    NotFound,
    /// There is something there, but for other methods.
    MethodNotAllowed,
    /// The request did not arrive in time.
    TooSlow,
    /// It contradicts what is known.
    Conflict,
    /// It is too long.
    TooLarge,
    /// It is in another form than the one that is taken.
    UnsupportedMediaType,
    /// The runner asks too often.
    TooManyRequests,
    /// Not now.
    Unavailable,
    /// Something went wrong here.
    Internal,
}

impl Problem {
    pub(crate) fn new(kind: ProblemKind, description: impl Into<String>) -> Self {
        Self {
            kind,
            description: description.into(),
            detail: None,
            refusal: None,
            about: None,
            retry_after: None,
        }
    }

    pub(crate) fn invalid(description: impl Into<String>) -> Self {
        Self::new(ProblemKind::InvalidRequest, description)
    }

    /// No token for a run.
    pub(crate) fn refused(
        description: &str,
        reasons: Vec<Reason>,
        decision: Option<Digest>,
    ) -> Self {
        let refusal = Some(Box::new(Refused { reasons, decision }));
        Self { refusal, ..Self::new(ProblemKind::AccessDenied, description) }
    }

    /// Not now, and what the operator should know of why.
    pub(crate) fn unavailable(detail: impl fmt::Display) -> Self {
        let description = "no token can be issued now; ask again later";
        Self::new(ProblemKind::Unavailable, description).retry_after(5).detail(detail)
    }

    /// The same, for an error and all that it comes from.
    pub(crate) fn failed(error: impl Error) -> Self {
        Self::unavailable(with_sources(&error))
    }

    pub(crate) fn detail(self, detail: impl fmt::Display) -> Self {
        Self { detail: Some(detail.to_string()), ..self }
    }

    pub(crate) fn about(self, about: Told) -> Self {
        Self { about: Some(Box::new(about)), ..self }
    }

    pub(crate) fn retry_after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// An error, and all that it comes from.
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
