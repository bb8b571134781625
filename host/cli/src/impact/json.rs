//! The JSON of an impact, and its parts for programs that other forms show as well.

use std::collections::BTreeMap;

use countersign::{Claims, Outcome, Reason, Terms};
use countersign_authoring::Explanation;
use countersign_replay::{
    BindingChange, BindingCounts, Cause, CauseKind, Class, ClassCounts, Evidence, NotReplayable,
    Part, Place, Summary, VerdictCounts,
};
use serde::Serialize;

use super::coverage::Coverage;
use super::report::{ListedChange, Report};
use crate::output;

/// A run, and the place that its decision is from.
#[derive(Serialize)]
pub(crate) struct PrintedRun<'r> {
    #[serde(flatten)]
    place: PrintedPlace<'r>,
    time: u64,
    run: &'r str,
    behavior: &'static str,
    owning_workspace: &'r str,
    definition_workspace: &'r str,
    definition: &'r str,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum PrintedPlace<'r> {
    Record(u64),
    Name(&'r str),
}

/// A binding whose part differs: both parts on one line each.
#[derive(Serialize)]
pub(crate) struct PrintedBinding<'r> {
    binding: &'r str,
    before: Option<String>,
    after: Option<String>,
}

/// A decision that cannot be decided again.
#[derive(Serialize)]
pub(crate) struct PrintedNotReplayable<'r> {
    #[serde(flatten)]
    place: PrintedPlace<'r>,
    time: Option<u64>,
    reason: &'static str,
    detail: &'r str,
}

/// A decision that differs.
#[derive(Serialize)]
pub(super) struct PrintedChange<'r> {
    pub(super) class: &'static str,
    faults: bool,
    #[serde(flatten)]
    pub(super) run: PrintedRun<'r>,
    before: PrintedOutcome<'r>,
    after: PrintedOutcome<'r>,
    causes: Vec<PrintedCause<'r>>,
    pub(super) bindings: Vec<PrintedBinding<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<PrintedExplanation<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum PrintedOutcome<'r> {
    Approved { audiences: Vec<&'r str>, ttl_seconds: u32, claims: BTreeMap<&'r str, &'r str> },
    Refused { reasons: Vec<PrintedReason<'r>> },
}

#[derive(Serialize)]
struct PrintedReason<'r> {
    code: &'r str,
    message: &'r str,
    source: &'static str,
    binding: Option<&'r str>,
}

#[derive(Serialize)]
struct PrintedCause<'r> {
    class: &'static str,
    binding: Option<&'r str>,
    code: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    decisions: Option<u64>,
}

#[derive(Serialize)]
struct PrintedExplanation<'r> {
    claims: Vec<&'static str>,
    counterfactuals: Vec<Vec<PrintedClaimChange<'r>>>,
    is_complete: bool,
}

#[derive(Serialize)]
struct PrintedClaimChange<'r> {
    claim: &'static str,
    from: &'r str,
    to: &'r str,
}

#[derive(Serialize)]
pub(super) struct PrintedSummary<'r> {
    candidate: String,
    source: &'static str,
    read: u64,
    compared: u64,
    classes: BTreeMap<&'static str, u64>,
    faults: u64,
    not_replayable: BTreeMap<&'static str, u64>,
    without_decision: &'r BTreeMap<String, u64>,
    left_out: u64,
    since: Option<u64>,
    until: Option<u64>,
    policy_sets: BTreeMap<String, u64>,
    causes: Vec<PrintedCause<'r>>,
    definitions: Vec<PrintedOfDefinition<'r>>,
    workspaces: Vec<PrintedOfWorkspace<'r>>,
    bindings: Vec<PrintedOfBinding<'r>>,
    beyond_tables: u64,
    verdicts_reused: u64,
    verdicts_evaluated: u64,
    fuel_before: u64,
    fuel_after: u64,
    sample: PrintedSample,
    damage: Option<&'r str>,
    mismatches: Vec<String>,
    coverage: Option<&'r Coverage>,
    evidence: PrintedEvidence<'r>,
    failed_on: &'r [&'static str],
}

#[derive(Serialize)]
struct PrintedSample {
    decisions: u64,
    differ: u64,
    usage_differs: u64,
}

#[derive(Serialize)]
struct PrintedOfDefinition<'r> {
    definition_workspace: &'r str,
    definition: &'r str,
    #[serde(flatten)]
    counts: PrintedCounts,
}

#[derive(Serialize)]
struct PrintedOfWorkspace<'r> {
    owning_workspace: &'r str,
    #[serde(flatten)]
    counts: PrintedCounts,
}

#[derive(Serialize)]
struct PrintedCounts {
    compared: u64,
    classes: BTreeMap<&'static str, u64>,
    faults: u64,
}

#[derive(Serialize)]
struct PrintedOfBinding<'r> {
    binding: &'r str,
    before: PrintedVerdicts,
    after: PrintedVerdicts,
}

