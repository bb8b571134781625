//! Reads single records by the place of their frames, each verified against the hash of the one before it.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::frame::{self, ChainHash, FRAME_BYTES, MAX_RECORD_BYTES};
use crate::reader::{Entry, ReadError};
use crate::segment::{self, COMPRESSED, Damage, name_of};

/// Decompressed segments that are kept, of at most 1 GiB each and 64 MiB usually.
const MAX_KEPT: usize = 4;

/// The place of a record's frame in the files of a log. It says nothing about the record: reading it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramePlace {
    /// The first record of the segment.
    pub segment: u64,
    /// The offset of the frame in the segment as it was written, in bytes.
    pub offset: u64,
    /// The length of the frame in bytes.
    pub length: u32,
}

/// Reads records by their places, also of segments that an archive has compressed. These are decompressed whole, and the
/// last four are kept.
#[derive(Debug)]
pub struct PlacedReader {
    folder: PathBuf,
    open: Option<(u64, File)>,
    decompressed: Vec<(u64, Arc<Vec<u8>>)>,
}

impl PlacedReader {
    /// Reads records of the log in a folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), open: None, decompressed: Vec::new() }
    }

    /// Reads the record `sequence` at a place. `previous` is the hash of the record before it.
    ///
    /// # Errors
    /// Returns an error if the place has another record than the one that follows `previous`, or a file cannot be read.
    pub fn read(
        &mut self,
        sequence: u64,
        place: FramePlace,
        previous: ChainHash,
    ) -> Result<Entry, ReadError> {
        let name = name_of(place.segment);
        let damaged = |problem| {
            let (segment, offset) = (name.clone(), place.offset);
            ReadError::Damaged(Damage::Record { segment, sequence, offset, problem })
        };
        if place.length as usize > MAX_RECORD_BYTES + FRAME_BYTES {
            return Err(damaged("longer than any record"));
        }
        let bytes = match self.bytes(place) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("the file ends before it"));
            }
            Err(source) => return Err(ReadError::Io { file: name, source }),
        };
        let frame = frame::read(&bytes, previous, sequence)
            .map_err(|problem| damaged(problem.problem()))?;
        Ok(Entry { sequence, hash: frame.hash, record: frame.record.to_vec() })
    }

    fn bytes(&mut self, place: FramePlace) -> io::Result<Vec<u8>> {
        let length = place.length as usize;
        if let Some((_, bytes)) = self.decompressed.iter().find(|(kept, _)| *kept == place.segment)
        {
            return part(bytes, place.offset, length);
        }
        if self.open.as_ref().is_none_or(|(open, _)| *open != place.segment) {
            let name = name_of(place.segment);
            match File::open(self.folder.join(&name)) {
                Ok(file) => self.open = Some((place.segment, file)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let bytes = segment::read(&self.folder, &format!("{name}{COMPRESSED}"))?;
                    let found = part(&bytes, place.offset, length);
                    if self.decompressed.len() == MAX_KEPT {
                        self.decompressed.remove(0);
                    }
                    self.decompressed.push((place.segment, Arc::new(bytes)));
                    return found;
                }
                Err(error) => return Err(error),
            }
        }
        let Some((_, file)) = &mut self.open else {
            return Err(io::ErrorKind::NotFound.into());
        };
        file.seek(SeekFrom::Start(place.offset))?;
        let mut bytes = vec![0; length];
        file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// Forgets what is open and kept, so that files that were replaced meanwhile are found.
    pub fn refresh(&mut self) {
        self.open = None;
        self.decompressed.clear();
    }
}

fn part(bytes: &[u8], offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let from = usize::try_from(offset).ok();
    let part = from.and_then(|from| bytes.get(from..)?.get(..length));
    part.map(<[u8]>::to_vec).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
