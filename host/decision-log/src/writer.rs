//! Shares a log, and each of its syncs, between many callers.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::frame::MAX_RECORD_BYTES;
use crate::log::{AppendError, Log, MAX_BATCH_RECORDS, Position};

/// The maximum number of queued records.
const MAX_QUEUED: usize = 4096;
/// The size in bytes at which a batch is written: it exceeds this by less than one record.
const BATCH_BYTES: usize = 8 << 20;
/// The maximum time before a record is covered by a checkpoint.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// The maximum time to gather a batch: a sync for each record would delay the others more than this delays the first.
const GATHER: Duration = Duration::from_millis(2);

/// Appends for many callers with one thread. Records that arrive during a sync share the next one. A single record is
/// written at once; after a batch of several, the next one is gathered until no more records are
/// [expected](Self::expect), for at most two milliseconds.
pub struct LogWriter {
    queue: Option<SyncSender<Waiting>>,
    expected: Arc<AtomicUsize>,
    failed: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

/// A record on its way to the queue, until this is dropped.
pub struct ExpectedRecord {
    expected: Arc<AtomicUsize>,
    writing: Option<Thread>,
}

type Done = Box<dyn FnOnce(Result<Position, NotDurable>) + Send>;

struct Waiting {
    record: Vec<u8>,
    done: Done,
}

/// A record that is not durable, as far as is known.
#[derive(Debug, thiserror::Error)]
pub enum NotDurable {
    /// It was not queued.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// It could not be written.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log was closed before.
    #[error("the decision log is closed")]
    Closed,
}

/// The reasons for which a record was not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// The queue is full. A later attempt may succeed.
    #[error("the queue of records is full")]
    Full,
    /// The log has failed or is closed.
    #[error("the log accepts no more records")]
    Closed,
    /// The record is longer than [`MAX_RECORD_BYTES`].
    #[error("the record has {bytes} bytes, at most {MAX_RECORD_BYTES} are allowed")]
    TooLong {
        /// The record's length in bytes.
        bytes: usize,
    },
}

impl LogWriter {
    /// Starts the thread. `clock` returns the time in seconds since 1970, for checkpoints.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start<D: Disk + 'static>(
        log: Log<D>,
        clock: impl Fn() -> u64 + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(MAX_QUEUED);
        let failed = Arc::new(OnceLock::new());
        let expected = Arc::new(AtomicUsize::new(0));
        let (failed_of_thread, expected_of_thread) = (Arc::clone(&failed), Arc::clone(&expected));
        let thread = thread::Builder::new().name("decision-log".to_owned()).spawn(move || {
            write(log, &waiting, &expected_of_thread, &clock, &failed_of_thread);
        })?;
        Ok(Self { queue: Some(queue), expected, failed, thread: Some(thread) })
    }

    /// Announces a record, so that those before it may wait to share its sync. The value is dropped once the record is
    /// queued, or will not be.
    pub fn expect(&self) -> ExpectedRecord {
        self.expected.fetch_add(1, Ordering::Relaxed);
        let writing = self.thread.as_ref().map(|thread| thread.thread().clone());
        ExpectedRecord { expected: Arc::clone(&self.expected), writing }
    }

    /// Queues a record. The writing thread calls `done` when the record is durable or the write failed; this one does when
    /// the record is not queued. `done` must not block.
    pub fn append(
        &self,
        record: Vec<u8>,
        done: impl FnOnce(Result<Position, NotDurable>) + Send + 'static,
    ) {
        if let Err((error, done)) = self.queue(record, Box::new(done)) {
            done(Err(NotDurable::Queue(error)));
        }
    }

    fn queue(&self, record: Vec<u8>, done: Done) -> Result<(), (QueueError, Done)> {
        let Some(queue) = self.queue.as_ref().filter(|_| !self.has_failed()) else {
            return Err((QueueError::Closed, done));
        };
        if record.len() > MAX_RECORD_BYTES {
            return Err((QueueError::TooLong { bytes: record.len() }, done));
        }
        queue.try_send(Waiting { record, done }).map_err(|error| match error {
            TrySendError::Full(waiting) => (QueueError::Full, waiting.done),
            TrySendError::Disconnected(waiting) => (QueueError::Closed, waiting.done),
        })
    }

    /// Returns true if the log has failed, and accepts no more records.
    pub fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// The reason of the failure, if the log has failed.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }
}

/// Lets the thread write as soon as it waits for nobody else.
impl Drop for ExpectedRecord {
    fn drop(&mut self) {
        if self.expected.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(writing) = &self.writing
        {
            writing.unpark();
        }
    }
}

/// Writes the queued records, then a checkpoint.
impl Drop for LogWriter {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // The thread has already reported its panic.
            let _ = thread.join();
        }
    }
}

fn write<D: Disk>(
    mut log: Log<D>,
    waiting: &Receiver<Waiting>,
    expected: &AtomicUsize,
    clock: &dyn Fn() -> u64,
    failed: &OnceLock<String>,
) {
    let mut checkpointed = Instant::now();
    let mut last = 1;
    loop {
        if checkpointed.elapsed() >= CHECKPOINT_EVERY && failed.get().is_none() {
            checkpointed = Instant::now();
            if let Err(error) = log.checkpoint(clock()) {
                note(failed, &error);
            }
        }
        let first = match waiting.recv_timeout(CHECKPOINT_EVERY) {
            Ok(first) => first,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => continue,
        };
        if last > 1 {
            gather(expected);
        }
        let mut bytes = first.record.len();
        let (mut records, mut callers) = (vec![first.record], vec![first.done]);
        while (records.len() as u64) < MAX_BATCH_RECORDS && bytes < BATCH_BYTES {
            let Ok(next) = waiting.try_recv() else { break };
            bytes += next.record.len();
            records.push(next.record);
            callers.push(next.done);
        }
        last = records.len();
        match log.append(&records, clock()) {
            Ok(positions) => {
                callers.into_iter().zip(positions).for_each(|(done, at)| done(Ok(at)));
            }
            Err(error) => {
                // No later record may be reported as durable.
                note(failed, &error);
                let mut error = Some(error);
                for done in callers {
                    done(Err(error.take().unwrap_or(AppendError::Failed).into()));
                }
            }
        }
    }
    // If this fails, the records are durable all the same; only the checkpoint is missing.
    let _ = log.checkpoint(clock());
}

/// Waits until no more records are expected, without being woken for each of them.
fn gather(expected: &AtomicUsize) {
    let began = Instant::now();
    while expected.load(Ordering::Acquire) > 0 {
        let Some(left) = GATHER.checked_sub(began.elapsed()).filter(|left| !left.is_zero()) else {
            break;
        };
        thread::park_timeout(left);
    }
}

/// Stores the first failure with the system's error.
fn note(failed: &OnceLock<String>, error: &AppendError) {
    let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
    // Later failures only report that the log failed before.
    let _ = failed.set(format!("{error}{source}"));
}
