//! The principals that may call the service.

use std::fmt;

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::Digest;
use zeroize::Zeroizing;

use crate::identity::{Permission, TrustedIssuers};
use crate::runners::Runners;
use crate::runs::SecretHash;

/// The prefix of API keys, by which one that was lost is recognised.
const PREFIX: &str = "csk_";

/// The API keys and the issuers that are trusted, with their permissions. Replaced whole when the configuration is
/// reloaded.
#[derive(Default)]
pub struct Authorizer {
    /// Keys of the control plane.
    pub api_keys: Vec<ApiKey>,
    /// Issuers whose tokens are accepted.
    pub trusted: TrustedIssuers,
    /// The runners that are known.
    pub runners: Runners,
    /// Digest of all of it, by which replicas compare theirs; `None` where nobody does.
    pub digest: Option<Digest>,
}

/// A key of the control plane, as it is kept.
#[derive(Debug, Clone)]
pub struct ApiKey {
    /// Its name in logs and records.
    pub name: String,
    /// Its hash.
    pub hash: SecretHash,
    /// The permissions of its holder.
    pub permissions: Vec<Permission>,
    /// Its end, in seconds since 1970, from which on it is not accepted; `None` for no end.
    pub expires_at: Option<u64>,
}

/// A new API key, for its holder. It cannot be printed by accident.
pub struct ApiKeyText(Zeroizing<String>);

impl ApiKeyText {
    /// Makes one of 256 random bits, or `None` when the system's random number generator fails.
    pub fn generate() -> Option<Self> {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut()).ok()?;
        let mut text = Zeroizing::new(PREFIX.to_owned());
        BASE64_URL_SAFE_NO_PAD.encode_string(bytes.as_ref(), &mut text);
        Some(Self(text))
    }

    /// The key, for its holder.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The hash, which is all that is stored.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(self.0.as_bytes())
    }
}

impl fmt::Debug for ApiKeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKeyText([redacted])")
    }
}

impl Authorizer {
    /// True for a text that is meant as an API key.
    pub(crate) fn is_api_key(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// The key that a text is. All are compared, so that the time says nothing about which.
    pub(crate) fn api_key(&self, text: &str) -> Option<&ApiKey> {
        let hash = SecretHash::of(text.as_bytes());
        self.api_keys
            .iter()
            .fold(None, |found, key| if key.hash == hash { Some(key) } else { found })
    }
}
