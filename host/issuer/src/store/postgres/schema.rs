//! The tables of a version, the way there, and the checks of a database before it is used.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Row, query};

use super::connections::{Connections, Transaction};
use crate::store::StoreError;

/// A version of the tables, and the statements that lead to it from the one before.
struct Version {
    /// Counted from 1, without a gap.
    number: i32,
    /// The earliest version whose programs can go on with these tables: a rolling upgrade has both for a while.
    serves_from: i32,
    statements: &'static str,
}

const VERSIONS: [Version; 3] = [
    Version {
        number: 1,
        serves_from: 1,
        statements: include_str!("../../../migrations/postgres/0001_store.sql"),
    },
    Version {
        number: 2,
        serves_from: 1,
        statements: include_str!("../../../migrations/postgres/0002_keys.sql"),
    },
    Version {
        number: 3,
        serves_from: 1,
        statements: include_str!("../../../migrations/postgres/0003_releases.sql"),
    },
];

/// The version that this program was made for.
const CURRENT: i32 = 3;

/// The time that a migration may take: it rewrites tables at most.
const MIGRATION: Duration = Duration::from_secs(600);

/// The outcome of a migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The version before; 0 where there were no tables.
    pub from: i32,
    /// The version now.
    pub to: i32,
}

/// Makes or changes the tables in one transaction, which others that migrate wait for.
pub(super) async fn migrate(
    connections: &Arc<Connections>,
    issuer: &str,
    role: Option<&str>,
) -> Result<Migrated, StoreError> {
    let mut transaction = connections.begin_within(MIGRATION).await?;
    // For the transaction alone: a pooler may give the session to somebody else.
    transaction.rows(query("SELECT pg_advisory_xact_lock(7163384699901309811)")).await?;
    transaction
        .batch(
            "CREATE SCHEMA IF NOT EXISTS countersign; \
             CREATE TABLE IF NOT EXISTS countersign.schema_version (version integer PRIMARY KEY, \
             serves_from integer NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())",
        )
        .await?;
    let (from, serves_from) = version(&mut transaction).await?.unwrap_or((0, 0));
    // A later program whose tables this one can use has made an upgrade that is under way; there is nothing to change.
    if from > CURRENT && serves_from > CURRENT {
        return Err(StoreError::LaterVersion { found: from, expected: CURRENT });
    }
    for version in VERSIONS.iter().filter(|version| version.number > from) {
        transaction.batch(version.statements).await?;
        let applied =
            query("INSERT INTO countersign.schema_version (version, serves_from) VALUES ($1, $2)");
        transaction.execute(applied.bind(version.number).bind(version.serves_from)).await?;
    }
    let installed =
        "INSERT INTO countersign.installation (issuer) VALUES ($1) ON CONFLICT DO NOTHING";
    transaction.execute(query(installed).bind(issuer)).await?;
    check_installation(&mut transaction, issuer).await?;
    if let Some(role) = role {
        // Quoted by PostgreSQL, which knows how.
        let grants = query(
            "SELECT format('GRANT USAGE ON SCHEMA countersign TO %1$I; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL \
             TABLES IN SCHEMA countersign TO %1$I; REVOKE INSERT, UPDATE, DELETE ON countersign.installation, \
             countersign.schema_version FROM %1$I; REVOKE UPDATE, DELETE ON countersign.release_file, \
             countersign.release_part, countersign.release_set, countersign.release_step FROM %1$I', $1)",
        );
        let row = transaction.row(grants.bind(role)).await?;
        let grants: String = row.ok_or(sqlx::Error::RowNotFound)?.try_get(0)?;
        transaction.quoted(grants).await?;
    }
    transaction.commit().await?;
    Ok(Migrated { from, to: from.max(CURRENT) })
}

/// Checks that the server takes changes, and keeps those that it acknowledges.
pub(super) async fn check_server(
    transaction: &mut Transaction,
    accepts_asynchronous: bool,
) -> Result<(), StoreError> {
    let settings = query(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS read_only, \
         current_setting('fsync')::boolean AS fsync, current_setting('synchronous_commit') AS commits, \
         current_setting('synchronous_standby_names') AS standbys, \
         EXISTS (SELECT FROM pg_stat_replication) AS replicates",
    );
    let row = transaction.row(settings).await?.ok_or(sqlx::Error::RowNotFound)?;
    if row.try_get("read_only")? {
        return Err(StoreError::ReadOnly);
    }
    let asynchronous = |problem| Err(StoreError::Asynchronous { problem });
    if !row.try_get::<bool, _>("fsync")? {
        return asynchronous(
            "the database loses what it has acknowledged when it fails: its `fsync` is off",
        );
    }
    let commits: &str = row.try_get("commits")?;
    if !matches!(commits, "on" | "remote_apply") && !accepts_asynchronous {
        return asynchronous(
            "the database acknowledges what it may lose: its `synchronous_commit` is neither `on` nor `remote_apply`. Set \
             it for the role, or accept that a token that may be used once can be used again after a failure \
             (`database.asynchronous-standby = \"accept\"`)",
        );
    }
    let standbys: &str = row.try_get("standbys")?;
    if row.try_get("replicates")? && standbys.trim().is_empty() && !accepts_asynchronous {
        return asynchronous(
            "the database has a standby that follows it asynchronously: a failover to it forgets what was acknowledged, \
             so that a token that may be used once could be used again. Set `synchronous_standby_names`, or accept that \
             (`database.asynchronous-standby = \"accept\"`); if this is a base backup that is being made, start again \
             after it",
        );
    }
    Ok(())
}

/// Checks that the tables are those that this program knows, and this issuer's.
pub(super) async fn check_tables(
    transaction: &mut Transaction,
    issuer: &str,
) -> Result<(), StoreError> {
    let is_there = query("SELECT to_regclass('countersign.schema_version') IS NOT NULL");
    let row = transaction.row(is_there).await?.ok_or(sqlx::Error::RowNotFound)?;
    if !row.try_get::<bool, _>(0)? {
        return Err(StoreError::NoTables);
    }
    let (found, serves_from) = version(transaction).await?.ok_or(StoreError::NoTables)?;
    if found < CURRENT {
        return Err(StoreError::EarlierVersion { found, expected: CURRENT });
    }
    if serves_from > CURRENT {
        return Err(StoreError::LaterVersion { found, expected: CURRENT });
    }
    check_installation(transaction, issuer).await
}

/// The version of the tables, and the earliest one whose programs can use them.
async fn version(transaction: &mut Transaction) -> Result<Option<(i32, i32)>, StoreError> {
    let latest =
        "SELECT version, serves_from FROM countersign.schema_version ORDER BY version DESC LIMIT 1";
    let Some(row) = transaction.row(query(latest)).await? else { return Ok(None) };
    Ok(Some((row.try_get("version")?, row.try_get("serves_from")?)))
}

async fn check_installation(transaction: &mut Transaction, issuer: &str) -> Result<(), StoreError> {
    let row = transaction.row(query("SELECT issuer FROM countersign.installation")).await?;
    let found: String = row.ok_or(StoreError::NoTables)?.try_get("issuer")?;
    if found == issuer {
        return Ok(());
    }
    // Whoever wrote it may have written anything.
    let found = found.escape_debug().take(512).collect();
    Err(StoreError::OtherInstallation { found, expected: issuer.to_owned() })
}
