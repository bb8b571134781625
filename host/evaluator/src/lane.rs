//! When an evaluation runs, so that no binding keeps others waiting.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

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

/// What is being prepared, in the place of a binding's number.
const PREPARING: u64 = u64::MAX;

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

/// Whether an evaluation is known to end soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Short,
    Long,
}

/// Where an evaluation runs: as many as run at a time, each with Wasmtime engines, pools and compiled
/// code of its own. What two processors write to in turn costs them more than an evaluation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(pub(crate) usize);

impl Seat {
    /// Where this thread evaluated last, and will again if it can, of so many seats.
    pub(crate) fn usual(seats: usize) -> Self {
        Self(LAST_SEAT.get().0.checked_rem(seats).unwrap_or_default())
    }
}

/// Lets as many evaluations run at a time as there are seats, long ones on half of them (at least one),
/// and gives turns binding by binding.
pub(crate) struct Turns(Mutex<Queue>);

struct Queue {
    /// The seats that are free, the one that was taken last at the end.
    free: Vec<Seat>,
    /// How many of them may be long.
    free_for_long: usize,
    /// The bindings that wait, for short turns and for long ones, each with its callers in the order
    /// of their coming. The first is next, and goes to the end when one of its callers has got a turn.
    waiting: VecDeque<((u64, Length), VecDeque<Waiting>)>,
    /// Those who have got a turn and have not seen it yet.
    called: BTreeMap<u64, Seat>,
    tickets: u64,
}

struct Waiting {
    ticket: u64,
    thread: Thread,
}

/// A turn: over when dropped.
pub(crate) struct Turn<'t> {
    turns: &'t Turns,
    length: Length,
    pub(crate) seat: Seat,
}

thread_local! {
    /// Where this thread evaluated last: what it left in its processor's cache is there.
    static LAST_SEAT: Cell<Seat> = const { Cell::new(Seat(0)) };
}

impl Turns {
    /// Turns for so many at a time.
    pub(crate) fn new(seats: usize) -> Self {
        Self(Mutex::new(Queue {
            free: (0..seats).rev().map(Seat).collect(),
            free_for_long: (seats / 2).max(1),
            waiting: VecDeque::new(),
            called: BTreeMap::new(),
            tickets: 0,
        }))
    }

    /// Waits for a turn to instantiate what is being prepared.
    pub(crate) fn take_to_prepare(&self) -> Turn<'_> {
        self.take(PREPARING, Length::Long)
    }

    /// Waits for a turn.
    fn take(&self, binding: u64, length: Length) -> Turn<'_> {
        let mut queue = self.queue();
        // Whoever waits could not run either, so nobody is overtaken.
        if queue.admits(length)
            && let Some(seat) = queue.begin(length)
        {
            return Turn { turns: self, length, seat };
        }
        let ticket = queue.tickets;
        queue.tickets += 1;
        let (key, waiting) = ((binding, length), Waiting { ticket, thread: thread::current() });
        match queue.waiting.iter_mut().find(|(other, _)| *other == key) {
            Some((_, callers)) => callers.push_back(waiting),
            None => queue.waiting.push_back((key, VecDeque::from([waiting]))),
        }
        loop {
            if let Some(seat) = queue.called.remove(&ticket) {
                LAST_SEAT.set(seat);
                return Turn { turns: self, length, seat };
            }
            drop(queue);
            // May also return for no reason.
            thread::park();
            queue = self.queue();
        }
    }

    /// Nothing panics while it holds the lock; if something did, the numbers would still be right.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn admits(&self, length: Length) -> bool {
        !self.free.is_empty() && (length == Length::Short || self.free_for_long > 0)
    }

    /// Takes a free seat, the thread's last one if it can be had.
    fn begin(&mut self, length: Length) -> Option<Seat> {
        let last = LAST_SEAT.get();
        let seat = match self.free.iter().position(|free| *free == last) {
            Some(place) => self.free.swap_remove(place),
            None => self.free.pop()?,
        };
        LAST_SEAT.set(seat);
        self.free_for_long -= usize::from(length == Length::Long);
        Some(seat)
    }

    /// The next caller who may run now, whose turn begins, and where.
    fn next(&mut self) -> Option<(Waiting, Seat)> {
        let place = self.waiting.iter().position(|((_, length), _)| self.admits(*length))?;
        let seat = self.free.pop()?;
        let (key, mut callers) = self.waiting.remove(place)?;
        let next = callers.pop_front()?;
        if !callers.is_empty() {
            self.waiting.push_back((key, callers));
        }
        self.free_for_long -= usize::from(key.1 == Length::Long);
        Some((next, seat))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut queue = self.turns.queue();
        queue.free.push(self.seat);
        queue.free_for_long += usize::from(self.length == Length::Long);
        let mut called = Vec::new();
        while let Some((next, seat)) = queue.next() {
            queue.called.insert(next.ticket, seat);
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
        (queue.free.len(), queue.free_for_long)
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
            while turns.queue().free.is_empty() {
                thread::yield_now();
            }
            drop(long);
        });
        assert_eq!(order, [3, 1, 1]);
        assert_eq!(free(&turns), (2, 1));
    }
}
