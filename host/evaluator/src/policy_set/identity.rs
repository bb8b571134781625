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
