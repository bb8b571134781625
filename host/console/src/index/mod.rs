//! The index of one log, in SQLite: which records have which facts, and where each is.
//!
//! It has no record: what is shown is read from the log and verified there. So it says nothing that the log does not prove,
//! and is thrown away and built anew at will.

mod schema;
mod select;
mod sequences;
mod tables;
mod write;

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use countersign_decision_log::{ChainHash, FramePlace};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

pub(crate) use self::select::{Direction, Selection};
pub(crate) use self::tables::{Bucket, CodeCount, Refusals};
pub(crate) use self::write::Writer;

/// The connections that read.
const READERS: u32 = 4;

/// An index that is open. One process has it.
#[derive(Debug)]
pub(crate) struct Index {
    writer: SqlitePool,
    readers: SqlitePool,
    /// Held while it is open.
    lock: Mutex<Option<File>>,
}

/// The part of a log that an index has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Indexed {
    pub(crate) first: u64,
    /// The hash of the record before the first one.
    pub(crate) before: ChainHash,
    pub(crate) last: u64,
    /// The last record's hash.
    pub(crate) hash: ChainHash,
}

/// A record's place, and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct IndexedFrame {
    pub(crate) place: FramePlace,
    pub(crate) hash: ChainHash,
}

/// The errors of an index.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file is another database, or no database.
    #[error("{}: not an index of the console; give the index another file", .path.display())]
    Other {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("{}: another process uses this index; give this one another file", .path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A file could not be read or written.
    #[error("{}", .path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The database failed.
    #[error("the index failed; it can be removed, and is built anew then")]
    Database(#[from] sqlx::Error),
}

impl Index {
    /// Opens the index at `path`, and makes an empty one where there is none or one of another version.
    ///
    /// # Errors
    /// When the file is something else, or cannot be opened or made.
    pub(crate) async fn open(path: &Path) -> Result<Self, IndexError> {
        let at = |source| IndexError::Io { path: path.to_owned(), source };
        let lock = lock(&beside(path, ".lock")).map_err(|error| match error {
            TryLockError::WouldBlock => IndexError::InUse { path: path.to_owned() },
            TryLockError::Error(source) => at(source),
        })?;
        match schema::kind(path).await? {
            schema::Kind::Current | schema::Kind::Absent => {}
            schema::Kind::OtherVersion => {
                for end in ["", "-wal", "-shm"] {
                    match fs::remove_file(beside(path, end)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => {
                            return Err(at(error));
                        }
                        _ => {}
                    }
                }
            }
            schema::Kind::Foreign => return Err(IndexError::Other { path: path.to_owned() }),
        }
        private(path).map_err(at)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Rows that a crash takes are built anew.
            .synchronous(SqliteSynchronous::Normal)
            // 64 MiB: the keys of a million records are written in no order.
            .pragma("cache_size", "-65536")
            .busy_timeout(Duration::from_secs(5));
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(10))
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        schema::make(&writer).await?;
        let options = options.read_only(true).pragma("cache_size", "-16384");
        let readers = pool(READERS).connect_with(options).await?;
        Ok(Self { writer, readers, lock: Mutex::new(Some(lock)) })
    }

    /// Closes the database, so that its files are whole.
    pub(crate) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        *self.lock.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The path of a file beside another one.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

fn lock(path: &Path) -> Result<File, TryLockError> {
    let file = private(path).map_err(TryLockError::Error)?;
    file.try_lock()?;
    Ok(file)
}

/// Opens a file that only its owner can read, and makes it where there is none: an index has what its log has.
fn private(path: &Path) -> io::Result<File> {
    let mut new = fs::OpenOptions::new();
    new.write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        new.mode(0o600);
    }
    new.open(path)
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}
