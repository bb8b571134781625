//! The sources of issuers' keys, and the maximum age of a copy of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use countersign::check_json;
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};

use super::IdentityError;
use super::jwks::{Jwks, MAX_KEY_SET_BYTES, VerificationKey};
use crate::BoxFuture;

/// The seconds after which a key set is fetched again when it is needed.
const FRESH: u64 = 3600;
/// The seconds for which a key set is used that cannot be fetched again.
const USABLE: u64 = 24 * 3600;
/// The minimum of seconds between two attempts: a token with an unknown `kid` costs its issuer no
/// more than this.
const PAUSE: u64 = 10;

/// Fetches documents that an issuer publishes. A trait, since the network is the edge's.
pub trait Fetch: Send + Sync {
    /// The body of the answer at `url`, of at most `limit` bytes.
    fn fetch<'f>(
        &'f self,
        url: &'f str,
        limit: usize,
    ) -> BoxFuture<'f, Result<Vec<u8>, FetchError>>;
}

/// A document that could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {problem}")]
pub struct FetchError {
    /// The URL.
    pub url: String,
    /// The reason.
    pub problem: String,
}

/// The keys of an issuer.
pub enum KeySource {
    /// A key set that does not change.
    Static(Jwks),
    /// The key set that it publishes.
    Published(Published),
}

/// The keys that an issuer publishes, as of the last fetch.
pub struct Published {
    issuer: String,
    /// The URL of the key set; found by discovery where not given.
    jwks_url: Option<String>,
    fetch: Arc<dyn Fetch>,
    known: ArcSwapOption<Known>,
    /// The time of the last attempt; held during one.
    tried: Mutex<Option<u64>>,
    /// True when the last attempt failed.
    failed: AtomicBool,
}

struct Known {
    keys: Jwks,
    fetched: u64,
}

impl KeySource {
    /// The keys that an issuer publishes at `jwks_url`, or where its discovery document says (OpenID Connect
    /// Discovery section 4).
    pub fn published(issuer: String, jwks_url: Option<String>, fetch: Arc<dyn Fetch>) -> Self {
        Self::Published(Published {
            issuer,
            jwks_url,
            fetch,
            known: ArcSwapOption::empty(),
            tried: Mutex::new(None),
            failed: AtomicBool::new(false),
        })
    }

    pub(super) async fn key(
        &self,
        kid: &str,
        now: u64,
    ) -> Result<Arc<VerificationKey>, IdentityError> {
        match self {
            Self::Static(keys) => keys.get(kid).ok_or(IdentityError::Key),
            Self::Published(published) => published.key(kid, now).await,
        }
    }
}

impl Published {
    async fn key(&self, kid: &str, now: u64) -> Result<Arc<VerificationKey>, IdentityError> {
        let known = |age: u64| {
            self.known.load_full().filter(|known| now.saturating_sub(known.fetched) < age)
        };
        let of_kid = |age: u64| known(age).and_then(|known| known.keys.get(kid));
        if let Some(key) = of_kid(FRESH) {
            return Ok(key);
        }
        let usable = known(USABLE).is_some();
        match of_kid(USABLE) {
            // One caller finds out if it is still published; the others need not wait.
            Some(key) => match self.tried.try_lock() {
                Ok(tried) => self.refresh(tried, now).await,
                Err(_) => return Ok(key),
            },
            // While one caller asks for a key that is not known, the others are not kept waiting for an issuer that
            // may not answer.
            None if usable => match self.tried.try_lock() {
                Ok(tried) => self.refresh(tried, now).await,
                Err(_) => return Err(IdentityError::Unavailable),
            },
            None => self.refresh(self.tried.lock().await, now).await,
        }
        let found = known(USABLE).ok_or(IdentityError::Unavailable)?.keys.get(kid);
        // Without an answer of the issuer, a key that is not known may be published all the same.
        let failed = self.failed.load(Ordering::Acquire);
        found.ok_or(if failed { IdentityError::Unavailable } else { IdentityError::Key })
    }

    /// Fetches the keys, unless an attempt was made just before.
    async fn refresh(&self, mut tried: MutexGuard<'_, Option<u64>>, now: u64) {
        if tried.is_some_and(|tried| now < tried + PAUSE) {
            return;
        }
        *tried = Some(now);
        match self.fetch().await {
            Ok(keys) => {
                self.known.store(Some(Arc::new(Known { keys, fetched: now })));
                self.failed.store(false, Ordering::Release);
            }
            Err(problem) => {
                self.failed.store(true, Ordering::Release);
                tracing::warn!(
                    issuer = %self.issuer, %problem,
                    "failed to fetch the JWKS of a trusted issuer"
                );
            }
        }
    }

    async fn fetch(&self) -> Result<Jwks, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let text = self.fetch.fetch(&url, MAX_KEY_SET_BYTES).await?;
        Jwks::parse(&text).map_err(|problem| FetchError { url, problem: problem.to_string() })
    }

    async fn discover(&self) -> Result<String, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        const LIMIT: usize = 64 << 10;
        // Section 4.1: a slash at the end is removed before.
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        let url = format!("{issuer}/.well-known/openid-configuration");
        let error = |problem: &str| FetchError { url: url.clone(), problem: problem.to_owned() };
        let text = self.fetch.fetch(&url, LIMIT).await?;
        check_json(&text, LIMIT, 16).map_err(|problem| error(&problem.to_string()))?;
        let document: Document = serde_json::from_slice(&text)
            .map_err(|_| error("not a discovery document: `issuer` or `jwks_uri` is missing"))?;
        // Section 4.3: otherwise one issuer could speak for another.
        if document.issuer != self.issuer {
            return Err(error("the document has another `issuer`"));
        }
        if !is_secure(&document.jwks_uri) {
            return Err(error("its `jwks_uri` is not https"));
        }
        Ok(document.jwks_uri)
    }
}

/// True for a URL whose answers are authentic: https, or this machine.
pub fn is_secure(url: &str) -> bool {
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| {
        url.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    url.bytes().all(|byte| byte.is_ascii_graphic())
        && !url.contains(['@', '#'])
        && (url.starts_with("https://") || local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_from_https_or_this_machine() {
        for url in [
            "https://a.example/jwks",
            "http://127.0.0.1:80/x",
            "http://localhost",
            "http://[::1]:1",
        ] {
            assert!(is_secure(url), "{url}");
        }
        for url in [
            "http://a.example",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://127.0.0.1:80@evil.example",
            "ftp://a",
            "https://a.example/ x",
            "",
        ] {
            assert!(!is_secure(url), "{url}");
        }
    }
}
