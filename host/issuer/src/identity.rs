//! Tokens that come in: who says so, and whether it is true.
//!
//! A token is taken apart and checked here and not by a library that is lenient by default: one
//! serialisation, two algorithms, no header but the ones that are known, every claim of one type, and
//! the key's algorithm decides, not the token's.

mod foreign_keys;
mod key_source;
mod parts;

use std::collections::HashMap;
use std::sync::Arc;

use countersign::RunnerId;

pub use foreign_keys::{ForeignKey, ForeignKeyError, ForeignKeySet};
pub use key_source::{Fetch, FetchError, KeySource, is_secure};
pub use parts::MAX_TOKEN_BYTES;
use parts::{Claims, TokenParts};

/// How far ahead the clock of another issuer may be, in seconds: for `iat` and `nbf`. There is no such
/// allowance for `exp`.
pub const CLOCK_LEEWAY: u64 = 5;

/// What a caller may do.
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

    /// The word that a configuration has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Decisions => "decisions",
            Self::Metrics => "metrics",
        }
    }
}

/// Whom a subject of a trusted issuer stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A runner.
    Runner(RunnerId),
    /// A part of the control plane, and what it may do.
    ControlPlane(Vec<Permission>),
}

/// An issuer whose tokens are believed, for some subjects.
pub struct TrustedIssuer {
    /// Its identifier (`iss`), compared byte by byte.
    pub url: String,
    /// What its tokens must be for (`aud`).
    pub audience: String,
    /// Where its keys are.
    pub keys: Arc<KeySource>,
    /// Whether each token is taken once only.
    pub single_use: bool,
    /// Whom its subjects (`sub`, compared byte by byte) stand for. Others are nobody.
    pub identities: HashMap<String, Identity>,
}

/// All issuers that are trusted, by their identifier.
#[derive(Default)]
pub struct TrustedIssuers(pub HashMap<String, TrustedIssuer>);

/// A token that was checked, and whom it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whom.
    pub identity: Identity,
    /// The issuer of the token.
    pub issuer: String,
    /// Its subject.
    pub subject: String,
    /// The token's id and expiry, where it must be taken once only.
    pub once: Option<(String, u64)>,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// It is no JWT of the kind that is taken.
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
    /// It is for somebody else.
    #[error("the token is not for this issuer: `aud` must be `{expected}` alone")]
    Audience {
        /// What it must be.
        expected: String,
    },
    /// It has expired.
    #[error("the token has expired: `exp` is {expired}, now is {now}")]
    Expired {
        /// When.
        expired: u64,
        /// The time.
        now: u64,
    },
    /// It is not valid yet.
    #[error("the token is not valid yet: `{claim}` is {at}, now is {now}")]
    Early {
        /// The claim.
        claim: &'static str,
        /// From when on.
        at: u64,
        /// The time.
        now: u64,
    },
    /// Its subject stands for nobody.
    #[error(
        "the token's subject stands for nobody here: no identity of its issuer is configured with it"
    )]
    Subject,
    /// It must be taken once only, and has no id.
    #[error("the token has no `jti`, which tokens of its issuer must have")]
    NoId,
    /// It was taken before, and must be once only.
    #[error("the token was used before; tokens of its issuer are taken once")]
    Used,
    /// The keys of its issuer cannot be had. Later they may.
    #[error("the keys of the token's issuer cannot be had now")]
    Unavailable,
}

/// The claims of a token, verified at `now` as a relying party does: with the issuer's published keys alone.
///
/// # Errors
/// When there is anything that keeps it from being believed.
pub fn verified_claims(
    token: &str,
    keys: &ForeignKeySet,
    issuer: &str,
    audience: &str,
    now: u64,
) -> Result<serde_json::Value, IdentityError> {
    let parts = TokenParts::parse(token).map_err(IdentityError::Form)?;
    if parts.claims.iss != issuer {
        return Err(IdentityError::Issuer);
    }
    let key = keys.get(&parts.kid).ok_or(IdentityError::Key)?;
    parts.verify(&key)?;
    parts.claims.check(audience, now)?;
    parts.all_claims().ok_or(IdentityError::Form("has claims that are not taken"))
}

/// What a token says of itself, where it can be read; nothing of it is verified.
pub(crate) fn said_by(token: &str) -> Option<String> {
    TokenParts::parse(token).ok().map(|parts| parts.said())
}

impl TrustedIssuers {
    /// Checks a token at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// When there is anything that keeps it from being believed. Nothing of the token is in a message but
    /// its times.
    pub async fn verify(&self, token: &str, now: u64) -> Result<Verified, IdentityError> {
        let parts = TokenParts::parse(token).map_err(IdentityError::Form)?;
        // Not verified yet: it only says whose key to look for.
        let issuer = self.0.get(&parts.claims.iss).ok_or(IdentityError::Issuer)?;
        let key = issuer.keys.key(&parts.kid, now).await?;
        parts.verify(&key)?;
        issuer.believe(parts.claims, now)
    }
}

impl TrustedIssuer {
    /// What follows from claims whose signature was verified.
    fn believe(&self, claims: Claims, now: u64) -> Result<Verified, IdentityError> {
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
