//! The records of changes: no change is acknowledged before its record is durable.

use countersign_decision_log::NotDurable;
use tokio::sync::oneshot;

use super::{Principal, Service};
use crate::problem::Problem;
use crate::record::{ChangeRecord, RequestOrigin};

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
        let (requester, changes) = (principal.requester(), self.store.changes());
        let used = principal.used.as_ref();
        let change = ChangeRecord { origin, requester: &requester, used, time, changes };
        let record = record(change).map_err(Problem::failed)?;
        let (done, durable) = oneshot::channel();
        {
            let log = self.log.load();
            let log = log.as_ref().ok_or_else(|| Problem::unavailable("stopping"))?;
            // Nobody waits for it where the requester has gone.
            log.append(record, move |result| drop(done.send(result)));
        }
        let durable = durable.await.unwrap_or(Err(NotDurable::Closed));
        let position = durable.map_err(|error| self.not_durable(&error))?;
        self.store.log_reached(position);
        Ok(())
    }
}
