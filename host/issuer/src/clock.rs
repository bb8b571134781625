//! The time, read at the edge.

mod timeline;

use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use self::timeline::Timeline;

/// Tells the time. A trait, so that a test can have one that it sets.
pub trait Clock: Send + Sync {
    /// Seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// When the clock fails: nothing that depends on the time is decided then.
    fn now(&self) -> Result<u64, ClockError>;

    /// Seconds since 1970 that can be relied on where an error cannot be undone: what is older may be forgotten or
    /// destroyed. It is behind [`Clock::now`] for a day after the clock was set ahead. By default it is `now`.
    ///
    /// # Errors
    /// When the clock fails.
    fn settled(&self) -> Result<u64, ClockError> {
        self.now()
    }

    /// The seconds by which the clock was set ahead within the last day, which [`Clock::settled`] does not rely on yet.
    fn unsettled_seconds(&self) -> u64 {
        0
    }
}

/// A clock that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The clock is behind an earlier reading by more than [`SystemClock::TOLERANCE`].
    #[error("the clock is {seconds} s behind an earlier reading; set it right")]
    WentBack {
        /// The difference, in seconds.
        seconds: u64,
    },
    /// The clock was set ahead by more than [`SystemClock::TOLERANCE`] just now.
    #[error(
        "the clock jumped {seconds} s ahead; it is believed when it has run on for {} s",
        SystemClock::CONFIRMED_AFTER
    )]
    JumpedAhead {
        /// The difference, in seconds.
        seconds: u64,
    },
    /// The clock is before 1970.
    #[error("the clock is before 1970")]
    BeforeEpoch,
}

/// The system's clock, compared with the monotonic one of the machine.
///
/// - It never goes back by itself: while the system's is up to [`SystemClock::TOLERANCE`] behind an earlier reading, that
///   reading is the time. What has expired stays expired.
/// - A jump ahead of more than that fails until the clock has run on from there for [`SystemClock::CONFIRMED_AFTER`]
///   seconds, so that a clock that is wrong for a moment leaves no trace.
/// - A jump that was believed is [settled](Clock::settled) after [`SystemClock::SETTLED_AFTER`] seconds. Until then it can
///   be taken back: the time is then the earlier one again, once that has run on for as long.
///
/// Not seen is a clock that was wrong when the process started, beyond the floor that it is given.
pub struct SystemClock {
    timeline: Mutex<Timeline>,
    started: Instant,
}

impl SystemClock {
    /// The seconds by which the system's clock may be behind an earlier reading, or ahead of the monotonic clock.
    pub const TOLERANCE: u64 = 60;

    /// The seconds for which a clock must run on after a jump before it is believed.
    pub const CONFIRMED_AFTER: u64 = 60;

    /// The seconds after which a jump that was believed is not taken back any more: a day.
    pub const SETTLED_AFTER: u64 = 86_400;

    /// A clock that is not before `floor`, in seconds since 1970: the time of the last checkpoint.
    pub fn monotonic_from(floor: u64) -> Self {
        Self { timeline: Mutex::new(Timeline::from(floor)), started: Instant::now() }
    }

    fn observe<T>(&self, of: impl FnOnce(&mut Timeline, u64, u64) -> T) -> Result<T, ClockError> {
        let read = SystemTime::now().duration_since(UNIX_EPOCH);
        let read = read.map_err(|_| ClockError::BeforeEpoch)?.as_secs();
        let elapsed = self.started.elapsed().as_secs();
        let mut timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(of(&mut timeline, read, elapsed))
    }
}

/// A clock without a floor.
impl Default for SystemClock {
    fn default() -> Self {
        Self::monotonic_from(0)
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Result<u64, ClockError> {
        self.observe(Timeline::observe)?
    }

    fn settled(&self) -> Result<u64, ClockError> {
        self.observe(|timeline, read, elapsed| {
            timeline.observe(read, elapsed)?;
            Ok(timeline.settled(elapsed))
        })?
    }

    fn unsettled_seconds(&self) -> u64 {
        self.observe(|timeline, _, elapsed| timeline.unsettled(elapsed)).unwrap_or(0)
    }
}
