//! One policy's answer, checked against the contract.

use std::collections::BTreeMap;
use std::ops::Deref;

use super::fault::GrantFault;
use crate::request::claims::{TokenRequest, is_reserved_claim};
use crate::request::identifier::{Audience, ClaimName};
use crate::text::escape;

/// The maximum of reasons that are kept of one denial.
pub const MAX_REASONS: usize = 16;

/// The maximum of claims that one grant may add.
pub const MAX_GRANTED_CLAIMS: usize = 32;

/// The maximum length of an added claim's value, in bytes.
pub const MAX_CLAIM_VALUE_BYTES: usize = 1024;

/// The code of a reason whose own is not 1 to 64 bytes of `a-z 0-9 -`.
const MALFORMED_CODE: &str = "malformed-code";

const MAX_CODE_BYTES: usize = 64;
const MAX_MESSAGE_BYTES: usize = 1024;

/// One policy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The token may be issued within the grant. A decision needs at least one.
    Permit(Grant),
    /// If the token is issued, then within the grant. Narrows as a permit does, and never counts as one.
    Restrict(Grant),
    /// The token must not be issued.
    Deny(Vec<PolicyReason>),
    /// The policy has nothing to say about this run.
    Abstain,
}

/// The narrowing of a permit or a restriction. Checked: it narrows and does nothing else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Grant {
    /// The ceiling of the token's lifetime in seconds: at least 1, at most the requested one.
    pub max_ttl: Option<u32>,
    /// The audiences kept: all of them requested, possibly none.
    pub audiences: Option<Vec<Audience>>,
    /// The claims added: none reserved, all allowed for the binding.
    pub claims: BTreeMap<ClaimName, String>,
}

/// One reason of a denial, as a policy gave it: data, made safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyReason {
    /// The policy's code: 1 to 64 bytes of `a-z 0-9 -`, or `malformed-code` when the policy's was
    /// not; then the message begins with it.
    pub code: String,
    /// The policy's message: escaped, and cut to 1,024 bytes.
    pub message: String,
}

/// A grant as it came from the guest or from a record, unchecked.
pub(crate) struct RawGrant<'g, T> {
    pub(crate) max_ttl: Option<u32>,
    pub(crate) audiences: Option<&'g [T]>,
    pub(crate) claims: &'g mut dyn Iterator<Item = (&'g str, &'g str)>,
}

impl Grant {
    /// Checks a grant against the request and the claims that the operator allows.
    ///
    /// Nothing is clipped: a grant that is too wide shows a policy that does not do what its
    /// author thinks, and the token must wait until it does.
    pub(crate) fn check<T: Deref<Target = str>>(
        raw: RawGrant<'_, T>,
        token: &TokenRequest,
        allowed: &[ClaimName],
    ) -> Result<Self, GrantFault> {
        let requested = token.ttl_seconds();
        if let Some(granted) = raw.max_ttl
            && !(1..=requested).contains(&granted)
        {
            return Err(GrantFault::Ttl { granted, requested });
        }
        let audiences = raw.audiences.map(|kept| audiences(kept, token)).transpose()?;
        let mut claims = BTreeMap::new();
        for (name, value) in raw.claims {
            let name = claim_name(name, allowed)?;
            let value = claim_value(&name, value)?;
            if claims.len() == MAX_GRANTED_CLAIMS {
                let problem = format!("more than {MAX_GRANTED_CLAIMS} claims");
                return Err(GrantFault::BadClaim { problem });
            }
            if claims.contains_key(&name) {
                return Err(GrantFault::BadClaim { problem: format!("`{name}` twice") });
            }
            claims.insert(name, value);
        }
        Ok(Self { max_ttl: raw.max_ttl, audiences, claims })
    }
}

impl PolicyReason {
    /// Makes a policy's reason safe to show, and its code fit for machines.
    pub(crate) fn new(code: &str, message: &str) -> Self {
        if is_code(code) {
            let message = escape(message, MAX_MESSAGE_BYTES);
            return Self { code: code.to_owned(), message };
        }
        // The code is kept for the reader, malformed as it is.
        let code = escape(code, MAX_CODE_BYTES);
        let message = escape(message, MAX_MESSAGE_BYTES - MAX_CODE_BYTES - 2);
        Self { code: MALFORMED_CODE.to_owned(), message: format!("{code}: {message}") }
    }

    /// A reason that was kept on record, if it has the form of one. Its texts are safe already: escaping them again
    /// would change them.
    pub(crate) fn recorded(code: &str, message: &str) -> Option<Self> {
        let is_one = is_code(code) && message.len() <= MAX_MESSAGE_BYTES;
        is_one.then(|| Self { code: code.to_owned(), message: message.to_owned() })
    }
}

fn is_code(code: &str) -> bool {
    (1..=MAX_CODE_BYTES).contains(&code.len())
        && code.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// The granted audiences in the order of the request.
fn audiences<T: Deref<Target = str>>(
    kept: &[T],
    token: &TokenRequest,
) -> Result<Vec<Audience>, GrantFault> {
    let requested = token.audiences();
    if let Some(other) = kept.iter().find(|kept| requested.iter().all(|a| *a.as_str() != ***kept)) {
        return Err(GrantFault::Audience { audience: escape(other, 256) });
    }
    Ok(requested
        .iter()
        .filter(|audience| kept.iter().any(|kept| **kept == *audience.as_str()))
        .cloned()
        .collect())
}

fn claim_name(name: &str, allowed: &[ClaimName]) -> Result<ClaimName, GrantFault> {
    let name = ClaimName::parse(name)
        .map_err(|problem| GrantFault::BadClaim { problem: problem.to_string() })?;
    if is_reserved_claim(&name) {
        return Err(GrantFault::ReservedClaim { name: name.to_string() });
    }
    if !allowed.contains(&name) {
        return Err(GrantFault::UnlistedClaim { name: name.to_string() });
    }
    Ok(name)
}

fn claim_value(name: &ClaimName, value: &str) -> Result<String, GrantFault> {
    if value.len() > MAX_CLAIM_VALUE_BYTES {
        let problem = format!("the value of `{name}` is longer than {MAX_CLAIM_VALUE_BYTES} bytes");
        return Err(GrantFault::BadClaim { problem });
    }
    if value.contains(char::is_control) {
        let problem = format!("the value of `{name}` has control characters");
        return Err(GrantFault::BadClaim { problem });
    }
    Ok(value.to_owned())
}
