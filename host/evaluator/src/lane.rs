//! When an evaluation runs, so that no binding keeps others waiting.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use crate::fault::Fault;
use crate::limits::Limits;
use crate::sandbox::Answer;

/// What a short evaluation may use: about a tenth of a millisecond.
const SHORT: Limits =
    Limits { fuel: 100_000, configure_fuel: 100_000, memory_bytes: 4 << 20, ..Limits::CEILING };

/// How one binding's evaluations come to their turns.
#[derive(Debug)]
pub(crate) struct Lane {
    binding: u64,
    /// The last evaluation was long or a fault, so the next one is not tried as a short one.
    long: AtomicBool,
}

impl Lane {
    pub(crate) fn new() -> Self {
        static BINDINGS: AtomicU64 = AtomicU64::new(0);
        Self { binding: BINDINGS.fetch_add(1, Ordering::Relaxed), long: AtomicBool::new(false) }
    }

    /// Runs `attempt` in its turn: under the limits, or first under smaller ones. It must be pure:
    /// the same limits, the same answer.
    pub(crate) fn run(
        &self,
        limits: &Limits,
        turns: &Turns,
        attempt: impl Fn(&Limits) -> Answer,
    ) -> Answer {
        let short = limits.at_most(&SHORT);
        if !self.long.load(Ordering::Relaxed) {
            let turn = turns.take(self.binding, Length::Short);
            let answer = attempt(&short);
            drop(turn);
            // A fault costs more than fuel and memory tell.
            self.long.store(answer.result.is_err(), Ordering::Relaxed);
            let cut_off =
                matches!(answer.result, Err(Fault::OutOfFuel { .. } | Fault::Memory { .. }));
            if short == *limits || !cut_off {
                return answer;
            }
        }
        let _turn = turns.take(self.binding, Length::Long);
        let answer = attempt(limits);
        let fits = |used: Option<u64>, limit| used.is_some_and(|used| used <= limit);
        let Answer { used, configure_fuel, .. } = &answer;
        let was_short = answer.result.is_ok()
            && fits(used.fuel, short.fuel / 2)
            && fits(*configure_fuel, short.configure_fuel / 2)
            && fits(used.memory_bytes, short.memory_bytes);
        self.long.store(!was_short, Ordering::Relaxed);
        answer
    }
}

/// Whether an evaluation is known to end soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Short,
    Long,
}

/// Lets as many evaluations run as there are processors, long ones on half of them (at least one), and
/// gives turns binding by binding.
pub(crate) struct Turns(Mutex<Queue>);

struct Queue {
    /// How many more may run now.
    free: usize,
    /// How many of them may be long.
    free_for_long: usize,
    /// The bindings that wait, each with its callers in the order of their coming. The first binding
    /// is next, and goes to the end when one of its callers has got a turn.
    waiting: VecDeque<(u64, VecDeque<Waiting>)>,
    /// Those who have got a turn and have not seen it yet.
    called: BTreeSet<u64>,
    tickets: u64,
}

struct Waiting {
    ticket: u64,
    length: Length,
    thread: Thread,
}

/// A turn: over when dropped.
struct Turn<'t> {
    turns: &'t Turns,
    length: Length,
}

impl Default for Turns {
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl Turns {
    fn new(processors: usize) -> Self {
        Self(Mutex::new(Queue {
            free: processors,
            free_for_long: (processors / 2).max(1),
            waiting: VecDeque::new(),
            called: BTreeSet::new(),
            tickets: 0,
        }))
    }

    /// Waits for a turn.
    fn take(&self, binding: u64, length: Length) -> Turn<'_> {
        let mut queue = self.queue();
        // Whoever waits could not run either, so nobody is overtaken.
        if queue.admits(length) {
            queue.begin(length);
            return Turn { turns: self, length };
        }
        let ticket = queue.tickets;
        queue.tickets += 1;
        let waiting = Waiting { ticket, length, thread: thread::current() };
        match queue.waiting.iter_mut().find(|(other, _)| *other == binding) {
            Some((_, callers)) => callers.push_back(waiting),
            None => queue.waiting.push_back((binding, VecDeque::from([waiting]))),
        }
        while !queue.called.remove(&ticket) {
            drop(queue);
            // May also return for no reason.
            thread::park();
            queue = self.queue();
        }
        Turn { turns: self, length }
    }

