//! Signed checkpoints: proofs of the length that the log once had.

use std::io;

use serde::{Deserialize, Serialize};

use crate::frame::ChainHash;
use crate::log::Position;
use crate::merkle::{Peaks, TreeHash};
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
    /// The Merkle tree over all records up to this one; `None` where the log was pruned before it had a tree.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tree: Option<TreeHead>,
}

/// The Merkle tree of a checkpoint: its size is the checkpoint's sequence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TreeHead {
    /// The root, in base64.
    pub root: String,
    /// The roots of the largest full subtrees, from the left, in base64: the tree goes on from them.
    pub peaks: Vec<String>,
    /// The key of the checkpoint's note, as a vkey of C2SP's signed-note, whose name is the log's origin; `None` where there
    /// is no note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl TreeHead {
    fn new(peaks: &Peaks, key: Option<&str>) -> Self {
        Self {
            root: peaks.root().to_string(),
            peaks: peaks.hashes().iter().map(TreeHash::to_string).collect(),
            key: key.map(str::to_owned),
        }
    }

    /// The peaks of the tree of `size` leaves, if they are of its root.
    pub fn peaks(&self, size: u64) -> Option<Peaks> {
        let hashes: Option<_> = self.peaks.iter().map(|hash| TreeHash::parse(hash)).collect();
        let peaks = Peaks::new(size, hashes?)?;
        (peaks.root().to_string() == self.root).then_some(peaks)
    }
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

    /// The key that signs notes, as a vkey of C2SP's signed-note: `NAME+ID+KEY`, whose name is the log's origin. The
    /// default signs none.
    fn note_key(&self) -> Option<&str> {
        None
    }

    /// Signs the text of a note. Returns its signature lines, without line breaks; `None` if the key cannot sign.
    fn sign_note(&self, text: &str) -> Option<Vec<String>> {
        let _ = text;
        None
    }

    /// Verifies every signature line of a note, where `note_key` is the key that the signed checkpoint names.
    fn verify_note(&self, note_key: &str, text: &str, signatures: &[String]) -> bool {
        let _ = (note_key, text, signatures);
        false
    }
}

/// A checkpoint with its signature: a copy that is kept elsewhere than beside the segments. It has no tree.
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
        let checkpoint = Checkpoint::new(position.sequence, position.hash, None, time, key);
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

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    checkpoint: Checkpoint,
    signature: String,
    /// The signature lines of the note.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    note: Vec<String>,
}

impl Checkpoint {
    pub(crate) fn new(
        sequence: u64,
        hash: ChainHash,
        tree: Option<&Peaks>,
        time: u64,
        key: &dyn CheckpointKey,
    ) -> Self {
        let tree = tree.map(|peaks| TreeHead::new(peaks, key.note_key()));
        Self { sequence, hash: hash.to_string(), time, kid: key.kid().to_owned(), tree }
    }

    /// The text of the checkpoint's note (C2SP tlog-checkpoint), and the key that signs it.
    pub fn note_text(&self) -> Option<(&str, String)> {
        let tree = self.tree.as_ref()?;
        let key = tree.key.as_deref()?;
        let (origin, _) = key.split_once('+')?;
        Some((key, format!("{origin}\n{}\n{}\n", self.sequence, tree.root)))
    }

    /// Returns the line to append, with its line break.
    pub(crate) fn signed(self, key: &dyn CheckpointKey) -> Option<Vec<u8>> {
        let signature = key.sign(&serde_json::to_vec(&self).ok()?)?;
        let note = match self.note_text() {
            Some((_, text)) => key.sign_note(&text)?,
            None => Vec::new(),
        };
        let mut line = serde_json::to_vec(&Line { checkpoint: self, signature, note }).ok()?;
        line.push(b'\n');
        Some(line)
    }
}

/// A signed checkpoint of a log, with the signatures of its note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Noted {
    /// The checkpoint.
    pub(crate) checkpoint: Checkpoint,
    signatures: Vec<String>,
}

