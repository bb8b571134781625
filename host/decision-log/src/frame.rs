//! The frame of a record in a segment.
//!
//! ```text
//! magic     4   "CSL1"
//! length    4   of the record in bytes, big-endian
//! sequence  8   of the record, from 1, big-endian
//! batch     8   sequence of the first record of its batch, big-endian: those written with one sync
//! record
//! hash     32   SHA-256 of the previous record's hash and all of the above
//! ```
//!
//! A batch is written only after the previous one is durable. So a record of a later batch proves that everything before
//! it was once complete, which distinguishes damage from an incomplete write that a crash left.

use std::fmt;

use sha2::{Digest, Sha256};

/// The maximum length of a record, in bytes.
pub const MAX_RECORD_BYTES: usize = 16 << 20;

const MAGIC: &[u8; 4] = b"CSL1";
const HEADER_BYTES: usize = 24;
const HASH_BYTES: usize = 32;

/// The bytes of a frame beside its record.
pub(crate) const FRAME_BYTES: usize = HEADER_BYTES + HASH_BYTES;

/// The hash of a record, which covers all records before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChainHash(pub(crate) [u8; 32]);

impl ChainHash {
    /// The previous hash of a log's first record.
    pub(crate) const GENESIS: Self = Self([0; 32]);

    /// The hash of these 32 bytes, such as an index has kept. That it is a record's is for reading to show.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Hashes bytes that are not a record.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    fn after(self, header: &[u8], record: &[u8]) -> Self {
        let mut hasher = Sha256::new();
        hasher.update(self.0);
        hasher.update(header);
        hasher.update(record);
        Self(hasher.finalize().into())
    }
}

/// `sha256:` and 64 lower-case hexadecimal digits.
impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Appends the frame of a record to `bytes`, and returns the record's hash. The caller ensures that the record has at
/// most [`MAX_RECORD_BYTES`].
pub(crate) fn write(
    bytes: &mut Vec<u8>,
    previous: ChainHash,
    sequence: u64,
    batch: u64,
    record: &[u8],
) -> ChainHash {
    let mut header = [0; HEADER_BYTES];
    let length = u32::try_from(record.len()).unwrap_or(u32::MAX);
    let fields = MAGIC
        .iter()
        .copied()
        .chain(length.to_be_bytes())
        .chain(sequence.to_be_bytes())
        .chain(batch.to_be_bytes());
    header.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    let hash = previous.after(&header, record);
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(record);
    bytes.extend_from_slice(&hash.0);
    hash
}

/// A complete frame that follows its predecessor.
pub(crate) struct Frame<'b> {
    pub(crate) record: &'b [u8],
    pub(crate) hash: ChainHash,
    /// The bytes after the frame.
    pub(crate) rest: &'b [u8],
}

/// The reason for a missing frame where one is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoFrame {
    /// The bytes end within the frame.
    Unfinished,
    /// The header is not a frame's, or is that of another record than the next one.
    Header,
    /// The hash does not match.
    Hash,
}

/// Reads the frame of the record `sequence` at the start of `bytes`.
pub(crate) fn read(bytes: &[u8], previous: ChainHash, sequence: u64) -> Result<Frame<'_>, NoFrame> {
    let (header, body) = bytes.split_at_checked(HEADER_BYTES).ok_or(NoFrame::Unfinished)?;
    let fields = Fields::read(header).ok_or(NoFrame::Header)?;
    if fields.sequence != sequence || fields.batch > sequence || fields.length > MAX_RECORD_BYTES {
        return Err(NoFrame::Header);
    }
    let (record, rest) = body.split_at_checked(fields.length).ok_or(NoFrame::Unfinished)?;
    let (hash, rest) = rest.split_at_checked(HASH_BYTES).ok_or(NoFrame::Unfinished)?;
    let expected = previous.after(header, record);
    if expected.0 != *hash {
        return Err(NoFrame::Hash);
    }
    Ok(Frame { record, hash: expected, rest })
}

/// Searches for a record, complete or not, of a batch that begins after `sequence`. Records are text, which never
/// contains the zero bytes of a header.
pub(crate) fn later_batch(bytes: &[u8], sequence: u64) -> Option<u64> {
    bytes.windows(HEADER_BYTES).find_map(|window| {
        let fields = Fields::read(window)?;
        (fields.batch > sequence
            && fields.sequence >= fields.batch
            && fields.length <= MAX_RECORD_BYTES)
            .then_some(fields.sequence)
    })
}

struct Fields {
    length: usize,
    sequence: u64,
    batch: u64,
}

impl Fields {
    fn read(header: &[u8]) -> Option<Self> {
        let (magic, rest) = header.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (batch, _) = rest.split_first_chunk::<8>()?;
        (magic == MAGIC).then(|| Self {
            length: u32::from_be_bytes(*length) as usize,
            sequence: u64::from_be_bytes(*sequence),
            batch: u64::from_be_bytes(*batch),
        })
    }
}
