//! Fetches an issuer's discovery document and key set over HTTP.

use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use reqwest::{Certificate, Client};
use serde_json::Value;

use crate::Setup;

/// The maximum number of keys of one kind in a key set, which AWS documents.
const MAX_KEYS: usize = 100;

/// An issuer's key set, located by its discovery document.
pub(crate) struct Published {
    pub(crate) issuer: String,
    pub(crate) keys: JwkSet,
}

impl Published {
    /// Fetches the discovery document and the key set.
    pub(crate) async fn fetch(setup: &Setup, issuer: &str) -> Result<Self, String> {
        let reached =
            setup.issuers.get(issuer).ok_or_else(|| format!("`{issuer}` cannot be reached"))?;
        let client = client(setup)?;
        let discovery =
            get(&client, &format!("{reached}/.well-known/openid-configuration")).await?;
        if discovery.get("issuer").and_then(Value::as_str) != Some(issuer) {
            return Err("the discovery document names another issuer".to_owned());
        }
        let jwks_uri = discovery.get("jwks_uri").and_then(Value::as_str);
        let path = jwks_uri
            .and_then(|uri| uri.strip_prefix(issuer))
            .ok_or("no `jwks_uri` of the issuer")?;
        Self::of(issuer, &get(&client, &format!("{reached}{path}")).await?)
    }

    /// Parses a key set that an operator has uploaded.
    pub(crate) fn uploaded(issuer: &str, keys: &str) -> Result<Self, String> {
        Self::of(issuer, &serde_json::from_str(keys).map_err(|_| "the key set is not JSON")?)
    }

    fn of(issuer: &str, set: &Value) -> Result<Self, String> {
        let keys = set.get("keys").and_then(Value::as_array).ok_or("the key set has no `keys`")?;
        // Keys of unknown types are ignored, as RFC 7517 demands.
        let keys: Vec<Jwk> =
            keys.iter().filter_map(|key| serde_json::from_value(key.clone()).ok()).collect();
        let count = |rsa: bool| {
            let of = |key: &&Jwk| matches!(key.algorithm, AlgorithmParameters::RSA(_)) == rsa;
            keys.iter().filter(of).count()
        };
        if count(true) > MAX_KEYS || count(false) > MAX_KEYS {
            return Err(format!("more than {MAX_KEYS} keys of one kind"));
        }
        Ok(Self { issuer: issuer.to_owned(), keys: JwkSet { keys } })
    }
}

fn client(setup: &Setup) -> Result<Client, String> {
    let mut builder = Client::builder().timeout(Duration::from_secs(10)).no_proxy();
    if let Some(pem) = &setup.authorities {
        let certificates = Certificate::from_pem_bundle(pem).map_err(|error| error.to_string())?;
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(|error| error.to_string())
}

async fn get(client: &Client, url: &str) -> Result<Value, String> {
    let failed = |error: reqwest::Error| format!("{url}: {error}");
    let response = client.get(url).send().await.map_err(failed)?;
    let response = response.error_for_status().map_err(failed)?;
    let body = response.bytes().await.map_err(failed)?;
    serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))
}
