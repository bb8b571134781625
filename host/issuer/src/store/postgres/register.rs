//! The register of replicas: each writes every few seconds that it is there, and sees the others.
//!
//! The row of a replica is the place of its checkpoints as well. Its number of beats is in the records of its log: neither
//! the log nor the database can be put back alone without the other noticing.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::postgres::PgRow;
use sqlx::{Row, query};

use super::PostgresStore;
use crate::store::{StoreError, StoreMark};

/// The name of a replica in the register, for one process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The name.
    pub name: String,
    /// An id of this start of this process.
    pub instance: String,
    /// The time after which this process issues no token unless it has been here: another one may take the name then.
    pub lease: Duration,
}

impl Membership {
    /// The name, for a start of a process; `None` when the system's random number generator fails.
    pub fn new(name: String, lease: Duration) -> Option<Self> {
        let mut id = [0; 16];
        aws_lc_rs::rand::fill(&mut id).ok()?;
        let instance = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { name, instance, lease })
    }
}

/// Everything that a replica tells the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beat {
    /// The version of the plan of keys that it publishes.
    pub plan_version: u64,
    /// Digest of the policy set that decides.
    pub policy_set: String,
    /// Digest of the access configuration.
    pub access: String,
    /// The record that its log has reached; 0 before any.
    pub log_sequence: u64,
    /// The hash of that record, in its text form; empty before any.
    pub log_hash: String,
    /// The signed checkpoint of that record, in JSON; empty before any.
    pub checkpoint: String,
    /// The JWK Set with the key that verifies it.
    pub checkpoint_key: String,
    /// The releases, as this replica has taken them.
    pub releases: TakenReleases,
}

/// The releases that the replicas share, as one of them has taken them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenReleases {
    /// The last step that it has taken; 0 before any.
    pub step: u64,
    /// The step since which the release decides by which it decides; 0 where the manifest does.
    pub deciding: u64,
    /// The candidate that it has prepared, and tries; empty without one.
    pub candidate: String,
}

/// The releases that the replicas share, as they are in the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SharedReleases {
    /// The last step; 0 before any.
    pub step: u64,
    /// The step since which the release decides that does; 0 where manifests do.
    pub deciding: u64,
    /// The time since that step was made, in milliseconds.
    pub deciding_for: u64,
}

/// The register, as it was after a beat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// The time by the database's clock, in seconds since 1970.
    pub now: u64,
    /// The version of the plan of keys.
    pub plan_version: u64,
    /// The releases.
    pub releases: SharedReleases,
    /// All replicas, this one as well, in the order of their names.
    pub replicas: Vec<ReplicaEntry>,
}

/// A replica, as the others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaEntry {
    /// Its name.
    pub name: String,
    /// The seconds since it was here, by the database's clock.
    pub age_seconds: u64,
    /// True after an orderly stop.
    pub stopped: bool,
    /// The time from which on it has had this policy set and access, in microseconds since 1970.
    pub configured_at: i64,
    /// Its last beat.
    pub beat: Beat,
}

const COLUMNS: &str = "SELECT name, extract(epoch FROM clock_timestamp() - beat_at)::float8 AS age, stopped, \
                       (extract(epoch FROM configured_at) * 1000000)::bigint AS configured_at, plan_version, policy_set, \
                       access, log_sequence, log_hash, checkpoint, checkpoint_key, release_step, deciding_step, candidate \
                       FROM countersign.replica ORDER BY name";

