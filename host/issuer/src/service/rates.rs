//! The rates at which runners, and the holders of run tokens, may ask.

use std::num::NonZeroU32;

use countersign::{RunId, RunnerId};
use governor::clock::{Clock as _, DefaultClock};
use governor::{NotUntil, Quota};

use super::Service;
use crate::metrics::RateLimit;
use crate::problem::{Problem, ProblemKind};

impl Service {
    /// Fails when a runner exceeds its rate, and says when it may ask again.
    pub(super) fn check_runner_rate(&self, runner: &RunnerId) -> Result<(), Problem> {
        self.runner_rate.check_key(runner).map_err(|until| {
            self.metrics.count_rate_limited(RateLimit::Runner);
            too_many("the runner requests too many tokens", &until)
                .detail(format!("runner {runner}"))
        })
    }

    /// Fails when the holder of a run's token exceeds its rate, and says when it may ask again. Checked before the
    /// runner's rate: one run must not use up what all runs of its runner share.
    pub(super) fn check_run_rate(&self, run: &RunId) -> Result<(), Problem> {
        self.run_rate.check_key(run).map_err(|until| {
            self.metrics.count_rate_limited(RateLimit::Run);
            too_many("the run token requests too many tokens", &until).detail(format!("run {run}"))
        })
    }
}

fn too_many(
    description: &str,
    until: &NotUntil<<DefaultClock as governor::clock::Clock>::Instant>,
) -> Problem {
    let wait = until.wait_time_from(DefaultClock::default().now());
    Problem::new(ProblemKind::TooManyRequests, description).retry_after(wait.as_secs() + 1)
}

/// A rate, and as much at once.
pub(super) fn quota(per_second: u32, burst: u32) -> Quota {
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
}
