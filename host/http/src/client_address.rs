//! The address of a client, and the rate of its requests.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;

use axum::http::HeaderMap;
use countersign_issuer::{AddressLimits, Problem, ProblemKind};
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

/// The maximum of addresses in a header that are looked at: more proxies are in front of nothing.
const MAX_HOPS: usize = 32;

/// Whom limits by address count together: one IPv4 address, or the 64 bits that one IPv6 network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(IpAddr);

/// The key of an address.
pub(crate) fn address_key(address: IpAddr) -> AddressKey {
    AddressKey(match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        // A network gives its clients as many addresses as they want.
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
    })
}

/// The address of the client that sent a request: the peer, or, where that is a trusted proxy, the last address that such
/// proxies have noted and that is not one of theirs. Whatever is left of it could be made up.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, limits: &AddressLimits) -> IpAddr {
    let mut client = peer.to_canonical();
    let Some(header) = &limits.client_address_header else { return client };
    let is_proxy = |address: IpAddr| limits.is_trusted_proxy(address);
    let lines: Vec<_> = headers.get_all(header.as_str()).iter().collect();
    let hops = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(MAX_HOPS) {
        if !is_proxy(client) {
            break;
        }
        let forwarded = header.eq_ignore_ascii_case("forwarded");
        // Nothing can be said of who is before a hop that has no address; the proxy that has noted it is known.
        match parse(hop, forwarded) {
            Some(address) => client = address.to_canonical(),
            None => break,
        }
    }
    client
}

/// An address as proxies note it: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; or the parameter `for`
/// of a forwarded element (RFC 7239 section 6).
fn parse(hop: &[u8], forwarded: bool) -> Option<IpAddr> {
    let mut text = std::str::from_utf8(hop).ok()?.trim();
    if forwarded {
        let mut pairs = text.split(';').filter_map(|pair| pair.trim().split_once('='));
        text = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?.1;
        text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    }
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    if let Some(bracketed) = text.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']')?;
        let is_port = port.is_empty() || port.strip_prefix(':').is_some_and(is_number);
        return address.parse::<Ipv6Addr>().ok().filter(|_| is_port).map(IpAddr::V6);
    }
    let (address, port) = text.split_once(':')?;
    address.parse().ok().filter(|_| is_number(port)).map(IpAddr::V4)
}

fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// The requests of each address, where there is a limit.
pub(crate) struct AddressRate(Option<DefaultKeyedRateLimiter<AddressKey>>);

impl AddressRate {
    pub(crate) fn new(limits: &AddressLimits) -> Self {
        Self(NonZeroU32::new(limits.per_second).map(|per_second| {
            let burst = NonZeroU32::new(limits.burst).unwrap_or(per_second);
            RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst))
        }))
    }

    /// Counts a request.
    ///
    /// # Errors
    /// When its address has sent too many.
    pub(crate) fn check(&self, client: IpAddr) -> Result<(), Problem> {
        let Some(limiter) = &self.0 else { return Ok(()) };
        limiter.check_key(&address_key(client)).map_err(|until| {
            let wait = until.wait_time_from(DefaultClock::default().now());
            let description = "too many requests from this address";
            Problem::new(ProblemKind::TooManyRequests, description).retry_after(wait.as_secs() + 1)
        })
    }

    /// Forgets the addresses that have sent none for long enough.
    pub(crate) fn forget(&self) {
        if let Some(limiter) = &self.0 {
            limiter.retain_recent();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[track_caller]
    fn check(header: &str, peer: &str, lines: &[&str], expected: &str) {
        let limits = AddressLimits {
            trusted_proxies: vec!["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()],
            client_address_header: Some(header.to_owned()),
            ..AddressLimits::default()
        };
        let mut headers = HeaderMap::new();
        let name: HeaderName = header.parse().unwrap();
        for line in lines {
            headers.append(&name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        let found = client_address(peer.parse().unwrap(), &headers, &limits);
        assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
    }

    #[test]
    fn the_client_is_the_last_address_that_no_trusted_proxy_has() {
        let x = "x-forwarded-for";
        check(x, "192.0.2.1", &["198.51.100.7"], "192.0.2.1");
        check(x, "10.0.0.1", &[], "10.0.0.1");
        check(x, "10.0.0.1", &["198.51.100.7"], "198.51.100.7");
        check(x, "::ffff:10.0.0.1", &["198.51.100.7:4711"], "198.51.100.7");
        check(x, "10.0.0.1", &["203.0.113.9, 198.51.100.7, 10.1.1.1"], "198.51.100.7");
        check(
            x,
            "10.0.0.1",
            &["203.0.113.9", "198.51.100.7,10.1.1.1", "[2001:db8::1]:80"],
            "198.51.100.7",
        );
        check(x, "2001:db8::5", &["2001:db9::1"], "2001:db9::1");
        check(x, "10.0.0.1", &["10.2.2.2, 10.1.1.1"], "10.2.2.2");
        // What is not an address says nothing, and nothing before it is believed.
        check(x, "10.0.0.1", &["198.51.100.7, unknown"], "10.0.0.1");
        check(x, "10.0.0.1", &["198.51.100.7, "], "10.0.0.1");
        check(x, "10.0.0.1", &["198.51.100.7:x"], "10.0.0.1");
        let forwarded = "forwarded";
        check(
            forwarded,
            "10.0.0.1",
            &["for=203.0.113.9, for=198.51.100.7;proto=https"],
            "198.51.100.7",
        );
        check(forwarded, "10.0.0.1", &["proto=https;For=\"[2001:db9::1]:80\""], "2001:db9::1");
        check(forwarded, "10.0.0.1", &["for=_hidden"], "10.0.0.1");
    }

    #[test]
    fn a_network_is_counted_as_one() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1:2:3"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
    }

    #[test]
    fn an_address_that_sends_too_many_waits_and_others_do_not() {
        let limits = AddressLimits { per_second: 1, burst: 2, ..AddressLimits::default() };
        let rate = AddressRate::new(&limits);
        let [one, other] = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap());
        let refused = (0..20).filter_map(|_| rate.check(one).err()).next().unwrap();
        assert_eq!(refused.kind, ProblemKind::TooManyRequests);
        assert!(refused.retry_after.is_some());
        assert!(rate.check(other).is_ok());
    }
}
