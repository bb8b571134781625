//! Pages of runs.

use countersign::RunId;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, query};

use super::{integer, registered_run};
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
