//! Turns: who evaluates now, and where.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use crate::apart::Apart;

/// What is being prepared, in the place of a binding's number.
const PREPARING: u64 = u64::MAX;

/// Whether an evaluation is known to end soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Length {
    Short,
    Long,
}

/// Where an evaluation runs: as many as run at a time, each with Wasmtime engines, pools and compiled
/// code of its own. What two processors write to in turn costs them more than an evaluation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seat(pub(crate) usize);

/// Lets as many evaluations run at a time as there are seats, long ones on half of them (at least one),
/// and gives turns binding by binding.
///
/// A short turn takes and leaves its seat without the queue's lock as long as nobody waits. Whoever leaves
/// a seat looks afterwards whether somebody waits; whoever begins to wait looks afterwards whether a seat
/// was left: so one of them sees the other.
pub(crate) struct Turns {
    /// By seat, whether it is taken.
    taken: Box<[Apart<AtomicBool>]>,
    /// How many callers are in the queue. Changed under its lock.
    waiting: AtomicUsize,
    queue: Mutex<Queue>,
}

struct Queue {
    /// How many more turns may be long.
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

impl Seat {
    /// Where this thread evaluated last, and will again if it can, of so many seats.
    pub(crate) fn usual(seats: usize) -> Self {
        Self(LAST_SEAT.get().0.checked_rem(seats).unwrap_or_default())
    }
}

impl Turns {
    /// Turns for so many at a time.
    pub(crate) fn new(seats: usize) -> Self {
        Self {
            taken: (0..seats).map(|_| Apart::default()).collect(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(Queue {
                free_for_long: (seats / 2).max(1),
                waiting: VecDeque::new(),
                called: BTreeMap::new(),
                tickets: 0,
            }),
        }
    }

    /// Waits for a turn to instantiate what is being prepared.
    pub(crate) fn take_to_prepare(&self) -> Turn<'_> {
        self.take(PREPARING, Length::Long)
    }

    /// Waits for a turn.
    pub(super) fn take(&self, binding: u64, length: Length) -> Turn<'_> {
        let turn = |seat| {
            LAST_SEAT.set(seat);
            Turn { turns: self, length, seat }
        };
        if length == Length::Short
            && self.waiting.load(Ordering::SeqCst) == 0
            && let Some(seat) = self.sit()
        {
            return turn(seat);
        }
        let mut queue = self.queue();
        let ticket = queue.tickets;
        queue.tickets += 1;
        let (key, waiting) = ((binding, length), Waiting { ticket, thread: thread::current() });
        match queue.waiting.iter_mut().find(|(other, _)| *other == key) {
            Some((_, callers)) => callers.push_back(waiting),
            None => queue.waiting.push_back((key, VecDeque::from([waiting]))),
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // Those who came before are served before, and this one at once if it can be.
        let called = self.call(&mut queue);
        let mut seat = queue.called.remove(&ticket);
        drop(queue);
        called.iter().for_each(Thread::unpark);
        loop {
            if let Some(seat) = seat {
                return turn(seat);
            }
            // May also return for no reason.
            thread::park();
            seat = self.queue().called.remove(&ticket);
        }
    }

    /// Takes a free seat, the thread's last one if it can be had.
    fn sit(&self) -> Option<Seat> {
        let usual = Seat::usual(self.taken.len()).0;
        (usual..self.taken.len()).chain(0..usual).map(Seat).find(|seat| {
            self.taken.get(seat.0).is_some_and(|taken| {
                !taken.0.load(Ordering::SeqCst) && !taken.0.swap(true, Ordering::SeqCst)
            })
        })
    }

    fn leave(&self, seat: Seat) {
        if let Some(taken) = self.taken.get(seat.0) {
            taken.0.store(false, Ordering::SeqCst);
        }
    }

    /// Gives turns to all who wait and may run now, and tells whom to wake.
    fn call(&self, queue: &mut Queue) -> Vec<Thread> {
        let mut called = Vec::new();
        while let Some(place) = queue.next()
            && let Some(seat) = self.sit()
        {
            let Some((key, waiting)) = queue.begin(place) else {
                self.leave(seat);
                break;
            };
            queue.free_for_long -= usize::from(key.1 == Length::Long);
            queue.called.insert(waiting.ticket, seat);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            called.push(waiting.thread);
        }
        called
    }

    /// Nothing panics while it holds the lock; if something did, the numbers would still be right.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// Where the first binding stands whose caller may run as soon as there is a seat.
    fn next(&self) -> Option<usize> {
        let admits = |length: &Length| *length == Length::Short || self.free_for_long > 0;
        self.waiting.iter().position(|((_, length), _)| admits(length))
    }

    /// Takes the first caller of the binding that stands there.
    fn begin(&mut self, place: usize) -> Option<((u64, Length), Waiting)> {
        let (key, mut callers) = self.waiting.remove(place)?;
        let next = callers.pop_front()?;
        if !callers.is_empty() {
            self.waiting.push_back((key, callers));
        }
        Some((key, next))
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let turns = self.turns;
        if self.length == Length::Short {
            turns.leave(self.seat);
            if turns.waiting.load(Ordering::SeqCst) == 0 {
                return;
            }
        }
        let mut queue = turns.queue();
        if self.length == Length::Long {
            turns.leave(self.seat);
            queue.free_for_long += 1;
        }
        let called = turns.call(&mut queue);
        drop(queue);
        called.iter().for_each(Thread::unpark);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::*;

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

    /// How many seats are free, and how many turns may be long.
    fn free(turns: &Turns) -> (usize, usize) {
        let taken = |seat: &&Apart<AtomicBool>| seat.0.load(Ordering::SeqCst);
        let taken = turns.taken.iter().filter(taken).count();
        (turns.taken.len() - taken, turns.queue().free_for_long)
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
        assert_eq!(free(&turns), (1, 0), "no other long one could");
        // With both places taken, a short one waits, but not behind the long ones.
        let short = turns.take(2, Short);
        let callers = [(1, Long), (1, Long), (3, Short)];
        let order = order(&turns, &callers, || {
            drop(short);
            while free(&turns).0 == 0 {
                thread::yield_now();
            }
            drop(long);
        });
        assert_eq!(order, [3, 1, 1]);
        assert_eq!(free(&turns), (2, 1));
    }

    #[test]
    fn nobody_waits_for_ever_and_no_seat_is_taken_twice() {
        let turns = Turns::new(3);
        let (at, long) = ([const { AtomicUsize::new(0) }; 3], AtomicUsize::new(0));
        thread::scope(|scope| {
            for binding in 0..12 {
                let (turns, at, long) = (&turns, &at, &long);
                scope.spawn(move || {
                    for turn in 0..2_000_u32 {
                        let length = if turn % 7 == 0 { Length::Long } else { Length::Short };
                        let turn = turns.take(binding % 5, length);
                        let here = at.get(turn.seat.0).unwrap();
                        assert_eq!(here.fetch_add(1, Ordering::SeqCst), 0);
                        if length == Length::Long {
                            assert_eq!(long.fetch_add(1, Ordering::SeqCst), 0, "one of three");
                            long.fetch_sub(1, Ordering::SeqCst);
                        }
                        here.fetch_sub(1, Ordering::SeqCst);
                        drop(turn);
                    }
                });
            }
        });
        assert_eq!(free(&turns), (3, 1));
        assert_eq!(turns.waiting.load(Ordering::SeqCst), 0);
    }
}
