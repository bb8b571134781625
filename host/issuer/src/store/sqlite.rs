//! The store in a file: SQLite.

mod id_filter;
mod known;
mod pages;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use countersign::{RunId, run_record};
use countersign_decision_log::{Places, Position};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteRow, SqliteSynchronous,
};
use sqlx::{Row, SqlSafeStr, query};

use self::id_filter::IdFilter;
use self::known::Known;
use super::row::{RunRow, integer};
use super::{Registered, RunPage, RunQuery, Store, StoreError, StoreMark};
use crate::BoxFuture;
use crate::runs::RegisteredRun;

/// Notes that a run is finished, where that was not noted yet.
const FINISH: &str = "UPDATE run SET finished_at = ? WHERE id = ? AND finished_at IS NULL";

/// A store in one SQLite database, which is made and brought to this version's tables when it is opened.
/// One process has it.
#[derive(Debug)]
pub struct SqliteStore {
    /// SQLite has one writer at a time.
    writer: SqlitePool,
    readers: SqlitePool,
    known: Known,
    /// The number of changes that are committed.
    changes: AtomicU64,
    log_reached: Mutex<Option<Position>>,
    places: Mutex<Places>,
    /// INVARIANT: it has the id of every run in the database.
    ids: IdFilter,
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
        // Connections are kept: the last one to close would take the write-ahead log with it, whose place is watched.
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(5))
                .idle_timeout(None)
                .max_lifetime(None)
        };
        let writer = pool(1).connect_with(options.clone()).await?;
        migrator().run(&writer).await.map_err(|error| match error {
            MigrateError::VersionMismatch(_) => StoreError::Unreleased,
            error => error.into(),
        })?;
        let readers = pool(2).connect_with(options.read_only(true)).await?;
        // A read makes the write-ahead log where there is none.
        let changes = mark_of(&writer).await?.changes;
        let ids = ids(&readers).await?;
        let places = places_of(path).map_err(sqlx::Error::Io)?;
        Ok(Self {
            writer,
            readers,
            known: Known::default(),
            changes: AtomicU64::new(changes),
            log_reached: Mutex::new(None),
            places: Mutex::new(places),
            ids,
        })
    }

    /// The state of the database, to be compared with a log.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn mark(&self) -> Result<StoreMark, StoreError> {
        mark_of(&self.writer).await
    }

    /// Writes a consistent copy of the database at `path` to a new file, also while a service uses it.
    ///
    /// # Errors
    /// When it cannot be read or written, or there is a file already.
    pub async fn copy(path: &Path, to: &Path) -> Result<StoreMark, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .busy_timeout(Duration::from_secs(30));
        let database = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
        let copied = query("VACUUM INTO ?").bind(to.to_string_lossy()).execute(&database).await;
        database.close().await;
        copied?;
        let copy = SqliteConnectOptions::new().filename(to).create_if_missing(false);
        let copy = SqlitePoolOptions::new().max_connections(1).connect_with(copy).await?;
        let mark = mark_of(&copy).await;
        copy.close().await;
        mark
    }

    /// Counts a change, with the position of the log, in the transaction of the change.
    async fn count(&self, transaction: &mut SqliteConnection) -> Result<u64, StoreError> {
        let reached = *self.log_reached.lock().unwrap_or_else(PoisonError::into_inner);
        let (sequence, hash) = reached
            .map_or((0, String::new()), |position| (position.sequence, position.hash.to_string()));
        let row = query(
            "UPDATE mark SET changes = changes + 1, \
             log_hash = CASE WHEN ?1 >= log_sequence THEN ?2 ELSE log_hash END, \
             log_sequence = max(log_sequence, ?1) RETURNING changes",
        )
        .bind(integer(sequence))
        .bind(hash)
        .fetch_one(transaction)
        .await?;
        let changes: i64 = row.try_get("changes")?;
        Ok(u64::try_from(changes).unwrap_or_default())
    }

    /// Shows a change that is committed.
    fn show(&self, changes: u64) {
        self.changes.fetch_max(changes, Ordering::AcqRel);
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
            // Before it is there, and also where that fails: an id too many costs a read at most.
            self.ids.add(run.run.id.as_str());
            let mut transaction = self.writer.begin().await?;
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
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() == 1 {
                let changes = self.count(&mut transaction).await?;
                transaction.commit().await?;
                self.show(changes);
                return Ok(Registered::New);
            }
            transaction.rollback().await?;
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
            if known.is_some() || !self.ids.may_have(id.as_str()) {
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
            let finished = async {
                let mut transaction = self.writer.begin().await?;
                let done = query(FINISH)
                    .bind(integer(now))
                    .bind(id.as_str())
                    .execute(&mut *transaction)
                    .await?;
                if done.rows_affected() == 1 {
                    let changes = self.count(&mut transaction).await?;
                    transaction.commit().await?;
                    self.show(changes);
                    return Ok(true);
                }
                transaction.rollback().await?;
                Ok(self.find(&self.writer, id).await?.is_some())
            }
            .await;
            // Also where it failed: what is in the database is not known then.
            self.known.forget(id);
            finished
        })
    }

    fn runs<'s>(&'s self, query: &'s RunQuery) -> BoxFuture<'s, Result<RunPage, StoreError>> {
        Box::pin(pages::page(&self.readers, query))
    }

    fn finish_all<'s>(
        &'s self,
        ids: &'s [RunId],
        now: u64,
    ) -> BoxFuture<'s, Result<u64, StoreError>> {
        Box::pin(async move {
            let finished = async {
                let mut transaction = self.writer.begin().await?;
                let (mut finished, mut changes) = (0, 0);
                for id in ids {
                    let done = query(FINISH)
                        .bind(integer(now))
                        .bind(id.as_str())
                        .execute(&mut *transaction)
                        .await?;
                    if done.rows_affected() == 1 {
                        changes = self.count(&mut transaction).await?;
                        finished += 1;
                    }
                }
                transaction.commit().await?;
                self.show(changes);
                Ok(finished)
            }
            .await;
            // Also where it failed: what is in the database is not known then.
            ids.iter().for_each(|id| self.known.forget(id));
            finished
        })
    }

    fn use_once<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
        expires_at: u64,
    ) -> BoxFuture<'s, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut transaction = self.writer.begin().await?;
            let done = query(
                "INSERT INTO used_token (issuer, token_id, expires_at) VALUES (?, ?, ?) \
                 ON CONFLICT DO NOTHING",
            )
            .bind(issuer)
            .bind(token_id)
            .bind(integer(expires_at))
            .execute(&mut *transaction)
            .await?;
            if done.rows_affected() == 0 {
                return Ok(false);
            }
            let changes = self.count(&mut transaction).await?;
            transaction.commit().await?;
            self.show(changes);
            Ok(true)
        })
    }

    fn release<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
    ) -> BoxFuture<'s, Result<(), StoreError>> {
        Box::pin(async move {
            query("DELETE FROM used_token WHERE issuer = ? AND token_id = ?")
                .bind(issuer)
                .bind(token_id)
                .execute(&self.writer)
                .await?;
            Ok(())
        })
    }

    fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    fn log_reached(&self, position: Position) {
        let mut reached = self.log_reached.lock().unwrap_or_else(PoisonError::into_inner);
        if reached.is_none_or(|before| before.sequence < position.sequence) {
            *reached = Some(position);
        }
    }

    fn check_place(&self) -> io::Result<()> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        match places.missing()?.first() {
            None => Ok(()),
            Some(file) => {
                Err(io::Error::new(io::ErrorKind::NotFound, format!("{file} was taken away")))
            }
        }
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

