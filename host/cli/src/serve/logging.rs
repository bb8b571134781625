//! The service's own log, as opposed to the decision log.

use anyhow::{Result, anyhow};
use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::log_lines::{FlushAtEnd, LogLines};

/// The format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogForm {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

/// Starts logging to stderr. All lines are written when the value is dropped.
///
/// INVARIANT: from here on nothing else in this process writes to stderr: it would wait for a reader that does not read,
/// and `eprintln!` panics where there is none.
pub(crate) fn begin(form: LogForm) -> Result<FlushAtEnd> {
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) => {
            EnvFilter::try_new(directives).map_err(|error| anyhow!("RUST_LOG: {error}"))?
        }
        Err(_) => EnvFilter::new(
            "warn,countersign=info,countersign_console=info,countersign_http=info,countersign_issuer=info",
        ),
    };
    let (lines, at_end) = LogLines::start(std::io::stderr())
        .map_err(|error| anyhow!("failed to start logging: {error}"))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(lines)
        .with_target(false)
        // It would report a line that was not written by `eprintln!`.
        .log_internal_errors(false);
    let begun = match form {
        LogForm::Json => builder.json().flatten_event(true).with_span_list(false).try_init(),
        LogForm::Text => {
            builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init()
        }
    };
    begun.map_err(|error| anyhow!("failed to start logging: {error}"))?;
    std::panic::set_hook(Box::new(|panic| {
        let message = countersign::visible(panic.payload_as_str().unwrap_or("without a message"));
        let place = panic.location().map(ToString::to_string);
        tracing::error!(panic = message, place, "a thread panicked");
    }));
    Ok(at_end)
}
