//! Stands in for the crate of this name, which asks a browser for the time. A policy has no clock.
//!
//! The interpreter asks for the time only to bound how long a text may run. Here each look at the clock is a millisecond
//! after the one before, so that the bound is the same on every machine.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

static LOOKS: AtomicU64 = AtomicU64::new(0);

/// A number of looks at the clock, in place of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant(u64);

impl Instant {
    /// Looks at the clock.
    #[must_use]
    pub fn now() -> Self {
        Self(LOOKS.fetch_add(1, Ordering::Relaxed))
    }

    /// The time since this look.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        Self::now().duration_since(*self)
    }

    /// The time since an earlier look, or none since a later one.
    #[must_use]
    pub fn duration_since(&self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}
