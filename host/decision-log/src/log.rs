//! Opens a log, recovers from a crash, and appends.

mod opening;

use std::io;

use self::opening::{begin, io_error, last_checkpoint, new_segment, open_segment, tree_before};
use crate::checkpoint::{self, Checkpoint, CheckpointKey};
use crate::disk::Disk;
use crate::frame::{self, ChainHash, MAX_RECORD_BYTES};
use crate::merkle::{Peaks, TreeHash};
use crate::pruned::Pruned;
use crate::segment::{Damage, HEADING_BYTES, Heading, Segment, first_of, segments};

/// A log open for appending. One thread owns it; [`LogWriter`](crate::LogWriter) shares it.
pub struct Log<D> {
    disk: D,
    config: LogConfig,
    key: Box<dyn CheckpointKey>,
    segment: String,
    segment_bytes: u64,
    /// The next record's sequence.
    next: u64,
    /// The last record's hash.
    hash: ChainHash,
    /// The tree over all records up to the last one; `None` where the log was pruned before it had one.
    tree: Option<Peaks>,
    /// The last record that a checkpoint covers.
    covered: u64,
    /// INVARIANT: after a failed write or sync it is unknown which bytes are durable, so nothing more is appended.
    failed: bool,
}

/// The configuration of a log.
#[derive(Debug, Clone, Copy)]
pub struct LogConfig {
    /// The size in bytes at which a segment is followed by a new one.
    pub segment_bytes: u64,
    /// The number of records after which a checkpoint is signed.
    pub checkpoint_records: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, checkpoint_records: 16_384 }
    }
}

/// The position of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The record's sequence, from 1.
    pub sequence: u64,
    /// The record's hash.
    pub hash: ChainHash,
}

/// An incomplete write that a crash left, and the file that it was moved to. None of it was acknowledged, unless the disk
/// lost what it had reported as durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The file that ended with it.
    pub file: String,
    /// The offset of its first byte.
    pub offset: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// The sequence of the lost record, which the next one gets.
    pub sequence: u64,
    /// The file that the bytes were moved to; `None` if they contained no part of a record.
    pub saved_as: Option<String>,
}

/// The errors of [`Log::open`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The log is damaged, and not by a crash. `countersign log verify` checks all of it.
    #[error("{0}")]
    Damaged(Damage),
    /// A file could not be read or written.
    #[error("{file} could not be read or written")]
    Io {
        /// The file, or the folder.
        file: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// The errors of [`Log::append`]: the records were not appended, or may not have been.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// A record is longer than [`MAX_RECORD_BYTES`]. Nothing was written.
    #[error("a record has {bytes} bytes, at most {MAX_RECORD_BYTES} are allowed")]
    TooLong {
        /// The record's length in bytes.
        bytes: usize,
    },
    /// A write or a sync failed. Nothing is appended until the log is opened again.
    #[error(
        "the log could not be written: nothing is appended until it is opened, and so checked, again"
    )]
    Io(#[source] io::Error),
    /// A checkpoint could not be signed. Nothing is appended until the log is opened again.
    #[error("a checkpoint could not be signed: nothing is appended until the log is opened again")]
    Unsigned,
    /// A file of the log was taken away while the log was being written. Nothing is appended until the log is opened
    /// again.
    #[error(
        "{file} was taken away while the log was being written: nothing is appended until it is put back and the \
         log is opened again"
    )]
    Missing {
        /// The file.
        file: String,
    },
    /// An earlier write failed.
    #[error("the log failed before: nothing is appended until it is opened, and so checked, again")]
    Failed,
}

/// The maximum number of records of a batch. A checkpoint can only be due after one.
pub(crate) const MAX_BATCH_RECORDS: u64 = 1024;

impl<D: Disk> Log<D> {
    /// Opens the log on a disk, or creates one. All of the last segment is checked, also against the last checkpoint;
    /// [`verify()`](crate::verify()) checks all segments.
    ///
    /// # Errors
    /// Returns an error if there is damage that no crash leaves, or a file cannot be read or written.
    pub fn open(
        mut disk: D,
        config: LogConfig,
        key: Box<dyn CheckpointKey>,
    ) -> Result<(Self, Vec<Recovered>), OpenError> {
        let mut recovered = Vec::new();
        // The folder's own checkpoint may have been truncated with the records, so the later one counts.
        let covered = last_checkpoint(&mut disk, &*key, &mut recovered)?
            .into_iter()
            .chain(key.kept().map_err(io_error("the last checkpoint stored elsewhere"))?)
            .max_by_key(|checkpoint| checkpoint.sequence);
        let mut names = segments(disk.list().map_err(io_error("the folder"))?);
        let (segment, end) = loop {
            match names.pop() {
                None => break begin(&mut disk)?,
                Some(Segment { name, .. }) => {
                    if let Some(end) =
                        open_segment(&mut disk, &name, covered.as_ref(), &mut recovered)?
                    {
                        break (name, end);
                    }
                    // Its heading was never complete, so there never was a record in it.
                }
            }
        };
        let known = covered.as_ref().and_then(|checkpoint| {
            let peaks = checkpoint.tree.as_ref()?.peaks(checkpoint.sequence)?;
            (checkpoint.sequence + 1 == end.leaves_from).then_some(peaks)
        });
        let mut tree = match known {
            Some(tree) => Some(tree),
            None => tree_before(&mut disk, &*key, &segment)?,
        };
        if let Some(tree) = &mut tree {
            end.leaves.iter().for_each(|leaf| tree.push(*leaf, |_| {}));
        }
        // A killed process may not have synced the names of its files; they are durable before records follow.
        disk.sync_names().map_err(io_error("the folder"))?;
        let (last, covered) = (end.next - 1, covered.map_or(0, |checkpoint| checkpoint.sequence));
        if covered > last {
            return Err(OpenError::Damaged(Damage::Lost { last, sequence: covered }));
        }
        let records = last - covered;
        if records > config.checkpoint_records + MAX_BATCH_RECORDS {
            return Err(OpenError::Damaged(Damage::Uncovered { covered, records }));
        }
        let log = Self {
            disk,
            config,
            key,
            segment,
            segment_bytes: end.bytes,
            next: end.next,
            hash: end.hash,
            tree,
            covered,
            failed: false,
        };
        Ok((log, recovered))
    }

