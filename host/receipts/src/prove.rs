//! Makes proofs of records of a log.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use countersign_decision_log::{
    CheckpointKey, Entry, Leaf, Node, ReadError, Reader, TreeHash, TreeReader, entry,
};

use crate::proof::Proof;
use crate::subtree::{Subtrees, TreeError, inclusion_proof, verify_inclusion};
use crate::tiles::{Tiles, TilesError};
use crate::tree_checkpoint::TreeCheckpoint;

/// The maximum number of records that are proved at once.
pub const MAX_PROVED: usize = 1000;
/// The maximum size of the records that are proved at once, in bytes.
const MAX_PROVED_BYTES: usize = 256 << 20;

/// The levels of the tree in one tile.
const TILE_LEVELS: u32 = 8;

/// A record and its proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The record's sequence.
    pub sequence: u64,
    /// The record's bytes, whose SHA-256 the entry has.
    pub record: Vec<u8>,
    /// The proof.
    pub proof: Proof,
}

/// A proof that was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProveError {
    /// The log is damaged, or cannot be read.
    #[error(transparent)]
    Log(#[from] ReadError),
    /// No checkpoint of the log has a note.
    #[error(
        "no checkpoint of this log has a signed note yet; a service signs one within a minute, and when it stops"
    )]
    NoNote,
    /// A record came after the last checkpoint.
    #[error(
        "record {sequence} is not covered by a checkpoint yet, the last one is of {size} records; a service signs one within \
         a minute, and when it stops"
    )]
    Uncovered {
        /// The record.
        sequence: u64,
        /// The number of records that the checkpoint covers.
        size: u64,
    },
    /// More records are meant than are proved at once.
    #[error("more than {MAX_PROVED} records, or 256 MiB of them; prove fewer at once")]
    TooMany,
    /// The tiles cannot be used.
    #[error(transparent)]
    Tiles(#[from] TilesError),
    /// A hash is missing.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// The hashes are not those of the signed tree.
    #[error("record {sequence}: the hashes do not lead to the root of the signed checkpoint")]
    OtherTree {
        /// The record.
        sequence: u64,
    },
}

/// Proves the records that `wanted` selects, in order, by the last note of the log in `folder`, or by the checkpoint of
/// `tiles`. Each record on the way is checked against the one before it; `seen` gets its sequence. `key` verifies the log's
/// checkpoints. A record of a pruned log can be proved as long as the log has it. The log is read to its end, so that no
/// record is left out that came after the checkpoint.
///
/// # Errors
/// Returns an error if the log is damaged or cannot be read, or a record is not covered by the checkpoint. No proof is
/// returned that does not lead to the signed root.
pub fn prove(
    folder: &Path,
    key: &dyn CheckpointKey,
    tiles: Option<&mut Tiles>,
    mut wanted: impl FnMut(&Entry) -> bool,
    mut seen: impl FnMut(u64),
) -> Result<Vec<Proved>, ProveError> {
    let mut reader = TreeReader::open(folder, key, None)?;
    let (signed, note) = reader.noted().ok_or(ProveError::NoNote)?;
    let (note_key, text) = signed.note_text().ok_or(ProveError::NoNote)?;
    let (note_key, note) = (note_key.to_owned(), note.to_owned());
    if let Some(tiles) = tiles {
        let (note, checkpoint) = tiles.verified(&note_key)?;
        let found = by_chain(folder, checkpoint.size, wanted, seen)?;
        return finished(found, tiles, &note, &checkpoint);
    }
    let checkpoint = TreeCheckpoint::parse(&text).ok_or(ProveError::NoNote)?;
    let mut nodes =
        Nodes { last_tile: (checkpoint.size.max(1) - 1) >> TILE_LEVELS, ..Nodes::default() };
    let mut found = Found::default();
    while let Some(leaf) = reader.read(|node| nodes.add(node))? {
        seen(leaf.record.sequence);
        if wanted(&leaf.record) {
            nodes.keep(leaf.record.sequence - 1);
            found.add(leaf, checkpoint.size)?;
        }
    }
    nodes.end_tile();
    finished(found, &mut nodes, &note, &checkpoint)
}

/// Finds records by the chain alone.
fn by_chain(
    folder: &Path,
    size: u64,
    mut wanted: impl FnMut(&Entry) -> bool,
    mut seen: impl FnMut(u64),
) -> Result<Found, ProveError> {
    let (mut reader, mut found) = (Reader::new(folder, 1), Found::default());
    while let Some(record) = reader.read()? {
        seen(record.sequence);
        if wanted(&record) {
            let entry = entry(record.sequence, &record.record, record.hash);
            found.add(Leaf { record, entry }, size)?;
        }
    }
    Ok(found)
}

/// Makes the proofs, and verifies each.
fn finished(
    found: Found,
    subtrees: &mut dyn Subtrees,
    note: &str,
    checkpoint: &TreeCheckpoint,
) -> Result<Vec<Proved>, ProveError> {
    let proved = found.leaves.into_iter().map(|leaf| {
        let (sequence, index) = (leaf.record.sequence, leaf.record.sequence - 1);
        let hashes = inclusion_proof(subtrees, index, checkpoint.size)?;
        let hash = TreeHash::of_leaf(&leaf.entry);
        if !verify_inclusion(hash, index, checkpoint.size, &hashes, checkpoint.root) {
            return Err(ProveError::OtherTree { sequence });
        }
        let proof = Proof { entry: leaf.entry, index, hashes, note: note.to_owned() };
        Ok(Proved { sequence, record: leaf.record.record, proof })
    });
    proved.collect()
}

/// The records that are to be proved.
#[derive(Default)]
struct Found {
    leaves: Vec<Leaf>,
    bytes: usize,
}

impl Found {
    fn add(&mut self, leaf: Leaf, size: u64) -> Result<(), ProveError> {
        let sequence = leaf.record.sequence;
        if sequence > size {
            return Err(ProveError::Uncovered { sequence, size });
        }
        self.bytes += leaf.record.record.len();
        self.leaves.push(leaf);
        if self.leaves.len() > MAX_PROVED || self.bytes > MAX_PROVED_BYTES {
            return Err(ProveError::TooMany);
        }
        Ok(())
    }
}

/// The nodes that proofs of some leaves need: half a byte for each leaf, and all of the tiles with those leaves.
#[derive(Default)]
struct Nodes {
    known: HashMap<(u32, u64), TreeHash>,
    /// Those below the root of the tile that is being read.
    tile: Vec<Node>,
    /// That tile.
    place: u64,
    kept: BTreeSet<u64>,
    /// The tile with the last leaf of the checkpoint, which is needed where it is not full.
    last_tile: u64,
}

impl Nodes {
    fn add(&mut self, node: Node) {
        if node.level >= TILE_LEVELS {
            self.known.insert((node.level, node.index), node.hash);
            return;
        }
        let place = (node.index << node.level) >> TILE_LEVELS;
        if place != self.place {
            self.end_tile();
            self.place = place;
        }
        self.tile.push(node);
    }

    fn keep(&mut self, leaf: u64) {
        self.kept.insert(leaf >> TILE_LEVELS);
    }

    fn end_tile(&mut self) {
        if self.kept.contains(&self.place) || self.place == self.last_tile {
            let nodes = self.tile.iter().map(|node| ((node.level, node.index), node.hash));
            self.known.extend(nodes);
        }
        self.tile.clear();
    }
}

impl Subtrees for Nodes {
    fn node(&mut self, level: u32, index: u64) -> Result<Option<TreeHash>, TreeError> {
        Ok(self.known.get(&(level, index)).copied())
    }
}
