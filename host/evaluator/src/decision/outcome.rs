//! The outcome of a decision, and the trace that led to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::fault::Fault;
use super::verdict::Verdict;
use crate::limits::EvaluationUsage;
use crate::policy_set::identity::BindingIdentity;
use crate::request::identifier::{Audience, BindingName, ClaimName};

/// The outcome of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The token may be issued within the terms.
    Approved(Terms),
    /// The token must not be issued. At least one reason.
    Refused(Vec<Reason>),
}

/// The limits that an approved token is issued with: never wider than what was requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The audiences that remain: at least one, in the order of the request.
    pub audiences: Vec<Audience>,
    /// The lifetime of the token in seconds: 1 to the requested one.
    pub ttl_seconds: u32,
    /// The claims that policies added: no name that the host sets; each value at most 1,024 bytes
    /// without control characters.
    pub claims: BTreeMap<ClaimName, String>,
}

/// One binding's part in a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingTrace {
    /// The binding.
    pub binding: Arc<BindingIdentity>,
    /// Its verdict, or the fault that stands in its place.
    pub result: Result<Verdict, Fault>,
    /// Usage of the binding's limits.
    pub used: EvaluationUsage,
}

impl BindingTrace {
    /// Tells whether this is a permit that counts: the policy's, and of a binding that may permit.
    pub fn permits(&self) -> bool {
        self.binding.may_permit && matches!(self.result, Ok(Verdict::Permit(_)))
    }
}

/// One reason of a refusal, for the client.
///
/// It names no detail of a fault: the trace has those, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Stable code. Those of [`ReasonSource::Host`] are documented at [`refusal`]; those of a
    /// policy are the policy's own.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// The source of the reason.
    pub source: ReasonSource,
    /// The binding that the reason comes from, where it comes from one.
    pub binding: Option<BindingName>,
}

/// The source of a reason. A policy's code can equal one of the host's: only this tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonSource {
    /// A policy denied.
    Policy,
    /// The host refused, by the rules of combination or for a fault.
    Host,
}

impl ReasonSource {
    /// The word that records and responses have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Host => "host",
        }
    }
}

/// The host's own reason codes, beside the codes of faults ([`Fault::code`]).
pub mod refusal {
    /// No enforcing binding applies to the run. A run that no policy decides on is refused.
    pub const NO_APPLICABLE_BINDING: &str = "no-applicable-binding";
    /// No enforcing binding that applies permits: their policies restrict or abstain, or may not permit.
    pub const NO_PERMIT: &str = "no-permit";
    /// The grants together leave no audience.
    pub const NO_AUDIENCE_LEFT: &str = "no-audience-left";
    /// Two grants add one claim with two values.
    pub const CONFLICTING_CLAIM: &str = "conflicting-claim";
    /// A policy denied and gave no reason.
    pub const NO_REASON_GIVEN: &str = "no-reason-given";

    /// All of them.
    pub const ALL: [&str; 5] =
        [NO_APPLICABLE_BINDING, NO_PERMIT, NO_AUDIENCE_LEFT, CONFLICTING_CLAIM, NO_REASON_GIVEN];
}
