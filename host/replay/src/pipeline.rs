//! Batches of work on several threads, with results in the order of the batches and bounded memory.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// Batches under way for each worker: one in work, one ready, and some that wait for a slower one before them.
const BATCHES_PER_WORKER: usize = 4;

/// The outcome of one batch.
enum Message<O> {
    Done(usize, O),
    /// A worker panicked: its batch never comes.
    Lost,
}

/// Takes batches from `source`, works on them on `workers` threads, and gives the results to `sink` in the order of the
/// batches. `new_worker` makes the function of each thread. Stops early once `sink` returns false.
///
/// At most [`BATCHES_PER_WORKER`] times `workers` batches are in memory, however slow one of them is: the source waits.
pub(crate) fn run<B, O, S, W, F>(
    workers: usize,
    mut source: S,
    new_worker: F,
    mut sink: impl FnMut(O) -> bool,
) where
    B: Send,
    O: Send,
    S: FnMut() -> Option<B> + Send,
    W: FnMut(B) -> O,
    F: Fn() -> W + Sync,
{
    let workers = workers.max(1);
    let (permit, permits) = mpsc::channel();
    for _ in 0..workers * BATCHES_PER_WORKER {
        // The receiver is there.
        let _ = permit.send(());
    }
    let (work, batches) = mpsc::channel();
    let batches = Mutex::new(batches);
    let (done, results) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut index = 0;
            while permits.recv().is_ok() {
                let Some(batch) = source() else { return };
                if work.send((index, batch)).is_err() {
                    return;
                }
                index += 1;
            }
        });
        for _ in 0..workers {
            let (done, batches, new_worker) = (done.clone(), &batches, &new_worker);
            scope.spawn(move || work_on(batches, &done, new_worker()));
        }
        drop(done);
        // INVARIANT: when this ends, for whatever reason, `permit` and `results` are dropped: the source gets no permit
        // any more and drops its end of the batches, and so the workers end.
        let (permit, results) = (permit, results);
        collect(&results, &permit, &mut sink);
    });
}

fn work_on<B, O>(
    batches: &Mutex<Receiver<(usize, B)>>,
    done: &Sender<Message<O>>,
    mut work: impl FnMut(B) -> O,
) {
    let _lost = SayIfPanicking(done);
    loop {
        // Released before the work begins.
        let next = batches.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((index, batch)) = next else { return };
        if done.send(Message::Done(index, work(batch))).is_err() {
            return;
        }
    }
}

fn collect<O>(
    results: &Receiver<Message<O>>,
    permit: &Sender<()>,
    sink: &mut impl FnMut(O) -> bool,
) {
    let mut waiting = BTreeMap::new();
    let mut next = 0;
    while let Ok(Message::Done(index, output)) = results.recv() {
        waiting.insert(index, output);
        while let Some(output) = waiting.remove(&next) {
            next += 1;
            if !sink(output) {
                return;
            }
            // The source may have ended.
            let _ = permit.send(());
        }
    }
}

/// Tells the collector of a panic, so that it does not wait for a batch that never comes. The panic goes on when the
/// threads are joined.
struct SayIfPanicking<'s, O>(&'s Sender<Message<O>>);

impl<O> Drop for SayIfPanicking<'_, O> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Message::Lost);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn numbers(count: usize) -> impl FnMut() -> Option<usize> + Send {
        let mut numbers = 0..count;
        move || numbers.next()
    }

    #[test]
    fn results_come_in_order_whoever_is_slow() {
        for workers in [1, 2, 5] {
            let mut results = Vec::new();
            let slow_first = || {
                |number: usize| {
                    if number.is_multiple_of(7) {
                        thread::yield_now();
                    }
                    number * 2
                }
            };
            run(workers, numbers(500), slow_first, |result| {
                results.push(result);
                true
            });
            assert_eq!(results, (0..500).map(|number| number * 2).collect::<Vec<_>>());
        }
    }

    #[test]
    fn no_more_batches_are_under_way_than_its_bound() {
        let taken = AtomicUsize::new(0);
        let mut emitted = 0;
        let source = || {
            let number = taken.fetch_add(1, Ordering::SeqCst);
            (number < 300).then_some(number)
        };
        run(
            2,
            source,
            || |number| number,
            |_| {
                emitted += 1;
                assert!(taken.load(Ordering::SeqCst) <= emitted + 2 * BATCHES_PER_WORKER + 1);
                true
            },
        );
        assert_eq!(emitted, 300);
    }

    #[test]
    fn a_sink_that_has_enough_ends_it() {
        let mut results = Vec::new();
        let endless = {
            let mut next = 0_usize;
            move || {
                next += 1;
                Some(next)
            }
        };
        run(
            2,
            endless,
            || |number| number,
            |number| {
                results.push(number);
                results.len() < 3
            },
        );
        assert_eq!(results, [1, 2, 3]);
    }

    #[test]
    fn a_panic_of_a_worker_is_one_of_the_caller() {
        let work = || |number: usize| assert_ne!(number, 40, "made to panic");
        let ran = catch_unwind(AssertUnwindSafe(|| run(2, numbers(1000), work, |()| true)));
        assert!(ran.is_err());
    }
}
