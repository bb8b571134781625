//! Authentication: tokens that come in, and the identities that they prove.
//!
//! A token is taken apart and checked here and not by a library that is lenient by default: one
//! serialisation, five algorithms, no header but the ones that are known, every claim of one type, and
//! a key verifies the algorithms of its own type alone, whatever the token says.

mod jwks;
mod jws;
mod key_source;
mod published;
mod required_claims;
mod roca;
mod trusted_identities;
mod verification_key;

use std::collections::HashMap;
use std::sync::Arc;

use countersign::RunnerId;

pub use jwks::{Jwks, JwksError, UnusableKey};
use jws::JwsParts;
pub use jws::MAX_TOKEN_BYTES;
pub use key_source::{Fetch, FetchError, FetchErrorKind, FetchedDocument, KeySource, is_secure};
pub use published::Published;
pub use required_claims::{ClaimValue, RequiredClaims, RequiredClaimsError};
pub use trusted_identities::{AmbiguousIdentities, TrustedIdentities, TrustedIdentity};
pub use verification_key::{VerificationAlgorithm, VerificationKey};

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
    /// Read the decision log, by the console.
    Read,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Self; 4] = [Self::Runs, Self::Decisions, Self::Metrics, Self::Read];

    /// The word that configurations have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::Decisions => "decisions",
            Self::Metrics => "metrics",
            Self::Read => "read",
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
    /// The maximum of seconds from `iat` to `exp`.
    pub max_token_lifetime: u64,
    /// The principals that its tokens stand for. Others are nobody.
    pub identities: TrustedIdentities,
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
    /// The time from which on it is not accepted.
    pub expires_at: u64,
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
    /// It names a key that its issuer does not publish.
    #[error("the token is signed with a key that its issuer does not publish")]
    Key,
    /// It names a key that cannot be used for it, or none of several.
    #[error("the token's key cannot be used: {0}")]
    UnfitKey(String),
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
    /// It is valid for too long.
    #[error("the token is valid for {seconds} s (`exp` less `iat`), at most {max} are accepted")]
    Lifetime {
        /// Its lifetime.
        seconds: u64,
        /// The maximum.
        max: u64,
    },
    /// Its subject stands for nobody, or not with its other claims.
    #[error("no identity is configured for the token's subject and claims")]
    Subject,
    /// It must be accepted once only, and has no id.
    #[error("the token has no `jti`, which tokens of its issuer must have")]
    NoId,
    /// It was accepted before, and must be once only.
    #[error("the token was used before; tokens of its issuer are accepted once")]
    Used,
    /// The keys of its issuer, or something else that is needed, are not available. Later they may be.
    #[error("the token cannot be checked now: {reason}")]
    Unavailable {
        /// The seconds after which a retry may succeed.
        retry_after: u64,
        /// The reason, for the operator.
        reason: String,
    },
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
    let key = keys.select(parts.wanted_key()).map_err(IdentityError::from)?;
    parts.verify(&key)?;
    parts.claims.check(audience, now)?;
    parts.all_claims().ok_or(IdentityError::Form("has invalid claims"))
}

/// The issuer, subject, audience and `kid` of a token that can be read; nothing of them is verified.
pub(crate) fn unverified_claims(token: &str) -> Option<String> {
    JwsParts::parse(token).ok().map(|parts| parts.describe())
}

impl TrustedIssuers {
    /// Checks a token at `now`, in seconds since 1970. Waits for its issuer where a key is not known: for ten seconds at
    /// most, as one of 16 that do.
    ///
    /// # Errors
    /// When a check fails. Nothing of the token is in a message but
    /// its times.
    pub async fn verify(&self, token: &str, now: u64) -> Result<Verified, IdentityError> {
        let parts = JwsParts::parse(token).map_err(IdentityError::Form)?;
        // Not verified yet: it only selects the issuer whose key verifies the token.
        let issuer = self.0.get(&parts.claims.iss).ok_or(IdentityError::Issuer)?;
        let wanted = parts.wanted_key();
        let found = issuer.keys.key(wanted, now).await?;
        match parts.verify(&found.key) {
            // Its issuer may have another key of this name now, or another one that needs no name.
            Err(error) if !found.is_current => {
                let newer = issuer.keys.newer_key(wanted, &found.key, now).await;
                match newer {
                    Ok(Some(newer)) => parts.verify(&newer)?,
                    Ok(None) => return Err(error),
                    // A name that is used again is rare, and a signature that is wrong is not.
                    Err(_) if parts.kid.is_some() => return Err(error),
                    Err(unavailable) => return Err(unavailable),
                }
            }
            verified => verified?,
        }
        issuer.identify(&parts, now)
    }

    /// The sources of keys that can change.
    pub(crate) fn published(&self) -> impl Iterator<Item = &Arc<Published>> {
        self.0.values().filter_map(|issuer| issuer.keys.changing())
    }
}

impl TrustedIssuer {
    /// The identity that a token proves whose signature was verified.
    fn identify(&self, parts: &JwsParts<'_>, now: u64) -> Result<Verified, IdentityError> {
        let claims = &parts.claims;
        claims.check(&self.audience, now)?;
        let (seconds, max) = (claims.exp.saturating_sub(claims.iat), self.max_token_lifetime);
        if seconds > max {
            return Err(IdentityError::Lifetime { seconds, max });
        }
        let identity = self.identities.of(&claims.sub, || parts.all_claims());
        let identity = identity.ok_or(IdentityError::Subject)?.clone();
        let (expires_at, id) = (claims.exp, claims.jti.clone());
        let once = match (self.single_use, id) {
            (false, _) => None,
            (true, Some(id)) => Some((id, expires_at)),
            (true, None) => return Err(IdentityError::NoId),
        };
        let (issuer, subject) = (self.url.clone(), claims.sub.clone());
        Ok(Verified { identity, issuer, subject, expires_at, once })
    }
}
