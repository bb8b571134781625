//! Follows a log: verifies it from its first record on, adds to its index what that does not have, and goes on where it
//! grows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use std::{fs, io, thread};

use countersign_decision_log::{FollowedLog, ReadError, VerifiedReader, pruned_statement};
use tokio::runtime::Handle;

use crate::facts::Facts;
use crate::index::{IndexError, Writer};
use crate::log::{ConsoleLog, damage_text, with_sources};

/// The interval of looking for new records.
const POLL: Duration = Duration::from_millis(200);

/// The interval of looking for a change of a log that is damaged, and of trying an index that failed.
const RETRY: Duration = Duration::from_secs(2);

/// The records after which the part that was verified again is shown.
const STEP: u64 = 8192;

/// The reason that following ended.
enum Ended {
    /// The console stops.
    Stopped,
    /// The index has something that the log does not, or not any more, and was emptied.
    Rebuild,
    Damaged(ReadError),
    Failed(IndexError),
}

impl From<IndexError> for Ended {
    fn from(error: IndexError) -> Self {
        Self::Failed(error)
    }
}

/// Follows a log until `stop` is set. Blocks its thread.
pub(crate) fn follow(log: &Arc<ConsoleLog>, runtime: &Handle, stop: &AtomicBool) {
    let name = log.name.as_str();
    loop {
        let before = fingerprint(log);
        match follow_once(log, runtime, stop) {
            Ended::Stopped => return,
            Ended::Rebuild => {
                tracing::info!(
                    log = name,
                    "the index is not of this log as it is: it is built anew"
                );
                log.change_state(|state| *state = Default::default());
            }
            Ended::Damaged(error) => {
                let damage = damage_text(&error);
                let shown = log.state().last;
                tracing::error!(log = name, damage, shown, "the log is damaged");
                log.change_state(|state| {
                    (state.damage, state.expected) = (Some(damage), None);
                });
                while fingerprint(log) == before {
                    if wait(RETRY, stop) {
                        return;
                    }
                }
            }
            Ended::Failed(error) => {
                let problem = with_sources(&error);
                tracing::error!(log = name, problem, "the index failed; trying again");
                log.change_state(|state| state.problem = Some(problem));
                if wait(RETRY, stop) {
                    return;
                }
            }
        }
    }
}

fn follow_once(log: &Arc<ConsoleLog>, runtime: &Handle, stop: &AtomicBool) -> Ended {
    match follow_to_end(log, runtime, stop) {
        Ok(never) => match never {},
        Err(ended) => ended,
    }
}

fn follow_to_end(
    log: &Arc<ConsoleLog>,
    runtime: &Handle,
    stop: &AtomicBool,
) -> Result<std::convert::Infallible, Ended> {
    let mut followed =
        FollowedLog::open(&log.folder, Arc::clone(&log.key)).map_err(Ended::Damaged)?;
    let mut writer = runtime.block_on(Writer::open(&log.index))?;
    // The part of the index that the log was not compared with yet.
    let mut known = writer.indexed();
    let expected =
        VerifiedReader::open(&log.folder, &*log.key).map_or(0, |reader| reader.estimated_records());
    let pruned = pruned_statement(&log.folder, &*log.key).ok().flatten();
    log.change_state(|state| {
        (state.first, state.last, state.covered) = (0, 0, 0);
        (state.expected, state.pruned) = (Some(expected), pruned);
        state.problem = None;
    });
    loop {
        if stop.load(Ordering::Relaxed) {
            runtime.block_on(writer.flush(&log.index))?;
            return Err(Ended::Stopped);
        }
        let placed = match followed.read() {
            Ok(Some(placed)) => placed,
            // An index that goes on where the log ends or is damaged has records that are not proven any more.
            Ok(None) | Err(_) if known.is_some() => return Err(rebuild(log, runtime)),
            Ok(None) => {
                runtime.block_on(writer.flush(&log.index))?;
                // Records that were removed on purpose would be shown as damaged.
                if followed.is_pruned_since().map_err(Ended::Damaged)? {
                    return Err(rebuild(log, runtime));
                }
                show(log, &followed, true);
                if wait(POLL, stop) {
                    return Err(Ended::Stopped);
                }
                continue;
            }
            Err(error) => {
                runtime.block_on(writer.flush(&log.index))?;
                show(log, &followed, false);
                return Err(Ended::Damaged(error));
            }
        };
        let (sequence, hash) = (placed.entry.sequence, placed.entry.hash);
        if let Some(indexed) = known {
            let is_other = followed.head().first != indexed.first
                || followed.before() != indexed.before
                || (sequence >= indexed.last && hash != indexed.hash);
            if is_other {
                return Err(rebuild(log, runtime));
            }
            if sequence == indexed.last {
                known = None;
            }
            if sequence == indexed.last || sequence.is_multiple_of(STEP) {
                show(log, &followed, false);
            }
            continue;
        }
        if writer.is_full(sequence) && !writer.is_flushed() {
            runtime.block_on(writer.flush(&log.index))?;
            show_before(log, &followed, &writer, sequence);
        }
        let facts = Facts::of(&placed.entry.record);
        writer.add(&placed, facts, followed.before());
    }
}

/// Empties the index, so that it is built anew.
fn rebuild(log: &Arc<ConsoleLog>, runtime: &Handle) -> Ended {
    match runtime.block_on(log.index.clear()) {
        Ok(()) => Ended::Rebuild,
        Err(error) => Ended::Failed(error),
    }
}

/// Shows all that was read, which the index has.
fn show(log: &ConsoleLog, followed: &FollowedLog, is_whole: bool) {
    let head = followed.head();
    log.change_state(|state| {
        (state.first, state.last, state.covered) = (head.first, head.last, head.covered);
        state.before = (head.first > 0).then(|| followed.before());
        state.hash = (head.last > 0).then_some(head.hash);
        if state.checkpoints.len() != followed.checkpoints().len() {
            state.checkpoints = Arc::new(followed.checkpoints().to_vec());
        }
        if is_whole {
            (state.expected, state.damage, state.problem) = (None, None, None);
        }
    });
}

/// Shows what was flushed, which ends before `next`.
fn show_before(log: &ConsoleLog, followed: &FollowedLog, writer: &Writer, next: u64) {
    let head = followed.head();
    let Some(indexed) = writer.indexed() else { return };
    log.change_state(|state| {
        (state.first, state.last) = (head.first, next - 1);
        state.covered = head.covered.min(next - 1);
        state.before = Some(followed.before());
        state.hash = Some(indexed.hash);
        state.checkpoints = Arc::new(followed.checkpoints().to_vec());
    });
}

/// The names, lengths and times of the files of a log, by which a change is noticed.
fn fingerprint(log: &ConsoleLog) -> Vec<(std::ffi::OsString, u64, Option<SystemTime>)> {
    let files = || -> io::Result<Vec<_>> {
        let file = |entry: io::Result<fs::DirEntry>| {
            let entry = entry?;
            let metadata = entry.metadata()?;
            Ok((entry.file_name(), metadata.len(), metadata.modified().ok()))
        };
        fs::read_dir(&log.folder)?.map(file).collect()
    };
    let mut files = files().unwrap_or_default();
    files.sort();
    files
}

/// Waits, and tells whether the console stops.
fn wait(time: Duration, stop: &AtomicBool) -> bool {
    let mut left = time;
    while !left.is_zero() {
        if stop.load(Ordering::Relaxed) {
            return true;
        }
        let step = left.min(Duration::from_millis(50));
        thread::sleep(step);
        left -= step;
    }
    stop.load(Ordering::Relaxed)
}
