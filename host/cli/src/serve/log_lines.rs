//! Gathers lines of the service's own log, and writes them on a thread of its own.
//!
//! Whoever logs only adds to memory, which is bounded: a reader of the log that is slow, has gone, or whose disk is full
//! holds up no request. Lines for which there is no room, or that cannot be written, are dropped and counted.

use std::io::{self, ErrorKind, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The maximum time for which a line waits for others, so that a busy service writes many with one system call.
const GATHER: Duration = Duration::from_millis(5);

/// The size in bytes of what waits from which on it is written without waiting for more.
const ENOUGH_BYTES: usize = 64 << 10;

/// The maximum size in bytes of what waits: seconds of a busy service's lines.
const MAX_BYTES: usize = 4 << 20;

/// The time that the end of the process waits for lines to be written, where their reader does not read.
const AT_END: Duration = Duration::from_secs(2);

/// The pause after a write that would block, where stderr is shared with a program that does not want to wait.
const PAUSE: Duration = Duration::from_millis(5);

/// Lines on their way to stderr. Warnings and errors are written at once, with all before them; others within five
/// milliseconds.
pub(super) struct LogLines(Arc<Shared>);

struct Shared {
    waiting: Mutex<Waiting>,
    /// Told of lines for the thread, and of their end.
    changed: Condvar,
    dropped: Arc<AtomicU64>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// True when they should not wait for others.
    at_once: bool,
    /// True while lines that were taken are being written.
    writing: bool,
}

/// Waits until the lines are written, when dropped; for two seconds at most.
pub(crate) struct FlushAtEnd(Arc<Shared>);

/// The writer of one line.
pub(super) struct Line<'l> {
    lines: &'l LogLines,
    at_once: bool,
}

impl LogLines {
    /// Starts the thread that writes.
    pub(super) fn start(out: impl Write + Send + 'static) -> io::Result<(Self, FlushAtEnd)> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            dropped: Arc::default(),
        });
        let of_thread = Arc::clone(&shared);
        // It ends with the process: what it writes to may never take the last line.
        thread::Builder::new()
            .name("log-lines".to_owned())
            .spawn(move || of_thread.write_all_to(Output::new(out)))?;
        let at_end = FlushAtEnd(Arc::clone(&shared));
        Ok((Self(shared), at_end))
    }
}

impl FlushAtEnd {
    /// The number of lines that were dropped, for a metric to take from.
    pub(super) fn dropped(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.0.dropped)
    }
}

impl Shared {
    fn write_all_to<W: Write>(&self, mut out: Output<W>) {
        loop {
            let mut waiting = lock(&self.waiting);
            while waiting.bytes.is_empty() {
                waiting = wait(&self.changed, waiting);
            }
            let until = Instant::now() + GATHER;
            while !waiting.at_once && waiting.bytes.len() < ENOUGH_BYTES {
                let Some(left) = until.checked_duration_since(Instant::now()) else { break };
                let waited = self.changed.wait_timeout(waiting, left);
                waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
            let lines = std::mem::take(&mut waiting.bytes);
            (waiting.at_once, waiting.writing) = (false, true);
            drop(waiting);
            self.dropped.fetch_add(out.write(&lines), Ordering::Relaxed);
            lock(&self.waiting).writing = false;
            self.changed.notify_all();
        }
    }

    fn add(&self, line: &[u8], at_once: bool) {
        let mut waiting = lock(&self.waiting);
        if waiting.bytes.len() + line.len() > MAX_BYTES {
            self.dropped.fetch_add(count(line), Ordering::Relaxed);
            return;
        }
        let was_empty = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        waiting.at_once |= at_once;
        if was_empty || at_once || waiting.bytes.len() >= ENOUGH_BYTES {
            self.changed.notify_all();
        }
    }
}

/// The place that lines are written to, and whether the last one is whole there.
struct Output<W> {
    to: W,
    /// True when a write failed within a line: the next one begins on a line of its own.
    is_broken: bool,
}

impl<W: Write> Output<W> {
    fn new(to: W) -> Self {
        Self { to, is_broken: false }
    }

