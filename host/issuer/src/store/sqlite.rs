//! The store in a file: SQLite.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use countersign::{RunId, RunnerId, read_run, run_record};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteRow,
    SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr, query};

use super::{Registered, Store, StoreError};
use crate::BoxFuture;
use crate::runs::{RegisteredRun, SecretHash};

/// A store in one SQLite database, which is made and brought to this version's tables when it is opened.
/// One process has it.
#[derive(Debug)]
pub struct SqliteStore {
    /// SQLite has one writer at a time.
    writer: SqlitePool,
    readers: SqlitePool,
    known: Known,
}

/// Recently read runs, as they are in the database: one process has it, so nobody else changes
/// them.
#[derive(Debug, Default)]
struct Known(RwLock<Recent>);

#[derive(Debug, Default)]
struct Recent {
    runs: HashMap<RunId, Arc<RegisteredRun>>,
    /// Counts changes, so that what was read before one is not kept after it.
    changes: u64,
}

impl Known {
    /// The number of runs kept; when it is reached, all are forgotten.
    const MAX: usize = 16_384;

    fn get(&self, id: &RunId) -> (Option<Arc<RegisteredRun>>, u64) {
        let recent = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (recent.runs.get(id).cloned(), recent.changes)
    }

    /// Keeps what was read when there had been so many changes.
    fn put(&self, run: Arc<RegisteredRun>, changes: u64) {
        let mut recent = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if recent.changes != changes {
            return;
        }
        if recent.runs.len() >= Self::MAX {
            recent.runs.clear();
        }
        recent.runs.insert(run.run.id.clone(), run);
    }

    /// Forgets a run that has changed.
    fn forget(&self, id: &RunId) {
        let mut recent = self.0.write().unwrap_or_else(PoisonError::into_inner);
        recent.changes += 1;
        recent.runs.remove(id);
    }

    fn clear(&self) {
        let mut recent = self.0.write().unwrap_or_else(PoisonError::into_inner);
        recent.changes += 1;
        recent.runs.clear();
    }
}

impl SqliteStore {
    /// Opens the database at `path`, and makes it where there is none.
    ///
    /// # Errors
    /// When it cannot be opened or made, or is of a later version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL, anything less loses what was acknowledged when the machine fails.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(5))
            .foreign_keys(true);
        // It has hashes of run tokens, and the files beside it are made as it is.
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            let mut new = std::fs::OpenOptions::new();
            new.write(true).create(true).truncate(false).mode(0o600);
            new.open(path).map_err(sqlx::Error::Io)?;
        }
        let timeout = Duration::from_secs(5);
        let writer = SqlitePoolOptions::new()
            .max_connections(1)
            .acquire_timeout(timeout)
            .connect_with(options.clone())
            .await?;
        migrator().run(&writer).await.map_err(|error| match error {
            MigrateError::VersionMismatch(_) => StoreError::Unreleased,
            error => error.into(),
        })?;
        let readers = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(timeout)
            .connect_with(options.read_only(true))
            .await?;
        Ok(Self { writer, readers, known: Known::default() })
    }

    async fn find(
        &self,
        pool: &SqlitePool,
        id: &RunId,
    ) -> Result<Option<RegisteredRun>, StoreError> {
        let row = query(
            "SELECT record, runner, run_token_sha256, registered_at, expires_at, finished_at \
             FROM run WHERE id = ?",
        )
        .bind(id.as_str())
        .fetch_optional(pool)
        .await?;
        row.map(|row| registered_run(id, &row)).transpose()
    }
}

