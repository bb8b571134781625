//! Bounds of commands that do one thing many times.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use countersign::{Engine, PolicySet};
use countersign_authoring::{EvaluationBudget, EvaluationCount, StoppedBy};
use countersign_deployment::{DeploymentError, ManifestBundle, PreparePoliciesError};

use crate::progress::{self, Progress};

/// The bound of evaluations.
#[derive(Args)]
pub(crate) struct TotalFuel {
    /// The fuel that all evaluations together may take, in units
    #[arg(long, value_name = "FUEL", default_value_t = EvaluationBudget::DEFAULT_FUEL)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    total_fuel: u64,
}

/// The bound of preparing.
///
/// It is one of time, as `prepare-ms` is: nothing else says what a compiler takes on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Args)]
pub(crate) struct TotalPrepareTime {
    /// The time after which no other component or binding is prepared, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = Self::DEFAULT_MS)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    total_prepare_ms: u64,
}

impl TotalFuel {
    /// The budget, which tells how far evaluations have come.
    pub(crate) fn budget<'p>(&self, progress: &'p Progress) -> EvaluationBudget<'p> {
        EvaluationBudget::new(self.total_fuel).watched_by(|made| progress.set(made))
    }
}

impl TotalPrepareTime {
    /// Half an hour: fifteen policies with an interpreter that each take all the time that a binding may give them.
    const DEFAULT_MS: u64 = 30 * 60 * 1000;

    /// Prepares the policies of a manifest, which is at this path.
    pub(crate) fn prepare(
        self,
        bundle: &ManifestBundle,
        manifest: &Path,
        engine: &Engine,
    ) -> Result<PolicySet> {
        let clock = self.start();
        prepare(bundle, engine, || clock.is_left()).map_err(|error| {
            let error = if stopped(&error) { error.context(clock.end()) } else { error };
            error.context(manifest.display().to_string())
        })
    }

    /// Starts the time.
    pub(crate) fn start(self) -> PrepareClock {
        PrepareClock { begin: Instant::now(), max: self }
    }
}

/// The time that preparing has taken.
pub(crate) struct PrepareClock {
    begin: Instant,
    max: TotalPrepareTime,
}

impl PrepareClock {
    /// Tells whether time is left.
    pub(crate) fn is_left(&self) -> bool {
        self.begin.elapsed() < Duration::from_millis(self.max.total_prepare_ms)
    }

    /// The reason for which it ends, for people.
    pub(crate) fn end(&self) -> String {
        format!(
            "preparing took longer than {} ms in all, which --total-prepare-ms raises",
            self.max.total_prepare_ms
        )
    }
}

/// Tells whether preparing ended because no time was left.
fn stopped(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(DeploymentError::Policies(PreparePoliciesError::Stopped { .. }))
    )
}

/// Prepares the policies of a manifest, one after the other as long as `go_on` says so.
pub(crate) fn prepare(
    bundle: &ManifestBundle,
    engine: &Engine,
    mut go_on: impl FnMut() -> bool,
) -> Result<PolicySet> {
    let prepared = progress::with_progress("preparing the policies", "steps", |progress| {
        bundle.prepare_watched(engine, &mut |step| {
            progress.set_of(step.of);
            progress.set(step.done);
            go_on()
        })
    });
    Ok(prepared?)
}

/// The remedy where evaluations stopped, for people; `None` where they did not.
pub(crate) fn remedy(count: &EvaluationCount) -> Option<&'static str> {
    Some(match count.stopped_by? {
        StoppedBy::Fuel { .. } => "--total-fuel raises the maximum",
        StoppedBy::Deadline { .. } => "a smaller `wall-clock-ms` lets each of them end sooner",
    })
}
