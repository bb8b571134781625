//! Verdicts, as an author writes them.

use crate::{Fact, Grant, Reason, Token, Verdict};

impl Verdict {
    /// The token may be issued as requested. To narrow it, see [`Grant::permit`].
    ///
    /// The verdict of a policy that says who may have a token: one permit is enough, even if all
    /// other policies abstain. A policy that only limits tokens answers
    /// [`Verdict::restrict`].
    #[must_use]
    pub fn permit() -> Self {
        Grant::new().permit()
    }

    /// If the token is issued, then as requested: the policy neither objects to it nor says that
    /// the run may have it. To narrow the token, see [`Grant::restrict`].
    ///
    /// The verdict of a policy that limits tokens and does not say who may have them. It never
    /// counts as a permit, so such a policy can be bound to all runs without letting anybody in.
    #[must_use]
    pub fn restrict() -> Self {
        Grant::new().restrict()
    }

    /// The token must not be issued.
    ///
    /// `code` is for machines and stays the same over versions: 1 to 64 bytes of lower-case
    /// letters, digits and dashes. `message` is for the person whose run was refused: say what was
    /// wrong and what would be right, in at most 1,024 bytes.
    #[must_use]
    pub fn deny(code: &str, message: impl Into<String>) -> Self {
        Self::Deny(vec![Reason::new(code, message)])
    }

    /// This policy has nothing to say about this run. If no policy permits, the host refuses.
    #[must_use]
    pub fn abstain() -> Self {
        Self::Abstain
    }
}

impl Reason {
    /// One reason of a [`Verdict::Deny`]: see [`Verdict::deny`].
    #[must_use]
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

impl Grant {
    /// Narrows nothing. End it with [`Grant::permit`] or [`Grant::restrict`].
    #[must_use]
    pub fn new() -> Self {
        Self { max_ttl: None, audiences: None, claims: Vec::new() }
    }

    /// The token may be issued, within this grant: see [`Verdict::permit`].
    #[must_use]
    pub fn permit(self) -> Verdict {
        Verdict::Permit(self)
    }

    /// If the token is issued, then within this grant: see [`Verdict::restrict`].
    #[must_use]
    pub fn restrict(self) -> Verdict {
        Verdict::Restrict(self)
    }

    /// Caps the TTL of the token at this many seconds, and at the requested TTL.
    ///
    /// Of two calls, the smaller TTL applies. A ceiling of 0 is a fault when the host checks it:
    /// deny instead.
    #[must_use]
    pub fn ttl_at_most(mut self, seconds: u32, token: &Token) -> Self {
        let ceiling = self.max_ttl.unwrap_or(token.ttl_seconds).min(seconds);
        self.max_ttl = (ceiling < token.ttl_seconds).then_some(ceiling);
        self
    }

    /// Keeps those of the requested audiences for which `keep` returns true. Keeping none refuses;
    /// deny instead, so that the requester is told why.
    #[must_use]
    pub fn keep_audiences(mut self, token: &Token, mut keep: impl FnMut(&str) -> bool) -> Self {
        let mut audiences = self.audiences.take().unwrap_or_else(|| token.audiences.clone());
        audiences.retain(|audience| keep(audience));
        self.audiences = Some(audiences);
        self
    }

    /// Adds a claim to the token. The operator must allow its name for the binding, and no policy
    /// can set a claim that the host sets.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<String>) -> Self {
        self.claims.push(Fact { name: name.to_owned(), value: value.into() });
        self
    }
}

impl Default for Grant {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn a_grant_never_widens() {
        let token = testing::token();
        assert_eq!(Grant::new().ttl_at_most(900, &token).max_ttl, Some(900));
        assert_eq!(
            Grant::new().ttl_at_most(900, &token).ttl_at_most(950, &token).max_ttl,
            Some(900)
        );
        assert_eq!(Grant::new().ttl_at_most(token.ttl_seconds, &token).max_ttl, None);
        assert_eq!(Grant::new().ttl_at_most(u32::MAX, &token).max_ttl, None);
        let kept = Grant::new().keep_audiences(&token, |audience| audience.starts_with("aws"));
        assert_eq!(kept.audiences, Some(vec!["aws-workload-identity-provider:demo".to_owned()]));
        assert_eq!(kept.keep_audiences(&token, |_| false).audiences, Some(vec![]));
    }

    #[test]
    fn a_restriction_has_the_grant_of_a_permit_and_is_none() {
        let token = testing::token();
        let grant = || Grant::new().ttl_at_most(900, &token).claim("team", "red");
        assert_eq!(grant().permit(), Verdict::Permit(grant()));
        assert_eq!(grant().restrict(), Verdict::Restrict(grant()));
        assert_eq!(Verdict::restrict(), Verdict::Restrict(Grant::new()));
        assert_ne!(Verdict::restrict(), Verdict::permit());
    }
}
