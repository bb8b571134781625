//! An impact for people.

use std::fmt::Write as _;

use countersign::{Outcome, visible};
use countersign_authoring::Explanation;
use countersign_replay::{Class, ClassCounts};

use super::json::{PrintedBinding, PrintedNotReplayable, PrintedRun};
use super::report::{ListedChange, Report, ReportSource};
use crate::output::{self, DIM, FAILURE, STRONG, SUCCESS, Styled};

/// Rows of each table that people are shown; the other forms have all.
const MAX_ROWS: usize = 12;

/// Changes that people are shown in full; the other forms have all.
const MAX_SHOWN: usize = 20;

/// Counterfactuals that people are shown for a decision.
const MAX_COUNTERFACTUALS: usize = 3;

pub(super) fn text(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, report);
    text
}

/// The decisions that were compared, in words.
pub(super) fn compared(report: &Report) -> String {
    let summary = &report.impact.summary;
    let of = match report.source {
        ReportSource::Log => "decisions of the log",
        ReportSource::Runs => "runs of the folder",
        ReportSource::Generated => "generated runs",
    };
    let times = match (report.source, summary.times) {
        (ReportSource::Log, Some((first, last))) => {
            format!(", from {} to {}", output::time(first), output::time(last))
        }
        _ => String::new(),
    };
    format!("{} {of} compared{times}", summary.compared())
}

/// The outcome on one line. Not escaped.
pub(super) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Approved(terms) => {
            let audiences: Vec<_> = terms.audiences.iter().map(|a| a.as_str()).collect();
            let mut line = format!("approved, {} s for {}", terms.ttl_seconds, audiences.join(" "));
            for (name, value) in &terms.claims {
                line.push_str(&format!(", {name}={value}"));
            }
            line
        }
        Outcome::Refused(reasons) => {
            let reasons: Vec<_> = reasons
                .iter()
                .map(|reason| match &reason.binding {
                    Some(binding) => format!("{} by `{binding}`", reason.code),
                    None => reason.code.clone(),
                })
                .collect();
            format!("refused, {}", reasons.join(", "))
        }
    }
}

/// The smallest changes that reverse the candidate's decision, in lines. Not escaped.
pub(super) fn counterfactuals(explanation: &Explanation) -> Vec<String> {
    let other = match explanation.decision.outcome() {
        Outcome::Approved(_) => "refused",
        Outcome::Refused(_) => "approved",
    };
    let line = |changes: &Vec<countersign_authoring::Change>| {
        let changes: Vec<_> = changes
            .iter()
            .map(|change| {
                format!("{} were {} instead of {}", change.claim.title(), change.to, change.from)
            })
            .collect();
        format!("it would be {other} if {}", changes.join(" and "))
    };
    explanation.counterfactuals.iter().take(MAX_COUNTERFACTUALS).map(line).collect()
}

fn write(text: &mut String, report: &Report) -> std::fmt::Result {
    let summary = &report.impact.summary;
    writeln!(text, "{}", compared(report))?;
    writeln!(text)?;
    for class in Class::ALL {
        let count = summary.classes.of(class);
        if count > 0 || matches!(class, Class::Gained | Class::Lost | Class::Wider) {
            let style = if class.is_visible() && count > 0 { FAILURE } else { DIM };
            writeln!(
                text,
                "  {count:>9}  {}  {}",
                Styled(style, format!("{class:<8}")),
                class.title()
            )?;
        }
    }
    let faults = summary.classes.faults;
    let style = if faults > 0 { FAILURE } else { DIM };
    writeln!(text, "  {faults:>9}  {}  a binding faults that did not", Styled(style, "fault   "))?;
    let not_replayable = summary.not_replayable();
    if not_replayable > 0 {
        writeln!(text, "  {not_replayable:>9}  {}", Styled(FAILURE, "cannot be decided again"))?;
    }
    write_tables(text, report)?;
    write_changes(text, report)?;
    for not in report.not_replayable.iter().take(MAX_SHOWN) {
        let line = PrintedNotReplayable::new(not).line();
        writeln!(text, "{} {}", Styled(STRONG, "not replayable"), visible(&line))?;
    }
    if let Some(coverage) = &report.coverage {
        writeln!(text, "\n{}", Styled(STRONG, "covered"))?;
        for line in coverage.lines() {
            writeln!(text, "  {}", visible(&line))?;
        }
    }
    write_end(text, report)
}

