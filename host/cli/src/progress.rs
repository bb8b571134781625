//! A word on what takes longer than a second.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::output::say;

/// Runs `work`, and says on stderr what is going on when it takes longer than a second.
pub fn during<T>(what: &str, work: impl FnOnce() -> T) -> T {
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
