//! Test reports in JSON.

use countersign_authoring::{
    CaseOutcome, CaseProblem, Claim, ClaimReport, MutationFault, SettingsOutcome, StoppedBy,
};
use serde::Serialize;

use super::{TestError, Tested};
use crate::policy::coverage::{PolicyCoverage, PrintedCoverage};

#[derive(Serialize)]
pub(super) struct Printed<'t> {
    policy: Option<&'t str>,
    version: Option<&'t str>,
    digest: Option<&'t str>,
    passed: bool,
    cases: Vec<PrintedCase<'t>>,
    settings: Vec<PrintedSettings<'t>>,
    claims: Option<Vec<PrintedClaim<'t>>>,
    faults: Option<Vec<PrintedFault<'t>>>,
    missed: Option<Vec<&'static str>>,
    undeclared: Option<Vec<&'static str>>,
    coverage: Option<PrintedCoverage<'t>>,
    evaluations: usize,
    evaluations_planned: usize,
    stopped_by: Option<&'static str>,
    error: Option<PrintedError<'t>>,
}

#[derive(Serialize)]
struct PrintedError<'t> {
    case: Option<&'t str>,
    code: Option<&'static str>,
    message: &'t str,
}

/// The reason that a case was not run.
#[derive(Serialize)]
struct PrintedProblem<'t> {
    code: Option<&'static str>,
    message: &'t str,
}

#[derive(Serialize)]
struct PrintedFault<'t> {
    claim: &'static str,
    case: &'t str,
    change: &'t str,
    code: &'static str,
    detail: &'t str,
    count: usize,
}

#[derive(Serialize)]
struct PrintedCase<'t> {
    name: &'t str,
    expected: &'t str,
    found: Option<&'t str>,
    passed: bool,
    detail: &'t [String],
    error: Option<PrintedProblem<'t>>,
    fuel: Option<u64>,
    memory_bytes: Option<u64>,
    output_bytes: Option<u64>,
}

#[derive(Serialize)]
struct PrintedSettings<'t> {
    name: &'t str,
    expected: &'t str,
    found: Option<&'t str>,
    passed: bool,
    detail: &'t [String],
    error: Option<PrintedProblem<'t>>,
}

#[derive(Serialize)]
struct PrintedClaim<'t> {
    claim: &'static str,
    changes: usize,
    noticed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    example: Option<PrintedExample<'t>>,
}

#[derive(Serialize)]
struct PrintedExample<'t> {
    case: &'t str,
    change: &'t str,
}

impl<'t> Printed<'t> {
    pub(super) fn new(tested: &'t Tested, error: Option<&'t TestError>) -> Self {
        let (policy, report) = (tested.policy.as_ref(), tested.report.as_ref());
        let paths = |claims: Vec<Claim>| claims.into_iter().map(Claim::path).collect();
        let mutations = report.and_then(|report| report.mutations.as_ref());
        let count = report.map(|report| report.evaluations);
        Self {
            policy: policy.map(|policy| policy.name.as_str()),
            version: policy.map(|policy| policy.version.as_str()),
            digest: policy.map(|policy| policy.digest.as_str()),
            passed: error.is_none() && tested.passed(),
            cases: report
                .map(|report| report.cases.iter().map(of_case).collect())
                .unwrap_or_default(),
            settings: report
                .map(|report| report.settings.iter().map(of_settings).collect())
                .unwrap_or_default(),
            claims: mutations.map(|mutations| mutations.claims().map(of_claim).collect()),
            faults: mutations.map(|mutations| mutations.faults().iter().map(of_fault).collect()),
            missed: mutations
                .filter(|mutations| mutations.is_complete())
                .map(|mutations| paths(mutations.missed())),
            undeclared: mutations.map(|mutations| paths(mutations.undeclared())),
            coverage: tested.coverage.as_ref().map(PolicyCoverage::printed),
            evaluations: count.map_or(0, |count| count.made),
            evaluations_planned: count.map_or(0, |count| count.planned),
            stopped_by: count.and_then(|count| count.stopped_by).map(StoppedBy::as_str),
            error: error.map(|TestError { case, code, message }| PrintedError {
                case: case.as_deref(),
                code: *code,
                message,
            }),
        }
    }
}

fn of_claim<'t>((claim, report): (Claim, &'t ClaimReport)) -> PrintedClaim<'t> {
    PrintedClaim {
        claim: claim.path(),
        changes: report.changes,
        noticed: report.noticed,
        example: report.example.as_ref().map(|(case, change)| PrintedExample { case, change }),
    }
}

fn of_fault(fault: &MutationFault) -> PrintedFault<'_> {
    let MutationFault { claim, case, change, code, detail, count } = fault;
    PrintedFault { claim: claim.path(), case, change, code, detail, count: *count }
}

fn of_problem(CaseProblem { code, message }: &CaseProblem) -> PrintedProblem<'_> {
    PrintedProblem { code: *code, message }
}

fn of_case(case: &CaseOutcome) -> PrintedCase<'_> {
    PrintedCase {
        name: &case.name,
        expected: &case.expected,
        found: case.error.is_none().then_some(&case.found),
        passed: case.passed(),
        detail: &case.detail,
        error: case.error.as_ref().map(of_problem),
        fuel: case.used.fuel,
        memory_bytes: case.used.memory_bytes,
        output_bytes: case.used.output_bytes,
    }
}

fn of_settings(case: &SettingsOutcome) -> PrintedSettings<'_> {
    PrintedSettings {
        name: &case.name,
        expected: &case.expected,
        found: case.found.as_deref(),
        passed: case.passed(),
        detail: &case.detail,
        error: case.error.as_ref().map(of_problem),
    }
}
