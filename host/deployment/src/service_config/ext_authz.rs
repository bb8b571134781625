//! `[ext-authz]`: decisions for a foreign token endpoint behind Envoy.

use std::net::SocketAddr;

use serde::Deserialize;

/// `[ext-authz]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtAuthzEntry {
    /// `address`: the address that Envoy connects to, in plain text.
    pub address: SocketAddr,
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ExtAuthzTable {
    address: SocketAddr,
}

impl ExtAuthzTable {
    pub(super) fn parse(&self) -> ExtAuthzEntry {
        ExtAuthzEntry { address: self.address }
    }
}
