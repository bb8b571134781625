//! A word on what takes longer than a second.

use std::io::{self, IsTerminal};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::output::say;

/// Runs `work`, and says what is going on when it takes longer than a second: on stderr, where that
/// is a terminal. What a script reads does not depend on how busy the machine is.
pub fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let (done, waiting) = mpsc::channel::<()>();
    let text = format!("{what} …");
    let watch = thread::spawn(move || {
        if waiting.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
            say(&text);
        }
    });
    let result = work();
    drop(done);
    // The thread only waits; it has nothing that could fail.
    let _ = watch.join();
    result
}
