//! Test reports in JUnit's XML.

use anyhow::Result;
use countersign::visible;
use countersign_authoring::Claim;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::test::Tested;

pub(super) fn report(tested: &Tested) -> Result<String> {
    let mut suite = TestSuite::new(visible(&tested.policy));
    for case in &tested.report.cases {
        let found = format!("expected {}, found {}", case.expected, case.found);
        let problem = (!case.passed()).then_some((found, case.detail.join("\n")));
        suite.add_test_case(test_case(&case.name, problem));
    }
    for case in &tested.report.settings {
        let found = case.found.as_deref().unwrap_or("none");
        let found = format!("expected a problem at {}, found {found}", case.expected);
        let problem = (!case.passed()).then_some((found, case.detail.join("\n")));
        suite.add_test_case(test_case(&format!("settings: {}", case.name), problem));
    }
    if let Some(mutations) = &tested.report.mutations {
        let paths =
            |claims: Vec<Claim>| claims.into_iter().map(Claim::path).collect::<Vec<_>>().join(", ");
        let (missed, undeclared) = (mutations.missed(), mutations.undeclared());
        let problem = (!mutations.passed()).then(|| {
            let what = format!("missed: {}; undeclared: {}", paths(missed), paths(undeclared));
            (what, String::new())
        });
        suite.add_test_case(test_case("depends on the declared claims", problem));
    }
    let mut report = Report::new("countersign policy test");
    report.add_test_suite(suite);
    Ok(report.to_string()?)
}

/// Names of cases and paths are the author's, who may write what XML cannot hold.
fn test_case(name: &str, problem: Option<(String, String)>) -> TestCase {
    let status = match problem {
        None => TestCaseStatus::success(),
        Some((message, detail)) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(visible(&message));
            if !detail.is_empty() {
                status.set_description(visible(&detail));
            }
            status
        }
    };
    TestCase::new(visible(name), status)
}
