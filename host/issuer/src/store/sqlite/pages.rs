//! Pages of runs.

use countersign::RunId;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, query};

use super::registered_run;
use crate::store::row::integer;
use crate::store::{RunPage, RunQuery, StoreError};

/// The maximum of runs that a page looks at: those that are asked for may be few among many.
const MAX_SCANNED: i64 = 10_000;

/// The id up to which a page looks; no row where fewer are left. Both are read from an index.
const END: &str = "SELECT id FROM run WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2";
const END_OF_RUNNER: &str = "SELECT id FROM run INDEXED BY run_runner \
                             WHERE runner = ?3 AND id > ?1 ORDER BY id LIMIT 1 OFFSET ?2";

macro_rules! page {
    ($from:literal, $runner:literal) => {
        concat!(
            "SELECT id, record, runner, run_token_sha256, registered_at, expires_at, finished_at FROM ",
            $from,
            " WHERE id > ?1 AND (?2 IS NULL OR id <= ?2) \
             AND (?3 IS NULL OR (finished_at IS NULL AND expires_at > ?4) = ?3)",
            $runner,
            " ORDER BY id LIMIT ?5"
        )
    };
}

const PAGE: &str = page!("run", "");
const PAGE_OF_RUNNER: &str = page!("run INDEXED BY run_runner", " AND runner = ?6");

/// The page that is asked for.
pub(super) async fn page(pool: &SqlitePool, asked: &RunQuery) -> Result<RunPage, StoreError> {
    let after = asked.after.as_ref().map_or("", RunId::as_str);
    let runner = asked.runner.as_ref().map(|runner| runner.as_str());
    let end = query(if runner.is_some() { END_OF_RUNNER } else { END });
    let end = end.bind(after).bind(MAX_SCANNED - 1).bind(runner);
    let end = end.fetch_optional(pool).await?.as_ref().map(id_of).transpose()?;
    let limit = i64::try_from(asked.limit).unwrap_or(MAX_SCANNED).min(MAX_SCANNED);
    let rows = query(if runner.is_some() { PAGE_OF_RUNNER } else { PAGE })
        .bind(after)
        .bind(end.as_ref().map(RunId::as_str))
        .bind(asked.live)
        .bind(integer(asked.now))
        .bind(limit)
        .bind(runner)
        .fetch_all(pool)
        .await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == limit);
    let last = if is_full { rows.last().map(id_of).transpose()? } else { end };
    let runs = rows.iter().map(|row| registered_run(&id_of(row)?, row));
    Ok(RunPage { runs: runs.collect::<Result<_, _>>()?, next: last })
}

fn id_of(row: &SqliteRow) -> Result<RunId, StoreError> {
    let id: &str = row.try_get("id")?;
    RunId::parse(id).map_err(|_| StoreError::Row { id: id.to_owned(), problem: "its id is none" })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use countersign::RunnerId;

    use super::super::SqliteStore;
    use super::*;
    use crate::store::Store;

    const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";

    /// Those that are asked for may be few among many: a page ends before it has looked at all of them.
    #[tokio::test]
    async fn a_page_looks_at_a_bounded_number_of_runs() {
        let folder = tempfile::tempdir().unwrap();
        let store = SqliteStore::open(&folder.path().join("issuer.db")).await.unwrap();
        // Finished ones, whose records are not read.
        query(
            "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ?1) \
             INSERT INTO run SELECT printf('%08x-0000-4000-8000-000000000000', n), '', ?2, NULL, 0, 9, 1 \
             FROM number",
        )
        .bind(MAX_SCANNED + 1)
        .bind(RUNNER)
        .execute(&store.writer)
        .await
        .unwrap();
        for runner in [None, Some(RunnerId::parse(RUNNER).unwrap())] {
            let mut asked = RunQuery { runner, live: Some(true), now: 0, after: None, limit: 1 };
            let first = store.runs(&asked).await.unwrap();
            let last = RunId::parse(&format!("{MAX_SCANNED:08x}-0000-4000-8000-000000000000"));
            assert_eq!(first, RunPage { runs: Vec::new(), next: Some(last.unwrap()) });
            asked.after = first.next;
            let second = store.runs(&asked).await.unwrap();
            assert_eq!(second, RunPage { runs: Vec::new(), next: None });
        }
    }
}
