//! The time, read at the edge.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Tells the time. A trait, so that a test can have one that it sets.
pub trait Clock: Send + Sync {
    /// Seconds since 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// When the clock fails: nothing that depends on the time is decided then.
    fn now(&self) -> Result<u64, ClockError>;
}

/// A clock that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// The clock went back by more than [`SystemClock::TOLERANCE`].
    #[error("the clock is {seconds} s behind an earlier reading; set it right")]
    WentBack {
        /// The difference, in seconds.
        seconds: u64,
    },
    /// The clock is before 1970.
    #[error("the clock is before 1970")]
    BeforeEpoch,
}

/// The system's clock, which never goes back here: what has expired stays expired. While the system's is
/// a little behind an earlier reading, that reading is the time.
#[derive(Debug, Default)]
pub struct SystemClock {
    latest: AtomicU64,
}

impl SystemClock {
    /// The seconds by which the system's clock may be behind an earlier reading.
    pub const TOLERANCE: u64 = 60;

    /// A clock that is not before `floor`, in seconds since 1970: the time of the last record.
    pub fn monotonic_from(floor: u64) -> Self {
        Self { latest: AtomicU64::new(floor) }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Result<u64, ClockError> {
        let read = SystemTime::now().duration_since(UNIX_EPOCH);
        latest_of(&self.latest, read.map_err(|_| ClockError::BeforeEpoch)?.as_secs())
    }
}

fn latest_of(latest: &AtomicU64, read: u64) -> Result<u64, ClockError> {
    let latest = latest.fetch_max(read, Ordering::Relaxed).max(read);
    let seconds = latest - read;
    if seconds > SystemClock::TOLERANCE {
        return Err(ClockError::WentBack { seconds });
    }
    Ok(latest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_never_goes_back() {
        let latest = AtomicU64::new(0);
        assert_eq!(latest_of(&latest, 1000), Ok(1000));
        assert_eq!(latest_of(&latest, 999), Ok(1000));
        assert_eq!(latest_of(&latest, 940), Ok(1000));
        assert_eq!(latest_of(&latest, 939), Err(ClockError::WentBack { seconds: 61 }));
        assert_eq!(latest_of(&latest, 1001), Ok(1001));
    }
}
