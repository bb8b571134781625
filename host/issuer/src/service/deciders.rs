//! The threads that decide, which may be kept waiting.

use std::collections::VecDeque;
use std::num::NonZero;
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
    pub(super) fn new() -> Self {
        Self {
            threads: thread::available_parallelism().map_or(1, NonZero::get),
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
            job();
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

/// Also where a job panicked, or the thread never began since the runtime is stopping.
impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.deciders.queue().running -= 1;
        }
    }
}
