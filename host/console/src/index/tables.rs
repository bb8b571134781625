//! The values that an index knows, and counts of refusals.

use sqlx::{Row, query};

use super::write::HOUR;
use super::{Index, IndexError, integer, natural};
use crate::facts::Field;

/// A value of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value {
    pub(crate) value: String,
    /// The number of records that have it.
    pub(crate) records: u64,
    /// The last one.
    pub(crate) last: u64,
}

/// Refused decisions by time and by code.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Refusals {
    /// The codes by the number of their decisions, the most frequent first.
    pub(crate) codes: Vec<CodeCount>,
    /// Spans of time with refusals, in order.
    pub(crate) buckets: Vec<Bucket>,
}

/// The decisions that a code is a reason of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CodeCount {
    pub(crate) code: String,
    pub(crate) decisions: u64,
}

/// Refused decisions of a span of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// The beginning, in seconds since 1970.
    pub(crate) start: u64,
    /// All of them.
    pub(crate) refused: u64,
    /// By the codes that were asked for, in their order. A decision with several counts for each.
    pub(crate) codes: Vec<u64>,
}

impl Index {
    /// The most frequent values of a field.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) async fn values(&self, field: Field, limit: u32) -> Result<Vec<Value>, IndexError> {
        let rows = query(
            "SELECT value, records, last FROM term WHERE field = ? ORDER BY records DESC, value LIMIT ?",
        )
        .bind(field.number())
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let value = |row: &sqlx::sqlite::SqliteRow| {
            Ok(Value {
                value: row.try_get("value")?,
                records: natural(row.try_get("records")?),
                last: natural(row.try_get("last")?),
            })
        };
        rows.iter().map(value).collect()
    }

    /// A value of a field; `None` where no record has it.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) async fn value(
        &self,
        field: Field,
        value: &str,
    ) -> Result<Option<Value>, IndexError> {
        let row = query("SELECT records, last FROM term WHERE field = ? AND value = ?");
        let row = row.bind(field.number()).bind(value).fetch_optional(&self.readers).await?;
        let Some(row) = row else { return Ok(None) };
        let (records, last): (i64, i64) = (row.try_get("records")?, row.try_get("last")?);
        let value = value.to_owned();
        Ok(Some(Value { value, records: natural(records), last: natural(last) }))
    }

    /// The hours of the first and the last refusal, in seconds since 1970; `None` where there is none.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) async fn refusal_times(&self) -> Result<Option<(u64, u64)>, IndexError> {
        let row = query("SELECT min(hour) AS first, max(hour) AS last FROM refusal");
        let row = row.fetch_one(&self.readers).await?;
        let first: Option<i64> = row.try_get("first")?;
        let last: Option<i64> = row.try_get("last")?;
        Ok(first.zip(last).map(|(first, last)| (natural(first) * HOUR, natural(last) * HOUR)))
    }

    /// Counts refusals from one time to another, whole hours, in spans of so many hours: by the most frequent codes, of
    /// which `listed` are listed and `charted` counted by span.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub(crate) async fn refusals(
        &self,
        (from, to): (u64, u64),
        hours: u64,
        listed: u32,
        charted: usize,
    ) -> Result<Refusals, IndexError> {
        let (from, to) = (from / HOUR, to.div_ceil(HOUR));
        let rows = query(
            "SELECT code, sum(decisions) AS decisions FROM refusal WHERE hour >= ? AND hour < ? AND code <> '' \
             GROUP BY code ORDER BY decisions DESC, code LIMIT ?",
        )
        .bind(integer(from))
        .bind(integer(to))
        .bind(listed)
        .fetch_all(&self.readers)
        .await?;
        let mut codes = Vec::new();
        for row in rows {
            let decisions: i64 = row.try_get("decisions")?;
            codes.push(CodeCount { code: row.try_get("code")?, decisions: natural(decisions) });
        }
        let mut buckets: Vec<Bucket> = Vec::new();
        let charted = charted.min(codes.len());
        let all = CodeCount { code: String::new(), decisions: 0 };
        for (place, code) in std::iter::once(&all).chain(codes.iter().take(charted)).enumerate() {
            let rows = query(
                "SELECT (hour - ?1) / ?3 AS bucket, sum(decisions) AS decisions FROM refusal \
                 WHERE hour >= ?1 AND hour < ?2 AND code = ?4 GROUP BY bucket ORDER BY bucket",
            )
            .bind(integer(from))
            .bind(integer(to))
            .bind(integer(hours.max(1)))
            .bind(&code.code)
            .fetch_all(&self.readers)
            .await?;
            for row in rows {
                let start = (from + natural(row.try_get("bucket")?) * hours.max(1)) * HOUR;
                let decisions = natural(row.try_get("decisions")?);
                if place == 0 {
                    buckets.push(Bucket { start, refused: decisions, codes: vec![0; charted] });
                } else if let Ok(at) = buckets.binary_search_by_key(&start, |bucket| bucket.start)
                    && let Some(count) =
                        buckets.get_mut(at).and_then(|bucket| bucket.codes.get_mut(place - 1))
                {
                    *count = decisions;
                }
            }
        }
        Ok(Refusals { codes, buckets })
    }
}
