//! The sources of issuers' keys.

use std::sync::Arc;

use super::IdentityError;
use super::jwks::{Jwks, NoKey};
use super::published::Published;
use super::verification_key::{VerificationAlgorithm, VerificationKey};
use crate::BoxFuture;

/// Fetches documents that an issuer publishes. A trait, since the network is the edge's.
pub trait Fetch: Send + Sync {
    /// The document at `url`, of at most `limit` bytes.
    fn fetch<'f>(
        &'f self,
        url: &'f str,
        limit: usize,
    ) -> BoxFuture<'f, Result<FetchedDocument, FetchError>>;
}

/// A document that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedDocument {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The seconds for which its server says that it stays good (RFC 9111 section 4.2): 0 where it must not be kept.
    pub fresh_seconds: Option<u64>,
}

/// A document that could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{url}: {problem}")]
pub struct FetchError {
    /// The URL.
    pub url: String,
    /// The kind of the reason.
    pub kind: FetchErrorKind,
    /// The reason, with its causes.
    pub problem: String,
}

/// The kind of the reason that a document could not be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchErrorKind {
    /// There was no whole answer in time.
    Timeout,
    /// There was no connection: no such name, refused, or a certificate that is not trusted.
    Connection,
    /// The connection broke before the whole answer was there.
    Broken,
    /// The server answered with another status than 200.
    Status,
    /// The answer is not the expected document, or has nothing that can be used.
    Document,
    /// The bearer token for the request could not be read.
    Token,
}

impl FetchErrorKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Timeout, Self::Connection, Self::Broken, Self::Status, Self::Document, Self::Token];

    /// The word that metrics have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Connection => "connection",
            Self::Broken => "broken",
            Self::Status => "status",
            Self::Document => "document",
            Self::Token => "token",
        }
    }
}

/// The keys of an issuer.
pub enum KeySource {
    /// A key set that does not change.
    Static(Jwks),
    /// The key set that it publishes.
    Published(Arc<Published>),
}

/// The key that a token names.
#[derive(Debug, Clone, Copy)]
pub(super) struct WantedKey<'t> {
    pub(super) kid: Option<&'t str>,
    pub(super) algorithm: VerificationAlgorithm,
}

/// The key for a token.
pub(super) struct FoundKey {
    pub(super) key: Arc<VerificationKey>,
    /// True when no newer one can be published: it was fetched for this token, or does not change.
    pub(super) is_current: bool,
}

impl KeySource {
    /// The keys that an issuer publishes at `jwks_url`, or where its discovery document says (OpenID Connect
    /// Discovery section 4).
    pub fn published(issuer: String, jwks_url: Option<String>, fetch: Arc<dyn Fetch>) -> Self {
        Self::Published(Arc::new(Published::new(issuer, jwks_url, fetch)))
    }

    /// Fetches the keys now, however old those are that are known; those stay where it fails. A key that is not
    /// published any more is no longer accepted afterwards.
    ///
    /// # Errors
    /// When they cannot be fetched.
    pub async fn refetch(&self, now: u64) -> Result<Jwks, FetchError> {
        match self {
            Self::Static(keys) => Ok(keys.clone()),
            Self::Published(published) => published.refetch(now).await,
        }
    }

    /// The source of keys that can change.
    pub(crate) fn changing(&self) -> Option<&Arc<Published>> {
        match self {
            Self::Static(_) => None,
            Self::Published(published) => Some(published),
        }
    }

    /// The key for a token. May wait for the issuer.
    pub(super) async fn key(
        &self,
        wanted: WantedKey<'_>,
        now: u64,
    ) -> Result<FoundKey, IdentityError> {
        match self {
            Self::Static(keys) => Ok(FoundKey { key: keys.select(wanted)?, is_current: true }),
            Self::Published(published) => published.key(wanted, now).await,
        }
    }

    /// The key for a token whose signature is not that of the key that is known: the issuer may have another now. `None`
    /// where it has not.
    pub(super) async fn newer_key(
        &self,
        wanted: WantedKey<'_>,
        known: &VerificationKey,
        now: u64,
    ) -> Result<Option<Arc<VerificationKey>>, IdentityError> {
        match self {
            Self::Static(_) => Ok(None),
            Self::Published(published) => published.newer_key(wanted, known, now).await,
        }
    }
}

impl From<NoKey> for IdentityError {
    fn from(reason: NoKey) -> Self {
        match reason {
            NoKey::Unknown => Self::Key,
            NoKey::Unfit(reason) => Self::UnfitKey(reason),
        }
    }
}

/// True for a URL whose answers are authentic: https, or this machine.
pub fn is_secure(url: &str) -> bool {
    let local = ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|local| {
        url.strip_prefix(local).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/']))
    });
    url.bytes().all(|byte| byte.is_ascii_graphic())
        && !url.contains(['@', '#', '\\'])
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
            "http://localhost:\\evil.example",
            "ftp://a",
            "https://a.example/ x",
            "",
        ] {
            assert!(!is_secure(url), "{url}");
        }
    }
}
