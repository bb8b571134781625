//! The record of a decision in which a candidate differs.

use countersign::{Digest, Outcome, Projection, RecordedDecision};
use countersign_replay::{Cause, Comparison};
use serde::Serialize;

/// A decision that a candidate would have made otherwise. Nothing followed from it.
#[derive(Serialize)]
struct CandidateRecord<'r> {
    version: u32,
    kind: &'static str,
    time: u64,
    /// The candidate.
    release: Digest,
    /// The policy set that decided.
    policy_set: Digest,
    /// The id of the decision.
    of: Digest,
    run: &'r str,
    class: &'static str,
    fault: bool,
    before: &'static str,
    after: &'static str,
    causes: Vec<CauseRecord<'r>>,
}

#[derive(Serialize)]
struct CauseRecord<'r> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    binding: Option<&'r str>,
    code: &'r str,
}

impl<'r> CauseRecord<'r> {
    fn new(cause: &'r Cause) -> Self {
        let binding = cause.binding.as_ref().map(|name| name.as_str());
        Self { kind: cause.kind.as_str(), binding, code: &cause.code }
    }
}

/// The record of a difference.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn candidate_record(
    release: Digest,
    before: &RecordedDecision,
    after: &Projection,
    comparison: &Comparison,
    time: u64,
) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&CandidateRecord {
        version: 1,
        kind: "candidate",
        time,
        release,
        policy_set: before.policy_set,
        of: before.id,
        run: before.claims.run().id.as_str(),
        class: comparison.class.as_str(),
        fault: comparison.faults,
        before: word(&before.outcome),
        after: word(&after.outcome),
        causes: comparison.causes.iter().map(CauseRecord::new).collect(),
    })
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Approved(_) => "approved",
        Outcome::Refused(_) => "refused",
    }
}
