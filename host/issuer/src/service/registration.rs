//! Registration of runs by the control plane.

use countersign::{Facts, Run, RunId, RunnerId};

use super::{Principal, Service};
use crate::problem::{Problem, ProblemKind};
use crate::record::{RequestOrigin, finished_record, registered_record};
use crate::runs::{Liveness, RegisteredRun, SecretHash};
use crate::store::Registered;

/// A run that the control plane registers.
pub struct Registration {
    /// The run.
    pub run: Run,
    /// The runner that it is given to.
    pub runner: RunnerId,
    /// The facts that are registered beside it.
    pub facts: Facts,
    /// The hash of its run token, where it has one.
    pub run_token: Option<SecretHash>,
    /// The seconds for which it may have tokens; the maximum unless given.
    pub lifetime_seconds: Option<u64>,
}

impl Service {
    /// Registers a run, and is true for a new one; the same registration again changes nothing. Either is on record
    /// before this returns.
    ///
    /// # Errors
    /// When the run has other facts than before, or has ended; or when there can be no record.
    pub async fn register(
        &self,
        registration: Registration,
        principal: &Principal,
        origin: &RequestOrigin,
    ) -> Result<(bool, RegisteredRun), Problem> {
        let registered = self.register_on_record(registration, principal, origin).await;
        self.repeatable(principal.used.as_ref(), registered).await
    }

    async fn register_on_record(
        &self,
        registration: Registration,
        principal: &Principal,
        origin: &RequestOrigin,
    ) -> Result<(bool, RegisteredRun), Problem> {
        let (is_new, run) = self.registered(registration).await?;
        let now = self.now()?;
        // Also when it was registered before: its record may have failed then.
        self.record_change(principal, origin, now, |change| registered_record(&run, change))
            .await?;
        Ok((is_new, run))
    }

    async fn registered(
        &self,
        registration: Registration,
    ) -> Result<(bool, RegisteredRun), Problem> {
        let now = self.now()?;
        let max = self.config.run_max_ttl_seconds;
        let lifetime = registration.lifetime_seconds.unwrap_or(max);
        if !(1..=max).contains(&lifetime) {
            return Err(Problem::invalid(format!("`lifetime_seconds`: expected 1 to {max}")));
        }
        let registered = RegisteredRun {
            run: registration.run,
            runner: registration.runner,
            facts: registration.facts,
            run_token: registration.run_token,
            registered_at: now,
            expires_at: now + lifetime,
            finished_at: None,
        };
        match self.store.register(&registered).await.map_err(|error| self.store_failed(&error))? {
            Registered::New => Ok((true, registered)),
            Registered::Before(before) => {
                let conflict = |what| Err(Problem::new(ProblemKind::Conflict, what));
                if !before.same_facts(&registered) {
                    return conflict("the run is registered with other facts, which do not change");
                }
                match before.liveness(now) {
                    Liveness::Live => Ok((false, *before)),
                    Liveness::Finished => conflict("the run is finished"),
                    Liveness::Expired => conflict("the run has expired"),
                }
            }
        }
    }

    /// Ends a run: no token after that. Ending it again changes nothing. Either is on record before this returns.
    ///
    /// # Errors
    /// When there is no such run. When there can be no record, the run is ended all the same.
    pub async fn finish(
        &self,
        run: &RunId,
        principal: &Principal,
        origin: &RequestOrigin,
    ) -> Result<(), Problem> {
        let finished = self.finish_on_record(run, principal, origin).await;
        self.repeatable(principal.used.as_ref(), finished).await
    }

    async fn finish_on_record(
        &self,
        run: &RunId,
        principal: &Principal,
        origin: &RequestOrigin,
    ) -> Result<(), Problem> {
        let now = self.now()?;
        if !self.store.finish(run, now).await.map_err(|error| self.store_failed(&error))? {
            return Err(Problem::new(ProblemKind::NotFound, "there is no such run"));
        }
        self.record_change(principal, origin, now, |change| finished_record(run, change)).await
    }
}
