//! The identity of a binding.

use super::scope::{Mode, Scope};
use crate::digest::Digest;
use crate::limits::Limits;
use crate::request::identifier::{BindingName, ClaimName};

/// The identity of a binding in decisions and records.
#[derive(Debug, Clone, PartialEq, Eq)]
// Apart from the reference count beside it, which every evaluation of a worker slot writes to, and from those of others.
#[repr(align(128))]
pub struct BindingIdentity {
    /// The binding's name.
    pub name: BindingName,
    /// The policy's own name.
    pub policy_name: String,
    /// The policy's own version.
    pub policy_version: String,
    /// Digest of the component.
    pub policy: Digest,
    /// Digest of the settings.
    pub settings: Digest,
    /// The runs that it applies to.
    pub scope: Scope,
    /// Its mode: enforcing or shadow.
    pub mode: Mode,
    /// Counts a permit of the policy as one; if false, it counts as a restriction.
    pub may_permit: bool,
    /// The limits of an evaluation.
    pub limits: Limits,
    /// The claims that the policy may add.
    pub claims: Vec<ClaimName>,
}

impl BindingIdentity {
    /// Tells whether two bindings give the same verdict, to the byte, on the same claims.
    ///
    /// INVARIANT: compares everything that a verdict follows from beside the claims: the component, its settings, the
    /// limits of an evaluation, and the claims that a grant may add. Name, mode, scope and `may_permit` only say when
    /// the verdict is asked for and for what it counts.
    pub fn evaluates_as(&self, other: &Self) -> bool {
        self.policy == other.policy
            && self.settings == other.settings
            && self.limits == other.limits
            && self.claims == other.claims
    }
}
