//! Authentication: tokens that come in, and the identities that they prove.
//!
//! A token is taken apart and checked here and not by a library that is lenient by default: one
//! serialisation, two algorithms, no header but the ones that are known, every claim of one type, and
//! the key's algorithm decides, not the token's.

mod jwks;
mod jws;
mod key_source;

use std::collections::HashMap;
use std::sync::Arc;

use countersign::RunnerId;

pub use jwks::{Jwks, JwksError, VerificationKey};
pub use jws::MAX_TOKEN_BYTES;
use jws::{Claims, JwsParts};
pub use key_source::{Fetch, FetchError, KeySource, is_secure};

/// The seconds by which the clock of another issuer may be ahead: for `iat` and `nbf`. There is no such
/// allowance for `exp`.
pub const CLOCK_LEEWAY: u64 = 5;

/// A permission of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Permission {
    /// Register and finish runs.
    Runs,
    /// Ask for decisions without tokens.
    Decisions,
    /// Read metrics.
    Metrics,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 3] = [Self::Runs, Self::Decisions, Self::Metrics];

    /// The word that configurations have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Decisions => "decisions",
            Self::Metrics => "metrics",
        }
    }
}

/// The principal that a subject of a trusted issuer stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A runner.
    Runner(RunnerId),
    /// A part of the control plane, with its permissions.
    ControlPlane(Vec<Permission>),
}

/// An issuer whose tokens are accepted, for some subjects.
pub struct TrustedIssuer {
    /// Its identifier (`iss`), compared byte by byte.
    pub url: String,
    /// The audience that its tokens must have (`aud`).
    pub audience: String,
    /// The source of its keys.
    pub keys: Arc<KeySource>,
    /// True when each token is accepted once only.
    pub single_use: bool,
    /// The principals that its subjects (`sub`, compared byte by byte) stand for. Others are nobody.
    pub identities: HashMap<String, Identity>,
}

/// All issuers that are trusted, by their identifier.
#[derive(Default)]
pub struct TrustedIssuers(pub HashMap<String, TrustedIssuer>);

/// The identity that a verified token proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The principal.
    pub identity: Identity,
    /// The issuer of the token.
    pub issuer: String,
    /// Its subject.
    pub subject: String,
    /// The token's id and expiry, where it must be accepted once only.
    pub once: Option<(String, u64)>,
}

/// A token that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It is not a JWT of the kind that is accepted.
    #[error("the token {0}")]
    Form(&'static str),
    /// Its issuer is not trusted.
    #[error("the token's issuer is not trusted")]
    Issuer,
    /// It names a key that its issuer does not publish, or one that cannot be used.
    #[error("the token is signed with a key that its issuer does not publish")]
    Key,
    /// The signature is not the key's.
    #[error("the token's signature is not its issuer's")]
    Signature,
    /// It has another audience.
    #[error("the token is not for this issuer: `aud` must be `{expected}` alone")]
    Audience {
        /// The audience that it must have.
        expected: String,
    },
    /// It has expired.
    #[error("the token has expired: `exp` is {expired}, now is {now}")]
    Expired {
        /// Its `exp`.
        expired: u64,
        /// The time of the check.
        now: u64,
    },
    /// It is not valid yet.
    #[error("the token is not valid yet: `{claim}` is {at}, now is {now}")]
    Early {
        /// The claim.
        claim: &'static str,
        /// Its value.
        at: u64,
        /// The time of the check.
        now: u64,
    },
    /// Its subject stands for nobody.
    #[error("no identity is configured for the token's subject")]
    Subject,
    /// It must be accepted once only, and has no id.
    #[error("the token has no `jti`, which tokens of its issuer must have")]
    NoId,
    /// It was accepted before, and must be once only.
    #[error("the token was used before; tokens of its issuer are accepted once")]
    Used,
    /// The keys of its issuer are not available. Later they may be.
    #[error("the issuer's JWKS is currently unavailable")]
    Unavailable,
}

/// The claims of a token, verified at `now` as a relying party does: with the issuer's published keys alone.
///
/// # Errors
/// When a check fails.
pub fn verified_claims(
    token: &str,
    keys: &Jwks,
    issuer: &str,
    audience: &str,
    now: u64,
) -> Result<serde_json::Value, IdentityError> {
    let parts = JwsParts::parse(token).map_err(IdentityError::Form)?;
    if parts.claims.iss != issuer {
        return Err(IdentityError::Issuer);
    }
    let key = keys.get(&parts.kid).ok_or(IdentityError::Key)?;
    parts.verify(&key)?;
    parts.claims.check(audience, now)?;
    parts.all_claims().ok_or(IdentityError::Form("has invalid claims"))
}

/// The issuer, subject, audience and `kid` of a token that can be read; nothing of them is verified.
pub(crate) fn unverified_claims(token: &str) -> Option<String> {
    JwsParts::parse(token).ok().map(|parts| parts.describe())
}

impl TrustedIssuers {
    /// Checks a token at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// When a check fails. Nothing of the token is in a message but
    /// its times.
    pub async fn verify(&self, token: &str, now: u64) -> Result<Verified, IdentityError> {
        let parts = JwsParts::parse(token).map_err(IdentityError::Form)?;
        // Not verified yet: it only selects the issuer whose key verifies the token.
        let issuer = self.0.get(&parts.claims.iss).ok_or(IdentityError::Issuer)?;
        let key = issuer.keys.key(&parts.kid, now).await?;
        parts.verify(&key)?;
        issuer.identify(parts.claims, now)
    }
}

impl TrustedIssuer {
    /// The identity that claims prove whose signature was verified.
    fn identify(&self, claims: Claims, now: u64) -> Result<Verified, IdentityError> {
        claims.check(&self.audience, now)?;
        let identity = self.identities.get(&claims.sub).ok_or(IdentityError::Subject)?.clone();
        let once = match (self.single_use, claims.jti) {
            (false, _) => None,
            (true, Some(id)) => Some((id, claims.exp)),
            (true, None) => return Err(IdentityError::NoId),
        };
        Ok(Verified { identity, issuer: self.url.clone(), subject: claims.sub, once })
    }
}