impl Store for SqliteStore {
    fn register<'s>(
        &'s self,
        run: &'s RegisteredRun,
    ) -> BoxFuture<'s, Result<Registered, StoreError>> {
        Box::pin(async {
            let done = query(
                "INSERT INTO run (id, record, runner, run_token_sha256, registered_at, expires_at) \
                 VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            )
            .bind(run.run.id.as_str())
            .bind(run_record(&run.run, &run.facts))
            .bind(run.runner.as_str())
            .bind(run.run_token.as_ref().map(|hash| hash.as_bytes().to_vec()))
            .bind(integer(run.registered_at))
            .bind(integer(run.expires_at))
            .execute(&self.writer)
            .await?;
            if done.rows_affected() == 1 {
                return Ok(Registered::New);
            }
            let before = self.find(&self.writer, &run.run.id).await?;
            before.map_or_else(
                // It was forgotten just now, and can be registered again.
                || Err(StoreError::Database(sqlx::Error::RowNotFound)),
                |before| Ok(Registered::Before(Box::new(before))),
            )
        })
    }

    fn run<'s>(
        &'s self,
        id: &'s RunId,
    ) -> BoxFuture<'s, Result<Option<Arc<RegisteredRun>>, StoreError>> {
        Box::pin(async {
            let (known, changes) = self.known.get(id);
            if known.is_some() {
                return Ok(known);
            }
            let Some(run) = self.find(&self.readers, id).await?.map(Arc::new) else {
                return Ok(None);
            };
            self.known.put(Arc::clone(&run), changes);
            Ok(Some(run))
        })
    }

    fn finish<'s>(&'s self, id: &'s RunId, now: u64) -> BoxFuture<'s, Result<bool, StoreError>> {
        Box::pin(async move {
            let done = query("UPDATE run SET finished_at = coalesce(finished_at, ?) WHERE id = ?")
                .bind(integer(now))
                .bind(id.as_str())
                .execute(&self.writer)
                .await;
            // Also where it failed: what is in the database is not known then.
            self.known.forget(id);
            Ok(done?.rows_affected() == 1)
        })
    }

    fn use_once<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
        expires_at: u64,
    ) -> BoxFuture<'s, Result<bool, StoreError>> {
        Box::pin(async move {
            let done = query(
                "INSERT INTO used_token (issuer, token_id, expires_at) VALUES (?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(issuer)
            .bind(token_id)
            .bind(integer(expires_at))
            .execute(&self.writer)
            .await?;
            Ok(done.rows_affected() == 1)
        })
    }

    fn forget(&self, ended_before: u64, now: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            // Few at a time, since those who register and finish runs wait for it.
            let done = query(
                "DELETE FROM run WHERE id IN (SELECT id FROM run WHERE expires_at < ?1 \
                 AND coalesce(finished_at, 0) < ?1 LIMIT 1000)",
            )
            .bind(integer(ended_before))
            .execute(&self.writer)
            .await?;
            // A day longer than they are good for, in case the clock is set back.
            query(
                "DELETE FROM used_token WHERE (issuer, token_id) IN (SELECT issuer, token_id \
                 FROM used_token WHERE expires_at < ? LIMIT 1000)",
            )
            .bind(integer(now.saturating_sub(86_400)))
            .execute(&self.writer)
            .await?;
            if done.rows_affected() > 0 {
                self.known.clear();
            }
            Ok(done.rows_affected())
        })
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            query("SELECT 1").execute(&self.readers).await?;
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.readers.close().await;
            self.writer.close().await;
        })
    }
}

fn registered_run(id: &RunId, row: &SqliteRow) -> Result<RegisteredRun, StoreError> {
    let broken = |problem| StoreError::Row { id: id.to_string(), problem };
    let read = read_run(row.try_get::<&str, _>("record")?.as_bytes());
    let (run, facts) = read.map_err(|_| broken("its facts are none"))?;
    if run.id != *id {
        return Err(broken("its facts are another run's"));
    }
    let run_token = match row.try_get::<Option<&[u8]>, _>("run_token_sha256")? {
        None => None,
        Some(hash) => {
            let hash = hash.try_into().map_err(|_| broken("its run token's hash is none"))?;
            Some(SecretHash::from_bytes(hash))
        }
    };
    let time = |column: &str| {
        let time: Option<i64> = row.try_get(column)?;
        time.map(u64::try_from).transpose().map_err(|_| broken("a time is none"))
    };
    Ok(RegisteredRun {
        run,
        facts,
        runner: RunnerId::parse(row.try_get("runner")?)
            .map_err(|_| broken("its runner is none"))?,
        run_token,
        registered_at: time("registered_at")?.ok_or_else(|| broken("a time is missing"))?,
        expires_at: time("expires_at")?.ok_or_else(|| broken("a time is missing"))?,
        finished_at: time("finished_at")?,
    })
}

/// The tables of this version, and the way there. Not by sqlx's macro, which builds its database drivers once more
/// for the compiler's own use.
fn migrator() -> Migrator {
    let runs = include_str!("../../migrations/0001_runs.sql").into_sql_str();
    let runs = Migration::new(1, "runs".into(), MigrationType::Simple, runs, false);
    Migrator::with_migrations(vec![runs])
}

/// SQLite's integers are signed; no time that is taken here comes near.
fn integer(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
