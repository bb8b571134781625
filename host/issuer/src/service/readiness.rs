//! The service's answers to those who ask if it can issue tokens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use countersign_signing::Algorithm;

use super::Service;
use crate::problem::Problem;

/// The time for which an answer of the store says that it answers.
const FRESH: Duration = Duration::from_millis(100);

impl Service {
    /// Checks that a token could be issued now. Keys of trusted issuers that are missing count for the first ten seconds
    /// only.
    ///
    /// # Errors
    /// When none could be.
    pub async fn ready(&self) -> Result<(), Problem> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Problem::unavailable("stopping"));
        }
        let now = self.now()?;
        if self.keys.load().active(Algorithm::Rs256, now).is_none() {
            return Err(Problem::unavailable("no key is active"));
        }
        if self.log_has_failed() {
            let log = self.log.load();
            let why = log.as_ref().and_then(|log| log.failure()).unwrap_or("it is closed");
            return Err(Problem::unavailable(format!("the decision log: {why}")));
        }
        self.has_trusted_keys(now)?;
        self.check_custody()?;
        self.check_replica()?;
        self.store_ready().await
    }

    /// Checks that the custody of keys gave signatures that were right, when it was last asked.
    fn check_custody(&self) -> Result<(), Problem> {
        match self.custody.problem() {
            None => Ok(()),
            Some((failure, said)) => {
                let code = failure.as_str();
                let problem = Problem::unavailable(format!("{code}: {said}"));
                // Whoever asks learns the code; what a device says is for the operator's log.
                Err(Problem { description: format!("{code}: no token is signed"), ..problem })
            }
        }
    }

    /// Asks the store if it answers, unless it has just done so: anybody may ask if the service is ready, and those who
    /// need the store for more wait for its connections.
    async fn store_ready(&self) -> Result<(), Problem> {
        let answered = self.store_answered.load();
        if answered.as_ref().is_some_and(|answered| answered.elapsed() < FRESH) {
            return Ok(());
        }
        self.store.ready().await.map_err(|error| self.store_failed(&error))?;
        self.store_answered.store(Some(Arc::new(Instant::now())));
        Ok(())
    }

    /// Checks that the service can recover without a restart. Once the decision log has failed, or a file of the state was
    /// taken away, it cannot; whoever supervises the process restarts it by this answer.
    ///
    /// # Errors
    /// When a restart is needed.
    pub fn healthy(&self) -> Result<(), Problem> {
        match self.log.load().as_ref().and_then(|log| log.failure()) {
            None => Ok(()),
            Some(why) => {
                let detail = format!("the decision log: {why}");
                Err(Problem::unavailable(detail))
            }
        }
    }
}
