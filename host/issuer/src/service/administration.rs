//! Administration of runs: looked at, and finished together.

use std::sync::Arc;

use countersign::{RunId, RunnerId};

use super::{Principal, Service};
use crate::problem::{Problem, ProblemKind};
use crate::record::{RequestOrigin, finished_record};
use crate::runs::RegisteredRun;
use crate::store::{RunPage, RunQuery};

/// The maximum of runs that are finished at a time, since those who register and finish runs wait for it.
const PORTION: usize = 100;

impl Service {
    /// A run that is registered.
    ///
    /// # Errors
    /// When there is none.
    pub async fn registered_run(&self, id: &RunId) -> Result<Arc<RegisteredRun>, Problem> {
        let run = self.store.run(id).await.map_err(|error| self.store_failed(&error))?;
        run.ok_or_else(|| Problem::new(ProblemKind::NotFound, "there is no such run"))
    }

    /// A page of the runs that are registered.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn registered_runs(&self, query: &RunQuery) -> Result<RunPage, Problem> {
        self.store.runs(query).await.map_err(|error| self.store_failed(&error))
    }

    /// Ends all runs of a runner that are live, in portions: no token after that. Each end is on record before this
    /// returns, also where the requester has gone meanwhile. Gives the number of runs that were ended; again, it is 0. A
    /// run that is registered while this goes on may stay live.
    ///
    /// # Errors
    /// When the store fails, or there can be no record. Runs may be ended all the same, and those without a record.
    pub async fn finish_runner(
        self: &Arc<Self>,
        runner: RunnerId,
        principal: Principal,
        origin: RequestOrigin,
    ) -> Result<u64, Problem> {
        let service = Arc::clone(self);
        // Between what is ended and its record nothing is broken off.
        let finished = tokio::spawn(async move {
            let finished = service.finish_portions(runner, &principal, &origin).await;
            service.repeatable(principal.used.as_ref(), finished).await
        });
        finished.await.map_err(Problem::failed)?
    }

    async fn finish_portions(
        &self,
        runner: RunnerId,
        principal: &Principal,
        origin: &RequestOrigin,
    ) -> Result<u64, Problem> {
        // Nothing is ended that cannot be put on record.
        self.healthy()?;
        let now = self.now()?;
        let (runner, live) = (Some(runner), Some(true));
        let mut query = RunQuery { runner, live, now, after: None, limit: PORTION };
        let mut finished = 0;
        loop {
            let page = self.store.runs(&query).await.map_err(|error| self.store_failed(&error))?;
            let ids: Vec<_> = page.runs.into_iter().map(|run| run.run.id).collect();
            finished += self
                .store
                .finish_all(&ids, now)
                .await
                .map_err(|error| self.store_failed(&error))?;
            let mut queued = Vec::with_capacity(ids.len());
            for id in &ids {
                let record = |change: crate::record::ChangeRecord<'_>| finished_record(id, change);
                queued.push(self.queue_change(principal, origin, now, record)?);
            }
            for change in queued {
                self.recorded(change).await?;
            }
            match page.next {
                None => return Ok(finished),
                after => query.after = after,
            }
        }
    }
}
