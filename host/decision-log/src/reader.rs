//! Reading records in order, of a log that another process may be writing.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::disk;
use crate::frame::{self, ChainHash, NoFrame};
use crate::scan::Scan;
use crate::segment::{Damage, HEADING_BYTES, Heading, segments};

/// A record, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its sequence, from 1.
    pub sequence: u64,
    /// Its hash, which covers all records before it.
    pub hash: ChainHash,
    /// The record.
    pub record: Vec<u8>,
}

/// Why the next record cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log is damaged there.
    #[error("{0}")]
    Damaged(Damage),
    /// A file could not be read.
    #[error("{file} could not be read")]
    Io {
        /// The file, or the folder.
        file: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// Reads records in order, each checked against the one before it.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    segment: Option<Segment>,
    /// The record that is next.
    next: u64,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    /// How many of its records were read.
    read: u64,
    name: String,
    bytes: Vec<u8>,
    /// Where the next record begins.
    offset: usize,
    hash: ChainHash,
}

impl Reader {
    /// Reads from the record `from` on, or from the first that there is after it.
    pub fn new(folder: &Path, from: u64) -> Self {
        Self { folder: folder.to_owned(), segment: None, next: from.max(1) }
    }

    /// Reads from a record on that has at least `records` after it, where there are as many; not from the first one
    /// where the log is long.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn before_the_end(folder: &Path, records: u64) -> Result<Self, ReadError> {
        let names = disk::list(folder).map_err(io_error(&folder.to_string_lossy()))?;
        let segments = segments(names);
        let last = segments.last().map_or(1, |(first, _)| *first);
        let from = segments.iter().rfind(|(first, _)| *first + records <= last);
        Ok(Self::new(folder, from.map_or(1, |(first, _)| *first)))
    }

    /// The next record; `None` where there is none yet. Asked again later, it looks again.
    ///
    /// # Errors
    /// When the log is damaged there, or a file cannot be read.
    pub fn read(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let Some(segment) = &mut self.segment else {
                if !self.enter(None)? {
                    return Ok(None);
                }
                continue;
            };
            match segment.next(self.folder.as_path())? {
                Some(entry) if entry.sequence < self.next => {}
                Some(entry) => {
                    self.next = entry.sequence + 1;
                    return Ok(Some(entry));
                }
                None => {
                    let after = segment.first;
                    if !self.enter(Some(after))? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Goes to the segment that has the next record, or to the one after another. Whether there is one.
    fn enter(&mut self, after: Option<u64>) -> Result<bool, ReadError> {
        let names = disk::list(&self.folder).map_err(io_error(&self.folder.to_string_lossy()))?;
        let segments = segments(names);
        let place = match after {
            Some(after) => segments.iter().position(|(first, _)| *first > after),
            None => segments
                .iter()
                .rposition(|(first, _)| *first <= self.next)
                .or((!segments.is_empty()).then_some(0)),
        };
        let Some((first, name)) = place.and_then(|place| segments.into_iter().nth(place)) else {
            return Ok(false);
        };
        let bytes = fs::read(self.folder.join(&name)).map_err(io_error(&name))?;
        let Some((heading, _)) = Heading::read(&bytes).filter(|(h, _)| h.first == first) else {
            if after.is_none() || bytes.len() > HEADING_BYTES {
                return Err(ReadError::Damaged(Damage::Heading { segment: name }));
            }
            // It is being made.
            return Ok(false);
        };
        if let (Some(_), Some(before)) = (after, &self.segment)
            && (first != self.next || before.hash != heading.previous)
        {
            return Err(ReadError::Damaged(Damage::Link { segment: name, last: self.next - 1 }));
        }
        let (offset, hash) = (HEADING_BYTES, heading.previous);
        self.segment = Some(Segment { first, read: 0, name, bytes, offset, hash });
        Ok(true)
    }
}

impl Segment {
    /// The next record, after another look at the file where what was read of it has ended.
    fn next(&mut self, folder: &Path) -> Result<Option<Entry>, ReadError> {
        let mut looked = false;
        loop {
            let rest = self.bytes.get(self.offset..).unwrap_or_default();
            let sequence = self.first + self.read;
            let mut scan = Scan::new(Heading { first: sequence, previous: self.hash }, rest);
            match scan.next() {
                Ok(Some(scanned)) => {
                    let entry = Entry {
                        sequence: scanned.sequence,
                        hash: scanned.hash,
                        record: scanned.record.to_vec(),
                    };
                    self.hash = scanned.hash;
                    self.offset = self.bytes.len() - scan.rest().len();
                    self.read += 1;
                    return Ok(Some(entry));
                }
                Ok(None) if looked => return Ok(None),
                // It is being written, unless there is something behind it.
                Err(NoFrame::Unfinished)
                    if looked && frame::later_batch(rest, sequence).is_none() =>
                {
                    return Ok(None);
                }
                Err(problem) if looked => {
                    return Err(ReadError::Damaged(Damage::Record {
                        segment: self.name.clone(),
                        sequence,
                        offset: self.offset as u64,
                        problem: problem.problem(),
                    }));
                }
                Ok(None) | Err(_) => {
                    let path = folder.join(&self.name);
                    let length = fs::metadata(&path).map_err(io_error(&self.name))?.len();
                    // Only what has come since: a segment is never changed where it has been read.
                    if length > self.bytes.len() as u64 {
                        let mut read = || {
                            let mut file = File::open(&path)?;
                            file.seek(SeekFrom::Start(self.bytes.len() as u64))?;
                            file.read_to_end(&mut self.bytes)
                        };
                        read().map_err(io_error(&self.name))?;
                    }
                    looked = true;
                }
            }
        }
    }
}

fn io_error(file: &str) -> impl Fn(io::Error) -> ReadError {
    move |source| ReadError::Io { file: file.to_owned(), source }
}
