//! Proofs that anybody verifies offline (C2SP tlog-proof).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use countersign_decision_log::{ENTRY_BYTES, TreeHash};
use sha2::{Digest, Sha256};

use crate::note::{MAX_NOTE_BYTES, Note, NoteError, Verified};
use crate::subtree::{MAX_HASHES, verify_inclusion};
use crate::tree_checkpoint::{TreeCheckpoint, decimal};
use crate::verifier_key::VerifierKey;

/// The maximum length of a proof, in bytes.
pub const MAX_PROOF_BYTES: usize = MAX_NOTE_BYTES + (8 << 10);

const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";

/// The proof that an entry is in a log: the entry, its place, the hashes from there to the root, and the signed checkpoint
/// with that root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The entry: the proof's extra data, which the hashes prove.
    pub entry: [u8; ENTRY_BYTES],
    /// The place of the entry, from 0.
    pub index: u64,
    /// The siblings on its way to the root, from the leaf's on.
    pub hashes: Vec<TreeHash>,
    /// The checkpoint: a signed note.
    pub note: String,
}

/// The content of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// The record's sequence, from 1.
    pub sequence: u64,
    /// The SHA-256 of the record.
    pub record: [u8; 32],
    /// The record's hash in the chain, which covers all records before it.
    pub chain: [u8; 32],
}

/// The outcome of [`Proof::verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvedEntry {
    /// The entry.
    pub entry: LogEntry,
    /// The checkpoint that has it.
    pub checkpoint: TreeCheckpoint,
    /// The log's signatures, by the places of the given keys.
    pub signatures: Vec<Verified>,
}

/// A proof that is none, or does not prove its entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProofError {
    /// It is longer than a proof may be.
    #[error("a proof of more than {MAX_PROOF_BYTES} bytes")]
    TooLong,
    /// It is not of the form.
    #[error("not a proof ({FIRST_LINE}): {problem}")]
    Form {
        /// The reason.
        problem: &'static str,
    },
    /// Its checkpoint is no note, or is not signed by the log.
    #[error("the checkpoint is not the log's")]
    Note(#[source] NoteError),
    /// The note is no checkpoint.
    #[error("the signed note is not a checkpoint: expected an origin, a size and a root")]
    NoCheckpoint,
    /// The checkpoint is of another log than the keys.
    #[error("the checkpoint is of the log `{}`; the given keys are of another", .found.escape_debug())]
    OtherLog {
        /// The origin that it names.
        found: String,
    },
    /// The entry is not in the tree.
    #[error("the entry is not in the log's tree: the entry, its place or a hash was changed")]
    NotIncluded,
    /// The entry is of another record than its place.
    #[error("the entry is of record {sequence}, its place is that of record {}", index + 1)]
    OtherPlace {
        /// The entry's record.
        sequence: u64,
        /// The place, from 0.
        index: u64,
    },
}

impl Proof {
    /// Parses a proof. Nothing of it is true before [`Self::verify`].
    ///
    /// # Errors
    /// Returns an error if it is too long or not of the form.
    pub fn parse(bytes: &[u8]) -> Result<Self, ProofError> {
        let form = |problem| ProofError::Form { problem };
        if bytes.len() > MAX_PROOF_BYTES {
            return Err(ProofError::TooLong);
        }
        let text = std::str::from_utf8(bytes).map_err(|_| form("it is not UTF-8"))?;
        let (head, note) =
            text.split_once("\n\n").ok_or_else(|| form("no empty line before the checkpoint"))?;
        let mut lines = head.split('\n');
        if lines.next() != Some(FIRST_LINE) {
            return Err(form("the first line is another"));
        }
        let extra = lines.next().and_then(|line| line.strip_prefix("extra "));
        let extra = extra.ok_or_else(|| form("no line `extra` with the entry"))?;
        let entry = BASE64_STANDARD.decode(extra).ok();
        let entry = entry.and_then(|entry| entry.try_into().ok());
        let entry = entry.ok_or_else(|| form("`extra` is not base64 of an entry of 72 bytes"))?;
        let index = lines.next().and_then(|line| line.strip_prefix("index "));
        let index = index.and_then(decimal).ok_or_else(|| form("no line `index` with a number"))?;
        let hashes: Option<Vec<_>> = lines.map(TreeHash::parse).collect();
        let hashes = hashes.ok_or_else(|| form("a hash is not base64 of 32 bytes"))?;
        if hashes.len() > MAX_HASHES {
            return Err(form("more than 64 hashes"));
        }
        Ok(Self { entry, index, hashes, note: note.to_owned() })
    }

    /// The origin that the checkpoint names, which nobody has proved: to choose the keys.
    ///
    /// # Errors
    /// Returns an error if the checkpoint is no note of one.
    pub fn unverified_origin(&self) -> Result<String, ProofError> {
        let note = Note::parse(self.note.as_bytes()).map_err(ProofError::Note)?;
        let checkpoint = TreeCheckpoint::parse(note.unverified_text());
        Ok(checkpoint.ok_or(ProofError::NoCheckpoint)?.origin)
    }

    /// Verifies the proof with the keys of a log: that one of them signed the checkpoint, no signature of one is forged, and
    /// the entry is in the checkpoint's tree.
    ///
    /// # Errors
    /// Returns an error if any of that does not hold.
    pub fn verify(&self, keys: &[VerifierKey]) -> Result<ProvedEntry, ProofError> {
        let note = Note::parse(self.note.as_bytes()).map_err(ProofError::Note)?;
        // A witness cosigns any log that it knows: its key is no log's.
        let keys: Vec<_> = keys.iter().filter(|key| !key.is_cosignature()).cloned().collect();
        let (text, signatures) = note.verify(&keys).map_err(ProofError::Note)?;
        let checkpoint = TreeCheckpoint::parse(text).ok_or(ProofError::NoCheckpoint)?;
        let is_own = |verified: &Verified| {
            keys.get(verified.key).is_some_and(|key| key.name() == checkpoint.origin)
        };
        if !signatures.iter().all(is_own) {
            return Err(ProofError::OtherLog { found: checkpoint.origin });
        }
        let (leaf, size, root) = (TreeHash::of_leaf(&self.entry), checkpoint.size, checkpoint.root);
        if !verify_inclusion(leaf, self.index, size, &self.hashes, root) {
            return Err(ProofError::NotIncluded);
        }
        let entry = LogEntry::of(&self.entry);
        // The log's own tree has each record at its place.
        if entry.sequence.checked_sub(1) != Some(self.index) {
            let (sequence, index) = (entry.sequence, self.index);
            return Err(ProofError::OtherPlace { sequence, index });
        }
        Ok(ProvedEntry { entry, checkpoint, signatures })
    }
}

/// The proof as text: the contents of a `.tlog-proof` file.
impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nextra {}", BASE64_STANDARD.encode(self.entry))?;
        writeln!(f, "index {}", self.index)?;
        self.hashes.iter().try_for_each(|hash| writeln!(f, "{hash}"))?;
        write!(f, "\n{}", self.note)
    }
}

impl LogEntry {
    fn of(entry: &[u8; ENTRY_BYTES]) -> Self {
        let field = |from: usize| {
            let mut field = [0; 32];
            field.iter_mut().zip(entry.iter().skip(from)).for_each(|(to, from)| *to = *from);
            field
        };
        let sequence = entry.first_chunk().copied().map_or(0, u64::from_be_bytes);
        Self { sequence, record: field(8), chain: field(40) }
    }

    /// True when these are the bytes of the record.
    pub fn is_of(&self, record: &[u8]) -> bool {
        Sha256::digest(record).as_slice() == self.record
    }
}
