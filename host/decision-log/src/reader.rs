//! Reads records in order, also of a log that another process is writing.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::mem;
use std::path::{Path, PathBuf};

use crate::disk;
use crate::frame::{self, ChainHash, FRAME_BYTES, NoFrame};
use crate::placed::FramePlace;
use crate::scan::Scan;
use crate::segment::{self, COMPRESSED, Damage, HEADING_BYTES, Heading, segments};

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record's sequence, from 1.
    pub sequence: u64,
    /// The record's hash, which covers all records before it.
    pub hash: ChainHash,
    /// The record's bytes.
    pub record: Vec<u8>,
}

/// The errors of [`Reader::read`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The log is damaged at the next record.
    #[error("{0}")]
    Damaged(Damage),
    /// The log was pruned before it had a tree.
    #[error(
        "the log begins with record {first}, and no checkpoint has the Merkle tree of the records before it; expected a \
         log that begins with record 1, such as its archive"
    )]
    NoTree {
        /// The first record.
        first: u64,
    },
    /// A file could not be read.
    #[error("{file} could not be read")]
    Io {
        /// The file, or the folder.
        file: String,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

/// Reads records in order, each checked against the one before it.
#[derive(Debug)]
pub struct Reader {
    folder: PathBuf,
    segment: Option<Segment>,
    /// The next record's sequence.
    next: u64,
    /// The first record of the segment that was entered first, and the hash of the record before it.
    beginning: Option<(u64, ChainHash)>,
    /// The memory of the segment before, for the next one.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Segment {
    first: u64,
    /// The number of its records that were read.
    read: u64,
    name: String,
    bytes: Vec<u8>,
    /// The offset of the next record.
    offset: usize,
    hash: ChainHash,
}

impl Reader {
    /// Starts at the record `from`, or at the first one after it that exists.
    pub fn new(folder: &Path, from: u64) -> Self {
        Self {
            folder: folder.to_owned(),
            segment: None,
            next: from.max(1),
            beginning: None,
            spare: Vec::new(),
        }
    }

    /// The first record of the segment where reading began, and the hash of the record before it; `None` before the first
    /// read.
    pub(crate) fn beginning(&self) -> Option<(u64, ChainHash)> {
        self.beginning
    }

    /// The place of the frame of the record that was read last.
    pub(crate) fn place_of(&self, last: &Entry) -> FramePlace {
        let length = last.record.len() + FRAME_BYTES;
        let (segment, end) =
            self.segment.as_ref().map_or((0, length), |segment| (segment.first, segment.offset));
        let offset = end.saturating_sub(length) as u64;
        // A record has at most 16 MiB.
        FramePlace { segment, offset, length: u32::try_from(length).unwrap_or(u32::MAX) }
    }

    /// Starts at a record with at least `records` after it, or at the first one. Earlier segments of a long log are not
    /// read.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn tail(folder: &Path, records: u64) -> Result<Self, ReadError> {
        let names = disk::list(folder).map_err(io_error(&folder.to_string_lossy()))?;
        let segments = segments(names);
        let last = segments.last().map_or(1, |segment| segment.first);
        let from = segments.iter().rfind(|segment| segment.first + records <= last);
        Ok(Self::new(folder, from.map_or(1, |segment| segment.first)))
    }

    /// Reads the next record; `None` if there is none yet. A later call tries again.
    ///
    /// # Errors
    /// Returns an error if the log is damaged at the next record, or a file cannot be read.
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

    /// Opens the segment with the next record, or the one after another. Returns false if there is none.
    fn enter(&mut self, after: Option<u64>) -> Result<bool, ReadError> {
        let names = disk::list(&self.folder).map_err(io_error(&self.folder.to_string_lossy()))?;
        let segments = segments(names);
        let place = match after {
            Some(after) => segments.iter().position(|segment| segment.first > after),
            None => segments
                .iter()
                .rposition(|segment| segment.first <= self.next)
                .or((!segments.is_empty()).then_some(0)),
        };
        let found = place.and_then(|place| segments.into_iter().nth(place));
        let Some(segment::Segment { first, name }) = found else {
            return Ok(false);
        };
        segment::read_into(&self.folder, &name, &mut self.spare).map_err(io_error(&name))?;
        let heading = Heading::read(&self.spare).map(|(heading, _)| heading);
        let Some(heading) = heading.filter(|heading| heading.first == first) else {
            if after.is_none() || self.spare.len() > HEADING_BYTES {
                return Err(ReadError::Damaged(Damage::Heading { segment: name }));
            }
            // The writer is creating it.
            return Ok(false);
        };
        if let (Some(_), Some(before)) = (after, &self.segment)
            && (first != self.next || before.hash != heading.previous)
        {
            return Err(ReadError::Damaged(Damage::Link { segment: name, last: self.next - 1 }));
        }
        let (offset, hash) = (HEADING_BYTES, heading.previous);
        self.beginning.get_or_insert((first, hash));
        let bytes = mem::take(&mut self.spare);
        let before = self.segment.replace(Segment { first, read: 0, name, bytes, offset, hash });
        self.spare = before.map(|before| before.bytes).unwrap_or_default();
        Ok(true)
    }
}

impl Segment {
    /// Reads the next record, and the file again where the bytes read so far end.
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
                // The writer is appending it, unless something follows.
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
                // An archive does not grow.
                Ok(None) | Err(_) if self.name.ends_with(COMPRESSED) => looked = true,
                Ok(None) | Err(_) => {
                    let path = folder.join(&self.name);
                    let length = fs::metadata(&path).map_err(io_error(&self.name))?.len();
                    // Only the bytes appended since: a segment never changes before its end.
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
