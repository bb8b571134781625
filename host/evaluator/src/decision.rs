//! A policy set's combined answer.

pub(crate) mod combine;
pub(crate) mod fault;
pub(crate) mod outcome;
pub(crate) mod record;
pub(crate) mod recorded;
pub(crate) mod verdict;

use std::sync::OnceLock;

use self::outcome::{BindingTrace, Outcome, Reason, Terms};
use self::record::Record;
use crate::digest::Digest;
use crate::request::claims::Claims;

/// A policy set's combined answer for one run: approved or refused, with the trace of every
/// binding that applied. Only [`PolicySet::evaluate`](crate::PolicySet::evaluate) makes one.
#[derive(Debug)]
pub struct Decision {
    pub(crate) claims: Claims,
    pub(crate) policy_set: Digest,
    pub(crate) trace: Vec<BindingTrace>,
    pub(crate) outcome: Outcome,
    /// Written once, when it is first needed.
    written: OnceLock<(Digest, Box<str>)>,
}

/// The value that proves a decision approved. Signing takes nothing else.
///
/// Only the evaluator makes one, by [`Decision::into_approval`], and it cannot be copied: one
/// approval, one token. It carries everything that the token is made of, so that nothing is signed
/// that was not decided on.
///
/// With a decision, this compiles:
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
/// nor can an existing one be copied,
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

    /// The claims that were decided on.
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

    /// The outcome of the decision.
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
        self.written.get_or_init(|| record::written(self))
    }

    /// Converts an approved decision to the value that a signer takes.
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
    /// The claims that were decided on. The token is issued with [`Approval::terms`], not with the lifetime
    /// and audiences that these request.
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
