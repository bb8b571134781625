//! The records of changes: no change is acknowledged before its record is durable.

use countersign_decision_log::{NotDurable, Position};
use tokio::sync::oneshot;

use super::{Principal, Service};
use crate::problem::Problem;
use crate::record::{ChangeRecord, RequestOrigin};

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
        let (requester, changes) = (principal.requester(), self.store.changes());
        let used = principal.used.as_ref();
        let change = ChangeRecord { origin, requester: &requester, used, time, changes };
        let record = record(change).map_err(Problem::failed)?;
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
        self.store.log_reached(position);
        Ok(())
    }
}