#[derive(Serialize)]
struct PrintedVerdicts {
    permit: u64,
    restrict: u64,
    deny: u64,
    abstain: u64,
    fault: u64,
}

#[derive(Serialize)]
struct PrintedEvidence<'r> {
    digest: String,
    #[serde(flatten)]
    evidence: &'r Evidence,
}

/// The whole report.
#[derive(Serialize)]
pub(super) struct Printed<'r> {
    #[serde(flatten)]
    summary: PrintedSummary<'r>,
    changes: Vec<PrintedChange<'r>>,
    unreplayed: Vec<PrintedNotReplayable<'r>>,
}

/// Lines of NDJSON.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum PrintedLine<'r> {
    Change(Box<PrintedChange<'r>>),
    NotReplayable(PrintedNotReplayable<'r>),
    Summary(Box<PrintedSummary<'r>>),
}

impl<'r> PrintedPlace<'r> {
    fn new(place: &'r Place) -> Self {
        match place {
            Place::Record(sequence) => Self::Record(*sequence),
            Place::Named(name) => Self::Name(name),
        }
    }

    fn line(&self) -> String {
        match self {
            Self::Record(sequence) => format!("record {sequence}"),
            Self::Name(name) => (*name).to_owned(),
        }
    }
}

impl<'r> PrintedRun<'r> {
    pub(crate) fn new(place: &'r Place, time: u64, claims: &'r Claims) -> Self {
        let run = claims.run();
        Self {
            place: PrintedPlace::new(place),
            time,
            run: run.id.as_str(),
            behavior: run.behavior.as_str(),
            owning_workspace: run.building_block.workspace.as_str(),
            definition_workspace: run.definition.workspace.as_str(),
            definition: run.definition.id.as_str(),
        }
    }

    /// One line for people. Not escaped.
    pub(crate) fn line(&self) -> String {
        format!(
            "{} {} run {} {} of {} by {} {}",
            self.place.line(),
            output::time(self.time),
            self.run,
            self.behavior,
            self.owning_workspace,
            self.definition_workspace,
            self.definition
        )
    }
}

impl<'r> PrintedBinding<'r> {
    pub(crate) fn new(change: &'r BindingChange) -> Self {
        let line = |part: &Option<Part>| part.as_ref().map(Part::line);
        Self {
            binding: change.binding.as_str(),
            before: line(&change.before),
            after: line(&change.after),
        }
    }

    /// One line for people. Not escaped.
    pub(crate) fn line(&self) -> String {
        let part = |part: &Option<String>| part.clone().unwrap_or_else(|| "not applied".to_owned());
        format!("{}: {} → {}", self.binding, part(&self.before), part(&self.after))
    }
}

impl<'r> PrintedNotReplayable<'r> {
    pub(crate) fn new(not: &'r NotReplayable) -> Self {
        Self {
            place: PrintedPlace::new(&not.place),
            time: not.time,
            reason: not.reason.as_str(),
            detail: &not.detail,
        }
    }

    /// One line for people. Not escaped.
    pub(crate) fn line(&self) -> String {
        let time = self.time.map_or_else(String::new, |time| format!(" {}", output::time(time)));
        format!("{}{time} {}: {}", self.place.line(), self.reason, self.detail)
    }
}

impl<'r> PrintedChange<'r> {
    pub(super) fn new(listed: &'r ListedChange) -> Self {
        let change = &listed.change;
        let comparison = &change.comparison;
        Self {
            class: comparison.class.as_str(),
            faults: comparison.faults,
            run: PrintedRun::new(&change.place, change.time, &change.claims),
            before: PrintedOutcome::new(&change.before),
            after: PrintedOutcome::new(&change.after),
            causes: comparison.causes.iter().map(|cause| PrintedCause::new(cause, None)).collect(),
            bindings: comparison.bindings.iter().map(PrintedBinding::new).collect(),
            explanation: listed.explanation.as_ref().map(PrintedExplanation::new),
        }
    }
}

impl<'r> PrintedOutcome<'r> {
    fn new(outcome: &'r Outcome) -> Self {
        match outcome {
            Outcome::Approved(Terms { audiences, ttl_seconds, claims }) => Self::Approved {
                audiences: audiences.iter().map(|audience| audience.as_str()).collect(),
                ttl_seconds: *ttl_seconds,
                claims: claims.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
            },
            Outcome::Refused(reasons) => {
                Self::Refused { reasons: reasons.iter().map(PrintedReason::new).collect() }
            }
        }
    }
}

impl<'r> PrintedReason<'r> {
    fn new(reason: &'r Reason) -> Self {
        Self {
            code: &reason.code,
            message: &reason.message,
            source: reason.source.as_str(),
            binding: reason.binding.as_ref().map(|name| name.as_str()),
        }
    }
}

impl<'r> PrintedCause<'r> {
    fn new(cause: &'r Cause, decisions: Option<u64>) -> Self {
        Self {
            class: cause.kind.as_str(),
            binding: cause.binding.as_ref().map(|name| name.as_str()),
            code: &cause.code,
            decisions,
        }
    }
}

impl<'r> PrintedExplanation<'r> {
    fn new(explanation: &'r Explanation) -> Self {
        let change = |change: &'r countersign_authoring::Change| PrintedClaimChange {
            claim: change.claim.path(),
            from: &change.from,
            to: &change.to,
        };
        let all = explanation.counterfactuals.iter();
        Self {
            claims: explanation.claims.outcome.iter().map(|claim| claim.path()).collect(),
            counterfactuals: all.map(|one| one.iter().map(change).collect()).collect(),
            is_complete: explanation.evaluations.is_complete(),
        }
    }
}

impl PrintedCounts {
    fn new(counts: &ClassCounts) -> Self {
        Self { compared: counts.total(), classes: classes(counts), faults: counts.faults }
    }
}

impl PrintedVerdicts {
    fn new(counts: &VerdictCounts) -> Self {
        let VerdictCounts { permit, restrict, deny, abstain, fault } = *counts;
        Self { permit, restrict, deny, abstain, fault }
    }
}

impl<'r> PrintedSummary<'r> {
    pub(super) fn new(report: &'r Report) -> Self {
        let summary: &Summary = &report.impact.summary;
        let cause = |(cause, count): (&'r Cause, u64)| PrintedCause::new(cause, Some(count));
        let of_binding =
            |(name, counts): (&'r countersign::BindingName, &BindingCounts)| PrintedOfBinding {
                binding: name.as_str(),
                before: PrintedVerdicts::new(&counts.before),
                after: PrintedVerdicts::new(&counts.after),
            };
        Self {
            candidate: report.candidate.to_string(),
            source: report.source.word(),
            read: summary.read,
            compared: summary.compared(),
            classes: classes(&summary.classes),
            faults: summary.classes.faults,
            not_replayable: report.not_replayable_counts(),
            without_decision: &summary.without_decision,
            left_out: summary.left_out,
            since: summary.times.map(|(first, _)| first),
            until: summary.times.map(|(_, last)| last),
            policy_sets: summary.policy_sets.iter().map(|(set, n)| (set.to_string(), *n)).collect(),
            causes: report.causes().into_iter().map(cause).collect(),
            definitions: report.definitions().into_iter().map(PrintedOfDefinition::new).collect(),
            workspaces: report.workspaces().into_iter().map(PrintedOfWorkspace::new).collect(),
            bindings: summary.bindings.iter().map(of_binding).collect(),
            beyond_tables: summary.beyond_tables,
            verdicts_reused: summary.reused,
            verdicts_evaluated: summary.evaluated,
            fuel_before: summary.fuel_before,
            fuel_after: summary.fuel_after,
            sample: PrintedSample {
                decisions: summary.sample.decisions,
                differ: summary.sample.differ,
                usage_differs: summary.sample.usage_differs,
            },
            damage: report.damage.as_deref(),
            mismatches: report.impact.mismatches.iter().map(ToString::to_string).collect(),
            coverage: report.coverage.as_ref(),
            evidence: PrintedEvidence {
                digest: report.evidence.digest().to_string(),
                evidence: &report.evidence,
            },
            failed_on: &report.failed_on,
        }
    }
}

impl<'r> PrintedOfDefinition<'r> {
    fn new(
        ((workspace, definition), counts): (
            &'r (countersign::Workspace, countersign::DefinitionId),
            &ClassCounts,
        ),
    ) -> Self {
        Self {
            definition_workspace: workspace.as_str(),
            definition: definition.as_str(),
            counts: PrintedCounts::new(counts),
        }
    }
}

impl<'r> PrintedOfWorkspace<'r> {
    fn new((workspace, counts): (&'r countersign::Workspace, &ClassCounts)) -> Self {
        Self { owning_workspace: workspace.as_str(), counts: PrintedCounts::new(counts) }
    }
}

impl<'r> Printed<'r> {
    pub(super) fn new(report: &'r Report) -> Self {
        Self {
            summary: PrintedSummary::new(report),
            changes: report.changes.iter().map(PrintedChange::new).collect(),
            unreplayed: report.not_replayable.iter().map(PrintedNotReplayable::new).collect(),
        }
    }
}

/// The counts of every class, those without any included.
fn classes(counts: &ClassCounts) -> BTreeMap<&'static str, u64> {
    Class::ALL.iter().map(|class| (class.as_str(), counts.of(*class))).collect()
}

/// Tells whether a cause is of a class, or the fault.
pub(super) fn is_of(cause: &Cause, word: &str) -> bool {
    match cause.kind {
        CauseKind::Class(class) => class.as_str() == word,
        CauseKind::Fault => word == "fault",
    }
}
