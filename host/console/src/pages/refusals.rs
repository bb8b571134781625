//! Refusals over time and by cause.

use askama::Template;
use hyper::Response;
use serde::Serialize;
use serde_json::Value;

use super::value;
use crate::answer::{Body, View, respond};
use crate::chart::{Columns, share};
use crate::console::PageRequest;
use crate::frame::Frame;
use crate::index::Refusals;
use crate::problem::Problem;
use crate::query::Parameters;
use crate::text::{Number, Text, Time};

const HOUR: u64 = 3600;

/// The spans of time that columns may have, in hours.
const SPANS: [u64; 9] = [1, 2, 6, 12, 24, 48, 168, 720, 8760];

/// The maximum number of columns.
const MAX_COLUMNS: u64 = 62;

/// The codes that are listed, and those with a chart of their own.
const MAX_CODES: u32 = 50;
const MAX_CHARTS: usize = 6;

#[derive(Template, Serialize)]
#[template(path = "refusals.html")]
struct RefusalsView {
    log: Frame,
    /// Whole hours, in seconds since 1970.
    from: Time,
    to: Time,
    span_seconds: u64,
    refused: Number,
    codes: Vec<CodeView>,
    spans: Vec<SpanView>,
    #[serde(skip)]
    since: Text,
    #[serde(skip)]
    until: Text,
    #[serde(skip)]
    columns: Columns,
}

/// Refused decisions that have a code among their reasons.
#[derive(Serialize)]
struct CodeView {
    code: Text,
    decisions: Number,
    #[serde(skip)]
    share: String,
    /// Its own columns; empty where it is not among the most frequent.
    #[serde(skip)]
    columns: Columns,
}

/// Refused decisions of a span of time.
#[derive(Serialize)]
struct SpanView {
    start: Time,
    refused: Number,
    /// The counts of the most frequent codes, in their order.
    codes: Vec<Number>,
}

impl View for RefusalsView {
    fn lines(&self) -> Vec<Value> {
        self.spans.iter().map(value).collect()
    }
}

pub(crate) async fn refusals(asked: &PageRequest<'_>) -> Result<Response<Body>, Problem> {
    let mut parameters = Parameters::parse(asked.query)?;
    let (since, until) = (parameters.take_time("since")?, parameters.take_time("until")?);
    parameters.end()?;
    if let (Some(since), Some(until)) = (since, until)
        && since >= until
    {
        return Err(Problem::invalid("`since` is not before `until`: nothing is between them"));
    }
    let index = &asked.log.index;
    let times = index.refusal_times().await?;
    let (first, last) = times.unwrap_or_default();
    let from = since.unwrap_or(first).max(first) / HOUR * HOUR;
    let to = until.map_or(last + HOUR, |until| until.min(last + HOUR)).max(from);
    let hours = (to - from).div_ceil(HOUR).max(1);
    let fits = |span: &&u64| hours.div_ceil(**span) <= MAX_COLUMNS;
    let span = SPANS.iter().find(fits).copied().unwrap_or(hours.div_ceil(MAX_COLUMNS));
    let counted = match times {
        Some(_) => index.refusals((from, to), span, MAX_CODES, MAX_CHARTS).await?,
        None => Refusals::default(),
    };
    let values = |count: &dyn Fn(&crate::index::Bucket) -> u64| {
        let values: Vec<_> =
            counted.buckets.iter().map(|bucket| (bucket.start, count(bucket))).collect();
        Columns::new(&values, (from, to), span * HOUR)
    };
    let most = counted.codes.iter().map(|code| code.decisions).max().unwrap_or(0);
    let code = |(place, code): (usize, &crate::index::CodeCount)| CodeView {
        code: code.code.as_str().into(),
        decisions: Number(code.decisions),
        share: share(code.decisions, most),
        columns: if place < MAX_CHARTS {
            values(&|bucket| bucket.codes.get(place).copied().unwrap_or(0))
        } else {
            Columns::default()
        },
    };
    let text =
        |time: Option<u64>| Text::from(time.map_or(String::new(), |time| Time(time).rfc3339()));
    let view = RefusalsView {
        log: asked.frame("refusals"),
        from: Time(from),
        to: Time(to),
        span_seconds: span * HOUR,
        refused: Number(counted.buckets.iter().map(|bucket| bucket.refused).sum()),
        codes: counted.codes.iter().enumerate().map(code).collect(),
        spans: counted
            .buckets
            .iter()
            .map(|bucket| SpanView {
                start: Time(bucket.start),
                refused: Number(bucket.refused),
                codes: bucket.codes.iter().map(|count| Number(*count)).collect(),
            })
            .collect(),
        columns: values(&|bucket| bucket.refused),
        since: text(since),
        until: text(until),
    };
    respond(asked.format, &view)
}

impl RefusalsView {
    /// The length of a span in words.
    fn span(&self) -> String {
        match self.span_seconds / HOUR {
            1 => "hour".to_owned(),
            24 => "day".to_owned(),
            168 => "7 days".to_owned(),
            hours if hours.is_multiple_of(24) => format!("{} days", hours / 24),
            hours => format!("{hours} hours"),
        }
    }

    /// The codes with charts of their own.
    fn charted(&self) -> impl Iterator<Item = &CodeView> {
        self.codes.iter().take(MAX_CHARTS)
    }

    /// The search for the refusals of a code, within the times of the page.
    fn search(&self, code: &Text) -> String {
        let mut path = self.log.to(&format!("records?outcome=refused&code={}", code.encoded()));
        for (name, time) in [("since", &self.since), ("until", &self.until)] {
            if !time.as_str().is_empty() {
                path.push_str(&format!("&{name}={}", time.encoded()));
            }
        }
        path
    }

    /// The search for the refusals of a span.
    fn search_span(&self, start: &Time) -> String {
        let until = Time(start.0 + self.span_seconds).rfc3339();
        self.log.to(&format!("records?outcome=refused&since={}&until={until}", start.rfc3339()))
    }
}
