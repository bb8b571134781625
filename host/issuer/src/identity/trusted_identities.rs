//! The principals that tokens of a trusted issuer stand for.

use std::collections::HashMap;

use serde_json::Value;

use super::Identity;
use super::required_claims::RequiredClaims;

/// A principal, and the tokens that stand for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIdentity {
    /// The subject (`sub`), compared byte by byte.
    pub subject: String,
    /// The claims that a token must have beside it.
    pub claims: RequiredClaims,
    /// The principal.
    pub identity: Identity,
}

/// The principals of an issuer. A token stands for one at most: those of one subject exclude each other by their claims.
#[derive(Debug, Default)]
pub struct TrustedIdentities(HashMap<String, Vec<TrustedIdentity>>);

/// One token could stand for two principals.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token could stand for two identities of one subject: each must require another value of one claim"
)]
pub struct AmbiguousIdentities {
    /// The subject.
    pub subject: String,
}

impl TrustedIdentities {
    /// Puts principals together.
    ///
    /// # Errors
    /// When two of them have one subject, and no claim of which each requires another value.
    pub fn new(
        identities: impl IntoIterator<Item = TrustedIdentity>,
    ) -> Result<Self, AmbiguousIdentities> {
        let mut by_subject: HashMap<String, Vec<TrustedIdentity>> = HashMap::new();
        for identity in identities {
            let others = by_subject.entry(identity.subject.clone()).or_default();
            if !others.iter().all(|other| other.claims.exclude(&identity.claims)) {
                return Err(AmbiguousIdentities { subject: identity.subject });
            }
            others.push(identity);
        }
        Ok(Self(by_subject))
    }

    /// The principal of a token with this subject; `claims` gives all its claims, where others are required.
    pub(super) fn of(
        &self,
        subject: &str,
        claims: impl FnOnce() -> Option<Value>,
    ) -> Option<&Identity> {
        let candidates = self.0.get(subject)?;
        if let [TrustedIdentity { claims, identity, .. }] = candidates.as_slice()
            && claims.is_empty()
        {
            return Some(identity);
        }
        let claims = claims()?;
        let found = candidates.iter().find(|candidate| candidate.claims.are_in(&claims));
        found.map(|found| &found.identity)
    }
}
