//! The file as it is written, and the way from it to a [`Config`].

use std::time::{Duration, UNIX_EPOCH};

use countersign::{Audience, MAX_AUDIENCES, MAX_TTL_SECONDS, RunnerId, Workspace};
use countersign_issuer::{
    AddressLimits, ApiKey, Identity, KeyTimes, Permission, RequiredClaimsError, RunnerEntry,
    RunnerKind, Runners, SecretHash, ServiceConfig,
};
use serde::Deserialize;

use super::custody::{AwsKmsTable, CustodyTables, CustodyWord, Pkcs11Table};
use super::ext_authz::ExtAuthzTable;
use super::kubernetes_signer::KubernetesSignerTable;
use super::listen::{ByAddress, ListenTable};
use super::releases::ReleasesTable;
use super::store::{DatabaseTable, ReplicaTable, SHARED_MARGIN, database};
use super::trusted_issuer::{TrustedIssuerTable, trusted_issuers};
use super::{Config, MAX_CONFIG_BYTES, TrustedIssuerEntry};
use crate::parsed::{DigestText, Parsed};
use crate::renamed::name_the_new;

/// The reason that a text is not a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The text is longer than [`MAX_CONFIG_BYTES`].
    #[error("the configuration has {bytes} bytes, at most {MAX_CONFIG_BYTES} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The text is not TOML, a key is unknown or missing, or a value is out of form. The message shows
    /// the line.
    #[error("{0}")]
    Toml(String),
    /// A number is out of its bounds.
    #[error("{key}: {found} is not in {min} to {max}")]
    Bounds {
        /// The key.
        key: &'static str,
        /// The number in the configuration.
        found: u64,
        /// The minimum.
        min: u64,
        /// The maximum.
        max: u64,
    },
    /// Two values contradict each other, or one is not what it must be.
    #[error("{place}: {problem}")]
    Value {
        /// The table or key.
        place: String,
        /// The problem.
        problem: &'static str,
    },
    /// `store` is not the place of a database. Nothing of it is repeated: a password may be in it.
    #[error("store: {problem}")]
    Database {
        /// The problem.
        problem: String,
    },
    /// The claims that an identity requires are out of form.
    #[error("{place}")]
    Claims {
        /// The identity.
        place: String,
        /// The problem.
        source: RequiredClaimsError,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ConfigFile {
    policies: String,
    state: String,
    store: Option<String>,
    #[serde(default)]
    database: DatabaseTable,
    #[serde(default)]
    replica: ReplicaTable,
    #[serde(default)]
    listen: ListenTable,
    #[serde(default)]
    tokens: TokensTable,
    #[serde(default)]
    runs: RunsTable,
    #[serde(default)]
    keys: KeysTable,
    #[serde(default)]
    limits: LimitsTable,
    #[serde(default)]
    releases: ReleasesTable,
    kubernetes_signer: Option<KubernetesSignerTable>,
    ext_authz: Option<ExtAuthzTable>,
    #[serde(default)]
    api_key: Vec<ApiKeyTable>,
    #[serde(default)]
    trusted_issuer: Vec<TrustedIssuerTable>,
    #[serde(default)]
    runner: Vec<RunnerTable>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TokensTable {
    default_ttl_seconds: Option<u64>,
    max_ttl_seconds: Option<u64>,
    max_audiences: Option<u64>,
    #[serde(default)]
    es256_audiences: Vec<Parsed<Audience>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RunsTable {
    max_ttl_seconds: Option<u64>,
    keep_seconds: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct KeysTable {
    rotate_every_seconds: Option<u64>,
    verifier_cache_seconds: Option<u64>,
    max_age_seconds: Option<u64>,
    custody: Option<CustodyWord>,
    sealing_key_file: Option<String>,
    pkcs11: Option<Pkcs11Table>,
    aws_kms: Option<AwsKmsTable>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LimitsTable {
    body_bytes: Option<u64>,
    header_bytes: Option<u64>,
    header_seconds: Option<u64>,
    idle_seconds: Option<u64>,
    body_seconds: Option<u64>,
    requests: Option<u64>,
    unproven_requests: Option<u64>,
    unproven_per_second: Option<u64>,
    connections: Option<u64>,
    address_connections: Option<u64>,
    address_per_second: Option<u64>,
    address_burst: Option<u64>,
    runner_per_second: Option<u64>,
    runner_burst: Option<u64>,
    run_per_second: Option<u64>,
    run_burst: Option<u64>,
    drain_seconds: Option<u64>,
    shutdown_seconds: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ApiKeyTable {
    name: String,
    sha256: Parsed<DigestText>,
    may: Vec<PermissionWord>,
    expires: Option<toml::value::Datetime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunnerTable {
    id: Parsed<RunnerId>,
    workspace: Parsed<Workspace>,
    kind: RunnerKindWord,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
enum RunnerKindWord {
    Shared,
    Dedicated,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PermissionWord {
    Runs,
    Decisions,
    Metrics,
    Read,
}

pub(super) const DAY: u64 = 86_400;

/// Keys that have another name now.
const RENAMED: [(&str, &str); 3] = [
    ("longest-ttl-seconds", "max-ttl-seconds"),
    ("most-audiences", "max-audiences"),
    ("life-seconds", "max-ttl-seconds"),
];

pub(super) fn parse(text: &str) -> Result<Config, ConfigError> {
    if text.len() > MAX_CONFIG_BYTES {
        return Err(ConfigError::TooLarge { bytes: text.len() });
    }
    let file: ConfigFile = toml::from_str(text)
        .map_err(|error| name_the_new(error.to_string().trim_end(), &RENAMED))
        .map_err(|error| ConfigError::Toml(countersign::visible(&error)))?;
    let runners = runners(file.runner)?;
    let trusted_issuers = trusted_issuers(file.trusted_issuer)?;
    known(&trusted_issuers, &runners)?;
    let limits = &file.limits;
    let max_connections: usize =
        bounded("limits.connections", limits.connections, 1024, (1, 100_000))?;
    let by_address = ByAddress {
        connections: limits.address_connections,
        per_second: limits.address_per_second,
        burst: limits.address_burst,
    };
    let (listen, addresses) = file.listen.parse(&by_address, max_connections)?;
    let database = database(file.store.as_deref(), file.database, file.replica)?;
    let custody = CustodyTables {
        custody: file.keys.custody,
        sealing_key_file: file.keys.sealing_key_file.clone(),
        pkcs11: file.keys.pkcs11.clone(),
        aws_kms: file.keys.aws_kms.clone(),
    };
    let custody = custody.parse(database.is_some())?;
    let mut settings =
        settings(file.tokens, &file.runs, &file.keys, limits, max_connections, addresses)?;
    if database.is_some() {
        settings.key_times.verifier_cache += SHARED_MARGIN;
    }
    let verifier_cache = settings.key_times.verifier_cache;
    let kubernetes_signer =
        file.kubernetes_signer.map(|table| table.parse(verifier_cache)).transpose()?;
    if let Some(entry) = &kubernetes_signer {
        if database.is_some() {
            let problem =
                "the keys of replicas are in their database, on which a cluster must not depend";
            return Err(value("kubernetes-signer", problem));
        }
        // Keys stay published until the last token of a service account has expired as well.
        let max = &mut settings.key_times.max_token_lifetime;
        *max = (*max).max(entry.signer.max_expiration_seconds);
    }
    Ok(Config {
        policies: file.policies,
        state: file.state,
        database,
        custody,
        listen,
        settings,
        kubernetes_signer,
        ext_authz: file.ext_authz.map(|table| table.parse()),
        releases: file.releases.parse()?,
        api_keys: api_keys(file.api_key)?,
        trusted_issuers,
        runners,
    })
}

fn settings(
    tokens: TokensTable,
    runs: &RunsTable,
    keys: &KeysTable,
    limits: &LimitsTable,
    max_connections: usize,
    addresses: AddressLimits,
) -> Result<ServiceConfig, ConfigError> {
    let max_ttl: u32 = bounded(
        "tokens.max-ttl-seconds",
        tokens.max_ttl_seconds,
        7200,
        (1, MAX_TTL_SECONDS.into()),
    )?;
    let verifier_cache =
        bounded("keys.verifier-cache-seconds", keys.verifier_cache_seconds, DAY, (1, 30 * DAY))?;
    let key_set_max_age =
        bounded("keys.max-age-seconds", keys.max_age_seconds, 3600.min(verifier_cache), (0, DAY))?;
    if key_set_max_age > verifier_cache {
        let problem = "longer than `verifier-cache-seconds`: a key would sign before all have it";
        return Err(value("keys.max-age-seconds", problem));
    }
    let rotate_every = match keys.rotate_every_seconds {
        Some(0) => None,
        found => {
            let bounds = (verifier_cache + 1, 3650 * DAY);
            let default = (90 * DAY).max(verifier_cache * 2);
            Some(bounded("keys.rotate-every-seconds", found, default, bounds)?)
        }
    };
    let seconds =
        |key, found, default, bounds| bounded(key, found, default, bounds).map(Duration::from_secs);
    let run_max_ttl_seconds =
        bounded("runs.max-ttl-seconds", runs.max_ttl_seconds, 10_800, (1, 30 * DAY))?;
    Ok(ServiceConfig {
        default_ttl_seconds: bounded(
            "tokens.default-ttl-seconds",
            tokens.default_ttl_seconds,
            3600.min(max_ttl.into()),
            (1, max_ttl.into()),
        )?,
        max_ttl_seconds: max_ttl,
        max_audiences: bounded(
            "tokens.max-audiences",
            tokens.max_audiences,
            1,
            (1, MAX_AUDIENCES as u64),
        )?,
        es256_audiences: tokens.es256_audiences.into_iter().map(|audience| audience.0).collect(),
        run_max_ttl_seconds,
        // A run that is registered again after it was forgotten would get another lifetime.
        keep_runs_seconds: bounded(
            "runs.keep-seconds",
            runs.keep_seconds,
            90 * DAY,
            (run_max_ttl_seconds, 3650 * DAY),
        )?,
        key_times: KeyTimes { verifier_cache, max_token_lifetime: max_ttl.into(), rotate_every },
        key_set_max_age,
        body_bytes: bounded("limits.body-bytes", limits.body_bytes, 8 << 20, (1024, 17 << 20))?,
        header_bytes: bounded(
            "limits.header-bytes",
            limits.header_bytes,
            32 << 10,
            (8 << 10, 1 << 20),
        )?,
        header_timeout: seconds("limits.header-seconds", limits.header_seconds, 10, (1, 600))?,
        idle_timeout: seconds("limits.idle-seconds", limits.idle_seconds, 75, (1, 3600))?,
        body_timeout: seconds("limits.body-seconds", limits.body_seconds, 10, (1, 600))?,
        max_requests: bounded("limits.requests", limits.requests, 128, (1, 1024))?,
        max_unproven_requests: bounded(
            "limits.unproven-requests",
            limits.unproven_requests,
            64,
            (1, 1024),
        )?,
        unproven_per_second: bounded(
            "limits.unproven-per-second",
            limits.unproven_per_second,
            10,
            (1, 1_000_000),
        )?,
        max_connections,
        addresses,
        runner_per_second: bounded(
            "limits.runner-per-second",
            limits.runner_per_second,
            100,
            (1, 1_000_000),
        )?,
        runner_burst: bounded("limits.runner-burst", limits.runner_burst, 200, (1, 1_000_000))?,
        run_per_second: bounded("limits.run-per-second", limits.run_per_second, 5, (1, 1_000_000))?,
        run_burst: bounded("limits.run-burst", limits.run_burst, 20, (1, 1_000_000))?,
        drain: seconds("limits.drain-seconds", limits.drain_seconds, 0, (0, 600))?,
        shutdown: seconds("limits.shutdown-seconds", limits.shutdown_seconds, 30, (1, 600))?,
    })
}

fn api_keys(tables: Vec<ApiKeyTable>) -> Result<Vec<ApiKey>, ConfigError> {
    let mut keys: Vec<ApiKey> = Vec::new();
    for ApiKeyTable { name, sha256: Parsed(DigestText(digest)), may, expires } in tables {
        let hash = SecretHash::from_bytes(*digest.as_bytes());
        let place = || format!("api-key `{}`", countersign::visible(&name));
        if name.is_empty() || name.len() > 64 || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(value(place(), "a name has 1 to 64 printable characters, no spaces"));
        }
        if keys.iter().any(|key| key.name == name || key.hash == hash) {
            return Err(value(place(), "twice: each key has a name and a hash of its own"));
        }
        let expires_at = expires.map(|expires| {
            seconds_of(&expires).ok_or_else(|| {
                let problem = "`expires` is a date and time in UTC, such as 2027-01-31T00:00:00Z";
                value(place(), problem)
            })
        });
        let expires_at = expires_at.transpose()?;
        keys.push(ApiKey { permissions: permissions(place, &may)?, name, hash, expires_at });
    }
    Ok(keys)
}

/// A date and time in UTC (RFC 3339), in seconds since 1970. A local time, or one with another offset, is none.
fn seconds_of(time: &toml::value::Datetime) -> Option<u64> {
    let time = humantime::parse_rfc3339(&time.to_string()).ok()?;
    Some(time.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

fn runners(tables: Vec<RunnerTable>) -> Result<Runners, ConfigError> {
    let mut runners = Runners::default();
    for RunnerTable { id: Parsed(id), workspace: Parsed(workspace), kind } in tables {
        let kind = match kind {
            RunnerKindWord::Shared => RunnerKind::Shared,
            RunnerKindWord::Dedicated => RunnerKind::Dedicated,
        };
        let place = format!("runner `{id}`");
        if !runners.add(id, RunnerEntry { workspace, kind }) {
            return Err(value(place, "twice: each runner has one table"));
        }
    }
    Ok(runners)
}

/// Checks that the runners that identities stand for are known.
fn known(issuers: &[TrustedIssuerEntry], runners: &Runners) -> Result<(), ConfigError> {
    for issuer in issuers {
        for identity in &issuer.identities {
            if let Identity::Runner(runner) = &identity.identity
                && !runners.knows(runner)
            {
                let place = format!("trusted-issuer `{}`: runner `{runner}`", issuer.url);
                return Err(value(place, "in no `[[runner]]`: none of its runs would get a token"));
            }
        }
    }
    Ok(())
}

pub(super) fn permissions(
    place: impl Fn() -> String,
    words: &[PermissionWord],
) -> Result<Vec<Permission>, ConfigError> {
    if words.is_empty() {
        return Err(value(place(), "`may` is empty: the caller could do nothing"));
    }
    Ok(words
        .iter()
        .map(|word| match word {
            PermissionWord::Runs => Permission::Runs,
            PermissionWord::Decisions => Permission::Decisions,
            PermissionWord::Metrics => Permission::Metrics,
            PermissionWord::Read => Permission::Read,
        })
        .collect())
}

/// A number within its bounds, or the default where there is none.
pub(super) fn bounded<T: TryFrom<u64>>(
    key: &'static str,
    found: Option<u64>,
    default: u64,
    (min, max): (u64, u64),
) -> Result<T, ConfigError> {
    let number = found.unwrap_or(default);
    let error = ConfigError::Bounds { key, found: number, min, max };
    if !(min..=max).contains(&number) {
        return Err(error);
    }
    T::try_from(number).map_err(|_| error)
}

pub(super) fn value(place: impl Into<String>, problem: &'static str) -> ConfigError {
    ConfigError::Value { place: place.into(), problem }
}
