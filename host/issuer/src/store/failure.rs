//! The reasons for which a store does not answer, each with a code that metrics and lines of the log have.

use sqlx::error::DatabaseError;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteError;

use super::StoreError;

/// The reason for which a store did not answer. A request that needs it is answered with 503, and can come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StoreFailure {
    /// There is no connection, or it was lost: what was being done may have been done.
    Unreachable,
    /// It did not answer in time: what was being done may have been done.
    Slow,
    /// It has no room, or no resources.
    Full,
    /// It takes no changes: it is a standby, or was made read-only.
    ReadOnly,
    /// Its tables are not those that this program knows, or this program has no right to them.
    Schema,
    /// Anything else.
    Failed,
}

impl StoreFailure {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Unreachable, Self::Slow, Self::Full, Self::ReadOnly, Self::Schema, Self::Failed];

    /// The code.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "database-unreachable",
            Self::Slow => "database-slow",
            Self::Full => "database-full",
            Self::ReadOnly => "database-read-only",
            Self::Schema => "database-schema",
            Self::Failed => "database-failed",
        }
    }
}

impl StoreError {
    /// The reason, as metrics count it.
    pub fn failure(&self) -> StoreFailure {
        match self {
            // It has too many connections, which is no loss of it.
            Self::Unreachable(error) if of_database(error) == StoreFailure::Full => {
                StoreFailure::Full
            }
            Self::Unreachable(_) => StoreFailure::Unreachable,
            Self::Slow => StoreFailure::Slow,
            Self::ReadOnly => StoreFailure::ReadOnly,
            Self::Database(error) => of_database(error),
            Self::Migrate(_)
            | Self::Unreleased
            | Self::LaterVersion { .. }
            | Self::EarlierVersion { .. }
            | Self::NoTables
            | Self::OtherInstallation { .. } => StoreFailure::Schema,
            _ => StoreFailure::Failed,
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        if is_damage(&error) { Self::Damaged(error) } else { Self::Database(error) }
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)
                if is_damage(&error) =>
            {
                Self::Damaged(error)
            }
            error => Self::Migrate(error),
        }
    }
}

/// Tells whether SQLite finds that a file is not what it has written.
fn is_damage(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| {
        let code = error.try_downcast_ref::<SqliteError>()?.code()?;
        code.parse::<u32>().ok()
    });
    // The low byte of a result code is the primary one: SQLITE_CORRUPT, SQLITE_NOTADB.
    code.is_some_and(|code| matches!(code & 0xff, 11 | 26))
}

fn of_database(error: &sqlx::Error) -> StoreFailure {
    match error {
        sqlx::Error::Database(error) => of_state(&**error),
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolClosed => {
            StoreFailure::Unreachable
        }
        sqlx::Error::PoolTimedOut => StoreFailure::Slow,
        _ => StoreFailure::Failed,
    }
}

/// By PostgreSQL's SQLSTATE (its Appendix A), or the words of SQLite's result codes.
fn of_state(error: &dyn DatabaseError) -> StoreFailure {
    let Some(code) = error.code() else { return StoreFailure::Failed };
    match &*code {
        // Of SQLite: SQLITE_BUSY, SQLITE_READONLY, SQLITE_IOERR, SQLITE_FULL.
        "5" => StoreFailure::Slow,
        "8" => StoreFailure::ReadOnly,
        "13" => StoreFailure::Full,
        "25006" => StoreFailure::ReadOnly,
        "57014" | "55P03" | "40P01" | "40001" => StoreFailure::Slow,
        "42501" | "42P01" | "42703" | "3F000" => StoreFailure::Schema,
        // Shutting down, starting up, ended by its administrator: it is not there, or not yet.
        "57P01" | "57P02" | "57P03" | "57P05" => StoreFailure::Unreachable,
        code if code.starts_with("53") => StoreFailure::Full,
        code if code.starts_with("08") => StoreFailure::Unreachable,
        _ => StoreFailure::Failed,
    }
}
