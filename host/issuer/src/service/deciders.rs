//! The threads that decide, which may be kept waiting.

use std::collections::VecDeque;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::task::spawn_blocking;

/// The work of one request.
type Job = Box<dyn FnOnce() + Send>;

/// Runs as many jobs at a time as there are processors, in their order: more would only take each other's turns. A thread
/// goes from one job to the next without being woken for it.
pub(super) struct Deciders {
    threads: usize,
    queue: Mutex<Queue>,
}

struct Queue {
    jobs: VecDeque<Job>,
    /// The number of threads that take from it.
    running: usize,
}

/// A thread that takes jobs until there are none.
struct Running {
    deciders: Arc<Deciders>,
    /// True once it is not counted any more.
    ended: bool,
}

impl Deciders {
    /// With as many jobs more at a time as there are that wait for something else than a processor.
    pub(super) fn new(waiting: usize) -> Self {
        Self {
            threads: thread::available_parallelism().map_or(1, NonZero::get) + waiting,
            queue: Mutex::new(Queue { jobs: VecDeque::new(), running: 0 }),
        }
    }

    /// Queues a job.
    pub(super) fn submit(self: &Arc<Self>, job: impl FnOnce() + Send + 'static) {
        let mut queue = self.queue();
        queue.jobs.push_back(Box::new(job));
        if queue.running == self.threads {
            return;
        }
        queue.running += 1;
        drop(queue);
        let running = Running { deciders: Arc::clone(self), ended: false };
        spawn_blocking(move || running.run());
    }

    /// Runs the job that has waited longest on a thread of its own.
    pub(super) fn relieve(&self) {
        let job = self.queue().jobs.pop_front();
        if let Some(job) = job {
            spawn_blocking(job);
        }
    }

    /// Nothing panics while it holds the lock.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn run(mut self) {
        while let Some(job) = self.next() {
            // A panic is reported where it happens, and must not take the thread from the jobs that wait.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }

    fn next(&mut self) -> Option<Job> {
        let mut queue = self.deciders.queue();
        let job = queue.jobs.pop_front();
        if job.is_none() {
            // Under the same lock: a job that comes now starts another thread.
            queue.running -= 1;
            self.ended = true;
        }
        job
    }
}

/// Also where the thread never began, since the runtime is stopping.
impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.deciders.queue().running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

    use std::sync::mpsc::{Receiver, Sender, channel};

    use tokio::runtime::{Builder, Runtime};

    use super::*;

    fn runtime() -> Runtime {
        Builder::new_multi_thread().build().unwrap()
    }

    /// Keeps every thread busy, until what is returned is dropped.
    fn occupy(deciders: &Arc<Deciders>) -> Vec<Sender<()>> {
        let (began, begins) = channel();
        let held = (0..deciders.threads).map(|_| {
            let (release, released): (_, Receiver<()>) = channel();
            let began = began.clone();
            deciders.submit(move || {
                began.send(()).unwrap();
                let _ = released.recv();
            });
            release
        });
        let held = held.collect();
        (0..deciders.threads).for_each(|_| begins.recv().unwrap());
        held
    }

    #[test]
    fn a_job_that_waits_gets_a_thread_of_its_own_when_it_is_relieved() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let deciders = Arc::new(Deciders::new(0));
        let held = occupy(&deciders);
        let (ran, runs) = channel();
        for number in 0..2 {
            let ran = ran.clone();
            deciders.submit(move || ran.send(number).unwrap());
        }
        assert_eq!(deciders.queue().jobs.len(), 2, "nobody has a turn for them");
        deciders.relieve();
        assert_eq!(runs.recv(), Ok(0), "the one that has waited longest");
        assert_eq!(deciders.queue().jobs.len(), 1);
        drop(held);
        assert_eq!(runs.recv(), Ok(1), "in its turn");
        // Nothing waits, and nothing is started.
        deciders.relieve();
    }

    #[test]
    fn a_panic_and_an_end_leave_room_for_others() {
        let runtime = runtime();
        let _entered = runtime.enter();
        let deciders = Arc::new(Deciders::new(0));
        for _ in 0..=deciders.threads {
            deciders.submit(|| panic!("as a test"));
        }
        // As many at once as before, which `occupy` waits for.
        drop(occupy(&deciders));
        while deciders.queue().running > 0 {
            thread::yield_now();
        }
        assert!(deciders.queue().jobs.is_empty());
    }
}
