//! One file of the chain: its name, its heading, and the kinds of damage.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use crate::frame::{ChainHash, NoFrame};

/// The length of a heading: magic and version, the first record's sequence, the previous hash, and the hash of these.
pub(crate) const HEADING_BYTES: usize = 8 + 8 + 32 + 32;

const MAGIC: &[u8; 8] = b"CSLSEG01";

/// The heading of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heading {
    /// The first record's sequence.
    pub(crate) first: u64,
    /// The hash of the record before that.
    pub(crate) previous: ChainHash,
}

impl Heading {
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend(self.first.to_be_bytes());
        bytes.extend(self.previous.0);
        let hash = ChainHash::of(&bytes);
        bytes.extend(hash.0);
        bytes
    }

    /// Reads the heading at the start of `bytes`, and returns the bytes after it.
    pub(crate) fn read(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (heading, rest) = bytes.split_at_checked(HEADING_BYTES)?;
        let (_, fields) = heading.split_first_chunk::<8>()?;
        let (first, fields) = fields.split_first_chunk::<8>()?;
        let (previous, _) = fields.split_first_chunk::<32>()?;
        let read = Self { first: u64::from_be_bytes(*first), previous: ChainHash(*previous) };
        (read.to_bytes() == heading).then_some((read, rest))
    }
}

/// The name of the segment whose first record is `first`.
pub(crate) fn name_of(first: u64) -> String {
    format!("{first:020}.log")
}

/// Parses a segment's name: the sequence, or `None` if the file is not a segment.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".log")?.parse().ok()?;
    // Records count from 1.
    (first > 0 && name_of(first) == name).then_some(first)
}

/// The end of the name of a segment in an archive.
pub(crate) const COMPRESSED: &str = ".gz";

/// The maximum size of a segment that was compressed, in bytes: [`LogConfig`](crate::LogConfig)'s with room for the last
/// batch, several times.
const MAX_DECOMPRESSED: u64 = 1 << 30;

/// A segment's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Segment {
    /// The first record's sequence.
    pub(crate) first: u64,
    /// The file's name.
    pub(crate) name: String,
}

/// Selects the segments among the names of files, in order. Where one is there as it was written and compressed as well,
/// it is the former.
pub(crate) fn segments(names: impl IntoIterator<Item = String>) -> Vec<Segment> {
    let segment = |name: String| {
        let first = first_of(name.strip_suffix(COMPRESSED).unwrap_or(&name))?;
        Some(Segment { first, name })
    };
    let mut segments: Vec<_> = names.into_iter().filter_map(segment).collect();
    segments.sort_unstable_by(|one, other| (one.first, &one.name).cmp(&(other.first, &other.name)));
    segments.dedup_by_key(|segment| segment.first);
    segments
}

/// Reads the segment in a file of a folder.
///
/// # Errors
/// If it cannot be read, or is compressed and longer than any segment.
pub(crate) fn read(folder: &Path, name: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    read_into(folder, name, &mut bytes)?;
    Ok(bytes)
}

/// Reads the segment in a file of a folder into memory that was used before: getting new memory for each segment from the
/// system takes longer than the copying.
///
/// # Errors
/// If it cannot be read, or is compressed and longer than any segment.
pub(crate) fn read_into(folder: &Path, name: &str, bytes: &mut Vec<u8>) -> io::Result<()> {
    bytes.clear();
    let mut file = File::open(folder.join(name))?;
    if name.ends_with(COMPRESSED) {
        return decompress_into(file, bytes);
    }
    file.read_to_end(bytes).map(drop)
}

/// Decompresses a segment.
///
/// # Errors
/// If it is not of gzip's format, or longer than any segment.
pub(crate) fn decompressed(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    decompress_into(file, &mut bytes)?;
    Ok(bytes)
}

fn decompress_into(file: File, bytes: &mut Vec<u8>) -> io::Result<()> {
    MultiGzDecoder::new(file).take(MAX_DECOMPRESSED + 1).read_to_end(bytes)?;
    if bytes.len() as u64 > MAX_DECOMPRESSED {
        let problem = format!("longer than {MAX_DECOMPRESSED} bytes when it is decompressed");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(())
}

/// One damage of a log, with its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// The heading of a segment is invalid.
    #[error("{segment}: the heading is damaged")]
    Heading {
        /// The segment's file.
        segment: String,
    },
    /// A segment does not continue the one before it.
    #[error(
        "{segment}: does not continue after record {last}: a segment is missing or was replaced"
    )]
    Link {
        /// The segment's file.
        segment: String,
        /// The last record before the segment.
        last: u64,
    },
    /// The first segment is not the first of the log.
    #[error("the log begins with record {first}: segments before it are missing")]
    Beginning {
        /// The first record found.
        first: u64,
    },
    /// The statement of what was pruned is not the key's.
    #[error(
        "{file}: the statement of what was removed is not signed by the key of the checkpoints"
    )]
    Statement {
        /// The statement's file.
        file: String,
    },
    /// A record was changed.
    #[error("{segment}: record {sequence}, at byte {offset}: {problem}")]
    Record {
        /// The segment's file.
        segment: String,
        /// The expected record.
        sequence: u64,
        /// The offset of that record.
        offset: u64,
        /// The problem.
        problem: &'static str,
    },
    /// A record is damaged that was once durable, as a later one proves.
    #[error(
        "{segment}: record {sequence}, at byte {offset}, is damaged, though record {later} was \
         written after it was durable: this is no crash"
    )]
    Durable {
        /// The segment's file.
        segment: String,
        /// The expected record.
        sequence: u64,
        /// The offset of that record.
        offset: u64,
        /// A record of a later batch.
        later: u64,
    },
    /// A checkpoint proves that the log was longer.
    #[error(
        "the log ends with record {last}, but a checkpoint says that it reached {sequence}: records {} to \
         {sequence} are lost", last + 1
    )]
    Lost {
        /// The last record found.
        last: u64,
        /// The record of the checkpoint.
        sequence: u64,
    },
    /// A checkpoint has another hash than its record.
    #[error(
        "record {sequence} had another hash when a checkpoint was signed: the log was rewritten"
    )]
    Rewritten {
        /// The record's sequence.
        sequence: u64,
    },
    /// A checkpoint has the root of another tree than that of the records.
    #[error("the Merkle tree of the records up to {sequence} is not the one of their checkpoint")]
    Tree {
        /// The record's sequence.
        sequence: u64,
    },
    /// More records follow the last checkpoint than a writer ever leaves.
    #[error(
        "no checkpoint covers the records after {covered}, of which there are {records}: checkpoints are \
         missing, or the records were not written by this log"
    )]
    Uncovered {
        /// The last record that a checkpoint covers.
        covered: u64,
        /// The number of records after it.
        records: u64,
    },
    /// A line of the checkpoints is invalid, or its signature does not verify.
    #[error("checkpoint {line}: {problem}")]
    Checkpoint {
        /// The line's number, from 1.
        line: usize,
        /// The problem.
        problem: &'static str,
    },
}

impl NoFrame {
    pub(crate) fn problem(self) -> &'static str {
        match self {
            Self::Unfinished => "the file ends within the record",
            Self::Header => "the header is invalid",
            Self::Hash => "the hash does not match",
        }
    }
}
