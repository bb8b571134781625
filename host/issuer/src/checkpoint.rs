//! The key that signs the checkpoints of the decision log.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_decision_log::{Checkpoint, CheckpointKey};
use zeroize::Zeroizing;

use crate::identity::{Jwks, VerificationAlgorithm, VerificationKey};
use crate::keys::{KeyFolder, KeyFolderError, write_private};
use countersign_receipts::{Note, NoteSigner, SignerError, VerifierKey, ecdsa_signature};
use countersign_signing::Signer;
use countersign_signing::{KeySet, SigningKey};

/// The file beside the log that has the public key of its checkpoints, as a JWK Set.
pub const CHECKPOINT_KEY_FILE: &str = "checkpoint-key.json";

/// The file beside the log that has the keys of its notes, one vkey (C2SP signed-note) a line: those that sign now first,
/// and then those of before the log was restored.
pub const VERIFIER_KEYS_FILE: &str = "verifier-keys";

/// The file beside the keys that has the private key of the log's notes. A backup does not have it: a log that was
/// restored may go on in another way than before, and so signs under another origin.
const NOTE_KEY_FILE: &str = "log-notes.key";

/// The maximum length of the files of the notes' keys, in bytes.
const MAX_NOTE_KEY_BYTES: u64 = 1 << 20;

/// The file beside the keys that has the last checkpoint: whoever can write to the log only cannot change it.
pub(crate) const LAST_CHECKPOINT_FILE: &str = "last-checkpoint.json";

/// Signs checkpoints, verifies them, and keeps the last one beside its key.
pub struct CheckpointSigner {
    key: SigningKey,
    verifier: CheckpointVerifier,
    last: PathBuf,
    notes: Option<NotesKey>,
}

/// The key of a log's notes, and its vkey.
struct NotesKey {
    signer: NoteSigner,
    vkey: String,
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
    /// The key of the notes cannot be made or read.
    #[error("{file}")]
    Notes {
        /// The file.
        file: String,
        /// The reason.
        #[source]
        source: SignerError,
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
        Ok(Self { key, verifier, last: keys.path().join(LAST_CHECKPOINT_FILE), notes: None })
    }

    /// Signs notes as well, with a key and an origin of this log alone. Only the process that writes the log may do this.
    ///
    /// INVARIANT: a log never signs two notes that are inconsistent. The key is used again only by a log that has it
    /// written beside it and reached a checkpoint that is kept beside the key; any other log (begun anew, restored from a
    /// backup, put back without the checkpoint) gets another key, and with it another origin.
    ///
    /// # Errors
    /// When the key cannot be read or made.
    pub fn with_notes(mut self, keys: &KeyFolder, log: &Path) -> Result<Self, CheckpointKeyError> {
        let (private, public) = (keys.path().join(NOTE_KEY_FILE), log.join(VERIFIER_KEYS_FILE));
        let io_error = |path: &Path| {
            let file = path.display().to_string();
            move |source| CheckpointKeyError::Io { file, source }
        };
        let notes_error = |source| {
            let file = private.display().to_string();
            CheckpointKeyError::Notes { file, source }
        };
        let known = read_text(&public).map_err(io_error(&public))?.unwrap_or_default();
        let kept = self.kept().map_err(io_error(&self.last))?;
        let there = read_text(&private).map_err(io_error(&private))?.map(Zeroizing::new);
        if let Some(text) = there {
            let signer = NoteSigner::parse(text.trim_end()).map_err(notes_error)?;
            let vkey = signer.key().to_string();
            if kept.is_some() && known.lines().next() == Some(&vkey) {
                self.notes = Some(NotesKey { signer, vkey });
                return Ok(self);
            }
        }
        // Of 128 bits of the key, which nobody else has.
        let origin =
            |key: &str| format!("countersign-decision-log/{}", key.get(..32).unwrap_or(key));
        let signer = NoteSigner::generate(origin).map_err(notes_error)?;
        let text = signer.to_private_text().map_err(notes_error)?;
        write_private(&private, text.as_bytes()).map_err(io_error(&private))?;
        let vkey = signer.key().to_string();
        let own = self.verifier.note_key(signer.key().name());
        let own = own.map(|key| format!("{key}\n")).unwrap_or_default();
        let text = format!("{vkey}\n{own}{known}");
        write_private(&public, text.as_bytes()).map_err(io_error(&public))?;
        self.notes = Some(NotesKey { signer, vkey });
        Ok(self)
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

    /// The key as one that signs the notes of a log; `None` if it is not on P-256, or the origin cannot be a name.
    pub fn note_key(&self, origin: &str) -> Option<VerifierKey> {
        VerifierKey::ecdsa(origin, self.key.p256_point()?).ok()
    }
}

/// Reads a text of bounded length, if it is there.
fn read_text(path: &Path) -> io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_NOTE_KEY_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
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

    fn note_key(&self) -> Option<&str> {
        self.notes.as_ref().map(|notes| notes.vkey.as_str())
    }

    fn sign_note(&self, text: &str) -> Option<Vec<String>> {
        let signer = &self.notes.as_ref()?.signer;
        let mut lines = vec![signer.sign(text)];
        if let Some(key) = self.verifier.note_key(signer.key().name()) {
            let signature = self.key.sign(text.as_bytes()).ok()?;
            lines.push(ecdsa_signature(&key, &signature)?);
        }
        Some(lines)
    }

    fn verify_note(&self, note_key: &str, text: &str, signatures: &[String]) -> bool {
        self.verifier.verify_note(note_key, text, signatures)
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
    fn verify_note(&self, note_key: &str, text: &str, signatures: &[String]) -> bool {
        let Ok(key) = VerifierKey::parse(note_key) else { return false };
        let own = self.note_key(key.name());
        let keys: Vec<_> = [key].into_iter().chain(own).collect();
        let lines: String = signatures.iter().map(|line| format!("{line}\n")).collect();
        let note = Note::parse(format!("{text}\n{lines}").as_bytes());
        let verified = note.and_then(|note| note.verify(&keys).map(|(_, verified)| verified));
        // Each key once, in this order, and nothing else.
        verified.is_ok_and(|verified| {
            verified.iter().map(|one| one.key).eq(0..keys.len())
                && verified.iter().map(|one| &one.line).eq(signatures)
        })
    }
}
