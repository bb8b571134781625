//! The tables about registries and about who may sign.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use countersign_registry::{RegistryName, RepositoryPrefix};
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::ManifestError;
use super::schema;
use crate::parsed::Parsed;

/// The bounds of `timeout-seconds`.
const MIN_TIMEOUT_SECONDS: u64 = 1;
const MAX_TIMEOUT_SECONDS: u64 = 600;

/// One `[[registry]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryEntry {
    /// `host`: the registry, with its port where it has one.
    pub host: RegistryName,
    /// `mirrors`: registries that have the same repositories, asked first for content by its digest.
    pub mirrors: Vec<RegistryName>,
    /// `ca-file`: certificates that verify its server, in the place of the system's; relative to the manifest.
    pub ca_file: Option<String>,
    /// `proxy`: the URL of an HTTP proxy.
    pub proxy: Option<String>,
    /// `plain-http`: speaks HTTP without TLS. On this machine true unless given or there is a `ca-file`, else false.
    pub plain_http: bool,
    /// `token-hosts`: hosts beside its own whose token endpoints get its credential.
    pub token_hosts: Vec<RegistryName>,
    /// `timeout-seconds`: the time within which an answer has to be there; 30 seconds unless given.
    pub timeout: Option<Duration>,
}

/// One `[[trusted-signer]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedSignerEntry {
    /// `repository`: a registry, or a repository and everything below it.
    pub repository: RepositoryPrefix,
    /// `threshold`: the number of different keys that have to have signed; 1 unless given.
    pub threshold: usize,
    /// `keys`.
    pub keys: Vec<TrustedKeyEntry>,
}

/// A key of a [`TrustedSignerEntry`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeyEntry {
    /// `file`: the public key in PEM; relative to the manifest.
    pub file: String,
    /// `not-before`: the first second at which its signatures count, since 1970.
    pub not_before: Option<u64>,
    /// `not-after`: the first second at which they no longer do.
    pub not_after: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PolicyStoreTable {
    /// The folder; a path relative to the manifest.
    #[serde(default = "store")]
    pub(super) folder: String,
}

fn store() -> String {
    "policy-store".to_owned()
}

impl Default for PolicyStoreTable {
    fn default() -> Self {
        Self { folder: store() }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RegistryTable {
    /// The registry, with its port where it has one.
    #[schemars(schema_with = "schema::registry")]
    host: Parsed<RegistryName>,
    /// Registries that have the same repositories, asked first for content by its digest.
    #[serde(default)]
    #[schemars(schema_with = "schema::registries")]
    mirrors: Vec<Parsed<RegistryName>>,
    /// Certificates (PEM) that verify its server, in the place of the system's; a path relative to the manifest.
    ca_file: Option<String>,
    /// The URL of an HTTP proxy that all requests go through.
    proxy: Option<String>,
    /// Speaks HTTP without TLS: by default to this machine alone, where there is no `ca-file`.
    plain_http: Option<bool>,
    /// Hosts beside its own whose token endpoints get its credential.
    #[serde(default)]
    #[schemars(schema_with = "schema::registries")]
    token_hosts: Vec<Parsed<RegistryName>>,
    /// The time within which an answer has to be there, in seconds; 30 unless given.
    #[schemars(range(min = MIN_TIMEOUT_SECONDS, max = MAX_TIMEOUT_SECONDS))]
    timeout_seconds: Option<u64>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TrustedSignerTable {
    /// A registry, or a repository and everything below it.
    #[schemars(schema_with = "schema::repository_prefix")]
    repository: Parsed<RepositoryPrefix>,
    /// The number of different keys that have to have signed; 1 unless given.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    threshold: usize,
    /// The keys.
    #[schemars(length(min = 1))]
    keys: Vec<TrustedKeyTable>,
}

fn one() -> usize {
    1
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TrustedKeyTable {
    /// The public key (PEM); a path relative to the manifest.
    file: String,
    /// The time, in UTC, from which on its signatures count.
    #[serde(default)]
    #[schemars(schema_with = "schema::time")]
    not_before: Option<toml::value::Datetime>,
    /// The time, in UTC, from which on they no longer do.
    #[serde(default)]
    #[schemars(schema_with = "schema::time")]
    not_after: Option<toml::value::Datetime>,
}

pub(super) fn registries(tables: Vec<RegistryTable>) -> Result<Vec<RegistryEntry>, ManifestError> {
    let mut seen = BTreeSet::new();
    let mut entries = Vec::new();
    for table in tables {
        let host = table.host.0;
        let error = |problem: &str| ManifestError::Registry {
            place: format!("registry `{host}`"),
            problem: problem.to_owned(),
        };
        if !seen.insert(host.clone()) {
            return Err(error("twice: each registry has one table"));
        }
        let bounds = MIN_TIMEOUT_SECONDS..=MAX_TIMEOUT_SECONDS;
        if table.timeout_seconds.is_some_and(|seconds| !bounds.contains(&seconds)) {
            return Err(error("`timeout-seconds` is out of bounds, expected 1 to 600"));
        }
        let names =
            |names: Vec<Parsed<RegistryName>>| names.into_iter().map(|name| name.0).collect();
        let usual = host.is_loopback() && table.ca_file.is_none();
        entries.push(RegistryEntry {
            plain_http: table.plain_http.unwrap_or(usual),
            mirrors: names(table.mirrors),
            token_hosts: names(table.token_hosts),
            ca_file: table.ca_file,
            proxy: table.proxy,
            timeout: table.timeout_seconds.map(Duration::from_secs),
            host,
        });
    }
    Ok(entries)
}

pub(super) fn signers(
    tables: Vec<TrustedSignerTable>,
) -> Result<Vec<TrustedSignerEntry>, ManifestError> {
    let signer = |table: TrustedSignerTable| {
        let place = format!("trusted-signer `{}`", table.repository.0);
        let time = |key: &str, time: Option<toml::value::Datetime>| {
            time.map(|time| {
                seconds_of(&time).ok_or_else(|| ManifestError::Registry {
                    place: place.clone(),
                    problem: format!(
                        "`{key}` is a date and time in UTC, such as 2027-01-31T00:00:00Z"
                    ),
                })
            })
            .transpose()
        };
        let keys = table.keys.into_iter().map(|key| {
            Ok(TrustedKeyEntry {
                file: key.file,
                not_before: time("not-before", key.not_before)?,
                not_after: time("not-after", key.not_after)?,
            })
        });
        let keys = keys.collect::<Result<_, ManifestError>>()?;
        Ok(TrustedSignerEntry { repository: table.repository.0, threshold: table.threshold, keys })
    };
    tables.into_iter().map(signer).collect()
}

/// A date and time in UTC (RFC 3339), in seconds since 1970. A local time, or one with another offset, is none.
fn seconds_of(time: &toml::value::Datetime) -> Option<u64> {
    let time = humantime::parse_rfc3339(&time.to_string()).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}
