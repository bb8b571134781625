//! Removes old segments, and says so in a signed statement: a log that begins later is then told from one whose beginning
//! was lost.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::checkpoint::{self, CheckpointKey};
use crate::disk::{self, Disk, write_private};
use crate::frame::ChainHash;
use crate::segment::{self, Heading, segments};

/// The file of the statement.
pub(crate) const FILE: &str = "pruned.json";

/// The maximum length of the statement, in bytes.
const MAX_BYTES: usize = 4096;

/// States that the records before one were removed on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pruned {
    /// The first record that was kept.
    pub first: u64,
    /// The hash of the record before it, in the text form of [`ChainHash`](crate::ChainHash).
    pub before: String,
    /// The time of signing, in seconds since 1970.
    pub time: u64,
    /// The id of the signing key.
    pub kid: String,
}

/// The outcome of [`prune`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PruneReport {
    /// The segments that were removed, in order.
    pub removed: Vec<String>,
    /// The bytes that they had.
    pub bytes: u64,
    /// The first record that was kept; 0 if the log has none.
    pub first: u64,
}

/// The errors of [`prune`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PruneError {
    /// A file could not be read, written or removed.
    #[error("{file}")]
    Io {
        /// The file, or the folder.
        file: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// A segment is damaged. Nothing was removed.
    #[error("{segment}: the heading is damaged; `countersign log verify` checks all of the log")]
    Damaged {
        /// The segment's file.
        segment: String,
    },
    /// No signed checkpoint covers the records that would be removed. Nothing was removed.
    #[error(
        "no signed checkpoint says that the log reached record {last} with the hash that its successor names; \
         nothing was removed"
    )]
    Uncovered {
        /// The last record that would be removed.
        last: u64,
    },
    /// The statement could not be signed. Nothing was removed.
    #[error("the statement of what is removed could not be signed; nothing was removed")]
    Unsigned,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signed {
    pruned: Pruned,
    signature: String,
}

/// Removes the segments all of whose records come before the record `before`, also of a log that another process is
/// writing. The last segment always stays. Before anything is removed, the statement of it is signed and durable.
/// `now`, in seconds since 1970, is its time.
///
/// # Errors
/// Returns an error if no signed checkpoint proves how far the removed records reached, or if a file cannot be read,
/// written or removed. Segments that were removed until then are within the statement.
pub fn prune(
    folder: &Path,
    before: u64,
    key: &dyn CheckpointKey,
    now: u64,
) -> Result<PruneReport, PruneError> {
    let names = disk::list(folder).map_err(io_error(&folder.to_string_lossy()))?;
    let segments = segments(names);
    let kept = segments.iter().rposition(|segment| segment.first <= before).unwrap_or(0);
    let (removed, kept) = segments.split_at(kept);
    let Some(first_kept) = kept.first() else {
        return Ok(PruneReport { removed: Vec::new(), bytes: 0, first: 0 });
    };
    let mut report = PruneReport { removed: Vec::new(), bytes: 0, first: first_kept.first };
    if removed.is_empty() {
        return Ok(report);
    }
    let bytes = segment::read(folder, &first_kept.name).map_err(io_error(&first_kept.name))?;
    let (heading, _) = Heading::read(&bytes)
        .filter(|(heading, _)| heading.first == first_kept.first)
        .ok_or_else(|| PruneError::Damaged { segment: first_kept.name.clone() })?;
    let (last, hash) = (heading.first - 1, heading.previous.to_string());
    let file = checkpoint::FILE;
    let checkpoints = fs::read(folder.join(file)).map_err(io_error(file))?;
    let covers = |checkpoint: &checkpoint::Checkpoint| {
        checkpoint.sequence == last && checkpoint.hash == hash
    };
    if !checkpoint::read(&checkpoints, key).signed.iter().any(|(_, checkpoint)| covers(checkpoint))
    {
        return Err(PruneError::Uncovered { last });
    }
    let statement =
        Pruned { first: heading.first, before: hash, time: now, kid: key.kid().to_owned() };
    let text = statement.signed(key).ok_or(PruneError::Unsigned)?;
    write_private(folder, FILE, &text).map_err(io_error(FILE))?;
    for segment in removed {
        let path = folder.join(&segment.name);
        let length = fs::metadata(&path).map_err(io_error(&segment.name))?.len();
        fs::remove_file(&path).map_err(io_error(&segment.name))?;
        report.bytes += length;
        report.removed.push(segment.name.clone());
    }
    disk::sync_folder(folder).map_err(io_error(&folder.to_string_lossy()))?;
    Ok(report)
}

impl Pruned {
    fn signed(self, key: &dyn CheckpointKey) -> Option<Vec<u8>> {
        let signature = key.sign(&serde_json::to_vec(&self).ok()?)?;
        let mut text = serde_json::to_vec(&Signed { pruned: self, signature }).ok()?;
        text.push(b'\n');
        Some(text)
    }

    /// Reads the statement of a text, if the key has signed it.
    pub(crate) fn read(text: &[u8], key: &dyn CheckpointKey) -> Option<Self> {
        let signed: Signed = serde_json::from_slice(text.get(..MAX_BYTES).unwrap_or(text)).ok()?;
        let message = serde_json::to_vec(&signed.pruned).ok()?;
        (signed.pruned.kid == key.kid() && key.verify(&message, &signed.signature))
            .then_some(signed.pruned)
    }

    /// Tells whether a log may begin with the record `first`, before which there was one with the hash `before`. A prune
    /// that was interrupted has removed fewer than it says; a checkpoint was signed before each segment.
    pub(crate) fn explains(
        &self,
        first: u64,
        before: ChainHash,
        mut checkpoints: impl Iterator<Item = checkpoint::Checkpoint>,
    ) -> bool {
        let before = before.to_string();
        match self.first.cmp(&first) {
            Ordering::Less => false,
            Ordering::Equal => self.before == before,
            Ordering::Greater => checkpoints
                .any(|checkpoint| checkpoint.sequence == first - 1 && checkpoint.hash == before),
        }
    }

    /// The statement of a folder, if there is one and the key has signed it.
    pub(crate) fn of(disk: &mut dyn Disk, key: &dyn CheckpointKey) -> Option<Self> {
        Self::read(&disk.read(FILE).ok()?, key)
    }
}

fn io_error(file: &str) -> impl Fn(io::Error) -> PruneError {
    move |source| PruneError::Io { file: file.to_owned(), source }
}
