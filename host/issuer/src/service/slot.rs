//! The limit on requests that are answered at a time.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Service;
use crate::problem::{Problem, ProblemKind};

/// A place among the requests that are answered. Acquired when a request has arrived whole, so that slow ones
/// take none; and kept until all work for it is done, also when the requester has gone. Given back while the request
/// waits for keys of a trusted issuer, which may not answer.
pub struct Slot(Arc<Service>);

impl Service {
    /// Acquires a slot.
    ///
    /// # Errors
    /// When the maximum of requests is being answered.
    pub fn slot(self: &Arc<Self>) -> Result<Slot, Problem> {
        let before = self.in_flight.fetch_add(1, Ordering::AcqRel);
        // Made first, so that it counts down where there is no room.
        let slot = Slot(Arc::clone(self));
        self.metrics.in_flight.inc();
        if before < self.config.max_requests {
            return Ok(slot);
        }
        let description = "too many requests at a time; ask again later";
        Err(Problem::new(ProblemKind::Unavailable, description).retry_after(1))
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.in_flight.dec();
    }
}
