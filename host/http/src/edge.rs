//! The state of the door, which all its requests share.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::HeaderMap;
use countersign_issuer::{Service, ServiceConfig};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

use super::client_address::{AddressRate, client_address};

/// The service, and what is known of those that call it.
pub(crate) struct Edge {
    pub(crate) service: Arc<Service>,
    pub(crate) rate: AddressRate,
    pub(crate) lines: UnprovenLines,
}

/// The lines in the log that callers bring about who have proved nothing: as many as an operator may want to read, and not
/// as many as somebody may want to write.
pub(crate) struct UnprovenLines {
    limiter: DefaultDirectRateLimiter,
    /// The number of lines that were not written since the last one that was.
    suppressed: AtomicU64,
}

impl Edge {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        let rate = AddressRate::new(&service.config().addresses);
        Self { service, rate, lines: UnprovenLines::default() }
    }

    pub(crate) fn config(&self) -> &ServiceConfig {
        self.service.config()
    }

    /// The address of a request's client.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        client_address(peer, headers, &self.config().addresses)
    }
}

impl Default for UnprovenLines {
    fn default() -> Self {
        const PER_SECOND: NonZeroU32 = NonZeroU32::new(20).unwrap();
        const BURST: NonZeroU32 = NonZeroU32::new(1000).unwrap();
        Self {
            limiter: RateLimiter::direct(Quota::per_second(PER_SECOND).allow_burst(BURST)),
            suppressed: AtomicU64::new(0),
        }
    }
}

impl UnprovenLines {
    /// The number of lines that were not written since the last one, if one may be written now.
    pub(crate) fn suppressed(&self) -> Option<u64> {
        if self.limiter.check().is_ok() {
            return Some(self.suppressed.swap(0, Ordering::Relaxed));
        }
        self.suppressed.fetch_add(1, Ordering::Relaxed);
        None
    }
}
