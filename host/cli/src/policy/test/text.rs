//! Test reports for people.

use std::fmt::Write as _;

use countersign_authoring::{Claim, Mutations};

use super::{ACCEPTED, Tested, TestedPolicy};
use crate::bounds;
use crate::output::{DIM, FAILURE, STRONG, SUCCESS, Styled, one_line};

/// Writes the report of a test that nothing ended before its time.
pub(super) fn report(tested: &Tested) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, tested);
    text
}

fn write(text: &mut String, tested: &Tested) -> std::fmt::Result {
    let Tested { policy: Some(policy), report: Some(report), coverage } = tested else {
        return Ok(());
    };
    let TestedPolicy { name, version, digest } = policy;
    writeln!(text, "{} {version} {}", Styled(STRONG, name), Styled(DIM, digest))?;
    for case in &report.cases {
        outcome(text, case.passed(), &case.name, &case.expected, &case.found, &case.detail)?;
    }
    for case in &report.settings {
        let name = format!("settings: {}", case.name);
        let found = case.found.as_deref().unwrap_or(ACCEPTED);
        outcome(text, case.passed(), &name, &case.expected, found, &case.detail)?;
    }
    let count = report.cases.len() + report.settings.len();
    let failed = report.cases.iter().filter(|case| !case.passed()).count()
        + report.settings.iter().filter(|case| !case.passed()).count();
    let left = match report.cases_left {
        0 => String::new(),
        left => format!(", and {left} not run"),
    };
    writeln!(text, "\n{count} cases, {failed} failed{left}")?;
    match &report.mutations {
        Some(mutations) => of_mutations(text, mutations),
        None => writeln!(text, "claims are changed once all cases pass"),
    }?;
    if let Some(remedy) = bounds::remedy(&report.evaluations) {
        writeln!(text, "{}; {remedy}", Styled(FAILURE, report.evaluations))?;
    }
    coverage.iter().try_for_each(|coverage| coverage.write(text))
}

fn outcome(
    text: &mut String,
    passed: bool,
    name: &str,
    expected: &str,
    found: &str,
    detail: &[String],
) -> std::fmt::Result {
    if passed {
        return writeln!(text, "  {}  {}", Styled(SUCCESS, "pass"), one_line(name));
    }
    writeln!(text, "  {}  {}", Styled(FAILURE, "FAIL"), one_line(name))?;
    writeln!(text, "        expected  {}", one_line(expected))?;
    writeln!(text, "        found     {}", one_line(found))?;
    detail.iter().try_for_each(|line| writeln!(text, "                  {}", one_line(line)))
}

fn of_mutations(text: &mut String, mutations: &Mutations) -> std::fmt::Result {
    writeln!(
        text,
        "changed single claims {} times; the cases notice changes of",
        mutations.changes()
    )?;
    for (claim, report) in mutations.claims().filter(|(_, report)| report.noticed > 0) {
        let (noticed, changes) = (report.noticed, report.changes);
        writeln!(text, "  {:<30} {noticed} of {changes}", claim.path())?;
    }
    let paths = |claims: &[Claim]| claims.iter().map(|c| c.path()).collect::<Vec<_>>().join(", ");
    let unnoticed = mutations.unnoticed();
    let none = if mutations.is_complete() { "of no other" } else { "so far of no other" };
    writeln!(text, "and {none}: {}", Styled(DIM, paths(&unnoticed)))?;
    let (missed, undeclared) = (mutations.missed(), mutations.undeclared());
    if !missed.is_empty() {
        let what = "missed: declared in `depends-on`, but no case notices a change:";
        writeln!(text, "  {} {}", Styled(FAILURE, what), paths(&missed))?;
    }
    if !undeclared.is_empty() {
        let what = "undeclared: not in `depends-on`, but a verdict depends on it:";
        writeln!(text, "  {} {}", Styled(FAILURE, what), paths(&undeclared))?;
    }
    if !mutations.is_declared() {
        let what = "declare the claims that verdicts depend on with `depends-on` in cases.toml";
        writeln!(text, "  {}", Styled(DIM, what))?;
    }
    Ok(())
}