impl PostgresStore {
    /// The state of the database as a replica left it, to be compared with its log. `None` where it was never here.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn replica_mark(&self, name: &str) -> Result<Option<StoreMark>, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let mark =
            query("SELECT beat, log_sequence, log_hash FROM countersign.replica WHERE name = $1");
        let row = transaction.row(mark.bind(name)).await?;
        transaction.commit().await?;
        let Some(row) = row else { return Ok(None) };
        Ok(Some(StoreMark {
            changes: unsigned(row.try_get("beat")?),
            log_sequence: unsigned(row.try_get("log_sequence")?),
            log_hash: row.try_get("log_hash")?,
        }))
    }

    /// The time by the database's clock, in seconds since 1970, and its position in the write-ahead log.
    ///
    /// # Errors
    /// When it cannot be read; a standby has none.
    pub async fn position(&self) -> Result<(u64, String), StoreError> {
        let mut transaction = self.connections.begin().await?;
        let position = query(
            "SELECT extract(epoch FROM clock_timestamp())::bigint AS now, pg_current_wal_lsn()::text AS lsn",
        );
        let row = transaction.row(position).await?.ok_or(sqlx::Error::RowNotFound)?;
        transaction.commit().await?;
        Ok((unsigned(row.try_get("now")?), row.try_get("lsn")?))
    }

    /// Enters the register by a name. `mark` is the state that was compared with the log.
    ///
    /// # Errors
    /// [`StoreError::NameTaken`] while another process has the name, and for seconds after it was killed; otherwise when
    /// it is not known whether it was entered.
    pub async fn join(
        &self,
        member: &Membership,
        mark: Option<&StoreMark>,
    ) -> Result<(), StoreError> {
        let before = mark.map_or(0, |mark| i64::try_from(mark.changes).unwrap_or(i64::MAX));
        let mut transaction = self.connections.begin().await?;
        let join = match mark {
            None => query(
                "INSERT INTO countersign.replica (name, instance, lease_seconds, beat, beat_at, stopped, plan_version, policy_set, \
                 access, configured_at, log_sequence, log_hash, checkpoint, checkpoint_key) VALUES ($1, $2, $4, $3 + 1, \
                 clock_timestamp(), false, 0, '', '', clock_timestamp(), 0, '', '', '') ON CONFLICT DO NOTHING",
            ),
            // Its age is of no account after an orderly stop.
            Some(_) => query(
                "UPDATE countersign.replica SET instance = $2, lease_seconds = $4, beat = beat + 1, beat_at = clock_timestamp(), \
                 stopped = false, plan_version = 0, configured_at = clock_timestamp() WHERE name = $1 AND beat = $3 \
                 AND (stopped OR extract(epoch FROM clock_timestamp() - beat_at) > lease_seconds)",
            ),
        };
        let join = join.bind(&member.name).bind(&member.instance).bind(before);
        let join = join.bind(member.lease.as_secs_f64());
        let joined = transaction.execute(join).await?;
        transaction.commit().await?;
        if joined == 0 {
            return Err(StoreError::NameTaken { name: member.name.clone() });
        }
        self.beats.store(before.saturating_add(1), Ordering::Release);
        Ok(())
    }

    /// Tells the others that the replica is here, and returns what they tell.
    ///
    /// # Errors
    /// [`StoreError::Displaced`] when another process has the name, or the database is an earlier one, after which
    /// [`PostgresStore::displace`] is to be called. Otherwise when it is not known whether it was told.
    pub async fn beat(&self, member: &Membership, beat: &Beat) -> Result<Register, StoreError> {
        let expected = self.beats.load(Ordering::Acquire);
        let mut transaction = self.connections.begin().await?;
        // At least: the answer to an earlier one may have been lost.
        let told = query(
            "UPDATE countersign.replica SET beat = beat + 1, beat_at = clock_timestamp(), stopped = false, \
             plan_version = $4, configured_at = CASE WHEN policy_set = $5 AND access = $6 THEN configured_at ELSE \
             clock_timestamp() END, policy_set = $5, access = $6, log_sequence = $7, log_hash = $8, checkpoint = $9, \
             checkpoint_key = $10, release_step = $11, deciding_step = $12, candidate = $13 WHERE name = $1 AND instance = $2 AND beat >= $3 RETURNING beat",
        );
        let told = told
            .bind(&member.name)
            .bind(&member.instance)
            .bind(expected)
            .bind(signed(beat.plan_version))
            .bind(&beat.policy_set)
            .bind(&beat.access)
            .bind(signed(beat.log_sequence))
            .bind(&beat.log_hash)
            .bind(&beat.checkpoint)
            .bind(&beat.checkpoint_key)
            .bind(signed(beat.releases.step))
            .bind(signed(beat.releases.deciding))
            .bind(&beat.releases.candidate);
        let row = transaction.row(told).await?;
        let number: Option<i64> = row.map(|row| row.try_get("beat")).transpose()?;
        if number.is_none() {
            let found = query("SELECT beat FROM countersign.replica WHERE name = $1");
            let row = transaction.row(found.bind(&member.name)).await?;
            let found = row.map(|row| row.try_get("beat")).transpose()?.unwrap_or_default();
            transaction.commit().await?;
            return Err(StoreError::Displaced { found, expected });
        }
        let now = query(
            "SELECT extract(epoch FROM clock_timestamp())::bigint AS now, version, \
             (SELECT coalesce(max(step), 0) FROM countersign.release_step) AS release_step, \
             coalesce(deciding.step, 0) AS deciding_step, \
             coalesce((extract(epoch FROM clock_timestamp() - deciding.made_at) * 1000)::bigint, 0) AS deciding_for \
             FROM countersign.key_plan LEFT JOIN LATERAL (SELECT step, made_at FROM countersign.release_step WHERE decides \
             ORDER BY step DESC LIMIT 1) AS deciding ON true",
        );
        let now = transaction.row(now).await?.ok_or(sqlx::Error::RowNotFound)?;
        let rows = transaction.rows(query(COLUMNS)).await?;
        transaction.commit().await?;
        self.beats.fetch_max(number.unwrap_or_default(), Ordering::AcqRel);
        Ok(Register {
            now: unsigned(now.try_get("now")?),
            plan_version: unsigned(now.try_get("version")?),
            releases: SharedReleases {
                step: unsigned(now.try_get("release_step")?),
                deciding: unsigned(now.try_get("deciding_step")?),
                deciding_for: unsigned(now.try_get("deciding_for")?),
            },
            replicas: rows.iter().map(entry).collect::<Result<_, _>>()?,
        })
    }

    /// Has the store fail for good ([`Store::check_place`](crate::Store::check_place)): only a start finds out what is so.
    pub fn displace(&self) {
        self.displaced.store(true, Ordering::Release);
    }

    /// The replicas in the register.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn replicas(&self) -> Result<Vec<ReplicaEntry>, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let rows = transaction.rows(query(COLUMNS)).await?;
        transaction.commit().await?;
        rows.iter().map(entry).collect()
    }

    /// Notes an orderly stop, after which the replica publishes no key set.
    ///
    /// # Errors
    /// When it is not known whether it was noted; the replica counts as running for longer then.
    pub async fn leave(&self, member: &Membership) -> Result<(), StoreError> {
        let mut transaction = self.connections.begin().await?;
        let leave = query(
            "UPDATE countersign.replica SET stopped = true WHERE name = $1 AND instance = $2",
        );
        transaction.execute(leave.bind(&member.name).bind(&member.instance)).await?;
        transaction.commit().await
    }

    /// Removes a replica that runs no more from the register: keys no longer wait for it, and its name can be used with
    /// another log. False where there is none, or it runs.
    ///
    /// # Errors
    /// When it is not known whether it was removed.
    pub async fn forget_replica(&self, name: &str) -> Result<bool, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let forget = query(
            "DELETE FROM countersign.replica WHERE name = $1 \
             AND (stopped OR extract(epoch FROM clock_timestamp() - beat_at) > lease_seconds)",
        );
        let forgotten = transaction.execute(forget.bind(name)).await? == 1;
        transaction.commit().await?;
        Ok(forgotten)
    }
}

fn entry(row: &PgRow) -> Result<ReplicaEntry, StoreError> {
    let age: f64 = row.try_get("age")?;
    Ok(ReplicaEntry {
        name: row.try_get("name")?,
        // A clock of the database that was set back makes it negative.
        age_seconds: age.max(0.0) as u64,
        stopped: row.try_get("stopped")?,
        configured_at: row.try_get("configured_at")?,
        beat: Beat {
            plan_version: unsigned(row.try_get("plan_version")?),
            policy_set: row.try_get("policy_set")?,
            access: row.try_get("access")?,
            log_sequence: unsigned(row.try_get("log_sequence")?),
            log_hash: row.try_get("log_hash")?,
            checkpoint: row.try_get("checkpoint")?,
            checkpoint_key: row.try_get("checkpoint_key")?,
            releases: TakenReleases {
                step: unsigned(row.try_get("release_step")?),
                deciding: unsigned(row.try_get("deciding_step")?),
                candidate: row.try_get("candidate")?,
            },
        },
    })
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
