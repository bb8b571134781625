//! The helper processes of a token: as many as are needed, started again after a time that grows.

use std::fs;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use countersign_issuer::CustodyFailure;

use super::Pkcs11Config;
use super::helper::Helper;
use super::protocol::{Answer, Failed, FailedKind, Request};
use crate::device::DeviceError;

/// The time before a helper is started again, after one failure and after many.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// Helper processes of one token.
pub(super) struct Pool {
    config: Pkcs11Config,
    state: Mutex<State>,
    freed: Condvar,
    /// Held while a helper is started: a PIN that is wrong is tried once.
    starting: Mutex<()>,
}

#[derive(Default)]
struct State {
    idle: Vec<Helper>,
    /// The helpers that are being used or started.
    busy: usize,
    /// Failures since the last answer.
    failures: u32,
    /// The time before which none is started, and the reason.
    not_before: Option<(Instant, DeviceError)>,
    /// The PIN file as it was when the token refused the PIN.
    refused_pin: Option<PinFile>,
}

/// A version of the PIN file.
type PinFile = (SystemTime, u64);

/// A place for a helper, given back when this is dropped.
struct Place<'p>(&'p Pool);

impl Pool {
    pub(super) fn new(config: Pkcs11Config) -> Self {
        let (state, freed) = (Mutex::default(), Condvar::new());
        Self { config, state, freed, starting: Mutex::new(()) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks a helper, which is started where none is free. The time is that of the operation, and waiting for a helper
    /// counts; starting one has a time of its own.
    pub(super) fn ask(&self, request: &Request, time: Duration) -> Result<Answer, DeviceError> {
        let (place, idle) = self.place(Instant::now() + time)?;
        let mut helper = match idle {
            Some(helper) => helper,
            None => self.start()?,
        };
        match helper.ask(request, Instant::now() + time) {
            // Something is wrong with the key, and nothing with the session.
            Ok(Answer::Failed(failed))
                if matches!(failed.kind, FailedKind::NoKey | FailedKind::WrongKey) =>
            {
                place.give_back(helper);
                Err(failed.into())
            }
            // After any other error of a token its session may be of no use.
            Ok(Answer::Failed(failed)) => {
                drop(helper);
                let error = failed.into();
                self.wait_after(&error);
                Err(error)
            }
            Ok(answer) => {
                place.give_back(helper);
                Ok(answer)
            }
            Err(error) => {
                drop(helper);
                self.wait_after(&error);
                Err(error)
            }
        }
    }

    /// A place for a helper, and one that is free.
    fn place(&self, deadline: Instant) -> Result<(Place<'_>, Option<Helper>), DeviceError> {
        let mut state = self.state();
        while state.busy >= self.config.processes {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let said = format!("{} signatures are being made", self.config.processes);
                return Err(DeviceError::new(CustodyFailure::Busy, said));
            }
            let waited = self.freed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.busy += 1;
        // One that died while nothing was asked of it is no failure of what is asked now.
        let idle = std::iter::from_fn(|| state.idle.pop())
            .find_map(|mut helper| if helper.is_alive() { Some(helper) } else { None });
        Ok((Place(self), idle))
    }

    fn start(&self) -> Result<Helper, DeviceError> {
        let _one = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        let pin = pin_file(&self.config.pin_file);
        {
            let state = self.state();
            if let Some((at, error)) = &state.not_before
                && *at > Instant::now()
            {
                return Err(error.clone());
            }
            if state.refused_pin.is_some() && state.refused_pin == pin {
                let said = "the PIN was refused, and is not tried again: that would lock the token; change the PIN file";
                return Err(DeviceError::new(CustodyFailure::Refused, said));
            }
        }
        Helper::open(&self.config).map_err(|failed| {
            if failed.kind == FailedKind::Pin {
                self.state().refused_pin = pin;
            }
            let error = Failed::into(failed);
            self.wait_after(&error);
            error
        })
    }

    /// Has no helper started for a time that doubles with each failure.
    fn wait_after(&self, error: &DeviceError) {
        let mut state = self.state();
        let wait = FIRST_WAIT * 2_u32.saturating_pow(state.failures.min(16));
        state.failures = state.failures.saturating_add(1);
        state.not_before = Some((Instant::now() + wait.min(MAX_WAIT), error.clone()));
    }
}

impl Place<'_> {
    /// Keeps a helper that answered for the next one who asks.
    fn give_back(self, helper: Helper) {
        let mut state = self.0.state();
        (state.failures, state.not_before, state.refused_pin) = (0, None, None);
        state.idle.push(helper);
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.state().busy -= 1;
        self.0.freed.notify_one();
    }
}

fn pin_file(path: &Path) -> Option<PinFile> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
