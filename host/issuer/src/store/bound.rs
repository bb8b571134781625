//! Binds a store to the decision log: neither can be put back alone.
//!
//! ```text
//! store: change 41 ─→ log: record of it, `"changes": 41` ─→ answer
//!        change 42, with the position that the log had reached
//! ```
//!
//! The store is written first. So a record never names more changes than the store has, unless the store is an older one;
//! and the log always has the record that the store names, unless the log is an older one.

use std::path::Path;

use countersign_decision_log::{ReadError, Reader};
use serde::Deserialize;

/// The records of which the last segments have at least so many are read for the changes that they name: those that wait
/// at a time come into the log in any order.
const RECORDS: u64 = 8192;

/// The state of a store, to be compared with a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreMark {
    /// The number of its [changes](super::Store::changes).
    pub changes: u64,
    /// The record that the log had durably reached when it last changed; 0 before any.
    pub log_sequence: u64,
    /// The hash of that record, in its text form; empty before any.
    pub log_hash: String,
}

/// A store and a log that do not belong together, or not to one time.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UnboundError {
    /// The store has fewer changes than the log tells of.
    #[error(
        "the database is older than the decision log: it has {store} changes, and the log tells of {log}. It was put \
         back alone, replaced or removed: runs that were finished since would be live again, and tokens that were used \
         could be used again. Put back database, log and keys of one backup (`countersign restore`)"
    )]
    StoreBehind {
        /// The number of changes in the store.
        store: u64,
        /// The number of changes that records tell of.
        log: u64,
    },
    /// The log has no record, and the store has changes, each of which has one.
    #[error(
        "the decision log is missing: it has no record, and the database has {changes} changes, each of which is on \
         record. Put back database, log and keys of one backup (`countersign restore`)"
    )]
    NoLog {
        /// The number of changes in the store.
        changes: u64,
    },
    /// The log has not reached the record that the store names.
    #[error(
        "the decision log is older than the database: it ends with record {last}, and had reached {reached} when the \
         database last changed. Put back database, log and keys of one backup (`countersign restore`)"
    )]
    LogBehind {
        /// The last record of the log.
        last: u64,
        /// The record that the store names.
        reached: u64,
    },
    /// The log has another record at that place.
    #[error(
        "the decision log is not the database's: record {sequence} has another hash than when the database last \
         changed. Put back database, log and keys of one backup (`countersign restore`)"
    )]
    OtherLog {
        /// The record's sequence.
        sequence: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Checks that a store belongs to the log in a folder, and that both are of one time.
///
/// # Errors
/// When they are not, or the log cannot be read. It may be open for appending.
pub fn check_bound(folder: &Path, mark: &StoreMark) -> Result<(), UnboundError> {
    let (mut last, mut changes) = (0, 0);
    let mut reader = Reader::tail(folder, RECORDS)?;
    while let Some(entry) = reader.read()? {
        last = entry.sequence;
        // A record of another version has no say.
        changes = changes.max(changes_of(&entry.record).unwrap_or(0));
    }
    if mark.changes < changes {
        return Err(UnboundError::StoreBehind { store: mark.changes, log: changes });
    }
    if mark.log_sequence == 0 {
        // A store names a record with its second change at the earliest.
        return match last {
            0 if mark.changes > 0 => Err(UnboundError::NoLog { changes: mark.changes }),
            _ => Ok(()),
        };
    }
    if mark.log_sequence > last {
        return Err(UnboundError::LogBehind { last, reached: mark.log_sequence });
    }
    let named = Reader::new(folder, mark.log_sequence).read()?;
    match named.filter(|entry| entry.sequence == mark.log_sequence) {
        Some(entry) if entry.hash.to_string() != mark.log_hash => {
            Err(UnboundError::OtherLog { sequence: mark.log_sequence })
        }
        // It was pruned, and the log has gone on since.
        Some(_) | None => Ok(()),
    }
}

/// The number of changes that a record names, 0 where it names none; `None` if it is no record.
pub fn changes_of(record: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    struct Changes {
        #[serde(default)]
        changes: u64,
    }
    let record: Changes = serde_json::from_slice(record).ok()?;
    Some(record.changes)
}
