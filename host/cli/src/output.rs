//! Output to stdout and stderr, and the exit of a command.

use std::io::{self, Write};
use std::time::{Duration, UNIX_EPOCH};

use anstyle::{AnsiColor, Style};
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

/// The exit of a command that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Approved, or done.
    Success,
    /// Refused by a decision.
    Refused,
    /// A negative result that is not a decision, such as a failed check; already printed.
    Failed,
}

/// The form of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; may change.
    Human,
    /// JSON of a stable, documented shape.
    Json,
}

pub(crate) const SUCCESS: Style = AnsiColor::Green.on_default().bold();
pub(crate) const FAILURE: Style = AnsiColor::Red.on_default().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const STRONG: Style = Style::new().bold();

/// Text in a style, without escape sequences where the output does not support them.
pub(crate) struct Styled<T>(pub Style, pub T);

impl<T: std::fmt::Display> std::fmt::Display for Styled<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{:#}", self.0, self.1, self.0)
    }
}

/// Prints text to stdout.
pub(crate) fn print(text: &str) -> Result<()> {
    let mut stdout = anstream::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()?;
    Ok(())
}

/// Prints a value as indented JSON to stdout.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(value)?;
    text.push('\n');
    print(&text)
}

/// A time in seconds since 1970, for people (RFC 3339).
pub(crate) fn time(seconds: u64) -> String {
    let time = UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    time.map_or_else(
        || seconds.to_string(),
        |time| humantime::format_rfc3339_seconds(time).to_string(),
    )
}

/// Prints a status line to stderr, which keeps the output on stdout parseable.
pub(crate) fn status(text: &str) {
    // A caller that has closed stderr does not want it.
    let _ = writeln!(anstream::stderr(), "{text}");
}

/// Prints text to stderr, or fails: for what must not be lost, such as a decision before its token.
pub(crate) fn eprint_or_fail(text: &str) -> Result<()> {
    Ok(writeln!(anstream::stderr(), "{text}")?)
}

/// Prints a warning to stderr: something that a caller may rely on was not done. The text is escaped already.
pub(crate) fn warn(text: &str) {
    status(&format!("{} {text}", Styled(STRONG, "warning:")));
}

/// Logs a warning if logging is set up, and prints it otherwise.
pub(crate) fn warn_or_log(text: &str) {
    if tracing::dispatcher::has_been_set() {
        tracing::warn!("{text}");
    } else {
        warn(text);
    }
}

/// Reports an error. Paths and quoted lines are untrusted: they are escaped, so that they cannot
/// control the terminal.
pub(crate) fn error(error: &anyhow::Error) {
    status(&format!("{} {}", Styled(FAILURE, "error:"), error_text(error)));
}

/// The text of an error, safe to show.
pub(crate) fn error_text(error: &anyhow::Error) -> String {
    countersign::visible(&format!("{error:#}"))
}

/// Makes a text safe to show on one line: a line break could forge the next one.
pub(crate) fn one_line(text: &str) -> String {
    countersign::visible(text).replace('\n', "\\u{a}")
}

/// Tells whether the reader of the output has gone, as `head` does, which is no error to report.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
