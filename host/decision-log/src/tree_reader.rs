//! Reads records with the Merkle tree over them, whose roots are compared with those that were signed.

use std::fs;
use std::io;
use std::iter::Peekable;
use std::path::Path;
use std::vec;

use crate::checkpoint::{self, Checkpoint, CheckpointKey};
use crate::merkle::{Node, Peaks, TreeHash, entry};
use crate::reader::{Entry, ReadError, Reader};
use crate::segment::Damage;

/// A record with its entry in the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// The record.
    pub record: Entry,
    /// Its entry in the tree, from which its leaf is hashed.
    pub entry: [u8; crate::merkle::ENTRY_BYTES],
}

/// Reads records in order, each checked against the one before it, and computes the tree. At each signed checkpoint, the
/// record's hash and the tree's root must be those that it has.
pub struct TreeReader {
    reader: Reader,
    /// `None` before the first record is read.
    tree: Option<Peaks>,
    /// The checkpoints file, for the tree at the log's beginning.
    checkpoints: Vec<Checkpoint>,
    due: Peekable<vec::IntoIter<Checkpoint>>,
    last: u64,
    /// The last note, and its checkpoint.
    noted: Option<(Checkpoint, String)>,
}

impl TreeReader {
    /// Begins with the first record of the log in a folder, or with the one after `known`, which is the tree of those
    /// before it. `known` need not be trusted: a tree of other records has another root than the next checkpoint.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or a signed checkpoint is damaged.
    pub fn open(
        folder: &Path,
        key: &dyn CheckpointKey,
        known: Option<Peaks>,
    ) -> Result<Self, ReadError> {
        let file = checkpoint::FILE;
        let bytes = match fs::read(folder.join(file)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(|source| ReadError::Io { file: file.to_owned(), source })?,
        };
        // An incomplete line at the end is being written.
        let mut read = checkpoint::read(&bytes, key);
        if let Some(damage) = read.damage.pop() {
            return Err(ReadError::Damaged(damage));
        }
        let known = known.filter(|tree| tree.size() > 0);
        let from = known.as_ref().map_or(0, Peaks::size);
        let mut checkpoints: Vec<_> = read.signed.into_iter().map(|(_, signed)| signed).collect();
        checkpoints.sort_by_key(|checkpoint| checkpoint.sequence);
        let after = checkpoints.iter().filter(|checkpoint| checkpoint.sequence > from);
        let due: Vec<_> = after.cloned().collect();
        let with_note = |noted: &checkpoint::Noted| noted.checkpoint.note_text().is_some();
        let last = read.noted.into_iter().filter(with_note);
        let last = last.max_by_key(|noted| noted.checkpoint.sequence);
        let noted = match last.map(|noted| noted.note(key).map(|note| (noted.checkpoint, note))) {
            Some(Ok((checkpoint, Some(note)))) => Some((checkpoint, note)),
            Some(Err(problem)) => {
                return Err(ReadError::Damaged(Damage::Checkpoint { line: read.lines, problem }));
            }
            _ => None,
        };
        Ok(Self {
            reader: Reader::new(folder, from + 1),
            tree: known,
            checkpoints,
            due: due.into_iter().peekable(),
            last: 0,
            noted,
        })
    }

    /// The last checkpoint that has a note, with it, as of when the log was opened. All of its signatures are the log's.
    pub fn noted(&self) -> Option<(&Checkpoint, &str)> {
        self.noted.as_ref().map(|(checkpoint, note)| (checkpoint, note.as_str()))
    }

    /// The tree of the records that were read and of those before them; `None` before the first one was read.
    pub fn tree(&self) -> Option<&Peaks> {
        self.tree.as_ref()
    }

    /// Reads the next record; `None` at the end of the log. `seen` gets the full subtrees that were there before the first
    /// record, and then those that each record completes.
    ///
    /// # Errors
    /// Returns an error if the log is damaged at the next record, does not begin with the first one or goes on from the known
    /// tree, or a file cannot be read.
    pub fn read(&mut self, mut seen: impl FnMut(Node)) -> Result<Option<Leaf>, ReadError> {
        let Some(record) = self.reader.read()? else {
            let reached = self.due.clone().last().map(|checkpoint| checkpoint.sequence);
            return match reached {
                Some(sequence) => {
                    Err(ReadError::Damaged(Damage::Lost { last: self.last, sequence }))
                }
                None => Ok(None),
            };
        };
        let mut tree = match self.tree.take() {
            Some(tree) => tree,
            None => self.tree_before(record.sequence)?,
        };
        if tree.size() + 1 != record.sequence {
            return Err(ReadError::Damaged(Damage::Beginning { first: record.sequence }));
        }
        if self.last == 0 {
            tree.nodes().for_each(&mut seen);
        }
        let entry = entry(record.sequence, &record.record, record.hash);
        tree.push(TreeHash::of_leaf(&entry), seen);
        while let Some(due) = self.due.next_if(|due| due.sequence <= record.sequence) {
            if due.sequence < record.sequence {
                continue;
            }
            if due.hash != record.hash.to_string() {
                return Err(ReadError::Damaged(Damage::Rewritten { sequence: record.sequence }));
            }
            if due.tree.is_some_and(|head| head.peaks(tree.size()).as_ref() != Some(&tree)) {
                return Err(ReadError::Damaged(Damage::Tree { sequence: record.sequence }));
            }
        }
        self.last = record.sequence;
        self.tree = Some(tree);
        Ok(Some(Leaf { record, entry }))
    }

    /// The tree of the records before the first one of a log that was pruned, as a checkpoint of that place has it.
    fn tree_before(&self, first: u64) -> Result<Peaks, ReadError> {
        if first == 1 {
            return Ok(Peaks::default());
        }
        let mut before =
            self.checkpoints.iter().filter(|checkpoint| checkpoint.sequence == first - 1);
        before
            .find_map(|checkpoint| checkpoint.tree.as_ref()?.peaks(first - 1))
            .ok_or(ReadError::NoTree { first })
    }
}
