//! The store that several replicas share: PostgreSQL.
//!
//! A change is acknowledged when the primary has committed it, and with synchronous replication a standby as well. What a
//! run is like is always read there: another replica may have finished it a moment ago.

mod config;
mod connections;
mod keys;
mod pages;
mod register;
mod releases;
mod schema;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use countersign::{RunId, run_record};
use countersign_decision_log::Position;
use sha2::{Digest, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{Row, query};

use self::connections::{Connections, PlainId};
use super::row::{RunRow, integer};
use super::{Registered, RunPage, RunQuery, Store, StoreError};
use crate::BoxFuture;
use crate::runs::RegisteredRun;

pub use self::config::{DatabaseUrl, InvalidDatabaseUrl, PostgresConfig};
pub use self::keys::KeyPlanRow;
pub use self::register::{Beat, Membership, Register, ReplicaEntry, SharedReleases, TakenReleases};
pub use self::releases::{MAX_STEP_BYTES, NewSharedStep, SharedStep};
pub use self::schema::Migrated;

const FINISH: &str =
    "UPDATE countersign.run SET finished_at = $1 WHERE id = $2 AND finished_at IS NULL";

const FIND: &str = "SELECT id, record, runner, run_token_sha256, registered_at, expires_at, finished_at \
                    FROM countersign.run WHERE id = ";

/// A store in a PostgreSQL database, which any number of replicas share.
pub struct PostgresStore {
    connections: Arc<Connections>,
    /// The number of times that this replica has been in the register, as far as it knows.
    beats: AtomicI64,
    /// True once another process has its name, or the database was put back.
    displaced: AtomicBool,
}

impl PostgresStore {
    /// Opens the database of an issuer, whose tables must be there (`countersign migrate`).
    ///
    /// # Errors
    /// When it cannot be reached, takes no changes, forgets what it acknowledges, is of another version, or belongs to
    /// another issuer.
    pub async fn open(config: &PostgresConfig, issuer: &str) -> Result<Self, StoreError> {
        let store = Self::connect(config);
        let mut transaction = store.connections.begin().await?;
        schema::check_server(&mut transaction, config.accepts_asynchronous).await?;
        schema::check_tables(&mut transaction, issuer).await?;
        transaction.commit().await?;
        Ok(store)
    }

    /// Makes the tables of this version, or brings those of an earlier one to it; again, it changes nothing. Other
    /// processes that do so at the same time wait. `role` is given the rights that a service needs.
    ///
    /// # Errors
    /// When the database cannot be reached, its tables are of a later version, or it belongs to another issuer. Nothing
    /// is changed then.
    pub async fn migrate(
        config: &PostgresConfig,
        issuer: &str,
        role: Option<&str>,
    ) -> Result<Migrated, StoreError> {
        let store = Self::connect(config);
        let migrated = schema::migrate(&store.connections, issuer, role).await;
        store.connections.close();
        migrated
    }

    fn connect(config: &PostgresConfig) -> Self {
        let connections =
            Connections::new(config.options(), config.connections, config.query_timeout);
        Self { connections, beats: AtomicI64::new(0), displaced: AtomicBool::new(false) }
    }

    async fn find(&self, id: &RunId) -> Result<Option<RegisteredRun>, StoreError> {
        let Some(plain) = PlainId::new(id.as_str()) else { return Ok(None) };
        let row = self.connections.read(FIND, &plain).await?;
        row.map(|row| registered_run(id, &row)).transpose()
    }
}

impl Store for PostgresStore {
    fn register<'s>(
        &'s self,
        run: &'s RegisteredRun,
    ) -> BoxFuture<'s, Result<Registered, StoreError>> {
        Box::pin(async {
            let mut transaction = self.connections.begin().await?;
            let inserted = query(
                "INSERT INTO countersign.run (id, record, runner, run_token_sha256, registered_at, expires_at) \
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING",
            )
            .bind(run.run.id.as_str())
            .bind(run_record(&run.run, &run.facts))
            .bind(run.runner.as_str())
            .bind(run.run_token.as_ref().map(|hash| hash.as_bytes().to_vec()))
            .bind(integer(run.registered_at))
            .bind(integer(run.expires_at));
            let is_new = transaction.execute(inserted).await? == 1;
            transaction.commit().await?;
            if is_new {
                return Ok(Registered::New);
            }
            let before = self.find(&run.run.id).await?;
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
        Box::pin(async { Ok(self.find(id).await?.map(Arc::new)) })
    }

    fn finish<'s>(&'s self, id: &'s RunId, now: u64) -> BoxFuture<'s, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut transaction = self.connections.begin().await?;
            let finish = query(FINISH).bind(integer(now)).bind(id.as_str());
            let is_changed = transaction.execute(finish).await? == 1;
            transaction.commit().await?;
            Ok(is_changed || self.find(id).await?.is_some())
        })
    }

    fn runs<'s>(&'s self, query: &'s RunQuery) -> BoxFuture<'s, Result<RunPage, StoreError>> {
        Box::pin(pages::page(&self.connections, query))
    }

    fn finish_all<'s>(
        &'s self,
        ids: &'s [RunId],
        now: u64,
    ) -> BoxFuture<'s, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut transaction = self.connections.begin().await?;
            let ids: Vec<_> = ids.iter().map(RunId::as_str).collect();
            // Locked in one order, so that two that finish the same runs wait for each other and neither for ever.
            let finish = query(
                "UPDATE countersign.run SET finished_at = $1 WHERE finished_at IS NULL AND id IN (SELECT id \
                 FROM countersign.run WHERE id = ANY($2) ORDER BY id FOR UPDATE)",
            );
            let finished = transaction.execute(finish.bind(integer(now)).bind(&ids)).await?;
            transaction.commit().await?;
            Ok(finished)
        })
    }

    fn use_once<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
        expires_at: u64,
    ) -> BoxFuture<'s, Result<bool, StoreError>> {
        Box::pin(async move {
            let mut transaction = self.connections.begin().await?;
            let used = query(
                "INSERT INTO countersign.used_token (digest, expires_at) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            );
            let used = used.bind(token_digest(issuer, token_id)).bind(integer(expires_at));
            let is_first = transaction.execute(used).await? == 1;
            transaction.commit().await?;
            Ok(is_first)
        })
    }

    fn forget(&self, ended_before: u64, now: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(async move {
            let mut transaction = self.connections.begin().await?;
            // Few at a time, and none that another replica is forgetting.
            let runs = query(
                "DELETE FROM countersign.run WHERE id IN (SELECT id FROM countersign.run WHERE expires_at < $1 \
                 AND coalesce(finished_at, 0) < $1 LIMIT 1000 FOR UPDATE SKIP LOCKED)",
            );
            let forgotten = transaction.execute(runs.bind(integer(ended_before))).await?;
            // A day longer than they are good for, in case a clock is set back.
            let used = query(
                "DELETE FROM countersign.used_token WHERE digest IN (SELECT digest FROM countersign.used_token \
                 WHERE expires_at < $1 LIMIT 1000 FOR UPDATE SKIP LOCKED)",
            );
            transaction.execute(used.bind(integer(now.saturating_sub(86_400)))).await?;
            transaction.commit().await?;
            Ok(forgotten)
        })
    }

    fn release<'s>(
        &'s self,
        issuer: &'s str,
        token_id: &'s str,
    ) -> BoxFuture<'s, Result<(), StoreError>> {
        Box::pin(async move {
            let mut transaction = self.connections.begin().await?;
            let unused = query("DELETE FROM countersign.used_token WHERE digest = $1");
            transaction.execute(unused.bind(token_digest(issuer, token_id))).await?;
            transaction.commit().await
        })
    }

    /// The number of times that the replica has been in the register, which grows every few seconds: counting each change
    /// would have all replicas wait for one row.
    fn changes(&self) -> u64 {
        u64::try_from(self.beats.load(Ordering::Acquire)).unwrap_or_default()
    }

    /// The position goes with the next [`Beat`].
    fn log_reached(&self, _: Position) {}

    /// Fails once another process has the name of this replica, or the database was put back: then only a start finds out
    /// what is so.
    fn check_place(&self) -> io::Result<()> {
        match self.displaced.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(io::Error::other(
                "another process has the name of this replica, or the database was put back to an earlier time",
            )),
        }
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async {
            let mut transaction = self.connections.begin().await?;
            let is_standby: Option<PgRow> =
                transaction.row(query("SELECT pg_is_in_recovery()")).await?;
            transaction.commit().await?;
            match is_standby.map(|row| row.try_get(0)).transpose()? {
                Some(false) => Ok(()),
                _ => Err(StoreError::ReadOnly),
            }
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async { self.connections.close() })
    }
}

/// The key of a token that may be used once. The length of the issuer keeps two pairs from running into one.
fn token_digest(issuer: &str, token_id: &str) -> Vec<u8> {
    let mut hasher = Sha256::new();
    hasher.update((issuer.len() as u64).to_be_bytes());
    hasher.update(issuer.as_bytes());
    hasher.update(token_id.as_bytes());
    hasher.finalize().to_vec()
}

fn registered_run(id: &RunId, row: &PgRow) -> Result<RegisteredRun, StoreError> {
    let token: Option<Vec<u8>> = row.try_get("run_token_sha256")?;
    let run = RunRow {
        record: row.try_get("record")?,
        runner: row.try_get("runner")?,
        run_token_sha256: token.as_deref(),
        registered_at: row.try_get("registered_at")?,
        expires_at: row.try_get("expires_at")?,
        finished_at: row.try_get("finished_at")?,
    };
    run.parse(id)
}
