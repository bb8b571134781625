//! Follows a log that may be growing: each record verified against the one before it, and against signed checkpoints as
//! they are written.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::checkpoint::{self, Checkpoint, CheckpointKey};
use crate::disk;
use crate::frame::ChainHash;
use crate::placed::FramePlace;
use crate::pruned::{self, Pruned};
use crate::reader::{Entry, ReadError, Reader};
use crate::segment::{Damage, segments};
use crate::verified_reader::Head;

/// The maximum number of records after the last checkpoint whose hashes are kept. A writer leaves no more than
/// [`LogConfig::checkpoint_records`](crate::LogConfig::checkpoint_records) and a batch; a checkpoint of an older record is
/// not compared.
const MAX_UNCOVERED: usize = 1 << 18;

/// The number of times in a row that an incomplete checkpoint is met at the end before it counts as damage: a writer
/// completes it within moments.
const MAX_UNFINISHED: u32 = 16;

/// Reads a log from its first record on, and goes on where it grows. Finds what
/// [`VerifiedReader`](crate::VerifiedReader) finds, and also compares checkpoints that are signed while it reads.
pub struct FollowedLog {
    folder: PathBuf,
    reader: Reader,
    key: Arc<dyn CheckpointKey>,
    checkpoints: Checkpoints,
    /// The records after the last one that a checkpoint covers.
    uncovered: VecDeque<(u64, ChainHash)>,
    /// The hash of the record before the first one.
    before: ChainHash,
    head: Head,
}

/// A record with the place of its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// The record.
    pub entry: Entry,
    /// The place of its frame.
    pub place: FramePlace,
}

/// The checkpoints that were read so far.
struct Checkpoints {
    /// All that are signed, in the order of sequences.
    signed: Vec<Checkpoint>,
    /// The number of those that were compared.
    compared: usize,
    /// The length and time of the file when it was read, by which a change is noticed; `None` where it has no time.
    seen: Option<(u64, SystemTime)>,
    /// The bytes of complete lines that were read, and their hash.
    read: (usize, ChainHash),
    /// The number of these lines.
    lines: usize,
    /// The number of times in a row that the file ended within a line.
    unfinished: u32,
    damage: Option<Damage>,
}

impl FollowedLog {
    /// Begins with the first record of the log in a folder. `key` verifies its checkpoints.
    ///
    /// # Errors
    /// Returns an error if the checkpoints cannot be read.
    pub fn open(folder: &Path, key: Arc<dyn CheckpointKey>) -> Result<Self, ReadError> {
        let mut log = Self {
            folder: folder.to_owned(),
            reader: Reader::new(folder, 1),
            key,
            checkpoints: Checkpoints {
                signed: Vec::new(),
                compared: 0,
                seen: None,
                read: (0, ChainHash::of(&[])),
                lines: 0,
                unfinished: 0,
                damage: None,
            },
            uncovered: VecDeque::new(),
            before: ChainHash::GENESIS,
            head: Head { first: 0, last: 0, hash: ChainHash::GENESIS, covered: 0 },
        };
        // Before the records: those that a service appends meanwhile only exceed the checkpoints.
        log.read_checkpoints()?;
        Ok(log)
    }

    /// Reads the next record; `None` if there is none yet. A later call tries again.
    ///
    /// # Errors
    /// Returns an error if the log is damaged at the next record, ends before a checkpoint or contradicts one, or a file
    /// cannot be read. Records that were read before are intact. After an error the log is opened anew.
    pub fn read(&mut self) -> Result<Option<Placed>, ReadError> {
        if let Some(placed) = self.next()? {
            return Ok(Some(placed));
        }
        self.read_checkpoints()?;
        // A checkpoint is written after its records: they are in the files by now.
        if let Some(placed) = self.next()? {
            return Ok(Some(placed));
        }
        self.end()?;
        Ok(None)
    }

    /// The part of the log that was read and is intact.
    pub fn head(&self) -> Head {
        self.head
    }

    /// The hash of the record before the first one that was read, which pruning has removed; of zeros where there is none.
    pub fn before(&self) -> ChainHash {
        self.before
    }

    /// Tells whether records at the beginning of what was read were pruned since, so that the log is followed anew from where
    /// it begins now.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read, or the statement of it cannot.
    pub fn is_pruned_since(&self) -> Result<bool, ReadError> {
        let first = self.head.first;
        let names = disk::list(&self.folder).map_err(io_error(&self.folder.to_string_lossy()))?;
        // The statement comes before the removal, which may have been interrupted.
        if first == 0 || segments(names).first().is_none_or(|segment| segment.first <= first) {
            return Ok(false);
        }
        let statement = pruned_statement(&self.folder, &*self.key)?;
        Ok(statement.is_some_and(|statement| statement.first > first))
    }

    /// The checkpoints that agree with the records read so far, in order.
    pub fn checkpoints(&self) -> &[Checkpoint] {
        self.checkpoints.signed.get(..self.checkpoints.compared).unwrap_or_default()
    }

    fn next(&mut self) -> Result<Option<Placed>, ReadError> {
        let Some(entry) = self.reader.read()? else { return Ok(None) };
        if self.head.first == 0 {
            self.begin()?;
        }
        let (sequence, hash) = (entry.sequence, entry.hash);
        if self.uncovered.len() == MAX_UNCOVERED {
            self.uncovered.pop_front();
        }
        self.uncovered.push_back((sequence, hash));
        (self.head.last, self.head.hash) = (sequence, hash);
        self.compare()?;
        let place = self.reader.place_of(&entry);
        Ok(Some(Placed { entry, place }))
    }

