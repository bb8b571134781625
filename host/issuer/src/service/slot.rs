//! The limits on requests that are answered at a time: of those whose callers have proved something, and of all others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Service;
use crate::problem::{Problem, ProblemKind};

/// The time for which a request whose caller has proved nothing waits for its turn.
const WAIT: Duration = Duration::from_secs(5);

/// A place among the requests that are answered. Acquired when a request has arrived whole and its caller has proved
/// something, so that slow ones take none, and neither do those that anybody could send; and kept until all work for it
/// is done, also when the requester has gone.
pub struct Slot(Arc<Service>);

/// A place among the requests whose callers have proved nothing yet. These have places of their own, and wait for them in
/// their order: proving something takes a fraction of a millisecond, so that one that can has its turn however many cannot.
pub(super) struct Candidate {
    service: Arc<Service>,
    proven: Arc<AtomicBool>,
    _place: OwnedSemaphorePermit,
}

impl Service {
    /// Acquires a slot, for a caller that has proved something.
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
        Err(full())
    }

    /// Waits for a place among the requests whose callers have proved nothing. `proven` becomes true once this one has.
    ///
    /// # Errors
    /// When there is none in time, or when there would be no slot.
    pub(super) async fn candidate(
        self: &Arc<Self>,
        proven: Arc<AtomicBool>,
    ) -> Result<Candidate, Problem> {
        // What has to be refused anyway is refused before it costs anything.
        if self.in_flight.load(Ordering::Acquire) >= self.config.max_requests {
            return Err(full());
        }
        match timeout(WAIT, Arc::clone(&self.candidates).acquire_owned()).await {
            Ok(Ok(place)) => Ok(Candidate { service: Arc::clone(self), proven, _place: place }),
            Ok(Err(_)) | Err(_) => Err(full()),
        }
    }
}

impl Candidate {
    /// Exchanges the place for a slot: the caller has proved something.
    ///
    /// # Errors
    /// When the maximum of requests is being answered.
    pub(super) fn promote(self) -> Result<Slot, Problem> {
        self.proven.store(true, Ordering::Relaxed);
        self.service.slot()
    }
}

fn full() -> Problem {
    let description = "too many requests at a time; ask again later";
    Problem::new(ProblemKind::Unavailable, description).retry_after(1)
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.0.metrics.in_flight.dec();
    }
}
