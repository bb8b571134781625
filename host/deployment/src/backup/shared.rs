//! The backup of a replica: what is its own, and the database that has to be there for it.
//!
//! ```text
//! backup:  pg_dump, or an archive of the WAL ──────────────────────┐ first
//!          at each replica: position of the database ─→ whole log ─┤ then
//! restore: the database ─→ at each replica: its mark ─→ log, up to the first record that is newer than it
//! ```
//!
//! The database names a record of each log, and each record a beat of the database. So a log goes with a database of any
//! time before the copy of the log: it ends where that has it. A log that ends before that does not: the service would go
//! on in another way than the records that it has signed.

use std::fs;
use std::path::Path;

use countersign_decision_log::copy_log;
use countersign_issuer::{
    CHECKPOINT_KEY_FILE, KeyFolder, StoreMark, UnboundError, VERIFIER_KEYS_FILE, check_bound,
};
use serde::{Deserialize, Serialize};

use super::{Backup, BackupError, is_within};
use crate::database;
use crate::files::{FileError, private_folder};
use crate::service_state::OpenStateError;

/// A position of the database that replicas share, up to which a backup of a replica goes with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabasePosition {
    /// The name of the replica.
    pub replica: String,
    /// The time by the database's clock, in seconds since 1970.
    pub time: u64,
    /// The position in its write-ahead log (`recovery_target_lsn`).
    pub lsn: String,
}

/// The state of the database as the replica that a configuration names left it.
pub(super) async fn position(config: &Path) -> Result<(StoreMark, DatabasePosition), BackupError> {
    let (store, path, replica) = database::replica_of(config).await.map_err(BackupError::Shared)?;
    let failed = |source| BackupError::Shared(OpenStateError::Store { path: path.clone(), source });
    let mark = store.replica_mark(&replica).await.map_err(failed)?;
    let mark = mark.ok_or_else(|| BackupError::UnknownReplica { replica: replica.clone() })?;
    let (time, lsn) = store.position().await.map_err(failed)?;
    Ok((mark, DatabasePosition { replica, time, lsn }))
}

/// Ends a log, and the keys beside it, where the database has it. Gives its last record.
pub(super) async fn fit(
    state: &Path,
    config: &Path,
    backup: &Backup,
    position: &DatabasePosition,
) -> Result<u64, BackupError> {
    let replica = position.replica.clone();
    let (store, path, named) = database::replica_of(config).await.map_err(BackupError::Shared)?;
    if named != replica {
        return Err(BackupError::OtherReplica { backup: replica, configuration: named });
    }
    let mark = store.replica_mark(&replica).await;
    let failed = |source| BackupError::Shared(OpenStateError::Store { path, source });
    let mark = mark.map_err(failed)?;
    let mark = mark.ok_or_else(|| BackupError::UnknownReplica { replica: replica.clone() })?;
    let (log, cut) = (state.join("log"), state.join("log.cut"));
    private_folder(&cut)?;
    let copied = copy_log(&log, &cut, |entry| is_within(entry, &mark))
        .map_err(|source| BackupError::Log { path: log.clone(), source })?;
    for name in [CHECKPOINT_KEY_FILE, VERIFIER_KEYS_FILE] {
        if log.join(name).exists() {
            fs::copy(log.join(name), cut.join(name)).map_err(io(&cut))?;
        }
    }
    check_bound(&cut, &mark).map_err(|source| match source {
        UnboundError::LogBehind { last, reached } => BackupError::LaterDatabase {
            replica,
            reached,
            last,
            time: position.time,
            lsn: position.lsn.clone(),
        },
        source => BackupError::Unbound { path: log.clone(), source },
    })?;
    let last = copied.end.map_or(0, |end| end.sequence);
    if last < backup.last {
        // The last checkpoint beside the keys is of a record that is no more.
        let (keys, cut) = (state.join("keys"), state.join("keys.cut"));
        private_folder(&cut)?;
        KeyFolder::existing(&keys)?.copy_to(&cut, copied.checkpoint.as_ref())?;
        replace(&cut, &keys)?;
    }
    replace(&cut, &log)?;
    Ok(last)
}

/// Puts a folder in the place of another.
fn replace(new: &Path, old: &Path) -> Result<(), BackupError> {
    fs::remove_dir_all(old).map_err(io(old))?;
    fs::rename(new, old).map_err(io(old))
}

fn io(path: &Path) -> impl Fn(std::io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File(FileError::Io { path: path.clone(), source })
}
