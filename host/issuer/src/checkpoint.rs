//! The key that signs how far the decision log has reached.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_decision_log::CheckpointKey;

use crate::identity::{ForeignKey, ForeignKeySet};
use crate::key::{KeySet, SigningKey};
use crate::signer::Signer;

/// The file beside the log that has the public key of its checkpoints, as a JWK Set.
pub const CHECKPOINT_KEY_FILE: &str = "checkpoint-key.json";

/// Signs checkpoints, and verifies them.
pub struct CheckpointSigner {
    key: SigningKey,
    verifier: CheckpointVerifier,
}

/// Verifies checkpoints with the public key alone.
pub struct CheckpointVerifier {
    kid: String,
    key: std::sync::Arc<ForeignKey>,
}

/// There is no one key that verifies checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a JWK Set with the one key of the checkpoints")]
pub struct CheckpointKeyError;

impl CheckpointSigner {
    /// Signs with this key.
    ///
    /// # Errors
    /// When its public half cannot be used.
    pub fn new(key: SigningKey) -> Result<Self, CheckpointKeyError> {
        let set =
            serde_json::to_vec(&KeySet::new([key.public()])).map_err(|_| CheckpointKeyError)?;
        let verifier = CheckpointVerifier::parse(&set)?;
        Ok(Self { key, verifier })
    }

    /// The public half, as a JWK Set.
    pub fn key_set(&self) -> KeySet {
        KeySet::new([self.key.public()])
    }
}

impl CheckpointVerifier {
    /// From a JWK Set with one key.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(key_set: &[u8]) -> Result<Self, CheckpointKeyError> {
        let set = ForeignKeySet::parse(key_set).map_err(|_| CheckpointKeyError)?;
        let (kid, key) = set.only().ok_or(CheckpointKeyError)?;
        Ok(Self { kid, key })
    }
}

impl CheckpointKey for CheckpointSigner {
    fn kid(&self) -> &str {
        self.key.public().kid()
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        Some(BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(message).ok()?))
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        self.verifier.verify(message, signature)
    }
}

impl CheckpointKey for CheckpointVerifier {
    fn kid(&self) -> &str {
        &self.kid
    }

    fn sign(&self, _: &[u8]) -> Option<String> {
        None
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        BASE64_URL_SAFE_NO_PAD
            .decode(signature)
            .is_ok_and(|signature| self.key.verify(message, &signature))
    }
}
