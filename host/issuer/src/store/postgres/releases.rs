//! Releases in the database: their steps, which follow from nothing else, and their contents by digest.
//!
//! Rows are added and never changed. Whatever is read is bounded before it is read; whether it is what its digest says is
//! for the reader to find out.

use countersign::Digest;
use sqlx::{Row, query};

use super::PostgresStore;
use super::register::{signed, unsigned};
use crate::store::StoreError;

/// The length of each part of a content but its last, in bytes: the tables are made for it.
const PART_BYTES: usize = 1 << 20;

/// The maximum length of a step, in bytes.
pub const MAX_STEP_BYTES: usize = 64 << 10;

/// The steps that are read at once.
const STEPS_AT_ONCE: i64 = 128;

/// A step of releases, as it is in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedStep {
    /// Its number.
    pub number: u64,
    /// The step, in JSON.
    pub text: String,
}

/// A step of releases that is to be in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSharedStep {
    /// Its number.
    pub number: u64,
    /// The step, in JSON.
    pub text: String,
    /// The release that it names, which is in the database.
    pub release: Digest,
    /// False where it only stages.
    pub decides: bool,
}

impl PostgresStore {
    /// Steps of releases from a number on, in their order: some of them, and none where there is none.
    ///
    /// # Errors
    /// When they cannot be read, or one is longer than a step is.
    pub async fn release_steps(&self, from: u64) -> Result<Vec<SharedStep>, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let steps = query(
            "SELECT step, CASE WHEN octet_length(content) <= $2 THEN content END AS content \
             FROM countersign.release_step WHERE step >= $1 ORDER BY step LIMIT $3",
        );
        let steps = steps.bind(signed(from)).bind(length(MAX_STEP_BYTES)).bind(STEPS_AT_ONCE);
        let rows = transaction.rows(steps).await?;
        transaction.commit().await?;
        let steps = rows.iter().map(|row| {
            let number = unsigned(row.try_get("step")?);
            let text: Option<String> = row.try_get("content")?;
            let text = text.ok_or_else(|| too_long(&format!("step {number}"), MAX_STEP_BYTES))?;
            Ok(SharedStep { number, text })
        });
        steps.collect()
    }

    /// Adds the steps that follow the last one, all of them or none. False where others were added meanwhile.
    ///
    /// # Errors
    /// When it is not known whether they were added, or what they need is not in the database.
    pub async fn add_release_steps(&self, steps: &[NewSharedStep]) -> Result<bool, StoreError> {
        let Some(first) = steps.first() else { return Ok(true) };
        let mut transaction = self.connections.begin().await?;
        let add = query(
            "INSERT INTO countersign.release_step (step, content, release, decides) SELECT * FROM \
             unnest($1::bigint[], $2::text[], $3::text[], $4::boolean[]) WHERE $5 = \
             (SELECT coalesce(max(step), 0) + 1 FROM countersign.release_step) ON CONFLICT DO NOTHING",
        );
        let numbers: Vec<_> = steps.iter().map(|step| signed(step.number)).collect();
        let texts: Vec<_> = steps.iter().map(|step| step.text.as_str()).collect();
        let releases: Vec<_> = steps.iter().map(|step| step.release.to_string()).collect();
        let decide: Vec<_> = steps.iter().map(|step| step.decides).collect();
        let add = add.bind(numbers).bind(texts).bind(releases).bind(decide);
        let added = transaction.execute(add.bind(signed(first.number))).await?;
        if added != steps.len() as u64 {
            // Without a commit, the database takes back those that there was room for.
            return Ok(false);
        }
        transaction.commit().await?;
        Ok(true)
    }

    /// The digest of the description of a release; `None` where there is no such release.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn release_set(&self, release: Digest) -> Result<Option<Digest>, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let set = query("SELECT description FROM countersign.release_set WHERE release = $1");
        let row = transaction.row(set.bind(release.to_string())).await?;
        transaction.commit().await?;
        let Some(row) = row else { return Ok(None) };
        let malformed = |_| StoreError::Release {
            what: format!("release {release}"),
            problem: "its description has no digest".to_owned(),
        };
        Digest::parse(row.try_get("description")?).map(Some).map_err(malformed)
    }

    /// Adds a release, whose description is there by its digest. One that is there stays.
    ///
    /// # Errors
    /// When it is not known whether it was added.
    pub async fn add_release_set(
        &self,
        release: Digest,
        description: Digest,
    ) -> Result<(), StoreError> {
        let mut transaction = self.connections.begin().await?;
        let add = query(
            "INSERT INTO countersign.release_set (release, description) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        );
        let add = add.bind(release.to_string()).bind(description.to_string());
        transaction.execute(add).await?;
        transaction.commit().await
    }

    /// The content that is there by a digest, of at most `limit` bytes; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, is longer, or a part of it is missing.
    pub async fn release_file(
        &self,
        digest: Digest,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(bytes) = self.release_file_bytes(digest).await? else { return Ok(None) };
        let what = || format!("content {digest}");
        let bytes = usize::try_from(bytes).ok().filter(|bytes| *bytes as u64 <= limit);
        let bytes =
            bytes.ok_or_else(|| too_long(&what(), usize::try_from(limit).unwrap_or(usize::MAX)))?;
        let mut content = Vec::with_capacity(bytes);
        for part in 0.. {
            let expected = (bytes - content.len()).min(PART_BYTES);
            if expected == 0 {
                break;
            }
            let mut transaction = self.connections.begin().await?;
            let read = query(
                "SELECT content FROM countersign.release_part WHERE digest = $1 AND part = $2 AND octet_length(content) = $3",
            );
            let read = read.bind(digest.to_string()).bind(part).bind(length(expected));
            let row = transaction.row(read).await?;
            transaction.commit().await?;
            let row = row.ok_or_else(|| StoreError::Release {
                what: what(),
                problem: format!("part {part} of {expected} bytes is missing"),
            })?;
            content.extend_from_slice(row.try_get("content")?);
        }
        Ok(Some(content))
    }

    /// Adds a content by its digest, or what is missing of it. False where some of it was there: it may be another's, and is to
    /// be read back.
    ///
    /// # Errors
    /// When it is not known whether it was added.
    pub async fn add_release_file(
        &self,
        digest: Digest,
        content: &[u8],
    ) -> Result<bool, StoreError> {
        let mut is_new = self.release_file_bytes(digest).await?.is_none();
        let parts = content.len().div_ceil(PART_BYTES);
        if !is_new && self.release_parts(digest).await? == parts as u64 {
            return Ok(false);
        }
        for (part, content) in (0_i32..).zip(content.chunks(PART_BYTES)) {
            let mut transaction = self.connections.begin().await?;
            let add = query(
                "INSERT INTO countersign.release_part (digest, part, content) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            );
            let add = add.bind(digest.to_string()).bind(part).bind(content);
            is_new &= transaction.execute(add).await? == 1;
            transaction.commit().await?;
        }
        let mut transaction = self.connections.begin().await?;
        let add = query(
            "INSERT INTO countersign.release_file (digest, bytes) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        );
        let add = add.bind(digest.to_string()).bind(signed(content.len() as u64));
        transaction.execute(add).await?;
        transaction.commit().await?;
        Ok(is_new)
    }

    /// The number of parts that are there by a digest.
    async fn release_parts(&self, digest: Digest) -> Result<u64, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let count = query("SELECT count(*) FROM countersign.release_part WHERE digest = $1");
        let row = transaction.row(count.bind(digest.to_string())).await?;
        transaction.commit().await?;
        Ok(row.map(|row| row.try_get(0).map(unsigned)).transpose()?.unwrap_or_default())
    }

    /// The length of the content that is there by a digest.
    async fn release_file_bytes(&self, digest: Digest) -> Result<Option<u64>, StoreError> {
        let mut transaction = self.connections.begin().await?;
        let read = query("SELECT bytes FROM countersign.release_file WHERE digest = $1");
        let row = transaction.row(read.bind(digest.to_string())).await?;
        transaction.commit().await?;
        Ok(row.map(|row| row.try_get("bytes").map(unsigned)).transpose()?)
    }
}

fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

fn too_long(what: &str, limit: usize) -> StoreError {
    let problem = format!("longer than {limit} bytes");
    StoreError::Release { what: what.to_owned(), problem }
}
