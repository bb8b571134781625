//! Going through one segment.

use crate::frame::{self, ChainHash, NoFrame};
use crate::segment::{HEADING_BYTES, Heading};

/// Goes through the records of a segment, in order.
pub(crate) struct Scan<'b> {
    bytes: &'b [u8],
    /// The record that is next.
    pub(crate) sequence: u64,
    /// Where it begins.
    pub(crate) offset: u64,
    /// Hash of the record before it.
    pub(crate) hash: ChainHash,
}

/// A record on the way.
pub(crate) struct Scanned<'b> {
    pub(crate) sequence: u64,
    pub(crate) record: &'b [u8],
    pub(crate) hash: ChainHash,
}

impl<'b> Scan<'b> {
    /// Begins with what follows a heading.
    pub(crate) fn new(heading: Heading, records: &'b [u8]) -> Self {
        Self {
            bytes: records,
            sequence: heading.first,
            offset: HEADING_BYTES as u64,
            hash: heading.previous,
        }
    }

    /// The next record; `None` at the end. After an error it stands before what is wrong.
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

    /// What was not gone through.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.bytes
    }
}
