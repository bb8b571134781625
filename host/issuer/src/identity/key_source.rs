//! Where the keys of an issuer are, and how old what is known of them may be.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use countersign::check_json;
use serde::Deserialize;
use tokio::sync::{Mutex, MutexGuard};

use super::IdentityError;
use super::foreign_keys::{ForeignKey, ForeignKeySet, MAX_KEY_SET_BYTES};

/// After how many seconds a key set is fetched again when it is needed.
const FRESH: u64 = 3600;
/// For how many seconds one is used that cannot be fetched again.
const USABLE: u64 = 24 * 3600;
/// How many seconds lie between two attempts at least: a token with an unknown `kid` costs its issuer no
/// more than this.
const PAUSE: u64 = 10;

/// Fetches what an issuer publishes. A trait, since the network is the edge's.
pub trait Fetch: Send + Sync {
    /// The body of what `url` answers, of at most `limit` bytes.
    fn fetch<'f>(
        &'f self,
        url: &'f str,
        limit: usize,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<u8>, FetchError>> + Send + 'f>>;
}

/// Something could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {problem}")]
pub struct FetchError {
    /// What.
    pub url: String,
    /// Why not.
    pub problem: String,
}

/// The keys of an issuer.
pub enum KeySource {
    /// These.
    Fixed(ForeignKeySet),
    /// Those that it publishes.
    Published(Published),
}

/// The keys that an issuer publishes, as they were when they were last fetched.
pub struct Published {
    issuer: String,
    /// Where the key set is; found by discovery where not given.
    jwks_url: Option<String>,
    fetch: Arc<dyn Fetch>,
    known: ArcSwapOption<Known>,
    /// When it was last tried; held while it is being tried.
    tried: Mutex<Option<u64>>,
    /// Whether the last attempt failed.
    failed: AtomicBool,
}

struct Known {
    keys: ForeignKeySet,
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

    pub(super) async fn key(&self, kid: &str, now: u64) -> Result<Arc<ForeignKey>, IdentityError> {
        match self {
            Self::Fixed(keys) => keys.get(kid).ok_or(IdentityError::Key),
            Self::Published(published) => published.key(kid, now).await,
        }
    }
}

impl Published {
    async fn key(&self, kid: &str, now: u64) -> Result<Arc<ForeignKey>, IdentityError> {
        let known = |age: u64| {
            self.known.load_full().filter(|known| now.saturating_sub(known.fetched) < age)
        };
        let of_kid = |age: u64| known(age).and_then(|known| known.keys.get(kid));
        if let Some(key) = of_kid(FRESH) {
            return Ok(key);
        }
        let usable = known(USABLE).is_some();
        match of_kid(USABLE) {
            // One caller asks whether it is still published; the others need not wait.
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
        // Whether a key that is not known is published cannot be said when it could not be asked.
        let failed = self.failed.load(Ordering::Acquire);
        found.ok_or(if failed { IdentityError::Unavailable } else { IdentityError::Key })
    }

    /// Fetches the keys, if that was not just tried.
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
                    "the keys of a trusted issuer could not be fetched"
                );
            }
        }
    }

    async fn fetch(&self) -> Result<ForeignKeySet, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let text = self.fetch.fetch(&url, MAX_KEY_SET_BYTES).await?;
        ForeignKeySet::parse(&text)
            .map_err(|problem| FetchError { url, problem: problem.to_string() })
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
            return Err(error("the document's `issuer` is another one"));
        }
        if !is_secure(&document.jwks_uri) {
            return Err(error("its `jwks_uri` is not https"));
        }
        Ok(document.jwks_uri)
    }
}

/// Whether what is fetched from there can be believed: https, or this machine.
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
