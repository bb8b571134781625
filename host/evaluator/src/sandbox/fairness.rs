//! When an evaluation runs, so that no binding keeps others waiting.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::scheduler::Length;
pub(crate) use super::scheduler::{Seat, Turns};
use crate::fault::Fault;
use crate::limits::Limits;
use crate::sandbox::Answer;

/// The fuel of a short evaluation, and as much for `configure`: about a tenth of a millisecond.
const SHORT_FUEL: u64 = 100_000;
const SHORT_MEMORY_BYTES: u64 = 4 << 20;

/// Where fuel is not what an evaluation takes, time is: a tick of the engine's clock, twice at most.
const SHORT_MS: u32 = 10;

/// How many evaluations in a row have to be long before the next is not tried as a short one.
const LONG_IN_A_ROW: u32 = 3;

/// How one binding's evaluations come to their turns.
#[derive(Debug)]
pub(crate) struct Lane {
    binding: u64,
    /// How many of the last evaluations were long, or faults, which cost more than fuel and memory
    /// tell.
    long: AtomicU32,
}

impl Lane {
    pub(crate) fn new() -> Self {
        static BINDINGS: AtomicU64 = AtomicU64::new(0);
        Self { binding: BINDINGS.fetch_add(1, Ordering::Relaxed), long: AtomicU32::new(0) }
    }

    /// Runs `attempt` in its turn: under the limits, or first under smaller ones. It must be pure:
    /// the same limits, the same answer, at whatever seat. `None` when it gave that.
    pub(crate) fn run(
        &self,
        limits: &Limits,
        turns: &Turns,
        attempt: impl Fn(&Limits, Seat) -> Option<Answer>,
    ) -> Option<Answer> {
        let short = short(limits);
        if self.long.load(Ordering::Relaxed) < LONG_IN_A_ROW {
            let turn = turns.take(self.binding, Length::Short);
            let answer = attempt(&short, turn.seat)?;
            drop(turn);
            if short == *limits || !was_cut_off(&answer, &short, limits) {
                self.remember(answer.result.is_err());
                return Some(answer);
            }
        }
        let turn = turns.take(self.binding, Length::Long);
        let answer = attempt(limits, turn.seat)?;
        // Half of it, so that one at the limit does not go back and forth.
        let fits = |used: Option<u64>, limit| used.is_some_and(|used| used <= limit);
        let Answer { used, configure_fuel, .. } = &answer;
        let was_short = answer.result.is_ok()
            && fits(used.fuel, short.fuel / 2)
            && fits(*configure_fuel, short.configure_fuel / 2)
            && fits(used.memory_bytes, short.memory_bytes);
        self.remember(!was_short);
        Some(answer)
    }

    fn remember(&self, was_long: bool) {
        // Of two at once one may be lost, which delays what it leads to.
        let before = self.long.load(Ordering::Relaxed);
        let long = if was_long { (before + 1).min(LONG_IN_A_ROW) } else { 0 };
        // What all threads read is written to only when it changes.
        if long != before {
            self.long.store(long, Ordering::Relaxed);
        }
    }
}

/// What an evaluation under these limits may use to be short.
fn short(limits: &Limits) -> Limits {
    Limits {
        fuel: limits.fuel.min(SHORT_FUEL),
        configure_fuel: limits.configure_fuel.min(SHORT_FUEL),
        memory_bytes: limits.memory_bytes.min(SHORT_MEMORY_BYTES),
        wall_clock_ms: limits.wall_clock_ms.min(SHORT_MS),
        ..*limits
    }
}

