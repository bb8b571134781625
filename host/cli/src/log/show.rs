//! `countersign log show` and `countersign log tail`

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use countersign::{Digest, RunId, visible};
use countersign_decision_log::{Entry, Reader};

use super::LogPlace;
use super::records::{Placed, RecordView};
use crate::output::{self, Exit, Format};

/// The interval at which a followed log is read again.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Print records in order
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign log show state/log --from 1000
  countersign log show state/log --jti 0b5a3b2e-7a4e-4d55-9a5c-3a1d3c5e7f00 --format json

A line has: sequence, time, kind, run, behavior, definition workspace, owning
workspace, audiences, and outcome. The JSON is one object a line, with `sequence`, `hash` and
`record` as the log has it: `kind` (`token`, `decision`, `service-account`, `refused`, `registered`, `finished`,
`subjects`, `release`, `candidate` or `recovered`), `time`, `request` (the id of the request), `client` (the address of the caller),
`requester`, `trace` (the id of the request's trace, if it had one), `used` (the token that may be used once, if it was one), `changes` (of the database),
`registered` (the facts of the run), `run` (of the run that was finished, or refused before any
decision), `reasons` (`code` and `message` each, of a refusal before any decision), `mode` (`pass`, `shadow` or `enforce`), `list`
and `service_account` of a token of a service account, `issued` (`jti`, the SHA-256 of the token, `kid`,
`algorithm`, `subject_profile`, `expires_at`) if a token was issued, `preflight` (`code` and
`message` each) if an approved token violates a limit of its cloud, `decision`, as
`countersign evaluate` prints it, and of a step of releases `step`, `action` (`staged`, `adopted`, `promoted` or
`rolled-back`), `at`, `release`, `from`, `evidence`, `reason` and `automatic`. A decision in which the candidate differs has
`release` (the candidate), `policy_set`, `of` (the decision's id), `class`, `fault`, `before`, `after` and `causes`.

Each record is checked against the previous one; damage ends the command with status 1.

Exit status: 0 printed, 1 anything else, also if no record matches.")]
pub(super) struct Show {
    #[command(flatten)]
    place: LogPlace,

    /// The first record
    #[arg(long, value_name = "SEQUENCE", default_value_t = 1)]
    from: u64,

    /// Only records of this run
    #[arg(long, value_name = "UUID")]
    run: Option<RunId>,

    /// Only the record of the token with this id (`jti`)
    #[arg(long, value_name = "UUID")]
    jti: Option<String>,

    /// Only records of this request
    #[arg(long, value_name = "UUID")]
    request: Option<String>,

    /// Only the record of the decision with this id, or of the token with this SHA-256
    #[arg(long, value_name = "DIGEST", value_parser = Digest::parse)]
    digest: Option<Digest>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Print the last records, and new ones
#[derive(Args)]
pub(super) struct Tail {
    #[command(flatten)]
    place: LogPlace,

    /// The number of records
    #[arg(long, short = 'n', value_name = "RECORDS", default_value_t = 10)]
    records: usize,

    /// Wait for new records
    #[arg(long, short)]
    follow: bool,

    /// The form of the output, as for `show`
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Show {
    pub(super) fn run(&self) -> Result<Exit> {
        let mut reader = Reader::new(self.place.folder()?, self.from);
        let is_filtered = self.run.is_some()
            || self.jti.is_some()
            || self.request.is_some()
            || self.digest.is_some();
        let mut found = false;
        while let Some(entry) = reader.read()? {
            if self.matches(&entry) {
                found = true;
                print(&entry, self.format)?;
            }
        }
        if is_filtered && !found {
            output::status("no record matches");
            return Ok(Exit::Failed);
        }
        Ok(Exit::Success)
    }

    fn matches(&self, entry: &Entry) -> bool {
        let view = RecordView::of(entry);
        let is = |asked: &Option<String>, found: &[Option<&str>]| {
            asked.as_deref().is_none_or(|asked| found.contains(&Some(asked)))
        };
        let view = view.as_ref();
        let decision = view.and_then(|view| view.decision.as_ref());
        let issued = view.and_then(|view| view.issued.as_ref());
        is(&self.run.as_ref().map(ToString::to_string), &[view.and_then(RecordView::run_id)])
            && is(&self.jti, &[issued.map(|issued| issued.jti)])
            && is(&self.request, &[view.and_then(|view| view.request)])
            && is(
                &self.digest.map(|digest| digest.to_string()),
                &[decision.map(|decision| decision.id), issued.map(|issued| issued.token)],
            )
    }
}

impl Tail {
    pub(super) fn run(&self) -> Result<Exit> {
        let mut reader = Reader::tail(self.place.folder()?, self.records as u64)?;
        let mut last = VecDeque::new();
        while let Some(entry) = reader.read()? {
            last.push_back(entry);
            if last.len() > self.records {
                last.pop_front();
            }
        }
        last.iter().try_for_each(|entry| print(entry, self.format))?;
        if !self.follow {
            return Ok(Exit::Success);
        }
        loop {
            match reader.read()? {
                Some(entry) => print(&entry, self.format)?,
                None => thread::sleep(POLL_INTERVAL),
            }
        }
    }
}

fn print(entry: &Entry, format: Format) -> Result<()> {
    let unknown = || format!("{} (a record of another version)", entry.sequence);
    let line = match format {
        Format::Human => {
            visible(&RecordView::of(entry).map_or_else(unknown, |view| view.line(entry.sequence)))
        }
        Format::Json => match Placed::of(entry) {
            Some(placed) => serde_json::to_string(&placed)?,
            None => anyhow::bail!("record {} is not JSON", entry.sequence),
        },
    };
    output::print(&format!("{line}\n"))
}