    /// Writes lines, and returns the number of those that could not be written. The next ones are tried all the same: a
    /// disk may have room again.
    fn write(&mut self, lines: &[u8]) -> u64 {
        if self.is_broken {
            if self.write_some(b"\n") != 1 {
                return count(lines);
            }
            self.is_broken = false;
        }
        let written = self.write_some(lines);
        let (whole, rest) = lines.split_at(written);
        self.is_broken = !rest.is_empty() && whole.last().is_some_and(|byte| *byte != b'\n');
        count(rest)
    }

    /// Writes as much as can be, and returns its length.
    fn write_some(&mut self, bytes: &[u8]) -> usize {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match self.to.write(rest) {
                Ok(0) => break,
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
                Err(_) => break,
            }
        }
        written
    }
}

/// The number of lines.
fn count(lines: &[u8]) -> u64 {
    lines.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl<'l> MakeWriter<'l> for LogLines {
    type Writer = Line<'l>;

    fn make_writer(&'l self) -> Line<'l> {
        Line { lines: self, at_once: true }
    }

    fn make_writer_for(&'l self, meta: &Metadata<'_>) -> Line<'l> {
        Line { lines: self, at_once: *meta.level() <= Level::WARN }
    }
}

/// Never fails: whoever logs has nothing better to do with a line.
impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lines.0.add(line, self.at_once);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        let until = Instant::now() + AT_END;
        let mut waiting = lock(&self.0.waiting);
        waiting.at_once = true;
        self.0.changed.notify_all();
        while !waiting.bytes.is_empty() || waiting.writing {
            let Some(left) = until.checked_duration_since(Instant::now()) else { return };
            let waited = self.0.changed.wait_timeout(waiting, left);
            waiting = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Nothing panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'m, T>(changed: &Condvar, guard: MutexGuard<'m, T>) -> MutexGuard<'m, T> {
    changed.wait(guard).unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk of so many bytes, which gets room again when a test says so.
    #[derive(Clone, Default)]
    struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (written, room) = &mut *lock(&self.0);
            let taken = bytes.len().min(*room);
            if taken == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            *room -= taken;
            written.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_and_later_ones_are_whole() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), 8))));
        let mut out = Output::new(disk.clone());
        assert_eq!(out.write(b"one\ntwo\n"), 0);
        assert_eq!(out.write(b"three\n"), 1, "there is no room");
        lock(&disk.0).1 = 3;
        assert_eq!(out.write(b"four\nfive\n"), 2, "one in part, and one not at all");
        assert_eq!(out.write(b"six\n"), 1);
        lock(&disk.0).1 = 100;
        assert_eq!(out.write(b"seven\n"), 0);
        assert_eq!(lock(&disk.0).0, b"one\ntwo\nfou\nseven\n");
    }

    #[test]
    fn whoever_logs_waits_for_no_reader() {
        /// A pipe that nobody reads.
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                loop {
                    thread::park();
                }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (lines, at_end) = LogLines::start(Full).unwrap();
        let line = [b"x".repeat(1023), b"\n".to_vec()].concat();
        for _ in 0..3 * MAX_BYTES / line.len() {
            lines.make_writer().write_all(&line).unwrap();
        }
        let dropped = at_end.dropped();
        // What the thread has taken is neither written nor dropped.
        let least = MAX_BYTES / line.len();
        assert!(dropped.load(Ordering::Relaxed) >= least as u64, "{dropped:?}");
        drop(at_end);
    }

    #[test]
    fn all_lines_are_written_at_the_end() {
        let disk = Disk(Arc::new(Mutex::new((Vec::new(), usize::MAX))));
        let (lines, at_end) = LogLines::start(disk.clone()).unwrap();
        let mut line = Line { lines: &lines, at_once: false };
        for _ in 0..1000 {
            line.write_all(b"a line\n").unwrap();
        }
        drop(at_end);
        assert_eq!(lock(&disk.0).0, b"a line\n".repeat(1000));
    }
}
