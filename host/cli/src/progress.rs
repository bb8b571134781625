//! Status lines for work that takes longer than a second.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::output::status;

/// The time without a line at first, and the time between lines.
const FIRST: Duration = Duration::from_secs(1);
const NEXT: Duration = Duration::from_secs(10);

/// The progress of work, in steps of one kind.
#[derive(Default)]
pub(crate) struct Progress {
    done: AtomicUsize,
    /// All steps; 0 where that is not known.
    of: AtomicUsize,
    /// The steps take about the same time each.
    is_even: AtomicBool,
}

impl Progress {
    /// Takes down the number of steps that are done.
    pub(crate) fn set(&self, done: usize) {
        self.done.store(done, Ordering::Relaxed);
    }

    /// Takes down the number of all steps.
    pub(crate) fn set_of(&self, of: usize) {
        self.of.store(of, Ordering::Relaxed);
    }

    /// Takes down the number of all steps, as far as it is known, which take about the same time each: lines then say how
    /// long the rest takes.
    pub(crate) fn set_even_steps(&self, of: usize) {
        self.is_even.store(true, Ordering::Relaxed);
        self.set_of(of);
    }

    /// The seconds that the rest takes if it goes on as it did for this long.
    fn left(&self, elapsed: Duration) -> Option<u64> {
        let (done, of) = (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
        if !self.is_even.load(Ordering::Relaxed) || done == 0 || of <= done {
            return None;
        }
        let left = elapsed.as_secs_f64() * (of - done) as f64 / done as f64;
        // Below 2^53 for any time that somebody waits.
        Some(left.ceil() as u64)
    }

    /// The line about work and its steps.
    fn line(&self, what: &str, steps: &str) -> String {
        let (done, of) = (self.done.load(Ordering::Relaxed), self.of.load(Ordering::Relaxed));
        match (done, of) {
            (0, 0) => format!("{what} …"),
            (done, 0) => format!("{what} … {done} {steps}"),
            (done, of) => format!("{what} … {done} of {of} {steps}"),
        }
    }
}

/// Runs `work`, and prints a status line when it takes longer than a second: to stderr, where that is a terminal. The
/// output that a script reads does not depend on how busy the machine is.
pub(crate) fn with_spinner<T>(what: &str, work: impl FnOnce() -> T) -> T {
    with_progress(what, "", |_| work())
}

/// Runs `work` as [`with_spinner`] does, and prints another line every ten seconds with the steps that it has done.
pub(crate) fn with_progress<T>(what: &str, steps: &str, work: impl FnOnce(&Progress) -> T) -> T {
    let progress = Progress::default();
    if !io::stderr().is_terminal() {
        return work(&progress);
    }
    thread::scope(|scope| {
        let (done, waiting) = mpsc::channel::<()>();
        let progress = &progress;
        scope.spawn(move || {
            let mut wait = FIRST;
            let mut printed = String::new();
            let begin = Instant::now();
            while waiting.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
                let line = progress.line(what, steps);
                // Work that tells no steps has nothing more to say.
                if line != printed {
                    match progress.left(begin.elapsed()) {
                        Some(left) => status(&format!("{line}, about {left} s left")),
                        None => status(&line),
                    }
                    printed = line;
                }
                wait = NEXT;
            }
        });
        // Dropped when the work ends, by a panic too: the thread would wait for ever.
        let _done = done;
        work(progress)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_far_the_work_has_come() {
        let progress = Progress::default();
        assert_eq!(progress.line("compiling", ""), "compiling …");
        progress.set(12);
        assert_eq!(
            progress.line("changing claims", "evaluations"),
            "changing claims … 12 evaluations"
        );
        progress.set_of(40);
        assert_eq!(progress.line("preparing", "steps"), "preparing … 12 of 40 steps");
    }

    #[test]
    fn the_rest_is_estimated_where_steps_are_even() {
        let progress = Progress::default();
        progress.set(10);
        progress.set_of(40);
        assert_eq!(progress.left(Duration::from_secs(5)), None);
        progress.set_even_steps(40);
        assert_eq!(progress.left(Duration::from_secs(5)), Some(15));
        // The number of all steps is an estimate, too.
        progress.set(41);
        assert_eq!(progress.left(Duration::from_secs(5)), None);
    }
}
