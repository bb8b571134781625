//! Scheduling: which evaluation runs now, and on which worker slot.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};

use crossbeam_utils::CachePadded;

/// Stands for preparing in the place of a binding's number.
const PREPARING: u64 = u64::MAX;

/// The expectation of how soon an evaluation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Priority {
    /// It is known to end soon.
    Fast,
    /// It may use all of its limits.
    Slow,
}

/// A worker slot: as many as evaluations run at a time, each with Wasmtime engines, pools and compiled code
/// of its own. Memory that two processors write to in turn costs them more than an evaluation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct WorkerSlot(pub(crate) usize);

/// Lets as many evaluations run at a time as there are worker slots, slow ones on half of them (at least
/// one), and gives permits binding by binding.
///
/// A fast permit acquires and releases its slot without the queue's lock as long as nobody waits. A caller
/// that releases a slot looks afterwards whether somebody waits; one that begins to wait looks afterwards
/// whether a slot was released: so one of them sees the other.
pub(crate) struct Scheduler {
    /// By worker slot, whether it is acquired.
    acquired: Box<[CachePadded<AtomicBool>]>,
    /// The number of callers in the queue. Changed under its lock.
    waiting: AtomicUsize,
    queue: Mutex<FairQueue>,
}

/// Callers that wait, served binding by binding.
struct FairQueue {
    /// The number of further permits that may be slow.
    free_for_slow: usize,
    /// The bindings that wait, for fast permits and for slow ones, each with its callers in the order
    /// of their coming. The first is next, and goes to the end when one of its callers has got a permit.
    waiting: VecDeque<((u64, Priority), VecDeque<Waiting>)>,
    /// Callers that have got a slot and have not seen it yet, by ticket.
    called: BTreeMap<u64, WorkerSlot>,
    tickets: u64,
}

struct Waiting {
    ticket: u64,
    thread: Thread,
}

/// The right to run on a worker slot: over when dropped.
pub(crate) struct Permit<'s> {
    scheduler: &'s Scheduler,
    priority: Priority,
    pub(crate) slot: WorkerSlot,
}

thread_local! {
    /// The slot that this thread had last: the memory that it used is in its processor's cache.
    static LAST_SLOT: Cell<WorkerSlot> = const { Cell::new(WorkerSlot(0)) };
}

impl WorkerSlot {
    /// The slot that this thread had last, and will get again if it can, of so many slots.
    pub(crate) fn preferred(slots: usize) -> Self {
        Self(LAST_SLOT.get().0.checked_rem(slots).unwrap_or_default())
    }
}

impl Scheduler {
    pub(crate) fn new(slots: usize) -> Self {
        Self {
            acquired: (0..slots).map(|_| CachePadded::default()).collect(),
            waiting: AtomicUsize::new(0),
            queue: Mutex::new(FairQueue {
                free_for_slow: (slots / 2).max(1),
                waiting: VecDeque::new(),
                called: BTreeMap::new(),
                tickets: 0,
            }),
        }
    }

