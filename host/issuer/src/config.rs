//! How a service is run.

use std::time::Duration;

use countersign::Audience;

use crate::key::Algorithm;
use crate::keys::KeyTimes;

/// How a service is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `tokens.default-ttl-seconds`: the life that a token has where none is asked for.
    pub default_ttl_seconds: u32,
    /// `tokens.longest-ttl-seconds`: the longest life that can be asked for.
    pub longest_ttl_seconds: u32,
    /// `tokens.most-audiences`: the most audiences that a token can be asked for.
    pub most_audiences: usize,
    /// `tokens.es256-audiences`: tokens for these alone are signed with ES256, others with RS256.
    pub es256_audiences: Vec<Audience>,
    /// `runs.life-seconds`: for how long a run may have tokens at most.
    pub run_life_seconds: u64,
    /// `runs.keep-seconds`: for how long a run that has ended is remembered.
    pub keep_runs_seconds: u64,
    /// `keys.rotate-every-seconds`, `keys.verifier-cache-seconds`, and the longest life.
    pub key_times: KeyTimes,
    /// `keys.max-age-seconds`: for how long verifiers are told to keep a key set.
    pub key_set_max_age: u64,
    /// `limits.body-bytes`: the longest body of a request.
    pub body_bytes: usize,
    /// `limits.header-bytes`: the longest head of a request.
    pub header_bytes: usize,
    /// `limits.header-seconds`: within which the head of a request must have arrived.
    pub header_timeout: Duration,
    /// `limits.body-seconds`: within which its body must have.
    pub body_timeout: Duration,
    /// `limits.requests`: the most requests that are answered at a time.
    pub most_requests: usize,
    /// `limits.connections`: the most connections at a time.
    pub most_connections: usize,
    /// `limits.runner-per-second`: how many tokens a runner may ask for, on average.
    pub runner_per_second: u32,
    /// `limits.runner-burst`: how many at once.
    pub runner_burst: u32,
    /// `limits.run-per-second`: how many tokens may be asked for by one run token, on average. They count for the
    /// runner as well.
    pub run_per_second: u32,
    /// `limits.run-burst`: how many at once.
    pub run_burst: u32,
    /// `limits.drain-seconds`: how long it goes on when it is stopped, and says that it is not ready, so that
    /// nobody is sent there any more.
    pub drain: Duration,
    /// `limits.shutdown-seconds`: how long requests have to finish when it is stopped.
    pub shutdown: Duration,
}

impl Settings {
    /// The algorithms that there are keys of.
    pub(crate) fn algorithms(&self) -> &'static [Algorithm] {
        if self.es256_audiences.is_empty() {
            &[Algorithm::Rs256]
        } else {
            &[Algorithm::Rs256, Algorithm::Es256]
        }
    }

    /// What a token for these audiences is signed with.
    pub fn algorithm_of(&self, audiences: &[Audience]) -> Algorithm {
        if audiences.iter().all(|audience| self.es256_audiences.contains(audience)) {
            Algorithm::Es256
        } else {
            Algorithm::Rs256
        }
    }
}
