//! Many callers, one sync.

use std::error::Error;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::frame::MAX_RECORD_BYTES;
use crate::log::{AppendError, Log, MOST_IN_A_BATCH, Position};

/// How many records may wait to be written.
const QUEUE: usize = 4096;
/// How many bytes are written with one sync at most, and then one record more.
const BATCH_BYTES: usize = 8 << 20;
/// How long a record is without a checkpoint at most.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// How long a batch is gathered when the last one had several records: asking the disk for each of them costs
/// others more than this costs one.
const GATHER: Duration = Duration::from_micros(500);

/// Appends for many callers with one thread: what arrives during a sync shares the next one, so that
/// durability does not cost a sync each. One that comes alone waits for nobody; where several came together, the
/// next ones are gathered for half a millisecond.
pub struct LogWriter {
    queue: Option<SyncSender<Waiting>>,
    failed: Arc<OnceLock<String>>,
    thread: Option<JoinHandle<()>>,
}

type Done = Box<dyn FnOnce(Result<Position, AppendError>) + Send>;

struct Waiting {
    record: Vec<u8>,
    done: Done,
}

/// Why a record is not even waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Too many wait already. Later there may be room.
    #[error("too many records wait to be written")]
    Full,
    /// The log has failed or is closed.
    #[error("the log takes no records any more")]
    Closed,
    /// The record is longer than [`MAX_RECORD_BYTES`].
    #[error("the record has {bytes} bytes, at most {MAX_RECORD_BYTES} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
}

impl LogWriter {
    /// Starts the thread. `clock` gives the time in seconds since 1970, for checkpoints.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start<D: Disk + 'static>(
        log: Log<D>,
        clock: impl Fn() -> u64 + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(QUEUE);
        let failed = Arc::new(OnceLock::new());
        let of_thread = Arc::clone(&failed);
        let thread = thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || write(log, &waiting, &clock, &of_thread))?;
        Ok(Self { queue: Some(queue), failed, thread: Some(thread) })
    }

    /// Has a record appended. `done` is called, by the thread that writes, when the record is durable or
    /// cannot be said to be; it must not block.
    ///
    /// # Errors
    /// When the record is not even waiting; `done` is never called then.
    pub fn append(
        &self,
        record: Vec<u8>,
        done: impl FnOnce(Result<Position, AppendError>) + Send + 'static,
    ) -> Result<(), QueueError> {
        if self.has_failed() {
            return Err(QueueError::Closed);
        }
        if record.len() > MAX_RECORD_BYTES {
            return Err(QueueError::TooLong { bytes: record.len() });
        }
        let queue = self.queue.as_ref().ok_or(QueueError::Closed)?;
        queue.try_send(Waiting { record, done: Box::new(done) }).map_err(|error| match error {
            TrySendError::Full(_) => QueueError::Full,
            TrySendError::Disconnected(_) => QueueError::Closed,
        })
    }

    /// Whether the log has failed, and takes nothing any more.
    pub fn has_failed(&self) -> bool {
        self.failed.get().is_some()
    }

    /// Why the log has failed, where it has.
    pub fn failure(&self) -> Option<&str> {
        self.failed.get().map(String::as_str)
    }
}

/// Writes what waits, then a checkpoint.
impl Drop for LogWriter {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by the thread.
            let _ = thread.join();
        }
    }
}

fn write<D: Disk>(
    mut log: Log<D>,
    waiting: &Receiver<Waiting>,
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
            // Without being woken for each that comes.
            thread::sleep(GATHER);
        }
        let mut bytes = first.record.len();
        let (mut records, mut callers) = (vec![first.record], vec![first.done]);
        while (records.len() as u64) < MOST_IN_A_BATCH && bytes < BATCH_BYTES {
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
                // Nobody may be told that what comes after this is durable.
                note(failed, &error);
                let mut error = Some(error);
                for done in callers {
                    done(Err(error.take().unwrap_or(AppendError::Failed)));
                }
            }
        }
    }
    // Where it fails, what is durable is durable; only the checkpoint is missing.
    let _ = log.checkpoint(clock());
}

/// Keeps the first failure, with what the system said.
fn note(failed: &OnceLock<String>, error: &AppendError) {
    let source = error.source().map_or_else(String::new, |source| format!(": {source}"));
    // Those that come after it say only that it failed before.
    let _ = failed.set(format!("{error}{source}"));
}
