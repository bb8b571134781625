//! An impact as one page of HTML: no script, no other file, and everything that a policy or a run says escaped.

use std::fmt::Write as _;

use countersign::visible;
use countersign_replay::{Class, ClassCounts};

use super::json::{PrintedBinding, PrintedNotReplayable, PrintedRun};
use super::report::{ListedChange, Report};
use super::text::{compared, counterfactuals, counts_line, outcome};

/// Rows of each table.
const MAX_ROWS: usize = 50;

/// The width of the widest bar.
const BAR_WIDTH: u64 = 320;

const STYLE: &str = "\
:root{color-scheme:light dark}
body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}
table{border-collapse:collapse;width:100%}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;vertical-align:top;border-bottom:1px solid #8884}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
code,.m{font-family:ui-monospace,monospace;font-size:.87em;overflow-wrap:anywhere}
details{margin:.5rem 0;border-left:3px solid #8886;padding-left:.75rem}
summary{cursor:pointer}
.bad{color:#c0262d;font-weight:600}.good{color:#18794e;font-weight:600}
.gained{fill:#c0262d}.lost{fill:#d9730d}.wider{fill:#b8328b}.narrower{fill:#2f6fdb}.reasons{fill:#7b61c9}
.verdicts,.fuel{fill:#9a9a9a}.same{fill:#5d9e78}.fault{fill:#c0262d}";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut page, report);
    page
}

fn write(page: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>Impact of a policy change</title>\n<style>{STYLE}</style></head><body>\n\
         <h1>Impact of a policy change</h1>\n<p>{}</p>",
        escaped(&compared(report))
    )?;
    write_verdict(page, report)?;
    write_classes(page, &report.impact.summary.classes)?;
    write_causes(page, report)?;
    write_rows(page, report)?;
    write_bindings(page, report)?;
    write_changes(page, report)?;
    write_not_replayable(page, report)?;
    if let Some(coverage) = &report.coverage {
        writeln!(page, "<h2>Covered</h2><ul>")?;
        for line in coverage.lines() {
            writeln!(page, "<li>{}</li>", escaped(&line))?;
        }
        writeln!(page, "</ul>")?;
    }
    let summary = &report.impact.summary;
    writeln!(
        page,
        "<h2>Proof</h2><p>{} verdicts were taken from records, {} evaluated; {} decisions were evaluated in full, of \
         which {} had another verdict.</p>\n<p>Candidate <code>{}</code><br>Evidence <code>{}</code></p>\n</body></html>",
        summary.reused,
        summary.evaluated,
        summary.sample.decisions,
        summary.sample.differ,
        report.candidate,
        report.evidence.digest()
    )
}

fn write_verdict(page: &mut String, report: &Report) -> std::fmt::Result {
    let problems = report.problems();
    for problem in &problems {
        writeln!(page, "<p class=\"bad\">Not proven: {}</p>", escaped(problem))?;
    }
    match report.failed_on.as_slice() {
        [] if problems.is_empty() => writeln!(page, "<p class=\"good\">Nothing that fails.</p>"),
        [] => Ok(()),
        words => writeln!(page, "<p class=\"bad\">Fails on {}</p>", words.join(", ")),
    }
}

/// The chart of classes: a bar each. Small counts stay visible beside large ones by a logarithmic scale.
fn write_classes(page: &mut String, counts: &ClassCounts) -> std::fmt::Result {
    writeln!(page, "<h2>Decisions by class</h2><table>")?;
    let rows = Class::ALL.iter().map(|class| (class.as_str(), class.title(), counts.of(*class)));
    let fault = ("fault", "a binding faults that did not", counts.faults);
    for (word, title, count) in rows.chain([fault]) {
        writeln!(
            page,
            "<tr><td>{word}</td><td>{title}</td><td class=\"n\">{count}</td><td>{}</td></tr>",
            bar(word, count, counts.total())
        )?;
    }
    writeln!(page, "</table><p>The bars have a logarithmic scale.</p>")
}

/// A bar of `count` of `all`.
fn bar(class: &str, count: u64, all: u64) -> String {
    let digits = |count: u64| (count as f64 + 1.0).ln();
    let share = if all == 0 { 0.0 } else { digits(count) / digits(all) };
    let width = (share * BAR_WIDTH as f64).round();
    format!(
        "<svg width=\"{BAR_WIDTH}\" height=\"12\" role=\"img\" aria-label=\"{count} of {all}\"><rect class=\"{class}\" \
         width=\"{width}\" height=\"12\"/></svg>"
    )
}

fn write_causes(page: &mut String, report: &Report) -> std::fmt::Result {
    let causes = report.causes();
    if causes.is_empty() {
        return Ok(());
    }
    let most = causes.first().map_or(0, |(_, count)| *count);
    writeln!(
        page,
        "<h2>Causes</h2><table><tr><th>class</th><th>binding</th><th>code</th><th class=\"n\">decisions</th><th></th></tr>"
    )?;
    for (cause, count) in causes.iter().take(MAX_ROWS) {
        let binding = cause.binding.as_ref().map_or("all together", |name| name.as_str());
        let class = cause.kind.as_str();
        writeln!(
            page,
            "<tr><td>{class}</td><td class=\"m\">{}</td><td class=\"m\">{}</td><td class=\"n\">{count}</td><td>{}</td></tr>",
            escaped(binding),
            escaped(&cause.code),
            bar(class, *count, most)
        )?;
    }
    write_more(page, causes.len(), 5)
}

fn write_rows(page: &mut String, report: &Report) -> std::fmt::Result {
    let definitions = report.definitions();
    if !definitions.is_empty() {
        writeln!(page, "<h2>Definitions</h2><table>")?;
        for ((workspace, definition), counts) in definitions.iter().take(MAX_ROWS) {
            writeln!(
                page,
                "<tr><td class=\"m\">{}</td><td class=\"m\">{}</td><td>{}</td></tr>",
                escaped(workspace.as_str()),
                escaped(definition.as_str()),
                counts_line(counts)
            )?;
        }
        write_more(page, definitions.len(), 3)?;
    }
    let workspaces = report.workspaces();
    if !workspaces.is_empty() {
        writeln!(page, "<h2>Owning workspaces</h2><table>")?;
        for (workspace, counts) in workspaces.iter().take(MAX_ROWS) {
            let (name, counts) = (escaped(workspace.as_str()), counts_line(counts));
            writeln!(page, "<tr><td class=\"m\">{name}</td><td>{counts}</td></tr>")?;
        }
        write_more(page, workspaces.len(), 2)?;
    }
    Ok(())
}

fn write_more(page: &mut String, rows: usize, columns: usize) -> std::fmt::Result {
    if let Some(more) = rows.checked_sub(MAX_ROWS).filter(|more| *more > 0) {
        writeln!(page, "<tr><td colspan=\"{columns}\">and {more} more</td></tr>")?;
    }
    writeln!(page, "</table>")
}

fn write_bindings(page: &mut String, report: &Report) -> std::fmt::Result {
    writeln!(
        page,
        "<h2>Verdicts by binding</h2><table><tr><th>binding</th><th></th><th class=\"n\">permit</th>\
         <th class=\"n\">restrict</th><th class=\"n\">deny</th><th class=\"n\">abstain</th><th class=\"n\">fault</th></tr>"
    )?;
    for (name, counts) in report.impact.summary.bindings.iter().take(MAX_ROWS) {
        for (when, of) in [("before", counts.before), ("now", counts.after)] {
            writeln!(
                page,
                "<tr><td class=\"m\">{}</td><td>{when}</td><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
                escaped(name.as_str()),
                of.permit,
                of.restrict,
                of.deny,
                of.abstain,
                of.fault
            )?;
        }
    }
    write_more(page, report.impact.summary.bindings.len(), 7)
}

fn write_changes(page: &mut String, report: &Report) -> std::fmt::Result {
    if report.changes.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>Decisions that differ</h2>")?;
    for listed in &report.changes {
        write_change(page, listed)?;
    }
    match report.changes_found.saturating_sub(report.changes.len() as u64) {
        0 => Ok(()),
        more => writeln!(page, "<p>and {more} more, which NDJSON lists</p>"),
    }
}

fn write_change(page: &mut String, listed: &ListedChange) -> std::fmt::Result {
    let change = &listed.change;
    let run = PrintedRun::new(&change.place, change.time, &change.claims);
    let fault = if change.comparison.faults { ", fault" } else { "" };
    writeln!(
        page,
        "<details><summary>{}{fault}: <span class=\"m\">{}</span></summary><table>\
         <tr><td>before</td><td class=\"m\">{}</td></tr><tr><td>now</td><td class=\"m\">{}</td></tr>",
        change.comparison.class,
        escaped(&run.line()),
        escaped(&outcome(&change.before)),
        escaped(&outcome(&change.after))
    )?;
    for binding in &change.comparison.bindings {
        let line = PrintedBinding::new(binding).line();
        writeln!(page, "<tr><td></td><td class=\"m\">{}</td></tr>", escaped(&line))?;
    }
    for line in listed.explanation.iter().flat_map(counterfactuals) {
        writeln!(page, "<tr><td></td><td>{}</td></tr>", escaped(&line))?;
    }
    writeln!(page, "</table></details>")
}

fn write_not_replayable(page: &mut String, report: &Report) -> std::fmt::Result {
    if report.not_replayable.is_empty() {
        return Ok(());
    }
    writeln!(page, "<h2>Cannot be decided again</h2><ul>")?;
    for not in &report.not_replayable {
        writeln!(page, "<li class=\"m\">{}</li>", escaped(&PrintedNotReplayable::new(not).line()))?;
    }
    writeln!(page, "</ul>")
}

/// A text as HTML has it, within an element or a quoted attribute: what could mislead a reader is escaped first.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible(text).chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escaped("<script>alert('&\"')</script>\u{202e}"),
            "&lt;script&gt;alert(&#39;&amp;&quot;&#39;)&lt;/script&gt;\\u{202e}"
        );
    }

    #[test]
    fn bars_are_within_their_width() {
        for (count, all) in [(0, 0), (0, 10), (1, 1_000_000), (10, 10)] {
            let bar = bar("lost", count, all);
            let (_, width) = bar.rsplit_once(" width=\"").unwrap();
            let width: f64 = width.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=320.0).contains(&width), "{bar}");
        }
    }
}
