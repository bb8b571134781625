//! How far the log once reached, signed.

use std::io;

use serde::{Deserialize, Serialize};

use crate::frame::ChainHash;
use crate::segment::Damage;

/// The file that they are in, one a line.
pub(crate) const FILE: &str = "checkpoints.jsonl";

/// Says that the log reached a record, and what the chain's hash was there.
///
/// Kept beside the segments, and worth copying elsewhere: whoever has one can tell that a log which was
/// cut off or rewritten is not the one that it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// The record.
    pub sequence: u64,
    /// Its hash, as [`ChainHash`] is written.
    pub hash: String,
    /// When, in seconds since 1970.
    pub time: u64,
    /// Which key signed it.
    pub kid: String,
}

/// Signs checkpoints, and tells whether one was signed by it.
pub trait CheckpointKey: Send + Sync {
    /// The name of the key.
    fn kid(&self) -> &str;

    /// The signature of a message, in base64url; `None` when there can be none.
    fn sign(&self, message: &[u8]) -> Option<String>;

    /// Keeps a checkpoint elsewhere, before it is in the log's folder. Does nothing unless an implementation
    /// does.
    ///
    /// # Errors
    /// When it could not be kept.
    fn keep(&self, checkpoint: &Checkpoint) -> io::Result<()> {
        let _ = checkpoint;
        Ok(())
    }

    /// The last checkpoint that was kept elsewhere: a log that has not reached it has lost records.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    fn kept(&self) -> io::Result<Option<Checkpoint>> {
        Ok(None)
    }

    /// Whether this is the key's signature of the message.
    fn verify(&self, message: &[u8], signature: &str) -> bool;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    checkpoint: Checkpoint,
    signature: String,
}

impl Checkpoint {
    pub(crate) fn new(sequence: u64, hash: ChainHash, time: u64, key: &dyn CheckpointKey) -> Self {
        Self { sequence, hash: hash.to_string(), time, kid: key.kid().to_owned() }
    }

    /// The line to append, with its line break.
    pub(crate) fn signed(self, key: &dyn CheckpointKey) -> Option<Vec<u8>> {
        let signature = key.sign(&serde_json::to_vec(&self).ok()?)?;
        let mut line = serde_json::to_vec(&Line { checkpoint: self, signature }).ok()?;
        line.push(b'\n');
        Some(line)
    }
}

/// What the file holds: the checkpoints with their lines, counted from 1, and what is wrong. An end
/// without a line break is what a crash left.
pub(crate) struct Checkpoints {
    pub(crate) signed: Vec<(usize, Checkpoint)>,
    pub(crate) damage: Vec<Damage>,
    /// How many whole lines there are.
    pub(crate) lines: usize,
    /// How many bytes at the end are no whole line.
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

fn read_line(text: &[u8], key: &dyn CheckpointKey) -> Result<Checkpoint, &'static str> {
    const NONE: &str = "not a checkpoint";
    let line: Line = serde_json::from_slice(text).map_err(|_| NONE)?;
    let message = serde_json::to_vec(&line.checkpoint).map_err(|_| NONE)?;
    if line.checkpoint.kid != key.kid() {
        return Err("signed by another key");
    }
    if !key.verify(&message, &line.signature) {
        return Err("the signature is not the key's");
    }
    // One text for one checkpoint: nothing about it can be changed unseen.
    let mut canonical = serde_json::to_vec(&line).map_err(|_| NONE)?;
    canonical.push(b'\n');
    if canonical == text { Ok(line.checkpoint) } else { Err(NONE) }
}
