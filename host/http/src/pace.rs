//! The pace of requests that prove nothing, on one connection.
//!
//! Whoever has proved nothing can ask as fast as they are answered, and each answer takes time of those who can prove
//! something. So a connection has so many such requests a second; the next one waits, unread, and its connection may
//! make room meanwhile. Other connections are not held up, and a request that proves something ends the waiting of its
//! own.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The number of seconds whose requests may come at once.
const BURST_SECONDS: u32 = 2;

/// The requests of one connection that proved nothing, as the generic cell rate algorithm counts them.
pub(crate) struct Pace {
    interval: Duration,
    /// The time until which such requests have been paid for; in the past where there were few.
    paid_until: Mutex<Instant>,
}

impl Pace {
    /// So many a second on average, and those of [`BURST_SECONDS`] at once.
    pub(crate) fn new(per_second: NonZeroU32, now: Instant) -> Self {
        Self { interval: Duration::from_secs(1) / per_second.get(), paid_until: Mutex::new(now) }
    }

    /// The time at which the next request may be read, if that is later than `now`.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let ahead = Duration::from_secs(BURST_SECONDS.into());
        let next = self.paid_until().checked_sub(ahead)?;
        (next > now).then_some(next)
    }

    /// A part of the time between two requests, by chance: connections that began together would otherwise be read
    /// together ever after, and somebody else's request would wait behind all of them.
    pub(crate) fn spread(&self) -> Duration {
        self.interval.mul_f64(chance())
    }

    /// Counts a request that was answered and proved nothing.
    pub(crate) fn count(&self, now: Instant) {
        let mut paid_until = self.paid_until();
        *paid_until = now.max(*paid_until) + self.interval;
    }

    /// Forgets what was counted: a request has proved something.
    pub(crate) fn forget(&self, now: Instant) {
        *self.paid_until() = now;
    }

    fn paid_until(&self) -> std::sync::MutexGuard<'_, Instant> {
        self.paid_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number from 0 to 1, by chance.
pub(crate) fn chance() -> f64 {
    let chance = (RandomState::new().build_hasher().finish() >> 32) as u32;
    f64::from(chance) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_burst_is_read_at_once_and_the_rest_at_its_pace() {
        let begin = Instant::now();
        let pace = Pace::new(NonZeroU32::new(10).unwrap(), begin);
        for _ in 0..20 {
            assert_eq!(pace.next(begin), None);
            pace.count(begin);
        }
        assert_eq!(pace.next(begin), None, "exactly a burst is paid for");
        pace.count(begin);
        let tenth = Duration::from_millis(100);
        assert_eq!(pace.next(begin), Some(begin + tenth));
        assert_eq!(pace.next(begin + tenth), None);
        // The time that nobody asked is not saved up for more than a burst.
        let later = begin + Duration::from_secs(3600);
        for _ in 0..21 {
            pace.count(later);
        }
        assert_eq!(pace.next(later), Some(later + tenth));
        pace.forget(later);
        assert_eq!(pace.next(later), None);
    }

    #[test]
    fn connections_that_began_together_are_read_at_different_times() {
        let pace = Pace::new(NonZeroU32::new(10).unwrap(), Instant::now());
        let spread: BTreeSet<_> = (0..100).map(|_| pace.spread()).collect();
        assert!(spread.len() > 90, "{spread:?}");
        assert!(spread.last() <= Some(&Duration::from_millis(100)), "{spread:?}");
    }
}
