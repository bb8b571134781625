//! A policy set's combined answer.

mod combine;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

pub(crate) use combine::combine;

use crate::binding::BindingIdentity;
use crate::claims::Claims;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identifier::{Audience, BindingName, ClaimName};
use crate::record::Record;
use crate::verdict::Verdict;

/// A policy set's combined answer for one run: approved or refused, with the trace of every
/// binding that applied. Only [`PolicySet::evaluate`](crate::PolicySet::evaluate) makes one.
#[derive(Debug)]
pub struct Decision {
    pub(crate) claims: Claims,
    pub(crate) policy_set: Digest,
    pub(crate) trace: Vec<BindingTrace>,
    pub(crate) outcome: Outcome,
    /// Written once, when it is first asked for.
    written: OnceLock<(Digest, Box<str>)>,
}

/// What a decision comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The token may be issued within the terms.
    Approved(Terms),
    /// The token must not be issued. At least one reason.
    Refused(Vec<Reason>),
}

/// The limits that an approved token is issued with: never wider than what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The audiences that remain: at least one, in the order asked for.
    pub audiences: Vec<Audience>,
    /// The life of the token in seconds: 1 to what was asked for.
    pub ttl_seconds: u32,
    /// The claims that policies added: no name that the host sets; each value at most 1,024 bytes
    /// without control characters.
    pub claims: BTreeMap<ClaimName, String>,
}

/// What one binding contributed to a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingTrace {
    /// The binding.
    pub binding: Arc<BindingIdentity>,
    /// Its verdict, or the fault that stands in its place.
    pub result: Result<Verdict, Fault>,
    /// What the evaluation used of the binding's limits.
    pub used: Used,
}

impl BindingTrace {
    /// Tells whether this is a permit that counts: the policy's, and of a binding that may permit.
    pub fn permits(&self) -> bool {
        self.binding.may_permit && matches!(self.result, Ok(Verdict::Permit(_)))
    }
}

/// What an evaluation used, where the reading can be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Used {
    /// Fuel that `evaluate` used, without what `configure` did: after a verdict, and when fuel ran
    /// out.
    pub fuel: Option<u64>,
    /// Linear memory at its peak in bytes, summed over all memories: after a verdict.
    pub memory_bytes: Option<u64>,
    /// Size of the verdict in bytes, as [`Limits::output_bytes`](crate::Limits) counts it: after a
    /// verdict.
    pub output_bytes: Option<u64>,
}

/// One reason of a refusal, for the one who asked.
///
/// It names no detail of a fault: what the operator needs is in the trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// Stable code. Those of [`ReasonSource::Host`] are documented at [`refusal`]; those of a
    /// policy are the policy's own.
    pub code: String,
    /// A sentence for people.
    pub message: String,
    /// Who gives the reason.
    pub source: ReasonSource,
    /// The binding that the reason comes from, where it comes from one.
    pub binding: Option<BindingName>,
}

/// Who gives a reason. A policy's code can equal one of the host's: only this tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReasonSource {
    /// A policy denied.
    Policy,
    /// The host refused, by the rules of combination or for a fault.
    Host,
}

/// The host's own reason codes, beside the codes of faults ([`Fault::code`]).
pub mod refusal {
    /// No enforcing binding applies to the run. What nobody decided on is refused.
    pub const NO_APPLICABLE_BINDING: &str = "no-applicable-binding";
    /// No enforcing binding that applies permits: their policies restrict or abstain, or may not permit.
    pub const NO_PERMIT: &str = "no-permit";
    /// The grants together leave no audience.
    pub const NO_AUDIENCE_LEFT: &str = "no-audience-left";
    /// Two grants add one claim with two values.
    pub const CONFLICTING_CLAIM: &str = "conflicting-claim";
    /// A policy denied and gave no reason.
    pub const NO_REASON_GIVEN: &str = "no-reason-given";
}

/// The value that proves a decision approved. Signing takes nothing else.
///
/// Only the evaluator makes one, by [`Decision::into_approval`], and it cannot be copied: one
/// approval, one token. It carries everything that the token is made of, so that nothing is signed
/// that was not decided on.
///
/// With a decision at hand this compiles:
///
/// ```
/// # fn f(decision: countersign::Decision) -> Option<countersign::Approval> {
/// let approval: countersign::Approval = decision.into_approval().ok()?;
/// # Some(approval)
/// # }
/// ```
///
/// Without one there is no way to an approval. Its fields are private:
///
/// ```compile_fail,E0451
/// # fn f(claims: countersign::Claims, terms: countersign::Terms, digest: countersign::Digest)
/// # -> countersign::Approval {
/// countersign::Approval { claims, terms, policy_set: digest, decision: digest }
/// # }
/// ```
///
/// nor can the one at hand be copied,
///
/// ```compile_fail,E0599
/// # fn f(approval: countersign::Approval) -> (countersign::Approval, countersign::Approval) {
/// (approval.clone(), approval)
/// # }
/// ```
///
/// or changed:
///
/// ```compile_fail,E0616
/// # fn f(mut approval: countersign::Approval) {
/// approval.terms.ttl_seconds = 86_400;
/// # }
/// ```
#[derive(Debug)]
pub struct Approval {
    claims: Claims,
    terms: Terms,
    policy_set: Digest,
    decision: Digest,
}

/// A decision that refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The reasons: at least one.
    pub reasons: Vec<Reason>,
    /// Digest of the decision's record.
    pub decision: Digest,
}

impl Decision {
    pub(crate) fn new(
        claims: Claims,
        policy_set: Digest,
        trace: Vec<BindingTrace>,
        outcome: Outcome,
    ) -> Self {
        Self { claims, policy_set, trace, outcome, written: OnceLock::new() }
    }

    /// What was decided on.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Digest of the policy set that decided.
    pub fn policy_set(&self) -> Digest {
        self.policy_set
    }

    /// Every binding that applied, in the order of names, shadow bindings included.
    pub fn trace(&self) -> &[BindingTrace] {
        &self.trace
    }

    /// What the decision comes to.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The decision as it is kept on record: its JSON shape is stable, and holds no secret.
    pub fn record(&self) -> Record<'_> {
        Record::new(self)
    }

    /// The decision's id: the digest of its record. Decisions differ when their ids do, and two
    /// evaluations of one request at one time by one policy set have the same.
    pub fn id(&self) -> Digest {
        self.written().0
    }

    /// [`Decision::record`] as compact JSON.
    pub fn json(&self) -> &str {
        &self.written().1
    }

    fn written(&self) -> &(Digest, Box<str>) {
        self.written.get_or_init(|| crate::record::written(self))
    }

    /// Turns an approved decision into what a signer takes.
    ///
    /// # Errors
    /// When the decision refused: with its reasons.
    pub fn into_approval(self) -> Result<Approval, Refusal> {
        let decision = self.id();
        match self.outcome {
            Outcome::Approved(terms) => {
                Ok(Approval { claims: self.claims, terms, policy_set: self.policy_set, decision })
            }
            Outcome::Refused(reasons) => Err(Refusal { reasons, decision }),
        }
    }
}

impl Approval {
    /// The claims that were decided on. The token is issued with [`Approval::terms`], not with
    /// what these ask for.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The limits that the token is issued with.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Digest of the policy set that decided.
    pub fn policy_set(&self) -> Digest {
        self.policy_set
    }

    /// Digest of the decision's record.
    pub fn decision(&self) -> Digest {
        self.decision
    }
}
