//! The trial of a candidate: evaluated on live runs beside the policies that decide, on a thread and in a share of time of its
//! own.
//!
//! A decision is offered once its record is queued, and nobody waits: where the trial has no room, the decision is skipped and
//! counted. The candidate is evaluated in full, with nothing taken from the record.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{DecisionReader, Digest, PolicySet};
use countersign_replay::{Class, compare};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::Service;
use crate::record::candidate_record;

/// Decisions that wait for the candidate. Each has some kilobytes.
const MAX_WAITING: usize = 64;

/// The time for which the thread rests after an evaluation, at most: a candidate that burns all its fuel is seen again.
const MAX_REST: Duration = Duration::from_secs(60);

/// Records of differences that may come at once, and those that may follow each second: a candidate that differs everywhere
/// must not fill the disk of the log. All are counted.
const RECORDS_AT_ONCE: NonZeroU32 = NonZeroU32::new(1000).unwrap();
const RECORDS_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();

/// The stack of the thread, with room for a guest's.
const STACK_BYTES: usize = 3 << 20;

/// The counts of a trial, since it began or the service started.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrialCounts {
    /// Decisions that were compared.
    pub compared: u64,
    /// Decisions that were not, for want of processor time.
    pub skipped: u64,
    /// Decisions by class of difference, by the words of [`Class`].
    pub classes: BTreeMap<&'static str, u64>,
    /// Decisions in which a binding of the candidate faults that does not fault now.
    pub faults: u64,
}

/// A candidate that is tried. Dropping it ends its thread.
pub(super) struct CandidateTrial {
    release: Digest,
    queue: SyncSender<String>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    skipped: AtomicU64,
    counts: Mutex<TrialCounts>,
}

/// The thread of a trial.
struct Trying {
    service: Weak<Service>,
    policies: Arc<PolicySet>,
    percent: u32,
    shared: Arc<Shared>,
    reader: DecisionReader,
    /// Says whether another difference may be on record now.
    records: DefaultDirectRateLimiter,
}

impl Service {
    /// Tries a candidate on the decisions that come from now on, with at most so many percent of one processor; or ends the
    /// trial. The same candidate goes on.
    pub fn try_candidate(self: &Arc<Self>, candidate: Option<Arc<PolicySet>>, percent: u32) {
        let release = candidate.as_ref().map(|policies| policies.digest());
        let trial = self.trial.load();
        if trial.as_ref().map(|trial| trial.release) == release {
            return;
        }
        let begun = candidate.filter(|_| percent > 0).and_then(|policies| {
            CandidateTrial::begin(Arc::downgrade(self), policies, percent.min(100))
                .inspect_err(
                    |error| tracing::error!(%error, "failed to start the thread of a trial"),
                )
                .ok()
        });
        self.metrics.candidate.set(begun.is_some().into());
        self.trial.store(begun.map(Arc::new));
    }

    /// The candidate that is tried, and what was seen of it.
    pub fn trial(&self) -> Option<(Digest, TrialCounts)> {
        let trial = self.trial.load();
        trial.as_ref().map(|trial| (trial.release, trial.shared.read()))
    }

    /// Offers a decision to the trial, as its record has it. Never waits.
    pub(super) fn offer_to_trial(&self, decision: String) {
        if let Some(trial) = self.trial.load().as_ref()
            && trial.queue.try_send(decision).is_err()
        {
            trial.shared.skipped.fetch_add(1, Ordering::Relaxed);
            self.metrics.candidate_skipped.inc();
        }
    }
}

impl CandidateTrial {
    fn begin(
        service: Weak<Service>,
        policies: Arc<PolicySet>,
        percent: u32,
    ) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(MAX_WAITING);
        let (release, shared) = (policies.digest(), Arc::new(Shared::default()));
        let trying = Trying {
            service,
            policies,
            percent,
            shared: Arc::clone(&shared),
            reader: DecisionReader::new(),
            records: RateLimiter::direct(
                Quota::per_second(RECORDS_PER_SECOND).allow_burst(RECORDS_AT_ONCE),
            ),
        };
        thread::Builder::new()
            .name("candidate".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || trying.run(&waiting))?;
        Ok(Self { release, queue, shared })
    }
}

impl Shared {
    fn read(&self) -> TrialCounts {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        TrialCounts { skipped: self.skipped.load(Ordering::Relaxed), ..counts }
    }
}

impl Trying {
    fn run(mut self, waiting: &Receiver<String>) {
        while let Ok(decision) = waiting.recv() {
            let started = Instant::now();
            self.compare(&decision);
            // By the clock on the wall, so a busy processor leaves less for it.
            thread::sleep(rest(started.elapsed(), self.percent));
        }
    }

    fn compare(&mut self, decision: &str) {
        let Some(service) = self.service.upgrade() else { return };
        let Ok(before) = self.reader.read(decision) else {
            // It was written by this program, so this does not happen; and it is no difference.
            self.shared.skipped.fetch_add(1, Ordering::Relaxed);
            return service.metrics.candidate_skipped.inc();
        };
        let after = self.policies.project(&before.claims, &[]);
        let comparison = compare(&before, &after);
        let class = comparison.class.as_str();
        {
            let mut counts = self.shared.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.compared += 1;
            *counts.classes.entry(class).or_default() += 1;
            counts.faults += u64::from(comparison.faults);
        }
        service.metrics.candidate_decisions.with_label_values(&[class]).inc();
        if comparison.faults {
            service.metrics.candidate_faults.inc();
        }
        let is_told = comparison.class.is_visible() || comparison.faults;
        if !is_told || self.records.check().is_err() {
            return;
        }
        let record = service.now().map_err(|problem| format!("{problem:?}")).and_then(|now| {
            candidate_record(self.policies.digest(), &before, &after, &comparison, now)
                .map_err(|error| error.to_string())
        });
        match (record, service.log.load().as_ref()) {
            (Ok(record), Some(log)) => log.append(record, |written| {
                if let Err(error) = written {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "failed to record a difference of the candidate");
                }
            }),
            (Err(error), _) => {
                tracing::warn!(error, "failed to record a difference of the candidate")
            }
            (Ok(_), None) => {}
        }
    }
}

/// The time that is for others after so much work, where the trial has so many percent: at most [`MAX_REST`].
fn rest(worked: Duration, percent: u32) -> Duration {
    (worked * (100 - percent) / percent).min(MAX_REST)
}

/// The classes of difference, by the words that metrics have.
pub(crate) fn class_words() -> impl Iterator<Item = &'static str> {
    Class::ALL.into_iter().map(Class::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_leaves_the_trial_its_share() {
        let second = Duration::from_secs(1);
        for (worked, percent, expected) in [
            (second, 100, Duration::ZERO),
            (second, 50, second),
            (second, 10, 9 * second),
            (second, 5, 19 * second),
            (second, 1, MAX_REST),
        ] {
            assert_eq!(rest(worked, percent), expected, "{percent}");
        }
    }
}