/// The ids of all runs, read in pages; from the index, which is a fraction of the table.
async fn ids(pool: &SqlitePool) -> Result<IdFilter, StoreError> {
    let count: i64 = query("SELECT count(*) FROM run").fetch_one(pool).await?.try_get(0)?;
    let ids = IdFilter::new(usize::try_from(count).unwrap_or_default());
    let mut last = (i64::MIN, String::new());
    loop {
        let rows = query(
            "SELECT expires_at, id FROM run INDEXED BY run_expires_at \
             WHERE (expires_at, id) > (?, ?) ORDER BY expires_at, id LIMIT 10000",
        )
        .bind(last.0)
        .bind(&last.1)
        .fetch_all(pool)
        .await?;
        for row in &rows {
            ids.add(row.try_get("id")?);
        }
        let Some(row) = rows.last() else { return Ok(ids) };
        last = (row.try_get("expires_at")?, row.try_get("id")?);
    }
}

fn registered_run(id: &RunId, row: &SqliteRow) -> Result<RegisteredRun, StoreError> {
    let time = |column: &str| {
        let time: Option<i64> = row.try_get(column)?;
        time.ok_or_else(|| StoreError::Row { id: id.to_string(), problem: "a time is missing" })
    };
    let run = RunRow {
        record: row.try_get("record")?,
        runner: row.try_get("runner")?,
        run_token_sha256: row.try_get("run_token_sha256")?,
        registered_at: time("registered_at")?,
        expires_at: time("expires_at")?,
        finished_at: row.try_get("finished_at")?,
    };
    run.parse(id)
}

async fn mark_of(pool: &SqlitePool) -> Result<StoreMark, StoreError> {
    let row = query("SELECT changes, log_sequence, log_hash FROM mark").fetch_one(pool).await?;
    let number = |column| Ok::<_, StoreError>(row.try_get::<i64, _>(column)?);
    let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
    Ok(StoreMark {
        changes: unsigned(number("changes")?),
        log_sequence: unsigned(number("log_sequence")?),
        log_hash: row.try_get("log_hash")?,
    })
}

/// The places of the database and its write-ahead log: SQLite writes on to files whose names are gone.
fn places_of(database: &Path) -> io::Result<Places> {
    let folder = database.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut places = Places::new(folder.unwrap_or(Path::new(".")));
    let name = database.file_name().unwrap_or_default().to_string_lossy();
    places.add(&name)?;
    places.add(&format!("{name}-wal"))?;
    Ok(places)
}

/// The tables of this version, and the way there. Not by sqlx's macro, which builds its database drivers once more
/// for the compiler's own use.
fn migrator() -> Migrator {
    let runs = include_str!("../../migrations/0001_runs.sql").into_sql_str();
    let runs = Migration::new(1, "runs".into(), MigrationType::Simple, runs, false);
    let mark = include_str!("../../migrations/0002_mark.sql").into_sql_str();
    let mark = Migration::new(2, "mark".into(), MigrationType::Simple, mark, false);
    let runner = include_str!("../../migrations/0003_runner.sql").into_sql_str();
    let runner = Migration::new(3, "runner".into(), MigrationType::Simple, runner, false);
    Migrator::with_migrations(vec![runs, mark, runner])
}
