//! Fairness: no binding keeps the callers of another waiting.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::scheduler::{Priority, Scheduler, WorkerSlot};
use crate::limits::Limits;

/// The fuel of a fast evaluation, and as much for `configure`: about a tenth of a millisecond.
const FAST_FUEL: u64 = 100_000;
const FAST_MEMORY_BYTES: u64 = 4 << 20;

/// Bounds by time where fuel is not what an evaluation takes: a tick of the engine's clock, twice at most.
const FAST_MS: u32 = 10;

/// The time after which an evaluation was not fast, whatever its fuel says: ten times that of its fuel. It only decides
/// who waits for whom, and shows in no decision.
const FAST_TIME: Duration = Duration::from_millis(1);

/// The number of slow evaluations in a row after which the next is not tried as a fast one.
const SLOW_IN_A_ROW: u32 = 3;

/// The outcome of an attempt, as scheduling sees it.
pub(crate) trait Attempt {
    /// Tells whether a limit of fuel, memory or time ended it.
    fn hit_limit(&self) -> bool;

    /// Tells whether it failed, for whatever reason.
    fn failed(&self) -> bool;

    /// Its readings, each where it can be trusted.
    fn cost(&self) -> AttemptCost;
}

/// The readings of an attempt.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct AttemptCost {
    pub(crate) fuel: Option<u64>,
    pub(crate) configure_fuel: Option<u64>,
    pub(crate) memory_bytes: Option<u64>,
}

/// One binding's share of the worker slots: a fast one as long as its evaluations are short, and otherwise
/// one beside the slow ones of others.
#[derive(Debug)]
pub(crate) struct FairShare {
    binding: u64,
    /// The number of last evaluations that were slow, or failed, which costs more than fuel and memory
    /// tell.
    slow: AtomicU32,
    now: fn() -> Instant,
}

impl FairShare {
    pub(crate) fn new() -> Self {
        static BINDINGS: AtomicU64 = AtomicU64::new(0);
        let binding = BINDINGS.fetch_add(1, Ordering::Relaxed);
        Self { binding, slow: AtomicU32::new(0), now: Instant::now }
    }

    /// Runs `attempt` with a permit: under the limits, or first under smaller ones. It must be pure: the
    /// same limits, the same outcome, on whatever slot. `None` when it gave that.
    pub(crate) fn run<A: Attempt>(
        &self,
        limits: &Limits,
        scheduler: &Scheduler,
        attempt: impl Fn(&Limits, WorkerSlot) -> Option<A>,
    ) -> Option<A> {
        let fast = fast(limits);
        if self.slow.load(Ordering::Relaxed) < SLOW_IN_A_ROW {
            let permit = scheduler.acquire(self.binding, Priority::Fast);
            let began = (self.now)();
            let outcome = attempt(&fast, permit.slot)?;
            drop(permit);
            if fast == *limits || !was_cut_off(&outcome, &fast, limits) {
                self.remember(outcome.failed() || self.was_long(began));
                return Some(outcome);
            }
        }
        let permit = scheduler.acquire(self.binding, Priority::Slow);
        let began = (self.now)();
        let outcome = attempt(limits, permit.slot)?;
        let was_long = self.was_long(began);
        // Half of it, so that one at the limit does not go back and forth.
        let fits = |used: Option<u64>, limit| used.is_some_and(|used| used <= limit);
        let cost = outcome.cost();
        let was_fast = !outcome.failed()
            && !was_long
            && fits(cost.fuel, fast.fuel / 2)
            && fits(cost.configure_fuel, fast.configure_fuel / 2)
            && fits(cost.memory_bytes, fast.memory_bytes);
        self.remember(!was_fast);
        Some(outcome)
    }

    fn was_long(&self, began: Instant) -> bool {
        (self.now)().saturating_duration_since(began) > FAST_TIME
    }

    fn remember(&self, was_slow: bool) {
        // Of two at once one may be lost, which delays what it leads to.
        let before = self.slow.load(Ordering::Relaxed);
        let slow = if was_slow { (before + 1).min(SLOW_IN_A_ROW) } else { 0 };
        // All threads read it, so it is written to only when it changes.
        if slow != before {
            self.slow.store(slow, Ordering::Relaxed);
        }
    }
}

/// The limits under which an evaluation counts as fast.
fn fast(limits: &Limits) -> Limits {
    Limits {
        fuel: limits.fuel.min(FAST_FUEL),
        configure_fuel: limits.configure_fuel.min(FAST_FUEL),
        memory_bytes: limits.memory_bytes.min(FAST_MEMORY_BYTES),
        wall_clock_ms: limits.wall_clock_ms.min(FAST_MS),
        ..*limits
    }
}