    /// Compares the checkpoints of records that were read.
    fn compare(&mut self) -> Result<(), ReadError> {
        while let Some(due) = self.checkpoints.signed.get(self.checkpoints.compared) {
            let sequence = due.sequence;
            if sequence > self.head.last {
                break;
            }
            while self.uncovered.front().is_some_and(|(known, _)| *known < sequence) {
                self.uncovered.pop_front();
            }
            // One that is not known is of a record that was pruned, or covered by a checkpoint already.
            if let Some((known, hash)) = self.uncovered.front()
                && *known == sequence
            {
                if due.hash != hash.to_string() {
                    return Err(ReadError::Damaged(Damage::Rewritten { sequence }));
                }
                self.head.covered = sequence;
            }
            self.checkpoints.compared += 1;
        }
        Ok(())
    }

    /// Checks that the log may begin where it does.
    fn begin(&mut self) -> Result<(), ReadError> {
        let Some((first, before)) = self.reader.beginning() else { return Ok(()) };
        (self.head.first, self.before) = (first, before);
        if first == 1 {
            return Ok(());
        }
        let statement = pruned_statement(&self.folder, &*self.key)?;
        let statement = statement.ok_or(ReadError::Damaged(Damage::Beginning { first }))?;
        if statement.explains(first, before, self.checkpoints.signed.iter().cloned()) {
            return Ok(());
        }
        Err(ReadError::Damaged(Damage::Beginning { first }))
    }

    /// Checks that the log reached its checkpoints.
    fn end(&mut self) -> Result<(), ReadError> {
        let kept = self.key.kept().map_err(io_error("the last checkpoint"))?;
        let kept = kept.map(|checkpoint| checkpoint.sequence);
        let reached = self.checkpoints.signed.last().map(|checkpoint| checkpoint.sequence);
        let last = self.head.last;
        if let Some(sequence) = reached.max(kept).filter(|reached| *reached > last) {
            return Err(ReadError::Damaged(Damage::Lost { last, sequence }));
        }
        match &self.checkpoints.damage {
            Some(damage) => Err(ReadError::Damaged(damage.clone())),
            None => Ok(()),
        }
    }

    /// Reads the checkpoints that were added. A file that is as it was is not read again: that of a long log has many bytes,
    /// and is looked at several times a second.
    fn read_checkpoints(&mut self) -> Result<(), ReadError> {
        let path = self.folder.join(checkpoint::FILE);
        // Before the bytes: a line that is appended meanwhile makes the file another one for the next time.
        let seen = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            file => {
                let file = file.map_err(io_error(checkpoint::FILE))?;
                file.modified().ok().map(|modified| (file.len(), modified))
            }
        };
        if seen.is_some() && seen == self.checkpoints.seen && self.checkpoints.unfinished == 0 {
            return self.compare();
        }
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read.map_err(io_error(checkpoint::FILE))?,
        };
        self.checkpoints.seen = seen;
        let (length, hash) = self.checkpoints.read;
        let known =
            bytes.split_at_checked(length).filter(|(known, _)| ChainHash::of(known) == hash);
        let Some((_, added)) = known else {
            let damage = "the lines before were changed or removed";
            let line = self.checkpoints.lines;
            return Err(ReadError::Damaged(Damage::Checkpoint { line, problem: damage }));
        };
        let read = checkpoint::read(added, &*self.key);
        let whole = bytes.len() - read.unfinished;
        let lines = self.checkpoints.lines;
        self.checkpoints.lines += read.lines;
        self.checkpoints.read = (whole, ChainHash::of(bytes.get(..whole).unwrap_or_default()));
        self.checkpoints.unfinished =
            if read.unfinished > 0 { self.checkpoints.unfinished + 1 } else { 0 };
        if let Some(damage) = read.damage.into_iter().next() {
            let damage = match damage {
                Damage::Checkpoint { line, problem } => {
                    Damage::Checkpoint { line: lines + line, problem }
                }
                other => other,
            };
            self.checkpoints.damage.get_or_insert(damage);
        } else if self.checkpoints.unfinished > MAX_UNFINISHED {
            let line = self.checkpoints.lines + 1;
            let damage = Damage::Checkpoint { line, problem: "the line has no end" };
            self.checkpoints.damage.get_or_insert(damage);
        }
        if !read.signed.is_empty() {
            self.checkpoints.signed.extend(read.signed.into_iter().map(|(_, due)| due));
            // A later line of an earlier record is compared as well.
            if let Some(due) = self.checkpoints.signed.get_mut(self.checkpoints.compared..) {
                due.sort_by_key(|checkpoint| checkpoint.sequence);
            }
        }
        self.compare()
    }
}

/// The signed statement of the records that were pruned from the log in a folder; `None` if nothing was.
///
/// # Errors
/// Returns an error if there is one that cannot be read or is not the key's.
pub fn pruned_statement(
    folder: &Path,
    key: &dyn CheckpointKey,
) -> Result<Option<Pruned>, ReadError> {
    let text = match fs::read(folder.join(pruned::FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(io_error(pruned::FILE))?,
    };
    let file = || ReadError::Damaged(Damage::Statement { file: pruned::FILE.to_owned() });
    Pruned::read(&text, key).map(Some).ok_or_else(file)
}

fn io_error(file: &str) -> impl Fn(io::Error) -> ReadError {
    move |source| ReadError::Io { file: file.to_owned(), source }
}
