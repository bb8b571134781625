//! The records without a decision: no change is acknowledged, and no refusal told, before its record is durable.

use countersign::{RunId, RunnerId};
use countersign_decision_log::{NotDurable, Position};
use tokio::sync::oneshot;

use super::{Principal, Service};
use crate::problem::Problem;
use crate::record::{
    ChangeRecord, RequestOrigin, Requester, UsedToken, refused_record, withheld_record,
};

/// The record of a change, which becomes durable.
pub(super) type QueuedChange = oneshot::Receiver<Result<Position, NotDurable>>;

impl Service {
    /// Puts a change of the store on record, and waits until that is durable. `record` writes it.
    ///
    /// # Errors
    /// When there can be no record. The change stays; the same request puts it on record again.
    pub(super) async fn record_change(
        &self,
        principal: &Principal,
        origin: &RequestOrigin,
        time: u64,
        record: impl FnOnce(ChangeRecord<'_>) -> Result<Vec<u8>, serde_json::Error>,
    ) -> Result<(), Problem> {
        let queued = self.queue_change(principal, origin, time, record)?;
        self.recorded(queued).await
    }

    /// Queues the record of a change. Nobody needs to wait for it.
    pub(super) fn queue_change(
        &self,
        principal: &Principal,
        origin: &RequestOrigin,
        time: u64,
        record: impl FnOnce(ChangeRecord<'_>) -> Result<Vec<u8>, serde_json::Error>,
    ) -> Result<QueuedChange, Problem> {
        self.queue(&principal.requester(), principal.used.as_ref(), origin, time, record)
    }

    /// Puts on record that a rule of the host refuses a request for a run, and returns the answer to it: the refusal, or
    /// that it cannot be told yet.
    pub(super) async fn refusal_on_record(
        &self,
        refusal: Problem,
        run: (&RunId, Option<&RunnerId>),
        (requester, used): (&Requester, Option<&UsedToken>),
        origin: &RequestOrigin,
        time: u64,
    ) -> Problem {
        let Some(refused) = &refusal.refusal else { return refusal };
        let (run, runner) = run;
        let reasons = &refused.reasons;
        self.metrics.count_refusal(reasons);
        let queued = self.queue(requester, used, origin, time, |change| {
            refused_record(run, runner, reasons, change)
        });
        let recorded = async { self.recorded(queued?).await };
        recorded.await.err().unwrap_or(refusal)
    }

    /// Puts on record that a token that was signed does not leave.
    ///
    /// # Errors
    /// When there can be no record.
    pub(super) async fn withheld_on_record(
        &self,
        problem: &Problem,
        jti: &str,
        run: (&RunId, Option<&RunnerId>),
        (requester, used): (&Requester, Option<&UsedToken>),
        origin: &RequestOrigin,
        time: u64,
    ) -> Result<(), Problem> {
        let (run, runner) = run;
        let reasons = problem.refusal.as_ref().map_or(&[][..], |refused| &refused.reasons);
        self.metrics.count_refusal(reasons);
        let queued = self.queue(requester, used, origin, time, |change| {
            withheld_record(run, runner, jti, reasons, change)
        });
        self.recorded(queued?).await
    }

    fn queue(
        &self,
        requester: &Requester,
        used: Option<&UsedToken>,
        origin: &RequestOrigin,
        time: u64,
        record: impl FnOnce(ChangeRecord<'_>) -> Result<Vec<u8>, serde_json::Error>,
    ) -> Result<QueuedChange, Problem> {
        let changes = self.store.changes();
        let change = ChangeRecord { origin, requester, used, time, changes };
        let record = record(change).map_err(Problem::failed)?;
        self.append(record)
    }

    /// Queues a record.
    pub(super) fn append(&self, record: Vec<u8>) -> Result<QueuedChange, Problem> {
        let (done, durable) = oneshot::channel();
        let log = self.log.load();
        let log = log.as_ref().ok_or_else(|| Problem::unavailable("stopping"))?;
        // Nobody waits for it where the requester has gone.
        log.append(record, move |result| drop(done.send(result)));
        Ok(durable)
    }

    /// Waits until the record of a change is durable.
    pub(super) async fn recorded(&self, queued: QueuedChange) -> Result<(), Problem> {
        let durable = queued.await.unwrap_or(Err(NotDurable::Closed));
        let position = durable.map_err(|error| self.not_durable(&error))?;
        self.log_reached(position);
        Ok(())
    }
}
