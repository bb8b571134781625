//! Copies a log up to a record, for a backup.

use std::fs;
use std::io;
use std::path::Path;

use crate::checkpoint::{self, Checkpoint};
use crate::disk::{self, write_private};
use crate::log::Position;
use crate::pruned;
use crate::reader::{Entry, ReadError};
use crate::scan::Scan;
use crate::segment::{self, Damage, HEADING_BYTES, Heading, Segment, segments};

/// The outcome of [`copy_log`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyReport {
    /// The position of the last record in the copy; `None` if it has none.
    pub end: Option<Position>,
    /// The last checkpoint in the copy.
    pub checkpoint: Option<Checkpoint>,
}

/// Copies the records of the log in `folder` to the folder `to`, up to the first one that `within` refuses, with the
/// checkpoints that cover no more than those. Every record is checked on the way. Another process may be writing the
/// log: a record that it is appending is not copied.
///
/// # Errors
/// Returns an error if the log is damaged, or a file cannot be read or written.
pub fn copy_log(
    folder: &Path,
    to: &Path,
    mut within: impl FnMut(&Entry) -> bool,
) -> Result<CopyReport, ReadError> {
    let names = disk::list(folder).map_err(io_error(&folder.to_string_lossy()))?;
    let segments = segments(names);
    let (count, mut end, mut next) = (segments.len(), None, None);
    for (index, Segment { first, name }) in segments.into_iter().enumerate() {
        let bytes = segment::read(folder, &name).map_err(io_error(&name))?;
        let is_last = index + 1 == count;
        let Some((heading, records)) = Heading::read(&bytes).filter(|(h, _)| h.first == first)
        else {
            if is_last && bytes.len() < HEADING_BYTES {
                // It is being created.
                break;
            }
            return Err(ReadError::Damaged(Damage::Heading { segment: name }));
        };
        if next.is_some_and(|next| next != (heading.first, heading.previous)) {
            return Err(ReadError::Damaged(Damage::Link {
                segment: name,
                last: heading.first - 1,
            }));
        }
        let mut scan = Scan::new(heading, records);
        let is_whole = loop {
            let offset = scan.offset;
            match scan.next() {
                Ok(None) => break true,
                // The writer is appending it.
                Err(crate::frame::NoFrame::Unfinished) if is_last => break false,
                Err(problem) => {
                    let (segment, sequence) = (name, scan.sequence);
                    let problem = problem.problem();
                    let damage = Damage::Record { segment, sequence, offset, problem };
                    return Err(ReadError::Damaged(damage));
                }
                Ok(Some(scanned)) => {
                    let (sequence, hash) = (scanned.sequence, scanned.hash);
                    let record = scanned.record.to_vec();
                    if !within(&Entry { sequence, hash, record }) {
                        write(to, &name, &bytes, offset)?;
                        return finished(folder, to, end);
                    }
                    end = Some(Position { sequence, hash });
                }
            }
        };
        write(to, &name, &bytes, scan.offset)?;
        next = is_whole.then_some((scan.sequence, scan.hash));
    }
    finished(folder, to, end)
}

/// Writes the beginning of a segment.
fn write(to: &Path, name: &str, bytes: &[u8], length: u64) -> Result<(), ReadError> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let name = name.strip_suffix(segment::COMPRESSED).unwrap_or(name);
    write_private(to, name, bytes.get(..length).unwrap_or(bytes)).map_err(io_error(name))
}

/// Copies the checkpoints and the statement of what was pruned.
fn finished(folder: &Path, to: &Path, end: Option<Position>) -> Result<CopyReport, ReadError> {
    let mut report = CopyReport { end, checkpoint: None };
    let last = end.map_or(0, |position| position.sequence);
    if let Some(checkpoints) = read(folder, checkpoint::FILE)? {
        let covered = checkpoint::up_to(&checkpoints, last);
        report.checkpoint = checkpoint::last_of(&covered);
        write_private(to, checkpoint::FILE, &covered).map_err(io_error(checkpoint::FILE))?;
    }
    if let Some(statement) = read(folder, pruned::FILE)? {
        write_private(to, pruned::FILE, &statement).map_err(io_error(pruned::FILE))?;
    }
    Ok(report)
}

/// Reads a file, if it is there.
fn read(folder: &Path, name: &str) -> Result<Option<Vec<u8>>, ReadError> {
    match fs::read(folder.join(name)) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_error(name)(error)),
    }
}

fn io_error(file: &str) -> impl Fn(io::Error) -> ReadError {
    move |source| ReadError::Io { file: file.to_owned(), source }
}
