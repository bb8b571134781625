//! The queue and the thread that empties it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use countersign_issuer::{FinishedTrace, TraceSink};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::redirect::Policy;

use crate::config::TracesConfig;
use crate::encode;

/// The number of traces that wait, beside those that are being sent.
const MAX_QUEUED: usize = 1024;
/// The number of traces of a request to the collector.
const MAX_BATCH: usize = 128;
/// The time for which traces are gathered.
const GATHER: Duration = Duration::from_secs(2);

/// Takes traces, and sends them from a thread of its own.
pub struct TraceExporter {
    queue: Mutex<Option<SyncSender<FinishedTrace>>>,
    config: TracesConfig,
    requests: AtomicU64,
    dropped: Arc<AtomicU64>,
    /// Ends when the thread has.
    ended: Mutex<Option<Receiver<()>>>,
}

/// An exporter that cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TraceExporterError {
    /// There is no thread for it.
    #[error("failed to start the thread of traces")]
    Thread(#[source] std::io::Error),
    /// There is no client.
    #[error("failed to make a client of the collector")]
    Client(#[source] reqwest::Error),
}

impl TraceExporter {
    /// Starts the thread.
    ///
    /// # Errors
    /// Returns an error if it cannot be started.
    pub fn start(config: TracesConfig) -> Result<Arc<Self>, TraceExporterError> {
        let client = reqwest::Client::builder()
            .timeout(config.timeout)
            .redirect(Policy::none())
            .no_proxy()
            .build()
            .map_err(TraceExporterError::Client)?;
        // Of its own: the service's threads are for requests.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(TraceExporterError::Thread)?;
        let (queue, waiting) = sync_channel(MAX_QUEUED);
        let (ends, ended) = channel();
        let dropped = Arc::new(AtomicU64::new(0));
        let (sending, lost) = (config.clone(), Arc::clone(&dropped));
        let run = move || {
            // Dropped at the end, which whoever flushes waits for.
            let _ends: std::sync::mpsc::Sender<()> = ends;
            while let Some(traces) = batch(&waiting) {
                let body = encode::request(&sending.service, &traces);
                if !runtime.block_on(send(&client, &sending, body)) {
                    lost.fetch_add(spans(&traces), Ordering::Relaxed);
                }
            }
        };
        thread::Builder::new()
            .name("traces".to_owned())
            .spawn(run)
            .map_err(TraceExporterError::Thread)?;
        let (queue, ended) = (Mutex::new(Some(queue)), Mutex::new(Some(ended)));
        Ok(Arc::new(Self { queue, config, requests: AtomicU64::new(0), dropped, ended }))
    }

    /// The number of spans that were dropped: there was no room for them, or the collector did not take them.
    pub fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.dropped)
    }

    /// Sends what waits, for as long as `deadline`, and takes nothing more. Blocks.
    pub fn flush(&self, deadline: Duration) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(ended) = ended {
            // The thread says nothing: it ends, or the time does.
            let _ = ended.recv_timeout(deadline);
        }
    }
}

impl TraceSink for TraceExporter {
    fn is_sampled(&self) -> bool {
        self.config.sampling.takes(self.requests.fetch_add(1, Ordering::Relaxed))
    }

    fn offer(&self, trace: FinishedTrace) {
        let count = trace.spans.len() as u64;
        // Held for as long as it takes to put the trace into the queue, which does not wait for room.
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let queued = queue.as_ref().is_some_and(|queue| queue.try_send(trace).is_ok());
        if !queued {
            self.dropped.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Waits for traces, and gathers more for a while; `None` when there will be none.
fn batch(waiting: &Receiver<FinishedTrace>) -> Option<Vec<FinishedTrace>> {
    let mut traces = vec![waiting.recv().ok()?];
    let until = Instant::now() + GATHER;
    while traces.len() < MAX_BATCH {
        let left = until.saturating_duration_since(Instant::now());
        match waiting.recv_timeout(left) {
            Ok(trace) => traces.push(trace),
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
        }
    }
    Some(traces)
}

/// Sends a request, once: what the collector does not take is lost, and nothing piles up behind it.
async fn send(client: &reqwest::Client, config: &TracesConfig, body: Vec<u8>) -> bool {
    let protobuf = HeaderValue::from_static("application/x-protobuf");
    let mut headers = config.headers.clone();
    headers.insert(CONTENT_TYPE, protobuf);
    let sent = client.post(config.url.clone()).headers(headers).body(body).send().await;
    // The answer's body may name spans that were rejected; it is not read.
    sent.is_ok_and(|answer| answer.status().is_success())
}

fn spans(traces: &[FinishedTrace]) -> u64 {
    traces.iter().map(|trace| trace.spans.len() as u64).sum()
}
