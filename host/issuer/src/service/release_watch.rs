//! The watch over a release that was promoted: decisions in which it faults, and the one before does not.
//!
//! They are looked at on a thread of their own: only decisions with a fault are evaluated by the release before.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use countersign::{DecisionReader, Digest, PolicySet, RecordedDecision};

use super::Service;

/// Decisions that wait to be looked at.
const MAX_WAITING: usize = 64;

/// The stack of the thread, with room for a guest's.
const STACK_BYTES: usize = 3 << 20;

/// A release to watch.
pub struct WatchedRelease {
    /// The step that promoted it.
    pub step: u64,
    /// The release.
    pub release: Digest,
    /// The policies before it.
    pub previous: Arc<PolicySet>,
    /// The number of decisions with a new fault from which on it is wrong: at least 1.
    pub min_faults: u64,
    /// The time for which it is watched.
    pub during: Duration,
}

/// The watch over a release. Dropping it ends its thread.
pub(super) struct ReleaseWatch {
    step: u64,
    release: Digest,
    until: Instant,
    queue: SyncSender<String>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    faulted: AtomicU64,
    verdict: OnceLock<String>,
}

impl Service {
    /// Watches a release from now on, or none. The same step goes on.
    pub fn watch_release(&self, watched: Option<WatchedRelease>) {
        let watch = self.release_watch.load();
        if watch.as_ref().map(|watch| watch.step) == watched.as_ref().map(|watched| watched.step) {
            return;
        }
        let begun = watched.and_then(|watched| {
            ReleaseWatch::begin(watched)
                .inspect_err(|error| tracing::error!(%error, "failed to watch the release"))
                .ok()
        });
        self.release_watch.store(begun.map(Arc::new));
    }

    /// The step whose release is wrong, and why: it faults where the release before does not, and its evidence has no such
    /// fault.
    pub fn release_fault(&self) -> Option<(u64, String)> {
        let watch = self.release_watch.load();
        let watch = watch.as_ref()?;
        Some((watch.step, watch.shared.verdict.get()?.clone()))
    }

    /// Has a decision of a policy set looked at if a policy faulted. Never waits.
    pub(super) fn offer_to_watch(&self, policy_set: Digest, faulted: bool, decision: &str) {
        let watch = self.release_watch.load();
        let Some(watch) = watch.as_ref().filter(|watch| watch.release == policy_set) else {
            return;
        };
        if faulted && Instant::now() < watch.until {
            // Where there is no room, as many wait as are needed.
            let _ = watch.queue.try_send(decision.to_owned());
        }
    }
}

impl ReleaseWatch {
    fn begin(watched: WatchedRelease) -> std::io::Result<Self> {
        let (queue, waiting) = sync_channel(MAX_WAITING);
        let (step, release) = (watched.step, watched.release);
        let (until, shared) = (Instant::now() + watched.during, Arc::new(Shared::default()));
        let of_thread = Arc::clone(&shared);
        thread::Builder::new()
            .name("release-watch".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || run(&watched, &of_thread, &waiting))?;
        Ok(Self { step, release, until, queue, shared })
    }
}

fn run(watched: &WatchedRelease, shared: &Shared, waiting: &Receiver<String>) {
    let mut reader = DecisionReader::new();
    while let Ok(decision) = waiting.recv() {
        let started = Instant::now();
        let read = reader.read(&decision);
        let Some(fault) = read.ok().and_then(|decision| new_fault(&decision, &watched.previous))
        else {
            continue;
        };
        let faulted = shared.faulted.fetch_add(1, Ordering::Relaxed) + 1;
        if faulted >= watched.min_faults {
            let verdict = format!(
                "{faulted} decisions fault, and not in the release before; the last: {fault}"
            );
            let _ = shared.verdict.set(verdict);
        }
        // Half of a processor at most.
        thread::sleep(started.elapsed());
    }
}

/// A fault of a decision that the policies before do not have: its binding and its code.
fn new_fault(decision: &RecordedDecision, previous: &PolicySet) -> Option<String> {
    let before = previous.project(&decision.claims, &[]);
    decision.trace.iter().find_map(|part| {
        let fault = part.result.as_ref().err()?;
        let name = &part.binding.name;
        let same = before.trace.iter().any(|part| {
            part.binding.name == *name
                && part.result.as_ref().is_err_and(|before| before.code() == fault.code)
        });
        (!same).then(|| format!("{} of `{name}`", fault.code))
    })
}
