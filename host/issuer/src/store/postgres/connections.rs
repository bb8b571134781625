//! Connections to PostgreSQL. Each piece of work is one transaction within a time, and what breaks off closes its
//! connection: nothing of it can be taken for the answer to the next.
//!
//! A pooler in transaction mode may stand in between. So no statement outlives its transaction, nothing is set for a
//! session, and no lock is held for one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgConnection, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, ConnectOptions, Postgres, raw_sql};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::store::StoreError;

/// The connections of a store, which are opened when they are needed and kept.
pub(super) struct Connections {
    options: PgConnectOptions,
    within: Duration,
    idle: Mutex<Vec<PgConnection>>,
    places: Arc<Semaphore>,
    closed: AtomicBool,
}

/// A transaction. Unless it is committed, its connection is closed, and the database takes it back.
pub(super) struct Transaction {
    /// `None` once it has failed.
    connection: Option<PgConnection>,
    until: Instant,
    connections: Arc<Connections>,
    _place: OwnedSemaphorePermit,
}

/// A statement with its arguments.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

impl Connections {
    /// At most `max` connections, on which each piece of work takes `within` at most.
    pub(super) fn new(options: PgConnectOptions, max: usize, within: Duration) -> Arc<Self> {
        Arc::new(Self {
            // The process's own log is for events; a statement is none.
            options: options.disable_statement_logging(),
            within,
            idle: Mutex::default(),
            places: Arc::new(Semaphore::new(max)),
            closed: AtomicBool::new(false),
        })
    }

    /// Begins a transaction. A connection that was lost while nobody used it is replaced.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Transaction, StoreError> {
        self.begin_within(self.within).await
    }

    /// The same, for work that takes longer.
    pub(super) async fn begin_within(
        self: &Arc<Self>,
        within: Duration,
    ) -> Result<Transaction, StoreError> {
        let until = Instant::now() + within;
        let place = self.place(until).await?;
        // The server gives up when this side does: what it holds is in others' way, also where it never hears of that. A
        // commit that waits for a standby is not cut short by it.
        let begin = format!(
            "BEGIN; SET LOCAL statement_timeout = {0}; SET LOCAL idle_in_transaction_session_timeout = {0}",
            within.as_millis()
        );
        let begin = || raw_sql(AssertSqlSafe(begin.clone()));
        let begun = |connection| Transaction {
            connection: Some(connection),
            until,
            connections: Arc::clone(self),
            _place: place,
        };
        while let Some(mut connection) = self.kept() {
            if in_time(until, begin().execute(&mut connection)).await?.is_ok() {
                return Ok(begun(connection));
            }
        }
        let mut connection = self.connect(until).await?;
        in_time(until, begin().execute(&mut connection)).await??;
        Ok(begun(connection))
    }

    /// The row that a query gives. It is sent as it is, in one round trip, and may be sent twice.
    pub(super) async fn read(
        &self,
        query: &'static str,
        id: &PlainId<'_>,
    ) -> Result<Option<PgRow>, StoreError> {
        let until = Instant::now() + self.within;
        let _place = self.place(until).await?;
        let text = || AssertSqlSafe(format!("{query}'{}'", id.0));
        while let Some(mut connection) = self.kept() {
            if let Ok(row) = in_time(until, raw_sql(text()).fetch_optional(&mut connection)).await?
            {
                self.keep(connection);
                return Ok(row);
            }
        }
        let mut connection = self.connect(until).await?;
        let row = in_time(until, raw_sql(text()).fetch_optional(&mut connection)).await??;
        self.keep(connection);
        Ok(row)
    }

    /// Closes all connections that nobody uses; others are closed when they are given back.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    async fn place(&self, until: Instant) -> Result<OwnedSemaphorePermit, StoreError> {
        let place = timeout_at(until, Arc::clone(&self.places).acquire_owned()).await;
        place.map_err(|_| StoreError::Slow)?.map_err(|_| StoreError::Slow)
    }

    async fn connect(&self, until: Instant) -> Result<PgConnection, StoreError> {
        in_time(until, self.options.connect()).await?.map_err(StoreError::Unreachable)
    }

    /// The connection that was used last.
    fn kept(&self) -> Option<PgConnection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, connection: PgConnection) {
        if !self.closed.load(Ordering::Acquire) {
            self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        }
    }
}

impl Transaction {
    /// Executes a statement, and gives the number of rows that it changed.
    pub(super) async fn execute(&mut self, statement: Statement<'_>) -> Result<u64, StoreError> {
        let mut connection = self.connection.take().ok_or(StoreError::Slow)?;
        let work = statement.persistent(false).execute(&mut connection);
        let done = in_time(self.until, work).await??;
        self.connection = Some(connection);
        Ok(done.rows_affected())
    }

    /// The rows of a query.
    pub(super) async fn rows(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Vec<PgRow>, StoreError> {
        let mut connection = self.connection.take().ok_or(StoreError::Slow)?;
        let work = statement.persistent(false).fetch_all(&mut connection);
        let rows = in_time(self.until, work).await??;
        self.connection = Some(connection);
        Ok(rows)
    }

    /// The only row of a query, where it has one.
    pub(super) async fn row(
        &mut self,
        statement: Statement<'_>,
    ) -> Result<Option<PgRow>, StoreError> {
        Ok(self.rows(statement).await?.into_iter().next())
    }

    /// Executes statements of this program's own, several of them in one round trip.
    pub(super) async fn batch(&mut self, statements: &'static str) -> Result<(), StoreError> {
        self.run(raw_sql(statements)).await
    }

    /// Executes a statement that PostgreSQL itself has quoted (`format`).
    pub(super) async fn quoted(&mut self, statement: String) -> Result<(), StoreError> {
        self.run(raw_sql(AssertSqlSafe(statement))).await
    }

    /// Commits. After an error it is not known whether anything was done.
    pub(super) async fn commit(mut self) -> Result<(), StoreError> {
        self.run(raw_sql("COMMIT")).await?;
        if let Some(connection) = self.connection.take() {
            self.connections.keep(connection);
        }
        Ok(())
    }

    async fn run(&mut self, statements: sqlx::RawSql) -> Result<(), StoreError> {
        let mut connection = self.connection.take().ok_or(StoreError::Slow)?;
        in_time(self.until, statements.execute(&mut connection)).await??;
        self.connection = Some(connection);
        Ok(())
    }
}

/// An id that stands in a statement as it is: it has letters, digits and `-` alone.
pub(super) struct PlainId<'i>(&'i str);

impl<'i> PlainId<'i> {
    /// `None` where it has anything else.
    pub(super) fn new(id: &'i str) -> Option<Self> {
        let is_plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_plain.then_some(Self(id))
    }
}

async fn in_time<T>(
    until: Instant,
    work: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<Result<T, sqlx::Error>, StoreError> {
    timeout_at(until, work).await.map_err(|_| StoreError::Slow)
}
