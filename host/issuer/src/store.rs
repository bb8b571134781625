//! The state of an issuer: its runs, and the tokens that were used once.

mod bound;
mod failure;
mod postgres;
mod row;
mod sqlite;

use std::io;
use std::sync::Arc;

use countersign::{RunId, RunnerId};
use countersign_decision_log::Position;

use crate::BoxFuture;
use crate::runs::RegisteredRun;

pub use bound::{StoreMark, UnboundError, changes_of, check_bound};
pub use failure::StoreFailure;
pub use postgres::{
    Beat, DatabaseUrl, InvalidDatabaseUrl, KeyPlanRow, MAX_STEP_BYTES, Membership, Migrated,
    NewSharedStep, PostgresConfig, PostgresStore, Register, ReplicaEntry, SharedReleases,
    SharedStep, TakenReleases,
};
pub use sqlite::SqliteStore;

/// Keeps runs, and tokens that may be used once. What it has acknowledged survives a crash.
pub trait Store: Send + Sync {
    /// Keeps a run that it does not have. A run that it has stays as it is, whatever the facts are now.
    fn register<'s>(
        &'s self,
        run: &'s RegisteredRun,
    ) -> BoxFuture<'s, Result<Registered, StoreError>>;

    /// The run of an id.
    fn run<'s>(
        &'s self,
        id: &'s RunId,
    ) -> BoxFuture<'s, Result<Option<Arc<RegisteredRun>>, StoreError>>;

    /// Notes that a run is finished, where that was not noted yet. False when there is no such run.
    fn finish<'s>(&'s self, id: &'s RunId, now: u64) -> BoxFuture<'s, Result<bool, StoreError>>;

    /// A page of runs, in the order of their ids. It looks at a bounded number of runs, so that it may have none of those
    /// that are asked for, and still another one after it.
    fn runs<'s>(&'s self, query: &'s RunQuery) -> BoxFuture<'s, Result<RunPage, StoreError>>;

    /// Notes, all at once, that runs are finished, of those of which that was not noted yet. Each is a change. Gives the
    /// number of changes.
    fn finish_all<'s>(
        &'s self,
        ids: &'s [RunId],
        now: u64,
    ) -> BoxFuture<'s, Result<u64, StoreError>>;

    /// Notes that a token was used, until it expires. True for the first use.
    fn use_once<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
        expires_at: u64,
    ) -> BoxFuture<'s, Result<bool, StoreError>>;

    /// Forgets some of the runs that had both ended and expired before `ended_before`, and of the used tokens
    /// that had expired a day before `now`. Gives the number of runs.
    fn forget(&self, ended_before: u64, now: u64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Takes back the use of a token: nothing was given for it, and the same request may come again.
    fn release<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
    ) -> BoxFuture<'s, Result<(), StoreError>>;

    /// The number of registrations, finishes and uses of tokens that the store has acknowledged in its life. Records of
    /// the decision log have it, so that a store that is older than the log is found out.
    fn changes(&self) -> u64;

    /// Tells the store how far the decision log has durably reached. It goes with the next change, so that a log that is
    /// older than the store is found out.
    fn log_reached(&self, position: Position);

    /// Checks that what the store writes to is where it was opened. It is called before each answer, and does not block
    /// for longer than a look at a file does.
    ///
    /// # Errors
    /// When a file was taken away or replaced: what is written to it is not found again.
    fn check_place(&self) -> io::Result<()>;

    /// Answers when the store does.
    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Closes the store. It must not be used afterwards.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The runs that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunQuery {
    /// Those of this runner.
    pub runner: Option<RunnerId>,
    /// Those that are live, or those that are not.
    pub live: Option<bool>,
    /// The time at which they are, in seconds since 1970.
    pub now: u64,
    /// Those whose id comes after this one.
    pub after: Option<RunId>,
    /// The maximum of runs.
    pub limit: usize,
}

/// A page of runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPage {
    /// In the order of their ids.
    pub runs: Vec<RegisteredRun>,
    /// The id after which the next page begins; `None` where there is no more.
    pub next: Option<RunId>,
}

/// The outcome of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The run is new.
    New,
    /// There was a run of this id: this one.
    Before(Box<RegisteredRun>),
}

/// A store that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// The file of an embedded database is not what was written.
    #[error(
        "the database is damaged: where the file beside it that ends with `-wal` was taken away, which is a part of it, put \
         that back; otherwise restore a backup"
    )]
    Damaged(#[source] sqlx::Error),
    /// There is no connection.
    #[error("the database cannot be reached")]
    Unreachable(#[source] sqlx::Error),
    /// It did not answer in time.
    #[error("the database did not answer in time")]
    Slow,
    /// It takes no changes.
    #[error("the database takes no changes: it is a standby, or read-only; expected the primary")]
    ReadOnly,
    /// It forgets what it has acknowledged when it fails.
    #[error("{problem}")]
    Asynchronous {
        /// The setting.
        problem: &'static str,
    },
    /// It has no tables of this program.
    #[error("the database has no tables of Countersign: run `countersign migrate`")]
    NoTables,
    /// Its tables are of an earlier version.
    #[error(
        "the database's tables are of version {found}, and this program needs {expected}: run `countersign migrate`"
    )]
    EarlierVersion {
        /// The version of the tables.
        found: i32,
        /// This program's.
        expected: i32,
    },
    /// Its tables are of a later version.
    #[error(
        "the database's tables are of version {found}, and this program knows up to {expected}: use the later version \
         of Countersign that made them"
    )]
    LaterVersion {
        /// The version of the tables.
        found: i32,
        /// This program's.
        expected: i32,
    },
    /// It belongs to another issuer.
    #[error("the database belongs to the issuer {found}, and this one is {expected}")]
    OtherInstallation {
        /// The issuer in the database.
        found: String,
        /// This one.
        expected: String,
    },
    /// Another process has the name of this replica.
    #[error(
        "another process is the replica `{name}`: each has a name and a folder of state of its own (`replica.name`)"
    )]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Another process has taken the replica's name, or the database was put back to an earlier time.
    #[error(
        "the database has been here {found} times by this replica's name, and this process {expected} times: another \
         process took the name, or the database was put back to an earlier time"
    )]
    Displaced {
        /// The number in the database.
        found: i64,
        /// The number of this process.
        expected: i64,
    },
    /// The plan of keys in the database is malformed.
    #[error("the plan of keys in the database is malformed: {0}")]
    Plan(String),
    /// A release in the database is not what this program puts there.
    #[error("{what} of releases in the database: {problem}")]
    Release {
        /// The part.
        what: String,
        /// The reason.
        problem: String,
    },
    /// The migration to this version's tables failed.
    #[error("the database migration failed")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// The database was made before the first release, when its tables had another form.
    #[error(
        "the database's tables are those of a version before the first release: move the file away, \
         and register the runs that are live again"
    )]
    Unreleased,
    /// A row was not written by this program.
    #[error("run {id} in the database is malformed: {problem}")]
    Row {
        /// Its id.
        id: String,
        /// The reason.
        problem: &'static str,
    },
}
