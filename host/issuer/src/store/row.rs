//! A run as a row of either database has it.

use countersign::{RunId, RunnerId, read_run};

use super::StoreError;
use crate::runs::{RegisteredRun, SecretHash};

/// The columns of a run.
pub(super) struct RunRow<'r> {
    pub(super) record: &'r str,
    pub(super) runner: &'r str,
    pub(super) run_token_sha256: Option<&'r [u8]>,
    pub(super) registered_at: i64,
    pub(super) expires_at: i64,
    pub(super) finished_at: Option<i64>,
}

impl RunRow<'_> {
    /// The run of an id, if these are what this program wrote.
    pub(super) fn parse(&self, id: &RunId) -> Result<RegisteredRun, StoreError> {
        let broken = |problem| StoreError::Row { id: id.to_string(), problem };
        let read = read_run(self.record.as_bytes());
        let (run, facts) = read.map_err(|_| broken("its facts are none"))?;
        if run.id != *id {
            return Err(broken("its facts are another run's"));
        }
        let run_token = match self.run_token_sha256 {
            None => None,
            Some(hash) => {
                let hash = hash.try_into().map_err(|_| broken("its run token's hash is none"))?;
                Some(SecretHash::from_bytes(hash))
            }
        };
        let time = |time: i64| u64::try_from(time).map_err(|_| broken("a time is none"));
        Ok(RegisteredRun {
            run,
            facts,
            runner: RunnerId::parse(self.runner).map_err(|_| broken("its runner is none"))?,
            run_token,
            registered_at: time(self.registered_at)?,
            expires_at: time(self.expires_at)?,
            finished_at: self.finished_at.map(time).transpose()?,
        })
    }
}

/// Integers of databases are signed; no time that is taken here comes near.
pub(super) fn integer(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
