//! A status line for work that takes longer than a second.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::output::status;

/// Runs `work`, and prints a status line when it takes longer than a second: to stderr, where that is a terminal. The
/// output that a script reads does not depend on how busy the machine is.
pub(crate) fn with_spinner<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let (done, waiting) = mpsc::channel::<()>();
    let text = format!("{what} …");
    let watch = thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            status(&text);
        }
    });
    let result = work();
    drop(done);
    // The thread only waits; it has nothing that could fail.
    let _ = watch.join();
    result
}
