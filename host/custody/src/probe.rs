//! The thread that probes keys.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};
use std::{io, thread};

use crate::external::Shared;

/// Ends the time between two probes.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    /// An earlier time for the next probe.
    due: Option<Instant>,
    is_over: bool,
}

/// A thread that probes until it is stopped.
pub(crate) struct Prober(Wake);

impl Prober {
    /// Starts it. The first probes are made after a time, since keys are probed when they are loaded, or when a failure
    /// calls for them.
    pub(crate) fn start(shared: Weak<Shared>, wake: Wake, first: Duration) -> io::Result<Self> {
        let (own, mut wait) = (wake.clone(), first);
        thread::Builder::new().name("countersign-custody-probe".to_owned()).spawn(move || {
            while own.sleep(wait) {
                // It is held for no longer: the last one to drop a custody need not wait.
                let Some(shared) = shared.upgrade() else { return };
                wait = shared.probe_all();
            }
        })?;
        Ok(Self(wake))
    }

    pub(crate) fn stop(&self) {
        self.0.set(|state| state.is_over = true);
    }
}

impl Wake {
    /// Has the next probe begin after this time at the latest.
    pub(crate) fn within(&self, time: Duration) {
        self.set(|state| state.due = Some(Instant::now() + time));
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        let (state, condition) = &*self.0;
        change(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
        condition.notify_all();
    }

    /// Waits for a time, or until the next probe is due. False once it is over.
    fn sleep(&self, time: Duration) -> bool {
        let (state, condition) = &*self.0;
        let end = Instant::now() + time;
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        while !state.is_over {
            let end = state.due.map_or(end, |due| due.min(end));
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = condition.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.due = None;
        !state.is_over
    }
}
