//! Traces of a service's requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::Service;
use crate::trace::{Trace, TraceParent, TraceSink};

/// The sink of traces, where they are collected.
pub(super) struct Traces {
    sink: Arc<dyn TraceSink>,
    /// The spans that were dropped since this was last read.
    dropped: Arc<AtomicU64>,
}

impl Service {
    /// Collects traces of requests. The spans that are dropped are counted from a number that is taken from: the sink adds to
    /// it. Only the first sink is used.
    pub fn collect_traces(&self, sink: Arc<dyn TraceSink>, dropped: Arc<AtomicU64>) {
        self.traces.get_or_init(|| Traces { sink, dropped });
    }

    /// Begins the trace of a request that began at `started`, if it has one. `begun` gives that time in nanoseconds since
    /// 1970, and the caller's own trace, which is linked.
    pub fn begin_trace(
        &self,
        started: Instant,
        begun: impl FnOnce() -> (u64, Option<TraceParent>),
    ) -> Option<Trace> {
        let Traces { sink, .. } = self.traces.get()?;
        if !sink.is_sampled() {
            return None;
        }
        let (began, link) = begun();
        Trace::begin(Arc::clone(sink), link, started, began)
    }

    /// Adds the spans that were dropped to the metrics.
    pub(super) fn count_dropped_spans(&self) {
        if let Some(traces) = self.traces.get() {
            self.metrics.spans_dropped.inc_by(traces.dropped.swap(0, Ordering::Relaxed));
        }
    }
}
