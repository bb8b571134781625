//! `[kubernetes-signer]`: the tokens of a cluster's service accounts.

use std::collections::BTreeSet;

use countersign::Audience;
use countersign_clouds::Cloud;
use countersign_issuer::{ClusterSignerConfig, SignerMode};
use serde::Deserialize;

use super::file::{ConfigError, DAY, bounded, value};
use crate::parsed::Parsed;

/// The maximum lifetime of a token that Kubernetes lets a signer have any bound below, in seconds.
const MIN_EXPIRATION: u64 = 600;

/// `[kubernetes-signer]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KubernetesSignerEntry {
    /// `socket`: the path that the API server connects to.
    pub socket: String,
    /// `socket-mode`: its permissions.
    pub socket_mode: u32,
    /// `socket-group`: its group, by number, where it is another than the service's.
    pub socket_group: Option<u32>,
    /// `socket-uids`: the users, by number, whose processes may connect.
    pub socket_uids: Vec<u32>,
    /// The other keys.
    pub signer: ClusterSignerConfig,
}

/// The table as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct KubernetesSignerTable {
    socket: String,
    #[serde(default)]
    socket_mode: SocketMode,
    socket_group: Option<u32>,
    socket_uids: Option<Vec<u32>>,
    #[serde(default)]
    mode: ModeWord,
    pass: Vec<Parsed<Audience>>,
    #[serde(default)]
    decide: Vec<Parsed<Audience>>,
    #[serde(default)]
    namespaces: Vec<String>,
    pod_prefix: Option<String>,
    max_expiration_seconds: Option<u64>,
    refresh_seconds: Option<u64>,
}

#[derive(Deserialize, Default, Clone, Copy)]
enum SocketMode {
    #[default]
    #[serde(rename = "0600")]
    Owner,
    #[serde(rename = "0660")]
    Group,
}

#[derive(Deserialize, Default, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum ModeWord {
    #[default]
    Shadow,
    Enforce,
}

impl KubernetesSignerTable {
    /// The table, where verifiers keep keys for so many seconds.
    pub(super) fn parse(self, verifier_cache: u64) -> Result<KubernetesSignerEntry, ConfigError> {
        let wrong = |key: &str, problem| Err(value(format!("kubernetes-signer.{key}"), problem));
        if self.socket.is_empty() || self.socket.starts_with('@') {
            return wrong("socket", "expected a path; an abstract socket has no owner and no mode");
        }
        let uids = self.socket_uids.unwrap_or_else(|| vec![0]);
        if uids.is_empty() {
            return wrong("socket-uids", "empty: no API server could connect");
        }
        let pass: Vec<_> = self.pass.into_iter().map(|audience| audience.0).collect();
        let decide: Vec<_> = self.decide.into_iter().map(|audience| audience.0).collect();
        if pass.is_empty() {
            return wrong("pass", "empty: the API server's own tokens would be refused");
        }
        if pass.iter().any(|audience| Cloud::of_audience(audience.as_str()).is_some()) {
            return wrong("pass", "an audience is a cloud's, which needs a decision");
        }
        let listed: BTreeSet<_> = pass.iter().chain(&decide).map(Audience::as_str).collect();
        if listed.len() != pass.len() + decide.len() {
            return wrong("decide", "an audience is listed twice");
        }
        if decide.is_empty() != self.namespaces.is_empty() {
            return wrong("namespaces", "`decide` and `namespaces` belong together");
        }
        if !self.namespaces.iter().all(|namespace| is_label(namespace)) {
            return wrong("namespaces", "expected names of namespaces (RFC 1123 labels)");
        }
        let pod_prefix = self.pod_prefix.unwrap_or_else(|| "runner-".to_owned());
        // With a UUID and what Kubernetes appends, a name has at most 63 bytes.
        let is_prefix =
            pod_prefix.strip_suffix('-').is_some_and(is_label) && pod_prefix.len() <= 20;
        if !is_prefix {
            return wrong(
                "pod-prefix",
                "expected lower-case letters, digits and dashes, and a dash at the end",
            );
        }
        let max_refresh = verifier_cache.min(3600);
        Ok(KubernetesSignerEntry {
            socket: self.socket,
            socket_mode: match self.socket_mode {
                SocketMode::Owner => 0o600,
                SocketMode::Group => 0o660,
            },
            socket_group: self.socket_group,
            socket_uids: uids,
            signer: ClusterSignerConfig {
                mode: match self.mode {
                    ModeWord::Shadow => SignerMode::Shadow,
                    ModeWord::Enforce => SignerMode::Enforce,
                },
                pass,
                decide,
                namespaces: self.namespaces,
                pod_prefix,
                max_expiration_seconds: bounded(
                    "kubernetes-signer.max-expiration-seconds",
                    self.max_expiration_seconds,
                    DAY,
                    (MIN_EXPIRATION, 365 * DAY),
                )?,
                // A key is published for the time that verifiers keep a set, which is thus long enough.
                refresh_hint_seconds: bounded(
                    "kubernetes-signer.refresh-seconds",
                    self.refresh_seconds,
                    60.min(max_refresh),
                    (1, max_refresh),
                )?,
            },
        })
    }
}

/// A label of RFC 1123, as namespaces are named.
fn is_label(text: &str) -> bool {
    let of_label = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(of_label)
        && !text.starts_with('-')
        && !text.ends_with('-')
}
