//! The frame of every page around its content: which log it is of, and how far that is verified.

use serde::Serialize;

use crate::log::{ConsoleLog, LogState};
use crate::text::{Number, Text, Time};

/// The frame of a page. In JSON it is the member `log`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Frame {
    #[serde(skip)]
    pub(crate) links: Links,
    #[serde(flatten)]
    pub(crate) status: LogStatus,
}

/// The links of a page.
#[derive(Debug, Clone)]
pub(crate) struct Links {
    /// The beginning of every path: empty, or `/console`.
    pub(crate) base: String,
    /// The names of all logs.
    pub(crate) logs: Vec<String>,
    /// The view that the page belongs to: the segment after the log.
    pub(crate) view: &'static str,
    /// The path without an ending for a form.
    pub(crate) path: String,
    /// The query, with its question mark where there is one.
    pub(crate) query: String,
}

/// The extent to which a log is verified.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LogStatus {
    pub(crate) name: String,
    /// The first and the last record that are shown; 0 while there is none.
    pub(crate) first: Number,
    pub(crate) last: Number,
    /// The hash of the last record, which covers all before it.
    pub(crate) hash: Option<String>,
    /// The last signed checkpoint that agrees with the records.
    pub(crate) checkpoint: Option<CheckpointView>,
    /// The records after it: chained, and proven by no checkpoint yet.
    pub(crate) uncovered: Number,
    /// While the log is read from its beginning: the records that it has, about.
    pub(crate) verifying: Option<Number>,
    /// The damage that ends what is shown.
    pub(crate) damage: Option<Text>,
    /// The reason that new records are not shown.
    pub(crate) problem: Option<Text>,
    /// The first record that was kept, where those before it were removed on purpose.
    pub(crate) pruned_before: Option<Number>,
}

/// A checkpoint.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct CheckpointView {
    pub(crate) sequence: Number,
    pub(crate) hash: Text,
    pub(crate) time: Time,
    pub(crate) kid: Text,
}

impl CheckpointView {
    pub(crate) fn new(checkpoint: &countersign_decision_log::Checkpoint) -> Self {
        Self {
            sequence: Number(checkpoint.sequence),
            hash: checkpoint.hash.as_str().into(),
            time: Time(checkpoint.time),
            kid: checkpoint.kid.as_str().into(),
        }
    }
}

impl LogStatus {
    pub(crate) fn new(log: &ConsoleLog, state: &LogState) -> Self {
        let checkpoint = state.checkpoint().map(CheckpointView::new);
        let covered = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.sequence.0);
        let before = if state.first > 0 { state.first - 1 } else { 0 };
        Self {
            name: log.name.as_str().to_owned(),
            first: Number(state.first),
            last: Number(state.last),
            hash: state.hash.map(|hash| hash.to_string()),
            checkpoint,
            uncovered: Number(state.last - covered.max(before).min(state.last)),
            verifying: state.expected.map(|expected| Number(expected.max(state.last))),
            damage: state.damage.clone().map(Text::from),
            problem: state.problem.clone().map(Text::from),
            pruned_before: (state.first > 1).then_some(Number(state.first)),
        }
    }
}

impl Links {
    /// A path of the page's log.
    pub(crate) fn to(&self, log: &str, rest: &str) -> String {
        format!("{}/{log}/{rest}", self.base)
    }
}

impl Frame {
    /// A path of the page's log.
    pub(crate) fn to(&self, rest: &str) -> String {
        self.links.to(&self.status.name, rest)
    }

    /// Marks the view that the page belongs to.
    pub(crate) fn is(&self, view: &str) -> bool {
        self.links.view == view
    }
}
