//! Traces of requests: what a request took its time for, for whoever collects traces.
//!
//! INVARIANT: nothing here waits for anybody. A trace is given to its [`TraceSink`] when the last part of the request has let
//! go of it, and a sink must not block. No claims, tokens or texts of policies are in a trace.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use serde_json::Value;

/// The maximum number of events of a span.
const MAX_EVENTS: usize = 128;
/// The maximum length of a text in an attribute, in characters.
const MAX_TEXT: usize = 256;

/// Takes traces, and says which requests have one.
pub trait TraceSink: Send + Sync {
    /// True if the next request has a trace.
    fn is_sampled(&self) -> bool;

    /// Takes a trace. It must not block: what there is no room for is dropped, and counted.
    fn offer(&self, trace: FinishedTrace);
}

/// A trace of a request, shared by all that work on it. The last one to let go of it gives it to the sink.
#[derive(Clone)]
pub struct Trace(Arc<Open>);

/// The trace that a caller says its request is a part of (W3C Trace Context). Nobody has proved it: it is linked, not joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace: [u8; 16],
    /// The caller's span.
    pub span: [u8; 8],
}

/// A trace of a request that has ended.
#[derive(Debug)]
pub struct FinishedTrace {
    /// Its id.
    pub id: [u8; 16],
    /// The caller's trace.
    pub link: Option<TraceParent>,
    /// The spans; the first one is the request's own, and the parent of the others.
    pub spans: Vec<TraceSpan>,
}

/// A span of a trace.
#[derive(Debug)]
pub struct TraceSpan {
    /// Its id.
    pub id: [u8; 8],
    /// Its name.
    pub name: String,
    /// Its beginning, in nanoseconds since 1970.
    pub start: u64,
    /// Its end.
    pub end: u64,
    /// True if the service, or a part of it, failed.
    pub has_failed: bool,
    /// Its attributes.
    pub attributes: Vec<(&'static str, TraceValue)>,
    /// Its events: one for each binding that was evaluated.
    pub events: Vec<TraceEvent>,
    /// The number of events that there was no room for.
    pub dropped_events: u32,
}

/// An event of a span.
#[derive(Debug)]
pub struct TraceEvent {
    /// Its name.
    pub name: &'static str,
    /// Its attributes.
    pub attributes: Vec<(&'static str, TraceValue)>,
}

/// A value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceValue {
    /// A text.
    Text(String),
    /// An integer.
    Integer(i64),
}

struct Open {
    id: [u8; 16],
    /// The id of the request's own span; those of others differ from it by their number.
    root: [u8; 8],
    link: Option<TraceParent>,
    /// The beginning, by both clocks.
    started: Instant,
    began: u64,
    spans: Mutex<Vec<TraceSpan>>,
    sink: Arc<dyn TraceSink>,
}

impl Trace {
    /// Begins the trace of a request that began at `started`, which was `began` in nanoseconds since 1970. `None` without
    /// randomness.
    pub(crate) fn begin(
        sink: Arc<dyn TraceSink>,
        link: Option<TraceParent>,
        started: Instant,
        began: u64,
    ) -> Option<Self> {
        let mut random = [0; 24];
        SystemRandom::new().fill(&mut random).ok()?;
        let (id, root) = random.split_first_chunk::<16>()?;
        let (id, root) = (*id, *root.first_chunk::<8>()?);
        let own = TraceSpan {
            id: root,
            name: "request".to_owned(),
            start: began,
            end: began,
            has_failed: false,
            attributes: Vec::new(),
            events: Vec::new(),
            dropped_events: 0,
        };
        let spans = Mutex::new(vec![own]);
        Some(Self(Arc::new(Open { id, root, link, started, began, spans, sink })))
    }