    /// Nothing panics while it holds the lock; if something did, the numbers would still be right.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn admits(&self, length: Length) -> bool {
        self.free > 0 && (length == Length::Short || self.free_for_long > 0)
    }

    fn begin(&mut self, length: Length) {
        self.free -= 1;
        self.free_for_long -= usize::from(length == Length::Long);
    }

    /// The next caller who may run now, whose turn begins.
    fn next(&mut self) -> Option<Waiting> {
        let may_run = |caller: &Waiting| self.admits(caller.length);
        let (place, caller) =
            self.waiting.iter().enumerate().find_map(|(place, (_, callers))| {
                Some((place, callers.iter().position(may_run)?))
            })?;
        let (binding, mut callers) = self.waiting.remove(place)?;
        let next = callers.remove(caller)?;
        if !callers.is_empty() {
            self.waiting.push_back((binding, callers));
        }
        self.begin(next.length);
        Some(next)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.turns.queue();
        queue.free += 1;
        queue.free_for_long += usize::from(self.length == Length::Long);
        let mut called = Vec::new();
        while let Some(next) = queue.next() {
            queue.called.insert(next.ticket);
            called.push(next.thread);
        }
        drop(queue);
        called.iter().for_each(Thread::unpark);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::*;
    use crate::contract::Verdict;
    use crate::decision::Used;

    const FULL: Limits = Limits { fuel: 1_000_000, ..Limits::DEFAULT };

    /// An evaluation that takes so much fuel, and the limits it was tried under.
    fn tries(lane: &Lane, limits: &Limits, fuel: u64) -> Vec<u64> {
        let tries = Mutex::new(Vec::new());
        let answer = lane.run(limits, &Turns::new(1), |limits| {
            tries.lock().unwrap().push(limits.fuel);
            let used = Used { fuel: Some(fuel), memory_bytes: Some(0), output_bytes: None };
            let result = match fuel > limits.fuel {
                true => Err(Fault::OutOfFuel { limit: limits.fuel }),
                false => Ok(Verdict::Abstain),
            };
            Answer { result, used, configure_fuel: Some(0) }
        });
        assert_eq!(answer.result.is_ok(), fuel <= limits.fuel);
        tries.into_inner().unwrap()
    }

    #[test]
    fn a_long_evaluation_is_begun_again_and_remembered() {
        let lane = Lane::new();
        assert_eq!(tries(&lane, &FULL, 10), [100_000]);
        assert_eq!(tries(&lane, &FULL, 600_000), [100_000, 1_000_000]);
        // From now on it is not tried as a short one, until one was short.
        assert_eq!(tries(&lane, &FULL, 600_000), [1_000_000]);
        assert_eq!(tries(&lane, &FULL, 2_000_000), [1_000_000]);
        assert_eq!(tries(&lane, &FULL, 10), [1_000_000]);
        assert_eq!(tries(&lane, &FULL, 10), [100_000]);
        // Where the limit is a short one's, there is nothing to be tried again.
        let small = SHORT.at_most(&Limits { fuel: 100, ..Limits::DEFAULT });
        assert_eq!(tries(&lane, &small, 200), [100]);
    }

    #[test]
    fn a_fault_is_remembered_too() {
        let lane = Lane::new();
        let turns = Turns::new(1);
        let limits_of = |result: fn() -> Result<Verdict, Fault>| {
            let tried = Mutex::new(Vec::new());
            lane.run(&FULL, &turns, |limits| {
                tried.lock().unwrap().push(limits.fuel);
                let used = Used { fuel: Some(1), memory_bytes: Some(0), output_bytes: None };
                Answer { result: result(), used, configure_fuel: Some(0) }
            });
            tried.into_inner().unwrap()
        };
        assert_eq!(limits_of(|| Err(Fault::BadOutput)), [100_000], "once is enough");
        assert_eq!(limits_of(|| Err(Fault::BadOutput)), [1_000_000]);
        assert_eq!(limits_of(|| Ok(Verdict::Abstain)), [1_000_000]);
        assert_eq!(limits_of(|| Ok(Verdict::Abstain)), [100_000]);
    }

    /// Callers who come one after the other and all have to wait; then `meanwhile` happens. Gives the
    /// order of their turns.
    fn order(turns: &Turns, callers: &[(u64, Length)], meanwhile: impl FnOnce()) -> Vec<u64> {
        let (order, seen) = mpsc::channel();
        thread::scope(|scope| {
            for (waiting, (binding, length)) in callers.iter().copied().enumerate() {
                let order = order.clone();
                scope.spawn(move || {
                    let turn = turns.take(binding, length);
                    order.send(binding).unwrap();
                    drop(turn);
                });
                let waits = || turns.queue().waiting.iter().map(|(_, c)| c.len()).sum::<usize>();
                while waits() <= waiting {
                    thread::yield_now();
                }
            }
            meanwhile();
        });
        seen.try_iter().collect()
    }

    fn free(turns: &Turns) -> (usize, usize) {
        let queue = turns.queue();
        (queue.free, queue.free_for_long)
    }

    #[test]
    fn bindings_take_turns() {
        use Length::Short;

        let turns = Turns::new(1);
        let first = turns.take(1, Short);
        let callers = [(1, Short), (1, Short), (1, Short), (2, Short)];
        // The one of the other binding does not wait for all three.
        assert_eq!(order(&turns, &callers, || drop(first)), [1, 2, 1, 1]);
        assert_eq!(free(&turns), (1, 1));
    }

    #[test]
    fn long_ones_leave_a_place() {
        use Length::{Long, Short};

        let turns = Turns::new(2);
        let long = turns.take(1, Long);
        // At once, though a second long one would wait.
        drop(turns.take(2, Short));
        assert!(!turns.queue().admits(Long));
        // With both places taken, a short one waits, but not behind the long ones.
        let short = turns.take(2, Short);
        let callers = [(1, Long), (1, Long), (3, Short)];
        let order = order(&turns, &callers, || {
            drop(short);
            while turns.queue().free == 0 {
                thread::yield_now();
            }
            drop(long);
        });
        assert_eq!(order, [3, 1, 1]);
        assert_eq!(free(&turns), (2, 1));
    }
}