    /// Waits for a permit to instantiate what is being prepared.
    pub(crate) fn acquire_to_prepare(&self) -> Permit<'_> {
        self.acquire(PREPARING, Priority::Slow)
    }

    /// Waits for a permit.
    pub(crate) fn acquire(&self, binding: u64, priority: Priority) -> Permit<'_> {
        let permit = |slot| {
            LAST_SLOT.set(slot);
            Permit { scheduler: self, priority, slot }
        };
        if priority == Priority::Fast
            && self.waiting.load(Ordering::SeqCst) == 0
            && let Some(slot) = self.acquire_slot()
        {
            return permit(slot);
        }
        let mut queue = self.queue();
        let ticket = queue.tickets;
        queue.tickets += 1;
        let (key, waiting) = ((binding, priority), Waiting { ticket, thread: thread::current() });
        match queue.waiting.iter_mut().find(|(other, _)| *other == key) {
            Some((_, callers)) => callers.push_back(waiting),
            None => queue.waiting.push_back((key, VecDeque::from([waiting]))),
        }
        self.waiting.fetch_add(1, Ordering::SeqCst);
        // Earlier callers are served first, and this one at once if it can be.
        let called = self.call(&mut queue);
        let mut slot = queue.called.remove(&ticket);
        drop(queue);
        called.iter().for_each(Thread::unpark);
        loop {
            if let Some(slot) = slot {
                return permit(slot);
            }
            // May also return for no reason.
            thread::park();
            slot = self.queue().called.remove(&ticket);
        }
    }

    /// Acquires a free slot without waiting, preferably the thread's last one.
    fn acquire_slot(&self) -> Option<WorkerSlot> {
        let preferred = WorkerSlot::preferred(self.acquired.len()).0;
        (preferred..self.acquired.len()).chain(0..preferred).map(WorkerSlot).find(|slot| {
            self.acquired.get(slot.0).is_some_and(|acquired| {
                !acquired.load(Ordering::SeqCst) && !acquired.swap(true, Ordering::SeqCst)
            })
        })
    }

    fn release(&self, slot: WorkerSlot) {
        if let Some(acquired) = self.acquired.get(slot.0) {
            acquired.store(false, Ordering::SeqCst);
        }
    }

    /// Gives permits to all that wait and may run now, and returns the threads to wake.
    fn call(&self, queue: &mut FairQueue) -> Vec<Thread> {
        let mut called = Vec::new();
        while let Some(place) = queue.next()
            && let Some(slot) = self.acquire_slot()
        {
            let Some((key, waiting)) = queue.begin(place) else {
                self.release(slot);
                break;
            };
            queue.free_for_slow -= usize::from(key.1 == Priority::Slow);
            queue.called.insert(waiting.ticket, slot);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            called.push(waiting.thread);
        }
        called
    }

    /// Nothing panics while it holds the lock; if something did, the numbers would still be right.
    fn queue(&self) -> MutexGuard<'_, FairQueue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FairQueue {
    /// The place of the first binding whose caller may run as soon as a slot is free.
    fn next(&self) -> Option<usize> {
        let admits = |priority: &Priority| *priority == Priority::Fast || self.free_for_slow > 0;
        self.waiting.iter().position(|((_, priority), _)| admits(priority))
    }

    /// Takes the first caller of the binding at that place.
    fn begin(&mut self, place: usize) -> Option<((u64, Priority), Waiting)> {
        let (key, mut callers) = self.waiting.remove(place)?;
        let next = callers.pop_front()?;
        if !callers.is_empty() {
            self.waiting.push_back((key, callers));
        }
        Some((key, next))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let scheduler = self.scheduler;
        if self.priority == Priority::Fast {
            scheduler.release(self.slot);
            if scheduler.waiting.load(Ordering::SeqCst) == 0 {
                return;
            }
        }
        let mut queue = scheduler.queue();
        if self.priority == Priority::Slow {
            scheduler.release(self.slot);
            queue.free_for_slow += 1;
        }
        let called = scheduler.call(&mut queue);
        drop(queue);
        called.iter().for_each(Thread::unpark);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::sync::mpsc;

    use super::*;

    /// Callers that come one after the other and all have to wait; then `meanwhile` happens. Returns the
    /// order of their permits.
    fn order(
        scheduler: &Scheduler,
        callers: &[(u64, Priority)],
        meanwhile: impl FnOnce(),
    ) -> Vec<u64> {
        let (order, seen) = mpsc::channel();
        thread::scope(|scope| {
            for (waiting, (binding, priority)) in callers.iter().copied().enumerate() {
                let order = order.clone();
                scope.spawn(move || {
                    let permit = scheduler.acquire(binding, priority);
                    order.send(binding).unwrap();
                    drop(permit);
                });
                let waits =
                    || scheduler.queue().waiting.iter().map(|(_, c)| c.len()).sum::<usize>();
                while waits() <= waiting {
                    thread::yield_now();
                }
            }
            meanwhile();
        });
        seen.try_iter().collect()
    }

    /// The numbers of free slots, and of permits that may be slow.
    fn free(scheduler: &Scheduler) -> (usize, usize) {
        let acquired = |slot: &&CachePadded<AtomicBool>| slot.load(Ordering::SeqCst);
        let acquired = scheduler.acquired.iter().filter(acquired).count();
        (scheduler.acquired.len() - acquired, scheduler.queue().free_for_slow)
    }

    #[test]
    fn bindings_are_served_in_turn() {
        use Priority::Fast;

        let scheduler = Scheduler::new(1);
        let first = scheduler.acquire(1, Fast);
        let callers = [(1, Fast), (1, Fast), (1, Fast), (2, Fast)];
        // The one of the other binding does not wait for all three.
        assert_eq!(order(&scheduler, &callers, || drop(first)), [1, 2, 1, 1]);
        assert_eq!(free(&scheduler), (1, 1));
    }

    #[test]
    fn slow_ones_leave_a_slot() {
        use Priority::{Fast, Slow};

        let scheduler = Scheduler::new(2);
        let slow = scheduler.acquire(1, Slow);
        // At once, though a second slow one would wait.
        drop(scheduler.acquire(2, Fast));
        assert_eq!(free(&scheduler), (1, 0), "no other slow one could");
        // With both slots acquired, a fast one waits, but not behind the slow ones.
        let fast = scheduler.acquire(2, Fast);
        let callers = [(1, Slow), (1, Slow), (3, Fast)];
        let order = order(&scheduler, &callers, || {
            drop(fast);
            while free(&scheduler).0 == 0 {
                thread::yield_now();
            }
            drop(slow);
        });
        assert_eq!(order, [3, 1, 1]);
        assert_eq!(free(&scheduler), (2, 1));
    }

    #[test]
    fn nobody_waits_for_ever_and_no_slot_is_acquired_twice() {
        let scheduler = Scheduler::new(3);
        let (at, slow) = ([const { AtomicUsize::new(0) }; 3], AtomicUsize::new(0));
        thread::scope(|scope| {
            for binding in 0..12 {
                let (scheduler, at, slow) = (&scheduler, &at, &slow);
                scope.spawn(move || {
                    for turn in 0..2_000_u32 {
                        let priority = if turn % 7 == 0 { Priority::Slow } else { Priority::Fast };
                        let permit = scheduler.acquire(binding % 5, priority);
                        let here = at.get(permit.slot.0).unwrap();
                        assert_eq!(here.fetch_add(1, Ordering::SeqCst), 0);
                        if priority == Priority::Slow {
                            assert_eq!(slow.fetch_add(1, Ordering::SeqCst), 0, "one of three");
                            slow.fetch_sub(1, Ordering::SeqCst);
                        }
                        here.fetch_sub(1, Ordering::SeqCst);
                        drop(permit);
                    }
                });
            }
        });
        assert_eq!(free(&scheduler), (3, 1));
        assert_eq!(scheduler.waiting.load(Ordering::SeqCst), 0);
    }
}
