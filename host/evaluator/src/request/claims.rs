//! Everything that a policy sees: the facts of a run and the requested token.

use super::facts::Facts;
use super::identifier::{Audience, ClaimName, RunnerId, Subject};
use super::run::Run;
use super::subject::{SubjectError, SubjectTemplate};

/// The maximum token lifetime that can be requested, in seconds: one day.
pub const MAX_TTL_SECONDS: u32 = 86_400;

/// The maximum of audiences of one requested token.
pub const MAX_AUDIENCES: usize = 10;

/// The latest `iat` that is accepted: 9999-12-31T23:59:59Z.
pub const MAX_TIMESTAMP: u64 = 253_402_300_799;

/// The verified facts of a run plus the requested token: everything that a policy sees.
///
/// The subject is derived from the run, so that no token can name another run's definition or
/// runner than the one that was decided on. That the run is genuine and still live, and that the
/// runner is the one that executes it, the caller vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    run: Run,
    runner: Option<RunnerId>,
    facts: Facts,
    subject: Subject,
    token: TokenRequest,
}

/// The requested token. A decision can only narrow it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRequest {
    audiences: Vec<Audience>,
    ttl_seconds: u32,
    issued_at: u64,
}

impl Claims {
    /// Combines a run with its token request. `runner` is the runner that executes the run, where the
    /// caller knows it; `facts` are what the control plane registered beside the run object.
    ///
    /// # Errors
    /// When the subject is by runner, and there is no runner.
    pub fn new(
        run: Run,
        runner: Option<RunnerId>,
        facts: Facts,
        subject: &SubjectTemplate,
        token: TokenRequest,
    ) -> Result<Self, SubjectError> {
        let subject = subject.of(&run, runner.as_ref())?;
        Ok(Self { run, runner, facts, subject, token })
    }

    /// The facts of the run.
    pub fn run(&self) -> &Run {
        &self.run
    }

    /// The runner that executes the run, where the caller knew it.
    pub fn runner(&self) -> Option<&RunnerId> {
        self.runner.as_ref()
    }

    /// The facts that policies see as `run.facts`.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The subject (`sub`) that the token would carry.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    /// The requested token.
    pub fn token(&self) -> &TokenRequest {
        &self.token
    }
}

/// The reason why a token cannot be requested.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRequestError {
    /// No audience, or more than [`MAX_AUDIENCES`].
    #[error("requested {found} audiences, expected 1 to {MAX_AUDIENCES}")]
    AudienceCount {
        /// The number that was requested.
        found: usize,
    },
    /// An audience was requested twice.
    #[error("the audience `{0}` is requested twice")]
    DuplicateAudience(Audience),
    /// A lifetime of 0, or longer than [`MAX_TTL_SECONDS`].
    #[error("requested a TTL of {found} seconds, expected 1 to {MAX_TTL_SECONDS}")]
    Ttl {
        /// The requested lifetime, in seconds.
        found: u32,
    },
    /// A time after [`MAX_TIMESTAMP`].
    #[error(
        "the time {found} is after the year 9999; expected seconds since 1970, not milliseconds"
    )]
    IssuedAt {
        /// The time that was given.
        found: u64,
    },
}

impl TokenRequest {
    /// Creates a request.
    ///
    /// `ttl_seconds` is the lifetime of the token, 1 to [`MAX_TTL_SECONDS`]. `issued_at` is the time
    /// of issue in seconds since 1970-01-01T00:00:00Z, at most [`MAX_TIMESTAMP`]; the evaluator
    /// reads no clock, so that a recorded decision replays to the byte.
    ///
    /// # Errors
    /// When a value is outside its bounds, or an audience is requested twice.
    pub fn new(
        audiences: Vec<Audience>,
        ttl_seconds: u32,
        issued_at: u64,
    ) -> Result<Self, TokenRequestError> {
        if !(1..=MAX_AUDIENCES).contains(&audiences.len()) {
            return Err(TokenRequestError::AudienceCount { found: audiences.len() });
        }
        if let Some(twice) = first_duplicate(&audiences) {
            return Err(TokenRequestError::DuplicateAudience(twice.clone()));
        }
        if !(1..=MAX_TTL_SECONDS).contains(&ttl_seconds) {
            return Err(TokenRequestError::Ttl { found: ttl_seconds });
        }
        if issued_at > MAX_TIMESTAMP {
            return Err(TokenRequestError::IssuedAt { found: issued_at });
        }
        Ok(Self { audiences, ttl_seconds, issued_at })
    }

