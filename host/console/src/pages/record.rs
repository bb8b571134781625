//! One record: what was decided, on what, by which bindings, and its place in the chain.

use askama::Template;
use hyper::Response;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::value;
use crate::answer::{Body, View, respond};
use crate::console::PageRequest;
use crate::frame::{CheckpointView, Frame};
use crate::log::ReadRecord;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::record::{BindingView, Member, Parsed, ReasonView, RecordLine};
use crate::text::{Number, Text};

/// The members of a record that have tables of their own.
const SHOWN: [&str; 3] = ["decision", "issued", "reasons"];

#[derive(Template, Serialize)]
#[template(path = "record.html")]
struct RecordView {
    log: Frame,
    #[serde(flatten)]
    chain: ChainView,
    /// The record, to the byte; null where it is not what was verified.
    record: Option<Box<RawValue>>,
    damage: Option<Text>,
    #[serde(skip)]
    line: RecordLine,
    #[serde(skip)]
    parts: Parts,
}

/// The place of a record in the chain.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ChainView {
    pub(super) sequence: u64,
    pub(super) hash: String,
    /// The hash of the record before it.
    pub(super) previous: String,
    pub(super) segment: String,
    pub(super) offset: Number,
    pub(super) length: Number,
    /// The first checkpoint that covers it; null where none does yet.
    pub(super) checkpoint: Option<CheckpointView>,
}

/// The tables of a page.
#[derive(Default)]
struct Parts {
    reasons: Vec<ReasonView>,
    terms: Vec<Member>,
    token: Vec<Member>,
    bindings: Vec<BindingView>,
    claims: Vec<Member>,
    others: Vec<Member>,
    raw: Text,
}

impl View for RecordView {
    fn lines(&self) -> Vec<Value> {
        vec![value(self)]
    }
}

impl ChainView {
    pub(super) fn new(asked: &PageRequest<'_>, read: &ReadRecord) -> Self {
        let state = &asked.state;
        let covered = state.checkpoints.iter().filter(|one| one.sequence <= state.covered);
        let mut covering = covered.filter(|one| one.sequence >= read.sequence);
        Self {
            sequence: read.sequence,
            hash: read.hash.to_string(),
            previous: read.previous.to_string(),
            segment: format!("{:020}.log", read.place.segment),
            offset: Number(read.place.offset),
            length: Number(read.place.length.into()),
            checkpoint: covering.next().map(CheckpointView::new),
        }
    }
}

/// Reads the record of a path.
pub(super) async fn read(asked: &PageRequest<'_>, sequence: &str) -> Result<ReadRecord, Problem> {
    let (first, last) = asked.state.range();
    let is_number =
        sequence.bytes().all(|byte| byte.is_ascii_digit()) && !sequence.starts_with('0');
    let number = sequence.parse().ok().filter(|_| is_number);
    let number: u64 = number.ok_or_else(|| Problem::not_found("no such page"))?;
    if number > last {
        let problem =
            format!("record {number} is not there: the log is verified up to record {last}");
        return Err(Problem::not_found(problem));
    }
    if number < first {
        let problem =
            format!("record {number} was removed from this log, which begins with record {first}");
        return Err(Problem::not_found(problem));
    }
    let read = asked.log.read(&asked.state, vec![number]).await?.pop();
    read.ok_or_else(|| Problem::not_found(format!("record {number} is not in the index")))
}

pub(crate) async fn record(
    asked: &PageRequest<'_>,
    sequence: &str,
) -> Result<Response<Body>, Problem> {
    Parameters::parse(asked.query)?.end()?;
    let read = read(asked, sequence).await?;
    let raw = read.record.as_ref().ok().and_then(|bytes| serde_json::from_slice(bytes).ok());
    let view = RecordView {
        log: asked.frame("records"),
        chain: ChainView::new(asked, &read),
        record: raw,
        damage: read.record.as_ref().err().map(|damage| damage.as_str().into()),
        line: RecordLine::new(&read),
        parts: read.record.as_ref().map_or_else(|_| Parts::default(), |bytes| Parts::of(bytes)),
    };
    respond(asked.format, &view)
}

impl Parts {
    fn of(record: &[u8]) -> Self {
        let parsed = Parsed::of(record);
        let mut others = parsed.members("");
        others.retain(|member| {
            let first = member.path.as_str().split('.').next().unwrap_or_default();
            !SHOWN.contains(&first)
        });
        let mut reasons = parsed.reasons("/decision/reasons");
        reasons.extend(parsed.reasons("/reasons"));
        Self {
            reasons,
            terms: parsed.members("/decision/terms"),
            token: parsed.members("/issued"),
            bindings: parsed.bindings(),
            claims: parsed.members("/decision/claims"),
            others,
            raw: Text::from(String::from_utf8_lossy(record).into_owned()),
        }
    }
}
