//! The key that signs the checkpoints of the decision log.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_decision_log::{Checkpoint, CheckpointKey};

use crate::identity::{Jwks, VerificationAlgorithm, VerificationKey};
use crate::keys::{KeyFolder, KeyFolderError, write_private};
use countersign_signing::Signer;
use countersign_signing::{KeySet, SigningKey};

/// The file beside the log that has the public key of its checkpoints, as a JWK Set.
pub const CHECKPOINT_KEY_FILE: &str = "checkpoint-key.json";

/// The file beside the keys that has the last checkpoint: whoever can write to the log only cannot change it.
pub(crate) const LAST_CHECKPOINT_FILE: &str = "last-checkpoint.json";

/// Signs checkpoints, verifies them, and keeps the last one beside its key.
pub struct CheckpointSigner {
    key: SigningKey,
    verifier: CheckpointVerifier,
    last: PathBuf,
}

/// Verifies checkpoints with the public key alone.
pub struct CheckpointVerifier {
    kid: String,
    algorithm: VerificationAlgorithm,
    key: Arc<VerificationKey>,
}

/// Checkpoints that can be neither signed nor verified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointKeyError {
    /// There is no one key.
    #[error("expected a JWK Set with the one key of the checkpoints")]
    Key,
    /// The key cannot be read or made.
    #[error(transparent)]
    Folder(#[from] KeyFolderError),
    /// A file could not be read or written.
    #[error("{file}")]
    Io {
        /// The file.
        file: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// The log has another key than the one that was given.
    #[error("{file}: the log's checkpoints were signed with another key")]
    OtherKey {
        /// The file with the log's key.
        file: String,
    },
}

impl CheckpointSigner {
    /// The key of a log, made where there is none. Its public half is put beside the log.
    ///
    /// # Errors
    /// When it cannot be read or made, or the log has another one.
    pub fn open(keys: &KeyFolder, log: &Path) -> Result<Self, CheckpointKeyError> {
        let key = keys.key_of_its_own("checkpoint")?;
        let set = serde_json::to_vec(&KeySet::new([key.public()]))
            .map_err(|_| CheckpointKeyError::Key)?;
        let path = log.join(CHECKPOINT_KEY_FILE);
        let io_error = |source| CheckpointKeyError::Io { file: path.display().to_string(), source };
        match fs::read(&path) {
            Ok(there) if there == set => {}
            Ok(_) => return Err(CheckpointKeyError::OtherKey { file: path.display().to_string() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                write_private(&path, &set).map_err(io_error)?;
            }
            Err(error) => return Err(io_error(error)),
        }
        let verifier = CheckpointVerifier::parse(&set)?;
        Ok(Self { key, verifier, last: keys.path().join(LAST_CHECKPOINT_FILE) })
    }

    /// The time of the last checkpoint, in seconds since 1970: no clock that is right is before it.
    ///
    /// # Errors
    /// When the last checkpoint cannot be read.
    pub fn last_signed(&self) -> Result<Option<u64>, CheckpointKeyError> {
        let kept = self.kept().map_err(|source| {
            let file = self.last.display().to_string();
            CheckpointKeyError::Io { file, source }
        })?;
        Ok(kept.map(|checkpoint| checkpoint.time))
    }
}

impl CheckpointVerifier {
    /// From a JWK Set with one key.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(key_set: &[u8]) -> Result<Self, CheckpointKeyError> {
        let set = Jwks::parse(key_set).map_err(|_| CheckpointKeyError::Key)?;
        let (kid, key) = set.only().ok_or(CheckpointKeyError::Key)?;
        let algorithm = key.algorithms().next().ok_or(CheckpointKeyError::Key)?;
        Ok(Self { kid, algorithm, key })
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

    fn keep(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        write_private(&self.last, &serde_json::to_vec(checkpoint)?)
    }

    fn kept(&self) -> io::Result<Option<Checkpoint>> {
        match fs::read(&self.last) {
            Ok(text) => Ok(Some(serde_json::from_slice(&text)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
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
            .is_ok_and(|signature| self.key.verify(self.algorithm, message, &signature))
    }
}
