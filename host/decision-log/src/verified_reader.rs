//! Reads a whole log in order, each record checked against the one before it and against the signed checkpoints.

use std::fs;
use std::io;
use std::iter::Peekable;
use std::path::{Path, PathBuf};
use std::vec;

use crate::checkpoint::{self, Checkpoint, CheckpointKey};
use crate::disk;
use crate::frame::ChainHash;
use crate::pruned::{self, Pruned};
use crate::reader::{Entry, ReadError, Reader};
use crate::segment::{COMPRESSED, Damage, segments};

/// Reads all records of a log, and finds in the same pass what [`verify()`](crate::verify()) finds, up to the first
/// damage. It does not look for records that no checkpoint covers.
pub struct VerifiedReader<'k> {
    folder: PathBuf,
    reader: Reader,
    from: u64,
    key: &'k dyn CheckpointKey,
    /// In the order of sequences, those that were not met yet.
    due: Peekable<vec::IntoIter<Checkpoint>>,
    /// Damage of the checkpoints themselves, reported when the records end.
    damage: Option<Damage>,
    head: Head,
}

/// The part of a log that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The first record's sequence; 0 before the first read.
    pub first: u64,
    /// The last record's sequence; 0 if there is none.
    pub last: u64,
    /// The last record's hash, which covers all records before it.
    pub hash: ChainHash,
    /// The last record that a signed checkpoint covers; 0 if there is none.
    pub covered: u64,
}

impl<'k> VerifiedReader<'k> {
    /// Begins with the first record of the log in a folder. `key` verifies its checkpoints.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn open(folder: &Path, key: &'k dyn CheckpointKey) -> Result<Self, ReadError> {
        Self::open_from(folder, key, 1)
    }

    /// Begins with the record `from`, or with the first one after it that exists: of the records before it, those of the same
    /// segment alone are read and checked.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read.
    pub fn open_from(
        folder: &Path,
        key: &'k dyn CheckpointKey,
        from: u64,
    ) -> Result<Self, ReadError> {
        // Before the records: those that a service appends meanwhile only exceed the checkpoints.
        let bytes = match fs::read(folder.join(checkpoint::FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(io_error(checkpoint::FILE))?,
        };
        let checkpoints = checkpoint::read(&bytes, key);
        let mut damage = checkpoints.damage.into_iter().next();
        if checkpoints.unfinished > 0 {
            let line = checkpoints.lines + 1;
            damage.get_or_insert(Damage::Checkpoint { line, problem: "the line has no end" });
        }
        let signed = checkpoints.signed.into_iter().map(|(_, due)| due);
        let mut due: Vec<_> = signed.filter(|due| from <= 1 || due.sequence >= from).collect();
        due.sort_by_key(|checkpoint| checkpoint.sequence);
        Ok(Self {
            folder: folder.to_owned(),
            reader: Reader::new(folder, from),
            from,
            key,
            due: due.into_iter().peekable(),
            damage,
            head: Head { first: 0, last: 0, hash: ChainHash::GENESIS, covered: 0 },
        })
    }

    /// Reads the next record; `None` at the end of the log.
    ///
    /// # Errors
    /// Returns an error if the log is damaged at the next record or ends before a checkpoint, or a file cannot be read.
    /// Records that were read before are intact.
    pub fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        let entry = self.reader.read()?;
        if self.head.first == 0 {
            self.begin()?;
        }
        let Some(entry) = entry else {
            self.end()?;
            return Ok(None);
        };
        while let Some(due) = self.due.next_if(|due| due.sequence <= entry.sequence) {
            // Those before the first record are of records that were pruned.
            if due.sequence < entry.sequence {
                continue;
            }
            if due.hash != entry.hash.to_string() {
                return Err(ReadError::Damaged(Damage::Rewritten { sequence: entry.sequence }));
            }
            self.head.covered = entry.sequence;
        }
        (self.head.last, self.head.hash) = (entry.sequence, entry.hash);
        Ok(Some(entry))
    }

    /// The part of the log that was read and is intact.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The hash of the record before the first one that was read, where that one begins a segment: a log that was pruned has
    /// nothing else of the record before. `None` before the first read, and where reading began within a segment.
    pub fn before(&self) -> Option<ChainHash> {
        let (first, before) = self.reader.beginning()?;
        (first == self.head.first).then_some(before)
    }

    /// The number of records of the log, as far as the names and lengths of its files tell: to say how far reading has
    /// come.
    pub fn estimated_records(&self) -> u64 {
        let names = disk::list(&self.folder).unwrap_or_default();
        let segments = segments(names);
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else { return 0 };
        let before = last.first - first.first;
        let length = |name: &str| fs::metadata(self.folder.join(name)).map_or(0, |file| file.len());
        let mut whole = segments.iter().rev().skip(1);
        // The last segment has as many records for its length as the one before it.
        let in_last = whole.next().filter(|segment| !segment.name.ends_with(COMPRESSED)).map_or(
            // As long as a decision by two or three policies.
            length(&last.name) / 2048,
            |segment| {
                let records = last.first - segment.first;
                records.saturating_mul(length(&last.name)) / length(&segment.name).max(1)
            },
        );
        before + in_last
    }

    /// Checks that the log may begin where it does.
    fn begin(&mut self) -> Result<(), ReadError> {
        let Some((first, before)) = self.reader.beginning() else { return Ok(()) };
        self.head.first = first.max(self.from);
        if first <= self.from.max(1) {
            return Ok(());
        }
        let text = match fs::read(self.folder.join(pruned::FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::Damaged(Damage::Beginning { first }));
            }
            read => read.map_err(io_error(pruned::FILE))?,
        };
        let Some(statement) = Pruned::read(&text, self.key) else {
            let file = pruned::FILE.to_owned();
            return Err(ReadError::Damaged(Damage::Statement { file }));
        };
        if statement.explains(first, before, self.due.clone()) {
            return Ok(());
        }
        Err(ReadError::Damaged(Damage::Beginning { first }))
    }

    /// Checks that the log reached its checkpoints.
    fn end(&mut self) -> Result<(), ReadError> {
        let kept = self.key.kept().map_err(io_error("the last checkpoint"))?;
        let kept = kept.map(|checkpoint| checkpoint.sequence);
        let reached = self.due.clone().last().map(|checkpoint| checkpoint.sequence);
        let last = self.head.last.max(self.from.saturating_sub(1));
        if let Some(sequence) = reached.max(kept).filter(|reached| *reached > last) {
            return Err(ReadError::Damaged(Damage::Lost { last, sequence }));
        }
        match self.damage.take() {
            Some(damage) => Err(ReadError::Damaged(damage)),
            None => Ok(()),
        }
    }
}

fn io_error(file: &str) -> impl Fn(io::Error) -> ReadError {
    move |source| ReadError::Io { file: file.to_owned(), source }
}
