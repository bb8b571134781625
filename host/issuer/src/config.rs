//! The configuration of a service, without its files.

use std::net::IpAddr;
use std::time::Duration;

use countersign::Audience;
use ipnet::IpNet;

use crate::keys::KeyTimes;
use countersign_signing::Algorithm;

/// The configuration of a service, without its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// `tokens.default-ttl-seconds`: the TTL of a token where none is requested.
    pub default_ttl_seconds: u32,
    /// `tokens.max-ttl-seconds`: the maximum TTL that can be requested.
    pub max_ttl_seconds: u32,
    /// `tokens.max-audiences`: the maximum of audiences that can be requested for one token.
    pub max_audiences: usize,
    /// `tokens.es256-audiences`: tokens for these alone are signed with ES256, others with RS256.
    pub es256_audiences: Vec<Audience>,
    /// `runs.max-ttl-seconds`: the maximum TTL of a run, in which it may have tokens.
    pub run_max_ttl_seconds: u64,
    /// `runs.keep-seconds`: the time for which a run that has ended is remembered.
    pub keep_runs_seconds: u64,
    /// `keys.rotate-every-seconds`, `keys.verifier-cache-seconds`, and the maximum TTL.
    pub key_times: KeyTimes,
    /// `keys.max-age-seconds`: the `max-age` of the key set in its `Cache-Control`.
    pub key_set_max_age: u64,
    /// `limits.body-bytes`: the maximum size of a request's body.
    pub body_bytes: usize,
    /// `limits.header-bytes`: the maximum size of a request's head.
    pub header_bytes: usize,
    /// `limits.header-seconds`: the time in which the head of a request must arrive.
    pub header_timeout: Duration,
    /// `limits.idle-seconds`: the time in which the first byte of a request must arrive on a connection.
    pub idle_timeout: Duration,
    /// `limits.body-seconds`: the time in which its body must arrive.
    pub body_timeout: Duration,
    /// `limits.requests`: the maximum of requests that are answered at a time, of callers that have proved something.
    pub max_requests: usize,
    /// `limits.unproven-requests`: the maximum of requests at a time whose callers have proved nothing yet. More wait.
    pub max_unproven_requests: usize,
    /// `limits.unproven-per-second`: the requests that prove nothing which one connection may send each second, on average,
    /// and twice as many at once. More wait.
    pub unproven_per_second: u32,
    /// `limits.connections`: the maximum of connections at a time.
    pub max_connections: usize,
    /// Limits by the address of a client.
    pub addresses: AddressLimits,
    /// `limits.runner-per-second`: the tokens that a runner may request each second, on average.
    pub runner_per_second: u32,
    /// `limits.runner-burst`: the tokens that it may request at once.
    pub runner_burst: u32,
    /// `limits.run-per-second`: the tokens that may be requested by one run token each second, on average. They count
    /// for the runner as well.
    pub run_per_second: u32,
    /// `limits.run-burst`: the tokens that may be requested at once.
    pub run_burst: u32,
    /// `limits.drain-seconds`: the time between the signal to stop and the end of serving, in which it reports that it
    /// is not ready, so that no traffic is sent to it.
    pub drain: Duration,
    /// `limits.shutdown-seconds`: the time that requests have to finish after that.
    pub shutdown: Duration,
}

/// Limits by the address of a client, and the proxies that speak for others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressLimits {
    /// `limits.address-connections`: the maximum of connections of one address at a time.
    pub connections: usize,
    /// `limits.address-per-second`: the requests that one address may send each second, on average; 0 for any number.
    pub per_second: u32,
    /// `limits.address-burst`: the requests that it may send at once.
    pub burst: u32,
    /// `listen.trusted-proxies`: the networks of proxies whose note of a client's address is believed. Their connections
    /// are not limited by address.
    pub trusted_proxies: Vec<IpNet>,
    /// `listen.client-address-header`: the header in which they note it.
    pub client_address_header: Option<String>,
}

impl AddressLimits {
    /// Tells whether an address is a trusted proxy's.
    pub fn is_trusted_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted_proxies.iter().any(|network| network.contains(&address))
    }
}

impl ServiceConfig {
    /// The algorithms of the service's keys.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        if self.es256_audiences.is_empty() {
            &[Algorithm::Rs256]
        } else {
            &[Algorithm::Rs256, Algorithm::Es256]
        }
    }

    /// The algorithm that a token for these audiences is signed with.
    pub fn algorithm_of(&self, audiences: &[Audience]) -> Algorithm {
        if audiences.iter().all(|audience| self.es256_audiences.contains(audience)) {
            Algorithm::Es256
        } else {
            Algorithm::Rs256
        }
    }
}
