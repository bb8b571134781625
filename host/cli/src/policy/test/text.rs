//! Test reports for people.

use std::fmt::Write as _;

use countersign_authoring::{CaseProblem, Claim, MutationFault, Mutations};

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
    let mut errors = Errors::default();
    for case in &report.cases {
        let (name, expected, error) = (&case.name, &case.expected, case.error.as_ref());
        let (found, detail) = errors.found(name, error, &case.found, &case.detail);
        outcome(text, case.passed(), name, expected, &found, detail)?;
    }
    for case in &report.settings {
        let (name, error) = (format!("settings: {}", case.name), case.error.as_ref());
        let found = case.found.as_deref().unwrap_or(ACCEPTED);
        let (found, detail) = errors.found(&name, error, found, &case.detail);
        outcome(text, case.passed(), &name, &case.expected, &found, detail)?;
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
        None if report.is_selection => writeln!(text, "claims are changed where all cases run"),
        None => writeln!(text, "claims are changed once all cases pass"),
    }?;
    if let Some(remedy) = bounds::remedy(&report.evaluations) {
        writeln!(text, "{}; {remedy}", Styled(FAILURE, report.evaluations))?;
    }
    coverage.iter().try_for_each(|coverage| coverage.write(text))
}

/// The errors of cases that were shown, with the first case of each: a mistake in the policy is one of all its cases.
#[derive(Default)]
struct Errors<'t>(Vec<(&'t CaseProblem, String)>);

impl<'t> Errors<'t> {
    /// The finding of a case, and the lines below it.
    fn found<'d>(
        &mut self,
        name: &str,
        error: Option<&'t CaseProblem>,
        found: &str,
        detail: &'d [String],
    ) -> (String, &'d [String]) {
        let Some(error) = error else { return (found.to_owned(), detail) };
        if let Some((_, first)) = self.0.iter().find(|(shown, _)| *shown == error) {
            return (format!("not run, as `{first}`"), &[]);
        }
        self.0.push((error, name.to_owned()));
        ("not run".to_owned(), detail)
    }
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
    for fault in mutations.faults() {
        of_fault(text, fault)?;
    }
    if !mutations.is_declared() {
        let what = "declare the claims that verdicts depend on with `depends-on` in cases.toml";
        writeln!(text, "  {}", Styled(DIM, what))?;
    }
    Ok(())
}

fn of_fault(text: &mut String, fault: &MutationFault) -> std::fmt::Result {
    let MutationFault { claim, case, change, code, detail, count } = fault;
    let times = if *count == 1 { String::new() } else { format!(", and {} more", count - 1) };
    let (case, change) = (one_line(case), one_line(change));
    let what = format!("fault {code}: a run with another {} gets no verdict:", claim.path());
    writeln!(text, "  {} {change} in `{case}`{times}", Styled(FAILURE, what))?;
    writeln!(text, "      {}", one_line(detail))
}
