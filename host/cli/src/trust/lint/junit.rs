//! Findings as a test report in JUnit's XML: a suite for each file, a failure for each finding.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use countersign_trust::{Finding, Severity};
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::sarif::line;
use crate::output::one_line;

/// Writes a report. Findings below a severity, and accepted ones, are skipped tests.
pub(super) fn report(
    findings: &[&Finding],
    texts: &BTreeMap<String, String>,
    least: Severity,
) -> Result<String> {
    let mut report = Report::new("countersign trust lint");
    let mut files: BTreeSet<&str> = texts.keys().map(String::as_str).collect();
    files.extend(findings.iter().map(|finding| finding.file.as_str()));
    for file in files {
        let mut suite = TestSuite::new(one_line(file));
        let of_file: Vec<_> = findings.iter().filter(|finding| finding.file == file).collect();
        for finding in &of_file {
            let mut status = if finding.accepted.is_some() || finding.severity < least {
                TestCaseStatus::skipped()
            } else {
                TestCaseStatus::non_success(NonSuccessKind::Failure)
            };
            status.set_type(finding.code);
            status.set_message(one_line(finding.accepted.as_ref().unwrap_or(&finding.message)));
            let name = format!("{} at line {}", finding.code, line(finding, texts));
            suite.add_test_case(TestCase::new(name, status));
        }
        if of_file.is_empty() {
            suite.add_test_case(TestCase::new("no findings", TestCaseStatus::success()));
        }
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}