    /// The id, in hexadecimal digits.
    pub fn id(&self) -> String {
        self.0.id.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Adds a span.
    pub fn span(
        &self,
        name: &'static str,
        (from, to): (Instant, Instant),
        attributes: Vec<(&'static str, TraceValue)>,
        has_failed: bool,
    ) {
        self.add(name, (from, to), attributes, has_failed, Vec::new());
    }

    /// Adds the span of a decision, with an event for each binding. `decision` is the decision's own record.
    pub(crate) fn decision(&self, (from, to): (Instant, Instant), decision: &str) {
        let decision: Value = serde_json::from_str(decision).unwrap_or_default();
        let text = |value: &Value, pointer: &str| {
            value.pointer(pointer).and_then(Value::as_str).map(TraceValue::text)
        };
        let attributes = [
            ("countersign.outcome", text(&decision, "/outcome")),
            ("countersign.policy_set", text(&decision, "/policy_set")),
        ];
        let attributes = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let trace = decision.pointer("/trace").and_then(Value::as_array);
        let events = trace.into_iter().flatten().map(|binding| {
            let verdict = binding.get("verdict");
            let word = verdict.and_then(|verdict| {
                let key = verdict.as_object().and_then(|object| object.keys().next());
                verdict.as_str().or(key.map(String::as_str))
            });
            let word = match binding.get("fault") {
                Some(_) => Some("fault"),
                None => word,
            };
            let code = text(binding, "/fault/code").or(text(binding, "/verdict/deny/0/code"));
            let fuel = binding.pointer("/fuel/used").and_then(Value::as_i64);
            let attributes = [
                ("countersign.binding", text(binding, "/binding")),
                ("countersign.mode", text(binding, "/mode")),
                ("countersign.verdict", word.map(TraceValue::text)),
                ("countersign.code", code),
                ("countersign.fuel", fuel.map(TraceValue::Integer)),
            ];
            let attributes =
                attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
            TraceEvent { name: "binding", attributes: attributes.collect() }
        });
        self.add("decide", (from, to), attributes.collect(), false, events.collect());
    }

    /// Ends the request's own span. Spans of what goes on after it may still be added.
    pub fn end(
        &self,
        name: String,
        now: Instant,
        attributes: Vec<(&'static str, TraceValue)>,
        has_failed: bool,
    ) {
        let end = self.0.at(now);
        let mut spans = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = spans.first_mut() {
            (own.name, own.end, own.attributes, own.has_failed) =
                (name, end, attributes, has_failed);
        }
    }

    fn add(
        &self,
        name: &'static str,
        (from, to): (Instant, Instant),
        attributes: Vec<(&'static str, TraceValue)>,
        has_failed: bool,
        mut events: Vec<TraceEvent>,
    ) {
        let dropped_events =
            u32::try_from(events.len().saturating_sub(MAX_EVENTS)).unwrap_or(u32::MAX);
        events.truncate(MAX_EVENTS);
        let (start, end, name) = (self.0.at(from), self.0.at(to), name.to_owned());
        let mut spans = self.0.spans.lock().unwrap_or_else(PoisonError::into_inner);
        let number = u64::try_from(spans.len()).unwrap_or_default();
        let id = (u64::from_be_bytes(self.0.root) ^ number).to_be_bytes();
        spans.push(TraceSpan {
            id,
            name,
            start,
            end,
            has_failed,
            attributes,
            events,
            dropped_events,
        });
    }
}

impl Open {
    /// The time, in nanoseconds since 1970, of an instant of this request.
    fn at(&self, instant: Instant) -> u64 {
        let since = instant.saturating_duration_since(self.started).as_nanos();
        self.began.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

/// The last one to let go.
impl Drop for Open {
    fn drop(&mut self) {
        let spans = std::mem::take(self.spans.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.sink.offer(FinishedTrace { id: self.id, link: self.link, spans });
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.id()).finish()
    }
}

impl TraceValue {
    /// A text, cut to what an attribute may have.
    pub fn text(text: &str) -> Self {
        Self::Text(text.chars().take(MAX_TEXT).collect())
    }
}

impl TraceParent {
    /// Parses the header `traceparent` of version 00 (W3C Trace Context section 3.2); `None` for anything else, which is
    /// ignored.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || version != "00" || flags.len() != 2 || !is_hex(flags) {
            return None;
        }
        let (trace, span) = (bytes::<16>(trace)?, bytes::<8>(span)?);
        (trace != [0; 16] && span != [0; 8]).then_some(Self { trace, span })
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !is_hex(text) {
        return None;
    }
    let mut bytes = [0; N];
    for (place, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Kept(Mutex<Vec<FinishedTrace>>);

    impl TraceSink for Kept {
        fn is_sampled(&self) -> bool {
            true
        }

        fn offer(&self, trace: FinishedTrace) {
            self.0.lock().unwrap().push(trace);
        }
    }

    #[test]
    fn a_trace_is_given_away_once_by_the_last_that_has_it() {
        let (kept, started) = (Arc::new(Kept::default()), Instant::now());
        let trace = Trace::begin(kept.clone(), None, started, 1_000).unwrap();
        let other = trace.clone();
        let later = started + std::time::Duration::from_nanos(500);
        trace.end("GET /x".to_owned(), later, Vec::new(), true);
        drop(trace);
        assert!(kept.0.lock().unwrap().is_empty());
        let decision = r#"{"outcome":"refused","trace":[{"binding":"a","mode":"enforce","verdict":{"deny":[{"code":"no",
            "message":"secret"}]},"fuel":{"used":7}},{"binding":"b","fault":{"code":"trap","detail":"x"}},{"verdict":"abstain"}],
            "claims":{"run":{"id":"secret"}}}"#;
        other.decision((later, later), decision);
        other.decision((later, later), "not json");
        drop(other);
        let kept = kept.0.lock().unwrap();
        assert_eq!(kept.len(), 1);
        let spans = &kept[0].spans;
        assert_eq!(
            (spans[0].name.as_str(), spans[0].start, spans[0].end),
            ("GET /x", 1_000, 1_500)
        );
        assert!(spans[0].has_failed);
        let events = &spans[1].events;
        let text = |text: &str| TraceValue::Text(text.to_owned());
        assert_eq!(
            events[0].attributes,
            [
                ("countersign.binding", text("a")),
                ("countersign.mode", text("enforce")),
                ("countersign.verdict", text("deny")),
                ("countersign.code", text("no")),
                ("countersign.fuel", TraceValue::Integer(7)),
            ]
        );
        assert!(events[1].attributes.contains(&("countersign.verdict", text("fault"))));
        assert!(events[2].attributes.contains(&("countersign.verdict", text("abstain"))));
        assert!(!format!("{kept:?}").contains("secret"));
        assert_ne!(spans[0].id, spans[1].id);
    }

    #[test]
    fn a_parent_is_of_the_standard_s_form_or_none() {
        const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(
            TraceParent::parse(GOOD).unwrap().span,
            [0, 0xf0, 0x67, 0xaa, 0x0b, 0xa9, 0x02, 0xb7]
        );
        for text in [
            "",
            "00",
            &GOOD.replace("00-4", "ff-4"),
            &GOOD.replace("00-4", "01-4"),
            &GOOD.to_uppercase(),
            &format!("{GOOD}-x"),
            &GOOD.replace("4bf92f3577b34da6a3ce929d0e0e4736", "00000000000000000000000000000000"),
            &GOOD.replace("00f067aa0ba902b7", "0000000000000000"),
            &GOOD.replace("-01", "-1"),
            &GOOD.replace("-01", "-0g"),
            &GOOD.replace("00f067", "ü00f0"),
            &format!(" {GOOD}"),
        ] {
            assert_eq!(TraceParent::parse(text), None, "{text}");
        }
    }
}
