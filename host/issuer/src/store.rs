//! What an issuer remembers.

mod sqlite;

use std::pin::Pin;
use std::sync::Arc;

use countersign::RunId;

use crate::runs::RegisteredRun;

pub use sqlite::SqliteStore;

/// What a store answers, later.
pub type Answer<'s, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 's>>;

/// Keeps runs, and tokens that may be used once. What it has acknowledged survives a crash.
pub trait Store: Send + Sync {
    /// Keeps a run that it does not have. A run that it has stays as it is, whatever the facts are now.
    fn register<'s>(&'s self, run: &'s RegisteredRun) -> Answer<'s, Registered>;

    /// The run of an id.
    fn run<'s>(&'s self, id: &'s RunId) -> Answer<'s, Option<Arc<RegisteredRun>>>;

    /// Notes that a run is finished, where that was not noted yet. Whether there is such a run.
    fn finish<'s>(&'s self, id: &'s RunId, now: u64) -> Answer<'s, bool>;

    /// Notes that a token was used, until it expires. Whether this was the first time.
    fn use_once<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
        expires_at: u64,
    ) -> Answer<'s, bool>;

    /// Forgets some of the runs that had both ended and expired before `ended_before`, and of the used tokens
    /// that had expired a day before `now`. How many runs.
    fn forget(&self, ended_before: u64, now: u64) -> Answer<'_, u64>;

    /// Answers when the store does.
    fn ready(&self) -> Answer<'_, ()>;

    /// Closes the store. Nothing is asked of it afterwards.
    fn close(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// What became of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registered {
    /// The run is new.
    New,
    /// There was a run of this id: this one.
    Before(Box<RegisteredRun>),
}

/// A store did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database did not.
    #[error("the database: {0}")]
    Database(#[from] sqlx::Error),
    /// The database was not brought to this version's tables.
    #[error("the database's tables: {0}")]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The database was made before the first release, when its tables had another form.
    #[error(
        "the database's tables are those of a version before the first release: move the file away, \
         and register the runs that are live again"
    )]
    Unreleased,
    /// A row is none that was written here.
    #[error("the database: the run {id} cannot be read: {problem}")]
    Row {
        /// Its id.
        id: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}
