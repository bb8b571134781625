//! Shares a log, and each of its syncs, between many callers.

use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
/// The time between two looks at the files of the log while nothing is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The maximum time to gather a batch: a sync for each record would delay the others more than this delays the first.
const GATHER: Duration = Duration::from_millis(2);

/// Appends for many callers with one thread. Records that arrive during a sync share the next one. A single record is
/// written at once; after a batch of several, the next one is gathered until no more records are
/// [expected](Self::expect), for at most two milliseconds.
pub struct LogWriter {
    queue: Option<SyncSender<Waiting>>,
    expected: Arc<AtomicUsize>,
    failed: Arc<OnceLock<String>>,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

/// The state of the log, as its thread saw it last.
#[derive(Debug)]
struct State {
    end: Mutex<Option<Position>>,
    /// [`u64::MAX`] while it is unknown.
    room: AtomicU64,
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
    /// Something else that its meaning depends on is not in its place.
    #[error("a check beside the log failed")]
    Guard(#[source] std::io::Error),
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
    /// `guard` checks whatever else records depend on, such as a database: after each sync, before its records are
    /// acknowledged, and each second. Once it fails, the log has failed. It must not block.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started.
    pub fn start<D: Disk + 'static>(
        log: Log<D>,
        clock: impl Fn() -> u64 + Send + 'static,
        guard: impl Fn() -> std::io::Result<()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(MAX_QUEUED);
        let failed = Arc::new(OnceLock::new());
        let expected = Arc::new(AtomicUsize::new(0));
        let state = State { end: Mutex::new(log.end()), room: AtomicU64::new(u64::MAX) };
        let state = Arc::new(state);
        let writing = Writing {
            log,
            expected: Arc::clone(&expected),
            clock: Box::new(clock),
            guard: Box::new(guard),
            failed: Arc::clone(&failed),
            state: Arc::clone(&state),
        };
        let thread = thread::Builder::new()
            .name("decision-log".to_owned())
            .spawn(move || writing.run(&waiting))?;
        Ok(Self { queue: Some(queue), expected, failed, state, thread: Some(thread) })
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

    /// The position of the last durable record; `None` if there is none.
    pub fn end(&self) -> Option<Position> {
        *self.state.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes that can still be written to the log's disk, as of a second ago at most; `None` if that is unknown.
    pub fn room(&self) -> Option<u64> {
        let room = self.state.room.load(Ordering::Relaxed);
        (room != u64::MAX).then_some(room)
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

/// The thread's own.
struct Writing<D> {
    log: Log<D>,
    expected: Arc<AtomicUsize>,
    clock: Box<dyn Fn() -> u64 + Send>,
    guard: Box<dyn Fn() -> io::Result<()> + Send>,
    failed: Arc<OnceLock<String>>,
    state: Arc<State>,
}

impl<D: Disk> Writing<D> {
    fn run(mut self, waiting: &Receiver<Waiting>) {
        let (mut checkpointed, mut looked) = (Instant::now(), Instant::now());
        let mut last = 1;
        self.look();
        loop {
            if checkpointed.elapsed() >= CHECKPOINT_EVERY && self.failed.get().is_none() {
                checkpointed = Instant::now();
                if let Err(error) = self.log.checkpoint((self.clock)()) {
                    self.note(&error);
                }
            }
            if looked.elapsed() >= LOOK_EVERY {
                looked = Instant::now();
                self.look();
            }
            let first = match waiting.recv_timeout(LOOK_EVERY) {
                Ok(first) => first,
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => continue,
            };
            if last > 1 {
                gather(&self.expected);
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
            self.append(&records, callers);
        }
        // If this fails, the records are durable all the same; only the checkpoint is missing.
        let _ = self.log.checkpoint((self.clock)());
    }

    fn append(&mut self, records: &[Vec<u8>], callers: Vec<Done>) {
        // A guard that failed before has not closed the log itself.
        let appended = match self.failed.get() {
            Some(_) => Err(AppendError::Failed.into()),
            None => self.log.append(records, (self.clock)()).map_err(NotDurable::from),
        };
        let guarded = appended.and_then(|positions| match (self.guard)() {
            Ok(()) => Ok(positions),
            Err(error) => Err(NotDurable::Guard(error)),
        });
        match guarded {
            Ok(positions) => {
                *self.state.end.lock().unwrap_or_else(PoisonError::into_inner) = self.log.end();
                callers.into_iter().zip(positions).for_each(|(done, at)| done(Ok(at)));
            }
            Err(error) => {
                // No later record may be reported as durable.
                self.note(&error);
                let mut error = Some(error);
                for done in callers {
                    done(Err(error.take().unwrap_or(AppendError::Failed.into())));
                }
            }
        }
    }

    /// Looks at the files of the log and what the guard sees to, also while nobody has a record.
    fn look(&mut self) {
        self.state.room.store(self.log.room().unwrap_or(u64::MAX), Ordering::Relaxed);
        if self.failed.get().is_some() {
            return;
        }
        let looked = self.log.check_places().map_err(NotDurable::from);
        if let Err(error) = looked.and_then(|()| (self.guard)().map_err(NotDurable::Guard)) {
            self.note(&error);
        }
    }

    /// Stores the first failure with the system's error. Later ones only report that the log failed before.
    fn note(&self, error: &dyn Error) {
        let _ = self.failed.set(with_sources(error));
    }
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

/// An error with its sources.
fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let error_text = error.to_string();
        // A transparent error has the text of its source.
        if !text.ends_with(&error_text) {
            text = format!("{text}: {error_text}");
        }
        source = error.source();
    }
    text
}