/// Tells whether the outcome may be another one under the full limits. Fuel is not checked after every
/// instruction, so a guest can also end a little beyond it, well or by a panic; its reading then is not the whole.
fn was_cut_off(outcome: &impl Attempt, fast: &Limits, full: &Limits) -> bool {
    let used_up = |used: Option<u64>, fast: u64, full: u64| {
        fast < full && used.is_some_and(|used| used >= fast)
    };
    let cost = outcome.cost();
    outcome.hit_limit()
        || used_up(cost.fuel, fast.fuel, full.fuel)
        || used_up(cost.configure_fuel, fast.configure_fuel, full.configure_fuel)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::cell::Cell;
    use std::sync::Mutex;

    use super::*;

    const FULL: Limits = Limits { fuel: 1_000_000, ..Limits::DEFAULT };

    /// The end of an attempt, with the fuel that it used.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum End {
        Verdict(u64),
        Panic(u64),
        BadOutput,
        OutOfFuel,
        Deadline,
    }

    impl Attempt for End {
        fn hit_limit(&self) -> bool {
            matches!(self, Self::OutOfFuel | Self::Deadline)
        }

        fn failed(&self) -> bool {
            !matches!(self, Self::Verdict(_))
        }

        fn cost(&self) -> AttemptCost {
            let fuel = if let Self::Verdict(fuel) | Self::Panic(fuel) = self { *fuel } else { 1 };
            AttemptCost { fuel: Some(fuel), configure_fuel: Some(0), memory_bytes: Some(0) }
        }
    }

    thread_local! {
        /// Stands still, but where a test moves it.
        static CLOCK: Cell<Instant> = Cell::new(Instant::now());
    }

    fn share() -> FairShare {
        FairShare { now: || CLOCK.get(), ..FairShare::new() }
    }

    /// Runs attempts that end so, and returns the fuel limits that they were tried under.
    fn tries(share: &FairShare, limits: &Limits, end: impl Fn(&Limits) -> End) -> (End, Vec<u64>) {
        let tries = Mutex::new(Vec::new());
        let outcome = share.run(limits, &Scheduler::new(1), |limits, _| {
            tries.lock().unwrap().push(limits.fuel);
            Some(end(limits))
        });
        (outcome.unwrap(), tries.into_inner().unwrap())
    }

    #[test]
    fn a_slow_evaluation_is_begun_again_and_remembered() {
        let share = share();
        let tries = |limits: &Limits, fuel: u64| {
            let (end, tries) = tries(&share, limits, |limits| match fuel > limits.fuel {
                true => End::OutOfFuel,
                false => End::Verdict(fuel),
            });
            assert_eq!(!end.failed(), fuel <= limits.fuel);
            tries
        };
        assert_eq!(tries(&FULL, 10), [100_000]);
        for _ in 0..SLOW_IN_A_ROW {
            assert_eq!(tries(&FULL, 600_000), [100_000, 1_000_000]);
        }
        // From now on it is not tried as a fast one, until one was fast.
        assert_eq!(tries(&FULL, 2_000_000), [1_000_000]);
        assert_eq!(tries(&FULL, 10), [1_000_000]);
        assert_eq!(tries(&FULL, 10), [100_000]);
        // A guest that ended well at the limit or a little beyond it: the reading is not the whole.
        assert_eq!(tries(&FULL, 100_000), [100_000, 1_000_000]);
        // One that ended by a panic there.
        let panics = |fuel: u64| self::tries(&self::share(), &FULL, |_| End::Panic(fuel)).1;
        assert_eq!(panics(99_999), [100_000]);
        assert_eq!(panics(100_000), [100_000, 1_000_000]);
        // Where the limits are a fast one's, there is nothing to be tried again.
        let small = fast(&Limits { fuel: 100, ..Limits::DEFAULT });
        assert_eq!(tries(&small, 200), [100]);
    }

    #[test]
    fn failures_are_remembered_too() {
        let share = share();
        let limits_of = |end: End| tries(&share, &FULL, |_| end).1;
        // A single one costs nothing.
        assert_eq!(limits_of(End::BadOutput), [100_000]);
        assert_eq!(limits_of(End::Verdict(1)), [100_000]);
        for _ in 0..SLOW_IN_A_ROW {
            assert_eq!(limits_of(End::BadOutput), [100_000], "once is enough");
        }
        assert_eq!(limits_of(End::BadOutput), [1_000_000]);
        assert_eq!(limits_of(End::Verdict(1)), [1_000_000]);
        assert_eq!(limits_of(End::Verdict(1)), [100_000]);
        // Too little time is begun again, with all of it.
        assert_eq!(limits_of(End::Deadline), [100_000, 1_000_000]);
    }

    #[test]
    fn one_that_takes_long_is_slow_whatever_its_fuel_says() {
        let share = share();
        let limits_of = |milliseconds: u64| {
            let end = |_: &Limits| {
                CLOCK.set(CLOCK.get() + Duration::from_millis(milliseconds));
                End::Verdict(1)
            };
            tries(&share, &FULL, end).1
        };
        for _ in 0..SLOW_IN_A_ROW {
            assert_eq!(limits_of(2), [100_000], "once is enough");
        }
        assert_eq!(limits_of(2), [1_000_000]);
        assert_eq!(limits_of(0), [1_000_000]);
        assert_eq!(limits_of(0), [100_000]);
    }

    #[test]
    fn only_what_makes_an_evaluation_fast_is_less() {
        let beyond = Limits { output_bytes: u32::MAX, ..Limits::CEILING };
        assert_eq!(fast(&beyond).output_bytes, u32::MAX);
        assert_eq!(fast(&beyond).fuel, FAST_FUEL);
    }
}
