//! An impact in Markdown, for a comment on a merge request.

use std::fmt::Write as _;

use super::report::Report;
use super::text;

/// Bytes of the report within the comment. GitHub takes comments of 65,536 characters.
const MAX_REPORT_BYTES: usize = 60_000;

/// The first line, by which a pipeline finds the comment that it wrote before.
const MARKER: &str = "<!-- countersign impact -->";

/// Writes the comment: the result in a sentence, and the report for people in a block of code, in which nothing that a policy
/// or a run says is Markdown, a mention or a link.
pub(super) fn comment(report: &Report) -> String {
    let mut comment =
        format!("{MARKER}\n**Impact of the changed policies:** {}\n\n", result(report));
    let text = anstream::adapter::strip_str(&text::text(report)).to_string();
    let (shown, left_out) = first_lines(&text, MAX_REPORT_BYTES);
    let fence = "`".repeat(longest_run(shown, '`').max(2) + 1);
    // Writing to a string does not fail.
    let _ = writeln!(comment, "{fence}text\n{}\n{fence}", shown.trim_end());
    if left_out > 0 {
        let _ = writeln!(
            comment,
            "\n{left_out} more lines are left out here; the other forms of the report have them."
        );
    }
    comment
}

/// The result in a sentence, of words and numbers of this program alone.
fn result(report: &Report) -> String {
    let classes = &report.impact.summary.classes;
    if !report.problems().is_empty() {
        return "**nothing is proven**; the report says why".to_owned();
    }
    if !report.failed_on.is_empty() {
        return format!("**fails on {}**", report.failed_on.join(", "));
    }
    match classes.visible() + classes.faults {
        0 => "no difference that anybody sees".to_owned(),
        _ => text::counts_line(classes),
    }
}

/// The first whole lines of at most `bytes`, and the number of the others.
fn first_lines(text: &str, bytes: usize) -> (&str, usize) {
    let mut end = 0;
    for line in text.split_inclusive('\n') {
        if end + line.len() > bytes {
            break;
        }
        end += line.len();
    }
    let (shown, rest) = text.split_at(end);
    (shown, rest.lines().count())
}

/// The length of the longest run of a character.
fn longest_run(text: &str, wanted: char) -> usize {
    text.split(|c| c != wanted).map(str::len).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_ends_only_where_its_report_does() {
        assert_eq!(longest_run("a ``` b ````` c", '`'), 5);
        assert_eq!(longest_run("", '`'), 0);
    }

    #[test]
    fn a_long_report_ends_at_the_end_of_a_line() {
        assert_eq!(first_lines("one\ntwo\nthree\n", 9), ("one\ntwo\n", 1));
        assert_eq!(first_lines("one\ntwo\n", 9), ("one\ntwo\n", 0));
        assert_eq!(first_lines("long", 3), ("", 1));
    }
}
