//! `[[trusted-issuer]]`: the issuers whose tokens are accepted, and the identities that these stand for.

use countersign::{RunnerId, visible};
use countersign_issuer::{
    ClaimValue, Identity, RequiredClaims, TrustedIdentities, TrustedIdentity, is_secure,
};
use serde::Deserialize;

use super::file::{ConfigError, DAY, PermissionWord, bounded, permissions, value};
use super::{KeysEntry, TrustedIssuerEntry};
use crate::https_fetch::Origin;
use crate::parsed::Parsed;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct TrustedIssuerTable {
    url: String,
    audience: Option<String>,
    jwks_url: Option<String>,
    jwks_file: Option<String>,
    ca_file: Option<String>,
    proxy: Option<String>,
    token_file: Option<String>,
    #[serde(default)]
    token_origins: Vec<String>,
    #[serde(default)]
    single_use: bool,
    max_token_lifetime_seconds: Option<u64>,
    #[serde(default)]
    identity: Vec<IdentityTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct IdentityTable {
    subject: String,
    #[serde(default)]
    claims: toml::Table,
    runner: Option<Parsed<RunnerId>>,
    may: Option<Vec<PermissionWord>>,
}

/// The longest lifetime of a token that is accepted where none is configured, as Google's token service has it; those of
/// Azure's managed identities are a little longer than a day.
const MAX_TOKEN_LIFETIME: u64 = 2 * DAY;

pub(super) fn trusted_issuers(
    tables: Vec<TrustedIssuerTable>,
) -> Result<Vec<TrustedIssuerEntry>, ConfigError> {
    let mut issuers: Vec<TrustedIssuerEntry> = Vec::new();
    for table in tables {
        let place = format!("trusted-issuer `{}`", visible(&table.url));
        if !is_secure(&table.url) || table.url.contains('?') || table.url.len() > 512 {
            return Err(value(place, "expected an https URL without query or fragment"));
        }
        if issuers.iter().any(|issuer| issuer.url == table.url) {
            return Err(value(place, "twice"));
        }
        issuers.push(trusted_issuer(table, &place)?);
    }
    Ok(issuers)
}

fn trusted_issuer(
    table: TrustedIssuerTable,
    place: &str,
) -> Result<TrustedIssuerEntry, ConfigError> {
    let token_origins = token_origins(&table, place)?;
    let keys = match (table.jwks_url, table.jwks_file) {
        (None, None) => KeysEntry::Discovered,
        (Some(url), None) if is_secure(&url) => KeysEntry::Url(url),
        (Some(_), None) => return Err(value(place, "`jwks-url` is not an https URL")),
        (None, Some(file)) => KeysEntry::File(file),
        (Some(_), Some(_)) => {
            return Err(value(place, "has both `jwks-url` and `jwks-file`; keep one"));
        }
    };
    let is_proxy = |proxy: &str| Origin::of(proxy).is_some_and(|origin| origin.is_of_http(proxy));
    if table.proxy.as_deref().is_some_and(|proxy| !is_proxy(proxy)) {
        let problem =
            "`proxy`: expected http://HOST:PORT or https://HOST:PORT, without user and path";
        return Err(value(place, problem));
    }
    let identities = table
        .identity
        .into_iter()
        .map(|table| identity(table, place))
        .collect::<Result<Vec<_>, _>>()?;
    if TrustedIdentities::new(identities.iter().cloned()).is_err() {
        let problem =
            "two identities have one subject; each must require another value of one claim";
        return Err(value(place, problem));
    }
    Ok(TrustedIssuerEntry {
        keys,
        identities,
        token_origins,
        audience: table.audience,
        ca_file: table.ca_file,
        proxy: table.proxy,
        token_file: table.token_file,
        single_use: table.single_use,
        max_token_lifetime: bounded(
            "trusted-issuer.max-token-lifetime-seconds",
            table.max_token_lifetime_seconds,
            MAX_TOKEN_LIFETIME,
            (60, 366 * DAY),
        )?,
        url: table.url,
    })
}

/// The origins that a token may be sent to: those that the configuration names, and none that a document names.
fn token_origins(table: &TrustedIssuerTable, place: &str) -> Result<Vec<Origin>, ConfigError> {
    if table.token_file.is_none() {
        return match table.token_origins.as_slice() {
            [] => Ok(Vec::new()),
            _ => Err(value(place, "`token-origins` is for a `token-file`, and there is none")),
        };
    }
    let mut origins: Vec<_> = [Some(&table.url), table.jwks_url.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|u| Origin::of(u))
        .collect();
    for text in &table.token_origins {
        let host = text.split_once("://").map(|(_, rest)| rest.strip_suffix('/').unwrap_or(rest));
        let is_origin = is_secure(text) && host.is_some_and(|host| !host.contains(['/', '?', '*']));
        let origin = Origin::of(text).filter(|_| is_origin);
        origins.push(origin.ok_or_else(|| {
            value(place, "`token-origins`: expected https://HOST or https://HOST:PORT")
        })?);
    }
    Ok(origins)
}

fn identity(table: IdentityTable, place: &str) -> Result<TrustedIdentity, ConfigError> {
    let IdentityTable { subject, claims, runner, may } = table;
    if subject.is_empty() {
        return Err(value(place, "an identity's `subject` is empty"));
    }
    let place = format!("{place}, subject `{}`", visible(&subject));
    let may = may.map(|may| permissions(|| place.clone(), &may)).transpose()?;
    let identity = match (runner, may) {
        (Some(runner), None) => Identity::Runner(runner.0),
        (None, Some(may)) => Identity::ControlPlane(may),
        _ => {
            let problem = "an identity has either `runner` or `may`: what it stands for";
            return Err(value(place, problem));
        }
    };
    let mut required = Vec::new();
    required_claims(claims, &mut Vec::new(), &mut required)
        .map_err(|problem| value(format!("{place}, claims"), problem))?;
    let claims = RequiredClaims::new(required).map_err(|error| ConfigError::Claims {
        place: format!("{place}, claims"),
        source: error,
    })?;
    Ok(TrustedIdentity { subject, claims, identity })
}

/// The claims of a table, each with the path of the tables that it is in.
fn required_claims(
    table: toml::Table,
    path: &mut Vec<String>,
    required: &mut Vec<(Vec<String>, ClaimValue)>,
) -> Result<(), &'static str> {
    for (name, claim) in table {
        // No deeper than can be required, whatever a dotted key has.
        if path.len() == RequiredClaims::MAX_DEPTH {
            return Err("tables are nested too deeply");
        }
        path.push(name);
        let found = match claim {
            toml::Value::Table(table) if table.is_empty() => return Err("a table is empty"),
            toml::Value::Table(table) => {
                required_claims(table, path, required)?;
                None
            }
            toml::Value::String(text) => Some(ClaimValue::Text(text)),
            toml::Value::Boolean(flag) => Some(ClaimValue::Bool(flag)),
            toml::Value::Integer(number) => Some(ClaimValue::Integer(number)),
            _ => {
                return Err("a claim is a text, a whole number, true, false, or a table of claims");
            }
        };
        required.extend(found.map(|value| (path.clone(), value)));
        path.pop();
    }
    Ok(())
}