    /// The audiences (`aud`) requested: at least one, none twice, in the order of the request.
    pub fn audiences(&self) -> &[Audience] {
        &self.audiences
    }

    /// The requested lifetime, in seconds.
    pub fn ttl_seconds(&self) -> u32 {
        self.ttl_seconds
    }

    /// The time of issue (`iat`), in seconds since 1970-01-01T00:00:00Z.
    pub fn issued_at(&self) -> u64 {
        self.issued_at
    }
}

/// Tells whether only the host sets the claim of this name, so that no policy can add it.
///
/// These are the claims that the host writes itself (RFC 7519 section 4.1 and the facts of the
/// run), and the registered claims whose meaning a verifier acts on.
pub fn is_reserved_claim(name: &ClaimName) -> bool {
    const RESERVED: &[&str] = &[
        // RFC 7519
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        // written by the host
        "countersign",
        "meshstack",
        "kubernetes.io",
        // RFC 7800, 8693, 9068, 9396 and OpenID Connect Core: acted on by verifiers
        "cnf",
        "act",
        "may_act",
        "scope",
        "client_id",
        "authorization_details",
        "roles",
        "groups",
        "entitlements",
        "azp",
        "nonce",
        "auth_time",
        "acr",
        "amr",
        "at_hash",
        "c_hash",
        "sid",
        "events",
        "email",
        "email_verified",
    ];
    // AWS reads session tags from one claim or from one for each tag.
    RESERVED.contains(&name.as_str()) || name.as_str().starts_with("https://aws.amazon.com/")
}

fn first_duplicate(audiences: &[Audience]) -> Option<&Audience> {
    audiences.iter().enumerate().find_map(|(index, audience)| {
        audiences.iter().take(index).find(|earlier| *earlier == audience)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_owns_is_reserved() {
        for name in [
            "iss",
            "sub",
            "aud",
            "exp",
            "nbf",
            "iat",
            "jti",
            "countersign",
            "meshstack",
            "kubernetes.io",
            "https://aws.amazon.com/tags",
            "https://aws.amazon.com/tags/principal_tags/Project",
            "https://aws.amazon.com/source_identity",
            "cnf",
            "act",
            "scope",
            "azp",
            "nonce",
        ] {
            assert!(is_reserved_claim(&name.parse().unwrap()), "{name}");
        }
        for name in ["team", "Sub", "https://aws.amazon.co/tags", "subject"] {
            assert!(!is_reserved_claim(&name.parse().unwrap()), "{name}");
        }
    }

    fn request(audiences: &[&str], ttl: u32, now: u64) -> Result<TokenRequest, TokenRequestError> {
        let audiences = audiences.iter().map(|a| Audience::parse(a).unwrap()).collect();
        TokenRequest::new(audiences, ttl, now)
    }

    #[test]
    fn a_request_is_bounded() {
        assert!(request(&["a", "b"], 1, 0).is_ok());
        assert!(request(&["a"], MAX_TTL_SECONDS, MAX_TIMESTAMP).is_ok());
        for (audiences, ttl, now, expected) in [
            (&[][..], 1, 0, "requested 0 audiences, expected 1 to 10"),
            (&["a"; 11], 1, 0, "requested 11 audiences, expected 1 to 10"),
            (&["a", "b", "a"], 1, 0, "the audience `a` is requested twice"),
            (&["a"], 0, 0, "requested a TTL of 0 seconds, expected 1 to 86400"),
            (&["a"], 86_401, 0, "requested a TTL of 86401 seconds, expected 1 to 86400"),
            (
                &["a"],
                1,
                1_790_000_000_000,
                "the time 1790000000000 is after the year 9999; expected seconds since 1970, not \
                 milliseconds",
            ),
        ] {
            assert_eq!(request(audiences, ttl, now).unwrap_err().to_string(), expected);
        }
    }
}
