//! `[releases]`: the trial of candidates, their evidence, and automatic rollback.

use std::time::Duration;

use serde::Deserialize;

use super::file::{ConfigError, DAY, bounded};

/// `[releases]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasesEntry {
    /// `candidate-percent`: the share of one processor that a candidate may use; 0 tries none.
    pub candidate_percent: u32,
    /// `evidence-decisions`: the decisions that evidence must cover, unless it covers the days.
    pub evidence_decisions: u64,
    /// `evidence-days`: the days that evidence must cover, unless it covers the decisions.
    pub evidence_days: u64,
    /// `rollback-on-faults`: the decisions that fault after a promotion, and not before it, from which on the service rolls
    /// back by itself; 0 for never.
    pub rollback_on_faults: u64,
    /// `rollback-within-seconds`: the time after a promotion in which it does.
    pub rollback_within: Duration,
    /// `follow-seconds`: the interval at which registries are asked for policies that the manifest pins and for tags that
    /// moved; `None` where they are not.
    pub follow: Option<Duration>,
}

/// The table as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ReleasesTable {
    candidate_percent: Option<u64>,
    evidence_decisions: Option<u64>,
    evidence_days: Option<u64>,
    rollback_on_faults: Option<u64>,
    rollback_within_seconds: Option<u64>,
    follow_seconds: Option<u64>,
}

impl ReleasesTable {
    pub(super) fn parse(&self) -> Result<ReleasesEntry, ConfigError> {
        Ok(ReleasesEntry {
            candidate_percent: bounded(
                "releases.candidate-percent",
                self.candidate_percent,
                10,
                (0, 100),
            )?,
            evidence_decisions: bounded(
                "releases.evidence-decisions",
                self.evidence_decisions,
                1000,
                (1, 1_000_000_000),
            )?,
            evidence_days: bounded("releases.evidence-days", self.evidence_days, 7, (1, 3650))?,
            rollback_on_faults: bounded(
                "releases.rollback-on-faults",
                self.rollback_on_faults,
                0,
                (0, 1_000_000),
            )?,
            rollback_within: Duration::from_secs(bounded(
                "releases.rollback-within-seconds",
                self.rollback_within_seconds,
                DAY,
                (1, 30 * DAY),
            )?),
            follow: match bounded("releases.follow-seconds", self.follow_seconds, 0, (0, DAY))? {
                0 => None,
                seconds => Some(Duration::from_secs(seconds)),
            },
        })
    }
}
