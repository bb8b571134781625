//! Runs come and go as the control plane says.

use countersign::{Facts, Run, RunId, RunnerId};

use super::Service;
use crate::problem::{Problem, ProblemKind};
use crate::runs::{Liveness, RegisteredRun, SecretHash};
use crate::store::Registered;

/// A run that the control plane registers.
pub(crate) struct Registration {
    pub(crate) run: Run,
    pub(crate) runner: RunnerId,
    pub(crate) facts: Facts,
    pub(crate) run_token: Option<SecretHash>,
    /// For how many seconds it may have tokens; the longest unless given.
    pub(crate) life_seconds: Option<u64>,
}

impl Service {
    /// Registers a run. Whether it is new; the same registration again changes nothing.
    ///
    /// # Errors
    /// When the run has other facts than before, or has ended.
    pub(crate) async fn register(
        &self,
        registration: Registration,
    ) -> Result<(bool, RegisteredRun), Problem> {
        let now = self.now()?;
        let longest = self.settings.run_max_ttl_seconds;
        let life = registration.life_seconds.unwrap_or(longest);
        if !(1..=longest).contains(&life) {
            return Err(Problem::invalid(format!("`life_seconds`: expected 1 to {longest}")));
        }
        let registered = RegisteredRun {
            run: registration.run,
            runner: registration.runner,
            facts: registration.facts,
            run_token: registration.run_token,
            registered_at: now,
            expires_at: now + life,
            finished_at: None,
        };
        match self.store.register(&registered).await.map_err(Problem::failed)? {
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

    /// Ends a run: no token after that. Ending it again changes nothing.
    ///
    /// # Errors
    /// When there is no such run.
    pub(crate) async fn finish(&self, run: &RunId) -> Result<(), Problem> {
        let now = self.now()?;
        if self.store.finish(run, now).await.map_err(Problem::failed)? {
            Ok(())
        } else {
            Err(Problem::new(ProblemKind::NotFound, "there is no such run"))
        }
    }
}
