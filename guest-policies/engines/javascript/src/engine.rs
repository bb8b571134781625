//! The interpreter: without a clock, random numbers, or the means to compile text.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::task::{self, Poll, Waker};

use boa_engine::context::time::{FixedClock, JsInstant};
use boa_engine::context::{Clock, ContextBuilder, HostHooks};
use boa_engine::job::{Job, JobExecutor};
use boa_engine::realm::Realm;
use boa_engine::{Context, JsNativeError, JsResult, JsString, Source};

use crate::fault;
use crate::modules::{Files, Loader};

/// The file name of the engine's own script in stacks, where it is left out.
pub const OWN_SCRIPT: &str = "countersign:engine";

/// The message for what would compile a text.
pub const NO_TEXT: &str = "a policy cannot compile text: `eval` and `Function` are not available";

/// Takes clock and random numbers away before any module of the author loads: a library may keep `Date.now` for later.
const PRELUDE: &str = include_str!("prelude.js");

/// Makes a context that loads modules from these files.
pub fn context(files: Files) -> (Context, Rc<Loader>) {
    let loader = Rc::new(Loader::new(files));
    let context = ContextBuilder::new()
        .host_hooks(Rc::new(Hooks))
        .clock(Rc::new(NoClock))
        .job_executor(Rc::new(Jobs::default()))
        .module_loader(Rc::clone(&loader))
        .build();
    // The same code each time, whatever the settings are.
    let mut context = context.unwrap_or_else(|error| fault(&error.to_string()));
    let prelude = Source::from_bytes(PRELUDE).with_path(Path::new(OWN_SCRIPT));
    if let Err(error) = context.eval(prelude) {
        fault(&error.to_string());
    }
    (context, loader)
}

/// A clock that nothing asks: the prelude replaces what would.
struct NoClock;

impl Clock for NoClock {
    fn now(&self) -> JsInstant {
        FixedClock::from_millis(0).now()
    }

    fn system_time_millis(&self) -> i64 {
        0
    }
}

struct Hooks;

impl HostHooks for Hooks {
    fn ensure_can_compile_strings(
        &self,
        _realm: Realm,
        _parameters: &[JsString],
        _body: &JsString,
        _direct: bool,
        _context: &mut Context,
    ) -> JsResult<()> {
        Err(JsNativeError::eval().with_message(NO_TEXT).into())
    }

    // Dates are in UTC wherever the policy runs.
    fn local_timezone_offset_seconds(&self, _unix_time_seconds: i64) -> i32 {
        0
    }

    // The memory of the instance is bounded by the host; this only makes the error one of the language.
    fn max_buffer_size(&self, _context: &mut Context) -> u64 {
        64 << 20
    }
}

/// Runs what promises wait for, in order. There are no timers.
#[derive(Default)]
struct Jobs(RefCell<VecDeque<Job>>);

impl JobExecutor for Jobs {
    fn enqueue_job(self: Rc<Self>, job: Job, _context: &mut Context) {
        self.0.borrow_mut().push_back(job);
    }

    fn run_jobs(self: Rc<Self>, context: &mut Context) -> JsResult<()> {
        loop {
            // A job may add others.
            let Some(job) = self.0.borrow_mut().pop_front() else { return Ok(()) };
            match job {
                Job::PromiseJob(job) => drop(job.call(context)?),
                Job::GenericJob(job) => drop(job.call(context)?),
                // Loading a module, which is there at once.
                Job::AsyncJob(job) => {
                    let context = RefCell::new(&mut *context);
                    let mut polled = task::Context::from_waker(Waker::noop());
                    match pin!(job.call(&context)).poll(&mut polled) {
                        Poll::Ready(result) => drop(result?),
                        Poll::Pending => {}
                    }
                }
                _ => {}
            }
        }
    }
}