impl Noted {
    /// The note of the checkpoint's tree (C2SP tlog-checkpoint) with all signatures, each of which is the log's; `None`
    /// where it has none.
    ///
    /// # Errors
    /// Returns the reason that it is not as the log signed it.
    pub(crate) fn note(&self, key: &dyn CheckpointKey) -> Result<Option<String>, &'static str> {
        let Some((note_key, text)) = self.checkpoint.note_text() else {
            return if self.signatures.is_empty() {
                Ok(None)
            } else {
                Err("it has signatures of a note, and no key of them")
            };
        };
        if !key.verify_note(note_key, &text, &self.signatures) {
            return Err("a signature of the note is not the log's");
        }
        let lines = self.signatures.iter().map(|line| format!("{line}\n"));
        Ok(Some(lines.fold(format!("{text}\n"), |note, line| note + &line)))
    }
}

/// The contents of the file: the checkpoints with their lines, counted from 1, and the damage. An end without a line
/// break is an incomplete line that a crash left.
pub(crate) struct Checkpoints {
    pub(crate) signed: Vec<(usize, Checkpoint)>,
    /// The same with their notes, whose signatures were not looked at: those of all take longer to verify than the records.
    pub(crate) noted: Vec<Noted>,
    pub(crate) damage: Vec<Damage>,
    /// The number of complete lines.
    pub(crate) lines: usize,
    /// The length of the incomplete line at the end, in bytes.
    pub(crate) unfinished: usize,
}

pub(crate) fn read(bytes: &[u8], key: &dyn CheckpointKey) -> Checkpoints {
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, unfinished) = bytes.split_at(whole);
    let (mut signed, mut noted, mut damage) = (Vec::new(), Vec::new(), Vec::new());
    for (index, text) in lines.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let line = index + 1;
        match read_line(text, key) {
            Ok(one) => {
                signed.push((line, one.checkpoint.clone()));
                noted.push(one);
            }
            Err(problem) => damage.push(Damage::Checkpoint { line, problem }),
        }
    }
    let lines = signed.len() + damage.len();
    Checkpoints { signed, noted, damage, lines, unfinished: unfinished.len() }
}

/// The complete lines of the file whose checkpoints cover no record after `last`, as they are.
pub(crate) fn up_to(bytes: &[u8], last: u64) -> Vec<u8> {
    let is_within = |line: &&[u8]| {
        serde_json::from_slice::<Line>(line).is_ok_and(|line| line.checkpoint.sequence <= last)
    };
    bytes.split_inclusive(|byte| *byte == b'\n').filter(is_within).flatten().copied().collect()
}

/// The tree that a signed checkpoint has of the records up to `sequence`.
pub(crate) fn tree_at(bytes: &[u8], key: &dyn CheckpointKey, sequence: u64) -> Option<Peaks> {
    let signed = read(bytes, key).signed;
    let mut at = signed.iter().filter(|(_, checkpoint)| checkpoint.sequence == sequence);
    at.find_map(|(_, checkpoint)| checkpoint.tree.as_ref()?.peaks(sequence))
}

/// The checkpoint of the last line. Its signature is not looked at.
pub(crate) fn last_of(lines: &[u8]) -> Option<Checkpoint> {
    let line = lines.split_inclusive(|byte| *byte == b'\n').next_back()?;
    serde_json::from_slice::<Line>(line).ok().map(|line| line.checkpoint)
}

fn read_line(text: &[u8], key: &dyn CheckpointKey) -> Result<Noted, &'static str> {
    const NONE: &str = "not a checkpoint";
    let line: Line = serde_json::from_slice(text).map_err(|_| NONE)?;
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
    if canonical != text {
        return Err(NONE);
    }
    let tree = line.checkpoint.tree.as_ref();
    if tree.is_some_and(|tree| tree.peaks(line.checkpoint.sequence).is_none()) {
        return Err("the peaks of the tree are not of its root");
    }
    Ok(Noted { checkpoint: line.checkpoint, signatures: line.note })
}
