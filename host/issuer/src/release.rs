//! The steps of releases: staged, adopted, promoted, rolled back. Each is on record before what it changes decides.
//!
//! A release is an immutable policy set, and its digest is the policy set's: the `policy_set` of a decision names the
//! release that made it.

use std::collections::BTreeMap;

use countersign::Digest;
use serde::{Deserialize, Serialize};

/// A step in the life of releases, as it is kept and put on record. Members are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStep {
    /// Its number, from 1 on, without a gap.
    pub step: u64,
    /// The action.
    pub action: ReleaseAction,
    /// The time at which it was made, in seconds since 1970.
    pub at: u64,
    /// The release that is staged, or that decides from here on.
    pub release: Digest,
    /// The release that decided before; absent where none did, and where that does not change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Digest>,
    /// The evidence of a promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<ReleaseEvidence>,
    /// The reason: of a promotion without evidence or with an accepted gain, or of a rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// True for a rollback that no person asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub automatic: bool,
}

/// The action of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReleaseAction {
    /// A release is the candidate.
    Staged,
    /// The policy set of the manifest, which decided before there was a release, is the active release.
    Adopted,
    /// The candidate, or another release, is active.
    Promoted,
    /// The release before is active again.
    RolledBack,
}

impl ReleaseAction {
    /// The word that records and output have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Staged => "staged",
            Self::Adopted => "adopted",
            Self::Promoted => "promoted",
            Self::RolledBack => "rolled-back",
        }
    }
}

/// The evidence that a release was promoted by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseEvidence {
    /// Its digest.
    pub digest: Digest,
    /// The last record of the log that it covers, and that record's hash.
    pub last: u64,
    /// The hash of that record.
    pub hash: String,
    /// Decisions that were compared.
    pub compared: u64,
    /// Decisions by class of difference.
    pub classes: BTreeMap<String, u64>,
    /// Decisions in which a binding faults that did not.
    pub faults: u64,
}

/// The record of a step.
///
/// # Errors
/// When it cannot be written.
pub(crate) fn step_record(step: &ReleaseStep, time: u64) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct StepRecord<'s> {
        version: u32,
        kind: &'static str,
        time: u64,
        #[serde(flatten)]
        step: &'s ReleaseStep,
    }
    serde_json::to_vec(&StepRecord { version: 1, kind: "release", time, step })
}
