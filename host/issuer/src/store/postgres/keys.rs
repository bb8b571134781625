//! The plan of keys that all replicas share, and private keys in it, each encrypted by a key that is elsewhere.

use sqlx::{Row, query};

use super::PostgresStore;
use crate::keys::KeyPlan;
use crate::store::StoreError;

/// The plan of keys as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPlanRow {
    /// Grows by one with each change.
    pub version: u64,
    /// The plan.
    pub plan: KeyPlan,
    /// The time by the database's clock, in seconds since 1970.
    pub now: u64,
}

impl PostgresStore {
    /// The plan of keys; one without keys before the first.
    ///
    /// # Errors
    /// When it cannot be read, or was not written by this program.
    pub async fn key_plan(&self) -> Result<KeyPlanRow, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let plan = query(
            "SELECT version, plan, extract(epoch FROM clock_timestamp())::bigint AS now FROM countersign.key_plan",
        );
        let row = transaction.row(plan).await?.ok_or(sqlx::Error::RowNotFound)?;
        transaction.commit().await?;
        let plan = serde_json::from_str(row.try_get("plan")?)
            .map_err(|error| StoreError::Plan(error.to_string()))?;
        let number = |column| Ok::<_, StoreError>(row.try_get::<i64, _>(column)?);
        let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
        Ok(KeyPlanRow {
            version: unsigned(number("version")?),
            plan,
            now: unsigned(number("now")?),
        })
    }

    /// Replaces the plan of a version. False where another process was first, and nothing was changed.
    ///
    /// # Errors
    /// When it is not known whether it was replaced.
    pub async fn replace_key_plan(&self, version: u64, plan: &KeyPlan) -> Result<bool, StoreError> {
        let text =
            serde_json::to_string(plan).map_err(|error| StoreError::Plan(error.to_string()))?;
        let mut transaction = self.connections.begin().await?;
        let replace = query(
            "UPDATE countersign.key_plan SET version = version + 1, plan = $1 WHERE version = $2",
        );
        let replace = replace.bind(text).bind(i64::try_from(version).unwrap_or(i64::MAX));
        let replaced = transaction.execute(replace).await? == 1;
        transaction.commit().await?;
        Ok(replaced)
    }

    /// The ids of the private keys.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn sealed_keys(&self) -> Result<Vec<String>, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let rows = transaction.rows(query("SELECT kid FROM countersign.signing_key")).await?;
        transaction.commit().await?;
        rows.iter().map(|row| Ok(row.try_get("kid")?)).collect()
    }

    /// A private key, as it was sealed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn sealed_key(&self, kid: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let sealed = query("SELECT sealed FROM countersign.signing_key WHERE kid = $1").bind(kid);
        let row = transaction.row(sealed).await?;
        transaction.commit().await?;
        Ok(row.map(|row| row.try_get("sealed")).transpose()?)
    }

    /// Keeps a private key that was sealed. One that is there stays.
    ///
    /// # Errors
    /// When it is not known whether it is kept.
    pub async fn keep_sealed_key(&self, kid: &str, sealed: &[u8]) -> Result<(), StoreError> {
        let mut transaction = self.connections.begin().await?;
        let insert = query(
            "INSERT INTO countersign.signing_key (kid, sealed) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        );
        transaction.execute(insert.bind(kid).bind(sealed)).await?;
        transaction.commit().await
    }

    /// Removes a private key, if it is there.
    ///
    /// # Errors
    /// When it may still be there.
    pub async fn remove_sealed_key(&self, kid: &str) -> Result<(), StoreError> {
        let mut transaction = self.connections.begin().await?;
        let delete = query("DELETE FROM countersign.signing_key WHERE kid = $1").bind(kid);
        transaction.execute(delete).await?;
        transaction.commit().await
    }
}
