//! `[listen]`, and the limits by address, which depend on the proxies that it names.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use countersign_issuer::AddressLimits;
use ipnet::IpNet;
use serde::Deserialize;

use super::file::{ConfigError, bounded, value};
use super::{ListenEntry, TlsEntry};
use crate::parsed::Parsed;

/// The maximum length of the name of a header.
const MAX_HEADER_NAME: usize = 64;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ListenTable {
    address: Option<SocketAddr>,
    certificate: Option<String>,
    key: Option<String>,
    probes: Option<SocketAddr>,
    #[serde(default)]
    trusted_proxies: Vec<Parsed<Network>>,
    client_address_header: Option<String>,
}

/// A network, or one address.
struct Network(IpNet);

/// A text that is no network.
#[derive(Debug, thiserror::Error)]
enum NetworkError {
    #[error("expected an address (`192.0.2.1`) or a network (`10.0.0.0/8`)")]
    Form,
    #[error("a network of all addresses: every client could make its address up")]
    All,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let network: IpNet = match text.parse::<IpAddr>() {
            Ok(address) => address.to_canonical().into(),
            Err(_) => text.parse().map_err(|_| NetworkError::Form)?,
        };
        if network.prefix_len() == 0 {
            return Err(NetworkError::All);
        }
        Ok(Self(network))
    }
}

/// The numbers of `[limits]` that count by address.
pub(super) struct ByAddress {
    pub(super) connections: Option<u64>,
    pub(super) per_second: Option<u64>,
    pub(super) burst: Option<u64>,
}

impl ListenTable {
    /// The table, and the limits by address where `max_connections` are open at a time.
    pub(super) fn parse(
        self,
        numbers: &ByAddress,
        max_connections: usize,
    ) -> Result<(ListenEntry, AddressLimits), ConfigError> {
        let tls = match (self.certificate, self.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some(TlsEntry { certificate, key }),
            _ => return Err(value("listen", "`certificate` and `key` belong together")),
        };
        let address = self.address.unwrap_or_else(|| (Ipv4Addr::LOCALHOST, 8080).into());
        if self.probes == Some(address) && address.port() != 0 {
            return Err(value("listen.probes", "the same as `address`; give it a port of its own"));
        }
        let trusted_proxies: Vec<_> =
            self.trusted_proxies.into_iter().map(|network| network.0.0).collect();
        if trusted_proxies.is_empty() != self.client_address_header.is_none() {
            let problem = "`trusted-proxies` and `client-address-header` belong together";
            return Err(value("listen", problem));
        }
        if self.client_address_header.as_deref().is_some_and(|name| !is_header_name(name)) {
            return Err(value("listen.client-address-header", "expected the name of a header"));
        }
        let all = max_connections as u64;
        let per_second =
            bounded("limits.address-per-second", numbers.per_second, 0, (0, 1_000_000))?;
        let twice = (u64::from(per_second) * 2).clamp(1, 1_000_000);
        let limits = AddressLimits {
            connections: bounded("limits.address-connections", numbers.connections, all, (1, all))?,
            per_second,
            burst: bounded("limits.address-burst", numbers.burst, twice, (1, 1_000_000))?,
            trusted_proxies,
            client_address_header: self.client_address_header,
        };
        Ok((ListenEntry { address, tls, probes: self.probes }, limits))
    }
}

/// A token of RFC 9110 section 5.6.2, as far as headers have such names.
fn is_header_name(name: &str) -> bool {
    (1..=MAX_HEADER_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
