//! One file of the chain: its name, its heading, and what can be wrong with it.

use crate::frame::{ChainHash, NoFrame};

/// Magic and version, sequence of the first record, hash before it, and the hash of these.
pub(crate) const HEADING_BYTES: usize = 8 + 8 + 32 + 32;

const MAGIC: &[u8; 8] = b"CSLSEG01";

/// How a segment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heading {
    /// Sequence of its first record.
    pub(crate) first: u64,
    /// Hash of the record before it.
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

    /// Reads the heading that begins `bytes`, and gives what follows it.
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

/// The sequence in a segment's name, or `None` when a file is no segment.
pub(crate) fn first_of(name: &str) -> Option<u64> {
    let first = name.strip_suffix(".log")?.parse().ok()?;
    // Records count from 1.
    (first > 0 && name_of(first) == name).then_some(first)
}

/// The segments among the names of files, in order.
pub(crate) fn segments(names: impl IntoIterator<Item = String>) -> Vec<(u64, String)> {
    let mut segments: Vec<_> =
        names.into_iter().filter_map(|name| Some((first_of(&name)?, name))).collect();
    segments.sort_unstable();
    segments
}

/// What is wrong with a log, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A segment does not begin as one does.
    #[error("{segment}: the heading is damaged")]
    Heading {
        /// The file.
        segment: String,
    },
    /// A segment does not follow on the one before it.
    #[error("{segment}: does not follow on record {last}: a segment is missing or was replaced")]
    Link {
        /// The file.
        segment: String,
        /// The last record before it.
        last: u64,
    },
    /// The first segment is not the first of the log.
    #[error("the log begins with record {first}: segments before it are missing")]
    Beginning {
        /// The first record that there is.
        first: u64,
    },
    /// A record is not what it was.
    #[error("{segment}: record {sequence}, at byte {offset}: {problem}")]
    Record {
        /// The file.
        segment: String,
        /// The record that should be there.
        sequence: u64,
        /// Where it should begin.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A record is damaged that was durable once, as a later one shows.
    #[error(
        "{segment}: record {sequence}, at byte {offset}, is damaged, though record {later} was \
         written after it was durable: this is no crash"
    )]
    Durable {
        /// The file.
        segment: String,
        /// The record that should be there.
        sequence: u64,
        /// Where it should begin.
        offset: u64,
        /// A record that was written later.
        later: u64,
    },
    /// A checkpoint says that the log was longer.
    #[error(
        "the log ends with record {last}, but a checkpoint says that it reached {sequence}: records {} to \
         {sequence} are lost", last + 1
    )]
    Lost {
        /// The last record that there is.
        last: u64,
        /// How far the log once reached.
        sequence: u64,
    },
    /// A checkpoint names another hash than the record has.
    #[error(
        "record {sequence} had another hash when a checkpoint was signed: the log was rewritten"
    )]
    Rewritten {
        /// The record.
        sequence: u64,
    },
    /// More records are without a checkpoint than a log ever has.
    #[error(
        "no checkpoint covers the records after {covered}, of which there are {records}: checkpoints are \
         missing, or the records were not written by this log"
    )]
    Uncovered {
        /// The last record that a checkpoint covers.
        covered: u64,
        /// How many come after it.
        records: u64,
    },
    /// A line of the checkpoints is none, or its signature is not the key's.
    #[error("checkpoint {line}: {problem}")]
    Checkpoint {
        /// The line.
        line: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

impl NoFrame {
    pub(crate) fn problem(self) -> &'static str {
        match self {
            Self::Unfinished => "the file ends before it does",
            Self::Header => "something else stands there",
            Self::Hash => "its hash is another one",
        }
    }
}
