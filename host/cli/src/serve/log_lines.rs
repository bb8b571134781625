//! Gathers lines of the service's own log, so that a busy service writes many with one system call.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// The maximum time for which a line waits.
const GATHER: Duration = Duration::from_millis(5);

/// The size in bytes from which on lines are written by whoever adds to them: a reader that is slow then slows the
/// service, and takes no memory of it.
const MAX_BYTES: usize = 64 << 10;

/// Lines on their way to stderr. Warnings and errors are written at once, with all before them; others within five
/// milliseconds.
pub(super) struct LogLines {
    shared: Arc<Shared>,
    writing: Thread,
}

struct Shared {
    waiting: Mutex<Vec<u8>>,
    /// Held from the taking of lines until they are written, so that they keep their order.
    turn: Mutex<()>,
}

/// Writes the lines that wait, when dropped.
pub(super) struct FlushAtEnd(Arc<Shared>);

/// The writer of one line.
pub(super) struct Line<'l> {
    lines: &'l LogLines,
    at_once: bool,
}

impl LogLines {
    pub(super) fn start() -> io::Result<(Self, FlushAtEnd)> {
        let shared = Arc::new(Shared { waiting: Mutex::new(Vec::new()), turn: Mutex::new(()) });
        let of_thread = Arc::clone(&shared);
        let writing = thread::Builder::new().name("log-lines".to_owned()).spawn(move || {
            loop {
                while lock(&of_thread.waiting).is_empty() {
                    thread::park();
                }
                thread::sleep(GATHER);
                of_thread.flush();
            }
        })?;
        let at_end = FlushAtEnd(Arc::clone(&shared));
        Ok((Self { shared, writing: writing.thread().clone() }, at_end))
    }
}

impl Shared {
    fn flush(&self) {
        let _turn = lock(&self.turn);
        let lines = std::mem::take(&mut *lock(&self.waiting));
        // There is nowhere left to report a failure to write this.
        let _ = io::stderr().write_all(&lines);
    }
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

impl Write for Line<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let LogLines { shared, writing } = self.lines;
        let (is_first, bytes) = {
            let mut waiting = lock(&shared.waiting);
            let is_first = waiting.is_empty();
            waiting.extend_from_slice(line);
            (is_first, waiting.len())
        };
        if self.at_once || bytes >= MAX_BYTES {
            shared.flush();
        } else if is_first {
            writing.unpark();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Nothing panics while it holds one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
