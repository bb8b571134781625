//! Waiting until the service has taken a step.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use countersign_deployment::ReleaseStore;

/// The interval at which the service's report is read.
const INTERVAL: Duration = Duration::from_millis(50);

/// The time after which nobody waits any longer. A release that is not in the service's memory is prepared first.
const PATIENCE: Duration = Duration::from_secs(120);

/// Waits until the service decides by a step, where one runs; false where none does.
pub(super) fn wait(store: &ReleaseStore, step: u64) -> Result<bool> {
    let started = Instant::now();
    loop {
        let note = store.note()?;
        if note.taken >= step {
            return Ok(true);
        }
        if !store.is_served()? {
            return Ok(false);
        }
        if let Some(problem) = note.problem.filter(|_| note.recorded >= step) {
            bail!(
                "step {step} is made, and the service does not take it: {problem}; the policies before decide until \
                 it does"
            );
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "step {step} is made, and the service has not taken it within {} s; `countersign release status` \
                 shows when it does",
                PATIENCE.as_secs()
            );
        }
        thread::sleep(INTERVAL);
    }
}
