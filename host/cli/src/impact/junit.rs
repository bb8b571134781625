//! An impact in JUnit's XML: a test for each kind of difference that fails, and for each proof.

use std::collections::BTreeSet;

use anyhow::Result;
use countersign::visible;
use quick_junit::{NonSuccessKind, Report as JunitReport, TestCase, TestCaseStatus, TestSuite};

use super::json::{PrintedRun, is_of};
use super::report::{FailOn, ListedChange, Report};
use super::text::{compared, outcome};
use crate::output::one_line;

/// Decisions that a failure lists.
const MAX_LISTED: usize = 50;

/// Writes a report whose tests fail as the command does.
pub(super) fn report(report: &Report, words: &BTreeSet<FailOn>) -> Result<String> {
    let mut suite = TestSuite::new("countersign impact");
    for word in words {
        let name = format!("no decision is `{}`", word.word());
        let count = word.count(&report.impact.summary.classes);
        let listed = || {
            let lines = report.changes.iter().filter(|listed| is_listed(listed, *word));
            lines.take(MAX_LISTED).map(line).collect::<Vec<_>>().join("\n")
        };
        let problem = (count > 0).then(|| (format!("{count} decisions"), listed()));
        suite.add_test_case(case(&name, NonSuccessKind::Failure, problem));
    }
    let problems = report.problems();
    let problem = problems.first().map(|first| (first.clone(), problems.join("\n")));
    suite.add_test_case(case(&compared(report), NonSuccessKind::Error, problem));
    let mut whole = JunitReport::new("countersign impact");
    whole.add_test_suite(suite);
    Ok(whole.to_string()?)
}

fn is_listed(listed: &ListedChange, word: FailOn) -> bool {
    listed.change.comparison.causes.iter().any(|cause| is_of(cause, word.word()))
}

/// A decision on two lines.
fn line(listed: &ListedChange) -> String {
    let change = &listed.change;
    let run = PrintedRun::new(&change.place, change.time, &change.claims);
    let (before, after) = (outcome(&change.before), outcome(&change.after));
    one_line(&format!("{}: {before} → {after}", run.line()))
}

fn case(name: &str, kind: NonSuccessKind, problem: Option<(String, String)>) -> TestCase {
    let status = match problem {
        None => TestCaseStatus::success(),
        Some((message, detail)) => {
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(one_line(&message));
            status.set_description(visible(&detail));
            status
        }
    };
    TestCase::new(one_line(name), status)
}