fn write_tables(text: &mut String, report: &Report) -> std::fmt::Result {
    let causes = report.causes();
    if !causes.is_empty() {
        writeln!(text, "\n{}", Styled(STRONG, "causes"))?;
    }
    for (cause, count) in causes.iter().take(MAX_ROWS) {
        let binding = cause.binding.as_ref().map_or("all together", |name| name.as_str());
        let line = format!("{:<8}  {binding}: {}", cause.kind.as_str(), cause.code);
        writeln!(text, "  {count:>9}  {}", visible(&line))?;
    }
    write_more(text, causes.len())?;
    let definitions = report.definitions();
    if !definitions.is_empty() {
        writeln!(text, "\n{}", Styled(STRONG, "definitions"))?;
    }
    for ((workspace, definition), counts) in definitions.iter().take(MAX_ROWS) {
        writeln!(text, "  {workspace} {definition}: {}", counts_line(counts))?;
    }
    write_more(text, definitions.len())?;
    let workspaces = report.workspaces();
    if !workspaces.is_empty() {
        writeln!(text, "\n{}", Styled(STRONG, "owning workspaces"))?;
    }
    for (workspace, counts) in workspaces.iter().take(MAX_ROWS) {
        writeln!(text, "  {workspace}: {}", counts_line(counts))?;
    }
    write_more(text, workspaces.len())
}

/// The visible differences of a row, such as `3 lost, 1 wider, of 120`.
pub(super) fn counts_line(counts: &ClassCounts) -> String {
    let visible = Class::ALL.into_iter().filter(|class| class.is_visible());
    let mut parts: Vec<_> = visible
        .filter(|class| counts.of(*class) > 0)
        .map(|class| format!("{} {class}", counts.of(class)))
        .collect();
    if counts.faults > 0 {
        parts.push(format!("{} fault", counts.faults));
    }
    format!("{}, of {}", parts.join(", "), counts.total())
}

fn write_more(text: &mut String, rows: usize) -> std::fmt::Result {
    match rows.saturating_sub(MAX_ROWS) {
        0 => Ok(()),
        more => writeln!(text, "  and {more} more, which --format json lists"),
    }
}

fn write_changes(text: &mut String, report: &Report) -> std::fmt::Result {
    // Those that are explained first: there is one of each group of causes.
    let (explained, others): (Vec<_>, Vec<_>) =
        report.changes.iter().partition(|listed| listed.explanation.is_some());
    let shown = explained.into_iter().chain(others).take(MAX_SHOWN);
    let mut count = 0;
    for listed in shown {
        write_change(text, listed)?;
        count += 1;
    }
    match report.changes_found.saturating_sub(count) {
        0 => Ok(()),
        more => {
            writeln!(text, "\nand {more} more decisions that differ, which --format ndjson lists")
        }
    }
}

fn write_change(text: &mut String, listed: &ListedChange) -> std::fmt::Result {
    let change = &listed.change;
    let run = PrintedRun::new(&change.place, change.time, &change.claims);
    let class = change.comparison.class.as_str();
    let fault = if change.comparison.faults { ", fault" } else { "" };
    writeln!(text, "\n{}{fault} {}", Styled(STRONG, class), visible(&run.line()))?;
    writeln!(text, "  before  {}", visible(&outcome(&change.before)))?;
    writeln!(text, "  now     {}", visible(&outcome(&change.after)))?;
    for binding in &change.comparison.bindings {
        writeln!(text, "  {}", visible(&PrintedBinding::new(binding).line()))?;
    }
    for line in listed.explanation.iter().flat_map(counterfactuals) {
        writeln!(text, "  {}", Styled(DIM, visible(&line)))?;
    }
    Ok(())
}

fn write_end(text: &mut String, report: &Report) -> std::fmt::Result {
    let summary = &report.impact.summary;
    writeln!(text)?;
    for problem in report.problems() {
        writeln!(text, "{} {}", Styled(FAILURE, "not proven:"), visible(&problem))?;
    }
    match report.failed_on.as_slice() {
        [] => {}
        words => writeln!(text, "{} {}", Styled(FAILURE, "fails on"), words.join(", "))?,
    }
    if report.problems().is_empty() && report.failed_on.is_empty() {
        let visible = summary.classes.visible() + summary.classes.faults;
        let word = if visible == 0 { "no difference that anybody sees" } else { "compared" };
        writeln!(text, "{}", Styled(SUCCESS, word))?;
    }
    let without: u64 = summary.without_decision.values().sum();
    let line = format!(
        "{} read, {without} without a decision, {} left out; {} verdicts recorded, {} evaluated; {} of a sample \
         evaluated in full",
        summary.read, summary.left_out, summary.reused, summary.evaluated, summary.sample.decisions
    );
    writeln!(text, "{}", Styled(DIM, line))?;
    writeln!(text, "{}", Styled(DIM, format!("candidate {}", report.candidate)))?;
    writeln!(text, "{}", Styled(DIM, format!("evidence  {}", report.evidence.digest())))
}
