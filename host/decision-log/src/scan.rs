//! Scans one segment.

use crate::frame::{self, ChainHash, NoFrame};
use crate::segment::{HEADING_BYTES, Heading};

/// Scans the records of a segment in order.
pub(crate) struct Scan<'b> {
    bytes: &'b [u8],
    /// The next record's sequence.
    pub(crate) sequence: u64,
    /// The next record's offset.
    pub(crate) offset: u64,
    /// The previous record's hash.
    pub(crate) hash: ChainHash,
}

/// A scanned record.
pub(crate) struct Scanned<'b> {
    pub(crate) sequence: u64,
    pub(crate) record: &'b [u8],
    pub(crate) hash: ChainHash,
}

impl<'b> Scan<'b> {
    /// Starts with the bytes after a heading.
    pub(crate) fn new(heading: Heading, records: &'b [u8]) -> Self {
        Self {
            bytes: records,
            sequence: heading.first,
            offset: HEADING_BYTES as u64,
            hash: heading.previous,
        }
    }

    /// Returns the next record; `None` at the end. After an error the scan stays before the damage.
    pub(crate) fn next(&mut self) -> Result<Option<Scanned<'b>>, NoFrame> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let frame = frame::read(self.bytes, self.hash, self.sequence)?;
        let scanned = Scanned { sequence: self.sequence, record: frame.record, hash: frame.hash };
        self.offset += (self.bytes.len() - frame.rest.len()) as u64;
        self.sequence += 1;
        self.hash = frame.hash;
        self.bytes = frame.rest;
        Ok(Some(scanned))
    }

    /// The bytes that were not scanned.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.bytes
    }
}
