//! Private keys that are encrypted where they are kept, by a key that is elsewhere.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_signing::{Algorithm, PublicKey, Signer, SigningKey};
use tokio::runtime::Handle;
use zeroize::Zeroizing;

use super::custody::{CustodyError, KeyCustody};
use crate::store::{PostgresStore, StoreError};

/// The first byte of what is sealed: AES-256-GCM with a random nonce of 12 bytes, which follows it.
const FORM: u8 = 1;
const NONCE_BYTES: usize = 12;
const CUSTODY: &str = "the database";

/// Encrypts private keys (AES-256-GCM), each for its `kid`: one cannot be put in the place of another.
pub struct KeySealer(RandomizedNonceKey);

/// A text that is not the key of a sealer, or what is no key that was sealed by it. The message has nothing of either.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The text is not 32 bytes in base64.
    #[error("expected 32 random bytes in base64, such as `openssl rand -base64 32` prints")]
    Text,
    /// It was sealed by another key, for another `kid`, or was changed since.
    #[error(
        "it was sealed by another key than that of `keys.sealing-key-file`, or was changed since"
    )]
    Other,
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomness,
}

impl KeySealer {
    /// By 32 random bytes in base64, with a line break or without one.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &[u8]) -> Result<Self, SealError> {
        let text = std::str::from_utf8(text).map_err(|_| SealError::Text)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let bytes = BASE64_STANDARD.decode(text.strip_suffix('\r').unwrap_or(text));
        let bytes = Zeroizing::new(bytes.map_err(|_| SealError::Text)?);
        // Of one byte 32 times is what somebody typed.
        if bytes.len() != 32 || bytes.windows(2).all(|pair| pair.first() == pair.last()) {
            return Err(SealError::Text);
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes).map_err(|_| SealError::Text)?;
        Ok(Self(key))
    }

    /// Seals the private key of a `kid`.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn seal(&self, kid: &str, key: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut sealed = key.to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(bound_to(kid)), &mut sealed);
        let nonce = nonce.map_err(|_| SealError::NoRandomness)?;
        Ok([&[FORM][..], nonce.as_ref(), &sealed].concat())
    }

    /// Opens what was sealed for a `kid`.
    ///
    /// # Errors
    /// When it was not.
    pub fn open(&self, kid: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, SealError> {
        let (form, rest) = sealed.split_first().ok_or(SealError::Other)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_BYTES).ok_or(SealError::Other)?;
        if *form != FORM {
            return Err(SealError::Other);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Other)?;
        let mut key = Zeroizing::new(sealed.to_vec());
        let opened = self.0.open_in_place(nonce, Aad::from(bound_to(kid)), &mut key);
        let length = opened.map_err(|_| SealError::Other)?.len();
        key.truncate(length);
        Ok(key)
    }
}

impl fmt::Debug for KeySealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySealer([redacted])")
    }
}

/// Keys in the database that replicas share, each sealed.
pub struct SealedKeys {
    store: Arc<PostgresStore>,
    sealer: KeySealer,
    runtime: Handle,
}

impl SealedKeys {
    /// The keys in a store. The runtime is the one that the store is used on; keys are used on none of its threads.
    pub fn new(store: Arc<PostgresStore>, sealer: KeySealer, runtime: Handle) -> Self {
        Self { store, sealer, runtime }
    }

    fn wait<T>(
        &self,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, CustodyError> {
        self.runtime.block_on(work).map_err(failed)
    }
}

impl KeyCustody for SealedKeys {
    fn list(&self) -> Result<Vec<String>, CustodyError> {
        self.wait(self.store.sealed_keys())
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, CustodyError> {
        let (key, text) = SigningKey::generate(algorithm).map_err(failed)?;
        let kid = key.public().kid();
        let sealed = self.sealer.seal(kid, text.expose().as_bytes()).map_err(failed)?;
        self.wait(self.store.keep_sealed_key(kid, &sealed))?;
        Ok(key.public().clone())
    }

    fn signer(&self, kid: &str) -> Result<Arc<dyn Signer>, CustodyError> {
        let sealed = self.wait(self.store.sealed_key(kid))?;
        let sealed = sealed.ok_or_else(|| CustodyError::Missing {
            custody: CUSTODY.to_owned(),
            kid: kid.escape_debug().take(64).collect(),
        })?;
        let text = self.sealer.open(kid, &sealed).map_err(failed)?;
        let key = SigningKey::from_pem(&text).map_err(failed)?;
        if key.public().kid() != kid {
            return Err(failed(SealError::Other));
        }
        Ok(Arc::new(key))
    }

    fn destroy(&self, kid: &str) -> Result<(), CustodyError> {
        self.wait(self.store.remove_sealed_key(kid))
    }
}

fn bound_to(kid: &str) -> Vec<u8> {
    [b"countersign signing key\0", kid.as_bytes()].concat()
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> CustodyError {
    CustodyError::Failed { custody: CUSTODY.to_owned(), source: Box::new(error) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const KEY: &[u8] = b"MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";

    #[test]
    fn a_key_is_opened_for_its_kid_by_its_sealer_alone() {
        let sealer = KeySealer::parse(KEY).unwrap();
        let sealed = sealer.seal("kid", b"a private key").unwrap();
        assert!(!sealed.windows(7).any(|part| part == b"private"));
        assert_eq!(*sealer.open("kid", &sealed).unwrap(), b"a private key");
        assert_ne!(sealed, sealer.seal("kid", b"a private key").unwrap());
        assert_eq!(sealer.open("dik", &sealed), Err(SealError::Other));
        let other = KeySealer::parse(b"YTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap();
        assert_eq!(other.open("kid", &sealed), Err(SealError::Other));
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed.get_mut(at).map(|byte| *byte ^= 1).unwrap();
            assert_eq!(sealer.open("kid", &changed), Err(SealError::Other), "{at}");
            let cut = sealed.get(..at).unwrap();
            assert_eq!(sealer.open("kid", cut), Err(SealError::Other), "{at}");
        }
        assert_eq!(format!("{sealer:?}"), "KeySealer([redacted])");
    }

    #[test]
    fn a_sealer_has_32_random_bytes() {
        for bad in [
            "",
            "secret",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZQ==",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            " MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n\n",
        ] {
            assert_eq!(KeySealer::parse(bad.as_bytes()).err(), Some(SealError::Text), "{bad}");
        }
        assert_eq!(KeySealer::parse(b"\xff").err(), Some(SealError::Text));
    }
}
