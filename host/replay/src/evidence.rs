//! Evidence: what a candidate would have decided, as one digest.

use std::collections::BTreeMap;

use countersign::{Digest, WASMTIME_VERSION};
use countersign_decision_log::Head;
use serde::Serialize;

use crate::compare::Class;
use crate::filter::Filter;
use crate::impact::ImpactReport;
use crate::summary::Summary;

/// The version of the shape of evidence.
const VERSION: u32 = 1;

/// Proof of what a candidate policy set would have decided: over which decisions, and with which differences.
///
/// Its digest is of the compact JSON of everything else in it. Whoever has the log and the candidate can work it out again
/// with this version and compare: counts and digests are the same on every machine, but for decisions with a fault that
/// depends on the machine ([`Fault::MACHINE_CODES`](countersign::Fault::MACHINE_CODES)).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    version: u32,
    tool: &'static str,
    wasmtime: &'static str,
    source: SourceRecord,
    #[serde(skip_serializing_if = "FilterRecord::is_empty")]
    filter: FilterRecord,
    candidate: String,
    /// True if the source ended early, by damage.
    damaged: bool,
    compared: u64,
    /// Verdicts that were taken from the record, and those that were evaluated.
    reused: u64,
    evaluated: u64,
    classes: BTreeMap<&'static str, u64>,
    faults: u64,
    not_replayable: BTreeMap<&'static str, u64>,
    without_decision: BTreeMap<String, u64>,
    left_out: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<(u64, u64)>,
    sample: SampleRecord,
}

/// The decisions that evidence is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceSource {
    /// The records of a log, up to its head.
    Log(Head),
    /// Questions that the current policy set, which has this digest, decided on first.
    Questions {
        /// Digest of the current policy set.
        current: Digest,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum SourceRecord {
    Log { first: u64, last: u64, hash: String, covered: u64 },
    Questions { current: String, decisions: String },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct FilterRecord {
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workspace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    definition: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct SampleRecord {
    decisions: u64,
    differ: u64,
    usage_differs: u64,
}

impl Evidence {
    /// The evidence of a report about the candidate with this digest.
    pub fn new(
        source: &EvidenceSource,
        filter: &Filter,
        candidate: Digest,
        report: &ImpactReport,
    ) -> Self {
        let Summary { classes, not_replayable, without_decision, sample, .. } = &report.summary;
        let source = match source {
            EvidenceSource::Log(Head { first, last, hash, covered }) => SourceRecord::Log {
                first: *first,
                last: *last,
                hash: hash.to_string(),
                covered: *covered,
            },
            EvidenceSource::Questions { current } => SourceRecord::Questions {
                current: current.to_string(),
                decisions: report.decisions.to_string(),
            },
        };
        Self {
            version: VERSION,
            tool: env!("CARGO_PKG_VERSION"),
            wasmtime: WASMTIME_VERSION,
            source,
            filter: FilterRecord {
                since: filter.since,
                until: filter.until,
                workspace: filter.workspace.as_ref().map(ToString::to_string),
                definition: filter.definition.as_ref().map(ToString::to_string),
            },
            candidate: candidate.to_string(),
            damaged: report.ended.is_some() || report.is_stopped,
            compared: report.summary.compared(),
            reused: report.summary.reused,
            evaluated: report.summary.evaluated,
            classes: Class::ALL.iter().map(|class| (class.as_str(), classes.of(*class))).collect(),
            faults: classes.faults,
            not_replayable: not_replayable.iter().map(|(why, n)| (why.as_str(), *n)).collect(),
            without_decision: without_decision.clone(),
            left_out: report.summary.left_out,
            times: report.summary.times,
            sample: SampleRecord {
                decisions: sample.decisions,
                differ: sample.differ,
                usage_differs: sample.usage_differs,
            },
        }
    }

    /// The digest of the evidence as compact JSON, in the order of its members.
    pub fn digest(&self) -> Digest {
        // Its keys are texts, so it can be written.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

impl FilterRecord {
    fn is_empty(&self) -> bool {
        *self == Self { since: None, until: None, workspace: None, definition: None }
    }
}