/// Whether the answer may be another one under the full limits. Fuel is not checked after every
/// instruction, so a guest can also end well a little beyond it; its reading then is not the whole.
fn was_cut_off(answer: &Answer, short: &Limits, full: &Limits) -> bool {
    let used_up = |used: Option<u64>, short: u64, full: u64| {
        short < full && used.is_some_and(|used| used >= short)
    };
    match answer.result {
        Err(Fault::OutOfFuel { .. } | Fault::Memory { .. } | Fault::Deadline { .. }) => true,
        Err(_) => false,
        Ok(_) => {
            used_up(answer.used.fuel, short.fuel, full.fuel)
                || used_up(answer.configure_fuel, short.configure_fuel, full.configure_fuel)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::Mutex;

    use super::*;
    use crate::contract::Verdict;
    use crate::decision::Used;

    const FULL: Limits = Limits { fuel: 1_000_000, ..Limits::DEFAULT };

    /// An evaluation that takes so much fuel, and the limits it was tried under.
    fn tries(lane: &Lane, limits: &Limits, fuel: u64) -> Vec<u64> {
        let tries = Mutex::new(Vec::new());
        let answer = lane.run(limits, &Turns::new(1), |limits, _| {
            tries.lock().unwrap().push(limits.fuel);
            let used = Used { fuel: Some(fuel), memory_bytes: Some(0), output_bytes: None };
            let result = match fuel > limits.fuel {
                true => Err(Fault::OutOfFuel { limit: limits.fuel }),
                false => Ok(Verdict::Abstain),
            };
            Some(Answer { result, used, configure_fuel: Some(0) })
        });
        assert_eq!(answer.unwrap().result.is_ok(), fuel <= limits.fuel);
        tries.into_inner().unwrap()
    }

    #[test]
    fn a_long_evaluation_is_begun_again_and_remembered() {
        let lane = Lane::new();
        assert_eq!(tries(&lane, &FULL, 10), [100_000]);
        for _ in 0..LONG_IN_A_ROW {
            assert_eq!(tries(&lane, &FULL, 600_000), [100_000, 1_000_000]);
        }
        // From now on it is not tried as a short one, until one was short.
        assert_eq!(tries(&lane, &FULL, 2_000_000), [1_000_000]);
        assert_eq!(tries(&lane, &FULL, 10), [1_000_000]);
        assert_eq!(tries(&lane, &FULL, 10), [100_000]);
        // A guest that ended well at the limit or a little beyond it: the reading is not the whole.
        assert_eq!(tries(&lane, &FULL, 100_000), [100_000, 1_000_000]);
        // Where the limits are a short one's, there is nothing to be tried again.
        let small = short(&Limits { fuel: 100, ..Limits::DEFAULT });
        assert_eq!(tries(&lane, &small, 200), [100]);
    }

    #[test]
    fn faults_are_remembered_too() {
        let lane = Lane::new();
        let turns = Turns::new(1);
        let limits_of = |result: fn() -> Result<Verdict, Fault>| {
            let tried = Mutex::new(Vec::new());
            lane.run(&FULL, &turns, |limits, _| {
                tried.lock().unwrap().push(limits.fuel);
                let used = Used { fuel: Some(1), memory_bytes: Some(0), output_bytes: None };
                Some(Answer { result: result(), used, configure_fuel: Some(0) })
            });
            tried.into_inner().unwrap()
        };
        // A single one costs nothing.
        assert_eq!(limits_of(|| Err(Fault::BadOutput)), [100_000]);
        assert_eq!(limits_of(|| Ok(Verdict::Abstain)), [100_000]);
        for _ in 0..LONG_IN_A_ROW {
            assert_eq!(limits_of(|| Err(Fault::BadOutput)), [100_000], "once is enough");
        }
        assert_eq!(limits_of(|| Err(Fault::BadOutput)), [1_000_000]);
        assert_eq!(limits_of(|| Ok(Verdict::Abstain)), [1_000_000]);
        assert_eq!(limits_of(|| Ok(Verdict::Abstain)), [100_000]);
        // Too little time is begun again, with all of it.
        assert_eq!(limits_of(|| Err(Fault::Deadline { limit_ms: 10 })), [100_000, 1_000_000]);
    }

    #[test]
    fn only_what_makes_an_evaluation_short_is_less() {
        let beyond = Limits { output_bytes: u32::MAX, ..Limits::CEILING };
        assert_eq!(short(&beyond).output_bytes, u32::MAX);
        assert_eq!(short(&beyond).fuel, SHORT_FUEL);
    }
}
