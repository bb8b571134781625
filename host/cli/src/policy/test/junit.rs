//! Test reports in JUnit's XML.

use anyhow::Result;
use countersign::visible;
use countersign_authoring::{CaseProblem, Claim, MutationFault, TestReport};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::{ACCEPTED, TestError, Tested};
use crate::output::one_line;

/// The name of the whole, and of a test that came to no policy.
const NAME: &str = "countersign policy test";

/// Writes a report that is whole, also where an error ended the test.
pub(super) fn report(tested: &Tested, error: Option<&TestError>) -> Result<String> {
    let name = tested.policy.as_ref().map_or(NAME, |policy| policy.name.as_str());
    let mut suite = TestSuite::new(one_line(name));
    if let Some(report) = &tested.report {
        suite.add_test_cases(of_report(report));
    }
    if let Some((coverage, (min, covered, lines))) =
        tested.coverage.as_ref().and_then(|coverage| Some((coverage, coverage.required()?)))
    {
        let found = || failure(format!("{covered} of {lines} lines are reached by a case"), &[]);
        let name = format!("cases reach {min}% of the lines");
        suite.add_test_case(test_case(&name, (!coverage.passed()).then(found)));
    }
    if let Some(TestError { case, code, message }) = error {
        // The message may have several lines, which an attribute cannot hold.
        let first = message.lines().next().unwrap_or_default();
        let problem = Problem {
            kind: NonSuccessKind::Error,
            code: *code,
            message: first.to_owned(),
            detail: message.clone(),
        };
        suite.add_test_case(test_case(case.as_deref().unwrap_or(NAME), Some(problem)));
    }
    let mut report = Report::new(NAME);
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

/// The reason that a test case did not succeed.
struct Problem {
    kind: NonSuccessKind,
    code: Option<&'static str>,
    message: String,
    /// Lines; none where the message says all.
    detail: String,
}

fn of_report(report: &TestReport) -> Vec<TestCase> {
    let mut all = Vec::new();
    for case in &report.cases {
        let found = || format!("expected {}, found {}", case.expected, case.found);
        let problem = (!case.passed()).then(|| match &case.error {
            Some(error) => not_run(error),
            None => failure(found(), &case.detail),
        });
        all.push(test_case(&case.name, problem));
    }
    for case in &report.settings {
        let found = case.found.as_deref().unwrap_or(ACCEPTED);
        let found = || format!("expected a problem at {}, found {found}", case.expected);
        let problem = (!case.passed()).then(|| match &case.error {
            Some(error) => not_run(error),
            None => failure(found(), &case.detail),
        });
        all.push(test_case(&format!("settings: {}", case.name), problem));
    }
    if let Some(mutations) = &report.mutations {
        let paths =
            |claims: Vec<Claim>| claims.into_iter().map(Claim::path).collect::<Vec<_>>().join(", ");
        let (missed, undeclared) = (mutations.missed(), mutations.undeclared());
        let fails = !(missed.is_empty() && undeclared.is_empty());
        let what = || format!("missed: {}; undeclared: {}", paths(missed), paths(undeclared));
        let mut case =
            test_case("depends on the declared claims", fails.then(|| failure(what(), &[])));
        if !fails && !mutations.is_complete() {
            let mut skipped = TestCaseStatus::skipped();
            skipped.set_message("not every claim was changed");
            case.status = skipped;
        }
        all.push(case);
        all.extend(mutations.faults().iter().map(of_fault));
    }
    if !report.evaluations.is_complete() {
        let problem = Problem {
            kind: NonSuccessKind::Error,
            code: None,
            message: report.evaluations.to_string(),
            detail: String::new(),
        };
        all.push(test_case("all evaluations are made", Some(problem)));
    }
    all
}

fn of_fault(fault: &MutationFault) -> TestCase {
    let MutationFault { claim, case, change, code, detail, count: _ } = fault;
    let found = format!("case {case}: {change} ends in the fault {code}");
    let name = format!("changes of {} end in no fault", claim.path());
    test_case(&name, Some(failure(found, std::slice::from_ref(detail))))
}

/// The problem of a case that was not run.
fn not_run(CaseProblem { code, message }: &CaseProblem) -> Problem {
    let first = message.lines().next().unwrap_or_default().to_owned();
    let (kind, code) = (NonSuccessKind::Error, *code);
    Problem { kind, code, message: first, detail: message.clone() }
}

fn failure(message: String, detail: &[String]) -> Problem {
    // As on a terminal, each is a line.
    let detail: Vec<_> = detail.iter().map(|line| one_line(line)).collect();
    Problem { kind: NonSuccessKind::Failure, code: None, message, detail: detail.join("\n") }
}

/// Names of cases and paths are the author's, who may write what XML cannot hold; and a reader of XML takes a line
/// break in an attribute for a space.
fn test_case(name: &str, problem: Option<Problem>) -> TestCase {
    let status = match problem {
        None => TestCaseStatus::success(),
        Some(Problem { kind, code, message, detail }) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(one_line(&message));
            if let Some(code) = code {
                status.set_type(code);
            }
            if !detail.is_empty() {
                status.set_description(visible(&detail));
            }
            status
        }
    };
    TestCase::new(one_line(name), status)
}
