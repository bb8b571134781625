//! Pages of runs.

use std::sync::Arc;

use countersign::RunId;
use sqlx::postgres::PgRow;
use sqlx::{Row, query};

use super::connections::Connections;
use super::registered_run;
use crate::store::row::integer;
use crate::store::{RunPage, RunQuery, StoreError};

/// The maximum of runs that a page looks at: those that are asked for may be few among many.
const MAX_SCANNED: i64 = 10_000;

/// The page that is asked for.
pub(super) async fn page(
    connections: &Arc<Connections>,
    asked: &RunQuery,
) -> Result<RunPage, StoreError> {
    let after = asked.after.as_ref().map_or("", RunId::as_str);
    let runner = asked.runner.as_ref().map(|runner| runner.as_str());
    let limit = i64::try_from(asked.limit).unwrap_or(MAX_SCANNED).min(MAX_SCANNED);
    let mut transaction = connections.begin().await?;
    // The id up to which it looks; no row where fewer are left.
    let end = query(
        "SELECT id FROM countersign.run WHERE id > $1 AND ($3::text IS NULL OR runner = $3) ORDER BY id \
         LIMIT 1 OFFSET $2",
    );
    let end = transaction.row(end.bind(after).bind(MAX_SCANNED - 1).bind(runner)).await?;
    let end = end.as_ref().map(id_of).transpose()?;
    let runs = query(
        "SELECT id, record, runner, run_token_sha256, registered_at, expires_at, finished_at FROM countersign.run \
         WHERE id > $1 AND ($2::text IS NULL OR id <= $2) AND ($3::text IS NULL OR runner = $3) \
         AND ($4::boolean IS NULL OR (finished_at IS NULL AND expires_at > $5) = $4) ORDER BY id LIMIT $6",
    );
    let runs = runs
        .bind(after)
        .bind(end.as_ref().map(RunId::as_str))
        .bind(runner)
        .bind(asked.live)
        .bind(integer(asked.now))
        .bind(limit);
    let rows = transaction.rows(runs).await?;
    transaction.commit().await?;
    let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows == limit);
    let next = if is_full { rows.last().map(id_of).transpose()? } else { end };
    let runs = rows.iter().map(|row| registered_run(&id_of(row)?, row));
    Ok(RunPage { runs: runs.collect::<Result<_, _>>()?, next })
}

fn id_of(row: &PgRow) -> Result<RunId, StoreError> {
    let id: &str = row.try_get("id")?;
    RunId::parse(id).map_err(|_| StoreError::Row { id: id.to_owned(), problem: "its id is none" })
}
