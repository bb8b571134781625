//! Signed checkpoints: proofs of the length that the log once had.

use std::io;

use serde::{Deserialize, Serialize};

use crate::frame::ChainHash;
use crate::log::Position;
use crate::segment::Damage;

/// The file of the checkpoints, one a line.
pub(crate) const FILE: &str = "checkpoints.jsonl";

/// States that the log reached a record, and the chain's hash there.
///
/// Checkpoints are stored beside the segments and worth copying elsewhere: whoever has a copy can detect that the log
/// was truncated or rewritten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The record's sequence.
    pub sequence: u64,
    /// The record's hash, in the text form of [`ChainHash`].
    pub hash: String,
    /// The time of signing, in seconds since 1970.
    pub time: u64,
    /// The id of the signing key.
    pub kid: String,
}

/// Signs and verifies checkpoints.
pub trait CheckpointKey: Send + Sync {
    /// The key's id.
    fn kid(&self) -> &str;

    /// Signs a message, in base64url; `None` if the key cannot sign.
    fn sign(&self, message: &[u8]) -> Option<String>;

    /// Stores a checkpoint outside the log's folder, before it is written to the folder. The default does nothing.
    ///
    /// # Errors
    /// Returns an error if it could not be stored.
    fn keep(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let _ = checkpoint;
        Ok(())
    }

    /// Returns the last checkpoint stored outside the log's folder: a log that has not reached it has lost records.
    ///
    /// # Errors
    /// Returns an error if there is one that cannot be read.
    fn kept(&self) -> io::Result<Option<Checkpoint>> {
        Ok(None)
    }

    /// Verifies a signature of a message.
    fn verify(&self, message: &[u8], signature: &str) -> bool;
}

/// A checkpoint with its signature: one line of the file beside the segments, or a copy that is kept elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedCheckpoint {
    /// The checkpoint.
    pub checkpoint: Checkpoint,
    /// Its signature, in base64url.
    pub signature: String,
}

impl SignedCheckpoint {
    /// Signs that a log has reached a record at `time`, in seconds since 1970. `None` if the key cannot sign.
    pub fn sign(position: Position, time: u64, key: &dyn CheckpointKey) -> Option<Self> {
        let checkpoint = Checkpoint::new(position.sequence, position.hash, time, key);
        let signature = key.sign(&serde_json::to_vec(&checkpoint).ok()?)?;
        Some(Self { checkpoint, signature })
    }

    /// True if the signature is the key's.
    pub fn is_signed_by(&self, key: &dyn CheckpointKey) -> bool {
        self.checkpoint.kid == key.kid()
            && serde_json::to_vec(&self.checkpoint)
                .is_ok_and(|message| key.verify(&message, &self.signature))
    }
}

impl Checkpoint {
    pub(crate) fn new(sequence: u64, hash: ChainHash, time: u64, key: &dyn CheckpointKey) -> Self {
        Self { sequence, hash: hash.to_string(), time, kid: key.kid().to_owned() }
    }

    /// Returns the line to append, with its line break.
    pub(crate) fn signed(self, key: &dyn CheckpointKey) -> Option<Vec<u8>> {
        let signature = key.sign(&serde_json::to_vec(&self).ok()?)?;
        let mut line =
            serde_json::to_vec(&SignedCheckpoint { checkpoint: self, signature }).ok()?;
        line.push(b'\n');
        Some(line)
    }
}

/// The contents of the file: the checkpoints with their lines, counted from 1, and the damage. An end without a line
/// break is an incomplete line that a crash left.
pub(crate) struct Checkpoints {
    pub(crate) signed: Vec<(usize, Checkpoint)>,
    pub(crate) damage: Vec<Damage>,
    /// The number of complete lines.
    pub(crate) lines: usize,
    /// The length of the incomplete line at the end, in bytes.
    pub(crate) unfinished: usize,
}

pub(crate) fn read(bytes: &[u8], key: &dyn CheckpointKey) -> Checkpoints {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, unfinished) = bytes.split_at(whole);
    let (mut signed, mut damage) = (Vec::new(), Vec::new());
    for (index, text) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        match read_line(text, key) {
            Ok(checkpoint) => signed.push((line, checkpoint)),
            Err(problem) => damage.push(Damage::Checkpoint { line, problem }),
        }
    }
    let lines = signed.len() + damage.len();
    Checkpoints { signed, damage, lines, unfinished: unfinished.len() }
}

/// The complete lines of the file whose checkpoints cover no record after `last`, as they are.
pub(crate) fn up_to(bytes: &[u8], last: u64) -> Vec<u8> {
    let is_within = |line: &&[u8]| {
        serde_json::from_slice::<SignedCheckpoint>(line)
            .is_ok_and(|line| line.checkpoint.sequence <= last)
    };
    bytes.split_inclusive(|byte| *byte == b'\n').filter(is_within).flatten().copied().collect()
}

/// The checkpoint of the last line. Its signature is not looked at.
pub(crate) fn last_of(lines: &[u8]) -> Option<Checkpoint> {
    let line = lines.split_inclusive(|byte| *byte == b'\n').next_back()?;
    serde_json::from_slice::<SignedCheckpoint>(line).ok().map(|line| line.checkpoint)
}

fn read_line(text: &[u8], key: &dyn CheckpointKey) -> Result<Checkpoint, &'static str> {
    const NONE: &str = "not a checkpoint";
    let line: SignedCheckpoint = serde_json::from_slice(text).map_err(|_| NONE)?;
    let message = serde_json::to_vec(&line.checkpoint).map_err(|_| NONE)?;
    if line.checkpoint.kid != key.kid() {
        return Err("signed by another key");
    }
    if !key.verify(&message, &line.signature) {
        return Err("the signature is not the key's");
    }
    // Only the canonical text is accepted, so that no byte of the file can change unnoticed.
    let mut canonical = serde_json::to_vec(&line).map_err(|_| NONE)?;
    canonical.push(b'\n');
    if canonical == text { Ok(line.checkpoint) } else { Err(NONE) }
}