    /// Appends records with one write and one sync; they are durable when this returns.
    ///
    /// `now`, in seconds since 1970, is the time of a checkpoint that may be due.
    ///
    /// # Errors
    /// Returns an error if a record is too long, with nothing written, or if a write, a sync or a signature failed. In the
    /// second case it is unknown whether the records are durable, and the log accepts no more.
    pub fn append(&mut self, records: &[Vec<u8>], now: u64) -> Result<Vec<Position>, AppendError> {
        if self.failed {
            return Err(AppendError::Failed);
        }
        if let Some(bytes) = records.iter().map(Vec::len).find(|bytes| *bytes > MAX_RECORD_BYTES) {
            return Err(AppendError::TooLong { bytes });
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.failed = true;
        let positions = self.write(records, now)?;
        self.failed = false;
        Ok(positions)
    }

    /// Signs a checkpoint of the log's end, if none covers it yet.
    ///
    /// # Errors
    /// Returns an error if it could not be signed or written; the log accepts no more records then.
    pub fn checkpoint(&mut self, now: u64) -> Result<(), AppendError> {
        if self.failed {
            return Err(AppendError::Failed);
        }
        self.failed = true;
        self.write_checkpoint(now)?;
        self.failed = false;
        Ok(())
    }

    /// The last record's sequence; 0 if there is none.
    pub fn last(&self) -> u64 {
        self.next - 1
    }

    /// The position of the last record; `None` if there is none.
    pub fn end(&self) -> Option<Position> {
        (self.next > 1).then_some(Position { sequence: self.next - 1, hash: self.hash })
    }

    /// Checks that the files of the log are where they were opened or created. Segments that were
    /// [pruned](crate::prune) are not missed.
    ///
    /// # Errors
    /// Returns an error if a file was taken away or replaced; the log accepts no more records then.
    pub fn check_places(&mut self) -> Result<(), AppendError> {
        if self.failed {
            return Err(AppendError::Failed);
        }
        let looked = self.look();
        self.failed = looked.is_err();
        looked
    }

    /// The bytes that can still be written to the disk, where that is known.
    pub(crate) fn room(&mut self) -> Option<u64> {
        self.disk.room()
    }

    fn look(&mut self) -> Result<(), AppendError> {
        let missing = self.disk.missing().map_err(AppendError::Io)?;
        if missing.is_empty() {
            return Ok(());
        }
        let kept = Pruned::of(&mut self.disk, &*self.key).map_or(0, |pruned| pruned.first);
        for file in missing {
            if first_of(&file).is_none_or(|first| first >= kept) || file == self.segment {
                return Err(AppendError::Missing { file });
            }
            self.disk.forget(&file);
        }
        Ok(())
    }

    fn write(&mut self, records: &[Vec<u8>], now: u64) -> Result<Vec<Position>, AppendError> {
        if self.segment_bytes >= self.config.segment_bytes {
            // A checkpoint before each new segment lets opening read the last one only.
            self.write_checkpoint(now)?;
            let heading = Heading { first: self.next, previous: self.hash };
            self.segment = new_segment(&mut self.disk, heading).map_err(AppendError::Io)?;
            self.segment_bytes = HEADING_BYTES as u64;
        }
        let batch = self.next;
        let mut bytes = Vec::with_capacity(records.iter().map(|record| record.len() + 64).sum());
        let mut positions = Vec::with_capacity(records.len());
        let (mut hash, mut next) = (self.hash, self.next);
        for record in records {
            hash = frame::write(&mut bytes, hash, next, batch, record);
            positions.push(Position { sequence: next, hash });
            next += 1;
        }
        self.disk.append(&self.segment, &bytes).map_err(AppendError::Io)?;
        self.disk.sync(&self.segment).map_err(AppendError::Io)?;
        // Before the records are acknowledged: what is written to a file without a name is not found again.
        self.look()?;
        if let Some(tree) = &mut self.tree {
            for (record, position) in records.iter().zip(&positions) {
                let leaf = TreeHash::of_record(position.sequence, record, position.hash);
                tree.push(leaf, |_| {});
            }
        }
        (self.hash, self.next) = (hash, next);
        self.segment_bytes += bytes.len() as u64;
        if self.last() - self.covered >= self.config.checkpoint_records {
            self.write_checkpoint(now)?;
        }
        Ok(positions)
    }

    fn write_checkpoint(&mut self, now: u64) -> Result<(), AppendError> {
        if self.last() == self.covered {
            return Ok(());
        }
        let checkpoint =
            Checkpoint::new(self.last(), self.hash, self.tree.as_ref(), now, &*self.key);
        self.key.keep(&checkpoint).map_err(AppendError::Io)?;
        let line = checkpoint.signed(&*self.key).ok_or(AppendError::Unsigned)?;
        let mut write = || {
            if self.disk.list()?.iter().all(|name| name != checkpoint::FILE) {
                self.disk.create(checkpoint::FILE)?;
                self.disk.sync_names()?;
            }
            self.disk.append(checkpoint::FILE, &line)?;
            self.disk.sync(checkpoint::FILE)
        };
        write().map_err(AppendError::Io)?;
        self.covered = self.last();
        Ok(())
    }
}
