//! Finds the end of a log, and mends what a crash left of it.

use std::io;

use super::{OpenError, Recovered};
use crate::checkpoint::{self, Checkpoint, CheckpointKey};
use crate::disk::Disk;
use crate::frame::{self, ChainHash};
use crate::merkle::{Peaks, TreeHash};
use crate::scan::Scan;
use crate::segment::{Damage, HEADING_BYTES, Heading, Segment, first_of, name_of, segments};

/// The number of checkpoints at the end of the file that opening reads. `verify` reads all.
const LAST_LINES: usize = 16;

/// The end of the segment that is open for appending.
pub(super) struct End {
    /// The next record's sequence.
    pub(super) next: u64,
    /// The last record's hash.
    pub(super) hash: ChainHash,
    /// The length of the segment.
    pub(super) bytes: u64,
    /// The leaves of its records from `leaves_from` on.
    pub(super) leaves: Vec<TreeHash>,
    pub(super) leaves_from: u64,
}

/// Creates the first segment of a log.
pub(super) fn begin(disk: &mut impl Disk) -> Result<(String, End), OpenError> {
    let heading = Heading { first: 1, previous: ChainHash::GENESIS };
    let segment = new_segment(disk, heading).map_err(io_error(&name_of(1)))?;
    let bytes = HEADING_BYTES as u64;
    let (next, hash) = (1, ChainHash::GENESIS);
    Ok((segment, End { next, hash, bytes, leaves: Vec::new(), leaves_from: 1 }))
}

/// The tree over the records before a segment, computed from them: only for a log whose last checkpoint has none. Where
/// the log was pruned, a checkpoint of its beginning must have one.
pub(super) fn tree_before(
    disk: &mut impl Disk,
    key: &dyn CheckpointKey,
    last: &str,
) -> Result<Option<Peaks>, OpenError> {
    let segments = segments(disk.list().map_err(io_error("the folder"))?);
    let first = segments.first().map_or(1, |segment| segment.first);
    let mut tree = if first == 1 {
        Peaks::default()
    } else {
        let checkpoints = match disk.read(checkpoint::FILE) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            // A log goes on without a tree only where it has none, and not where it could not be read.
            read => read.map_err(io_error(checkpoint::FILE))?,
        };
        match checkpoint::tree_at(&checkpoints, key, first - 1) {
            Some(tree) => tree,
            None => return Ok(None),
        }
    };
    for Segment { first, name } in segments {
        if name == last {
            break;
        }
        let bytes = disk.read(&name).map_err(io_error(&name))?;
        let Some((heading, records)) = Heading::read(&bytes).filter(|(h, _)| h.first == first)
        else {
            return Err(OpenError::Damaged(Damage::Heading { segment: name }));
        };
        if heading.first != tree.size() + 1 {
            let last = tree.size();
            return Err(OpenError::Damaged(Damage::Link { segment: name, last }));
        }
        let mut scan = Scan::new(heading, records);
        loop {
            match scan.next() {
                Ok(Some(scanned)) => {
                    let leaf = TreeHash::of_record(scanned.sequence, scanned.record, scanned.hash);
                    tree.push(leaf, |_| {});
                }
                Ok(None) => break,
                Err(problem) => {
                    let (sequence, offset) = (scan.sequence, scan.offset);
                    let problem = problem.problem();
                    let damage = Damage::Record { segment: name, sequence, offset, problem };
                    return Err(OpenError::Damaged(damage));
                }
            }
        }
    }
    Ok(Some(tree))
}

/// Creates a segment. Its name and heading are durable before it gets a record.
pub(super) fn new_segment(disk: &mut impl Disk, heading: Heading) -> io::Result<String> {
    let name = name_of(heading.first);
    disk.create(&name)?;
    disk.append(&name, &heading.to_bytes())?;
    disk.sync(&name)?;
    disk.sync_names()?;
    Ok(name)
}

/// Checks the last segment, and quarantines an incomplete record at its end. Returns `None` if a crash left the segment
/// itself incomplete; it is removed then.
pub(super) fn open_segment(
    disk: &mut impl Disk,
    name: &str,
    covered: Option<&Checkpoint>,
    recovered: &mut Vec<Recovered>,
) -> Result<Option<End>, OpenError> {
    let bytes = disk.read(name).map_err(io_error(name))?;
    let first = first_of(name).unwrap_or_default();
    let Some((heading, records)) = Heading::read(&bytes).filter(|(h, _)| h.first == first) else {
        if bytes.len() > HEADING_BYTES {
            return Err(OpenError::Damaged(Damage::Heading { segment: name.to_owned() }));
        }
        disk.remove(name).map_err(io_error(name))?;
        disk.sync_names().map_err(io_error(name))?;
        recovered.push(Recovered {
            file: name.to_owned(),
            offset: 0,
            bytes: bytes.len() as u64,
            sequence: first,
            saved_as: None,
        });
        return Ok(None);
    };
    let agrees = |sequence: u64, hash: ChainHash| match covered {
        Some(checkpoint)
            if checkpoint.sequence == sequence && checkpoint.hash != hash.to_string() =>
        {
            Err(OpenError::Damaged(Damage::Rewritten { sequence }))
        }
        _ => Ok(()),
    };
    agrees(heading.first.saturating_sub(1), heading.previous)?;
    // The last checkpoint's tree goes on from the record after it, any other one from the segment's first.
    let leaves_from = covered
        .filter(|checkpoint| checkpoint.tree.is_some())
        .map_or(first, |checkpoint| (checkpoint.sequence + 1).max(first));
    let mut leaves = Vec::new();
    let mut scan = Scan::new(heading, records);
    let problem = loop {
        match scan.next() {
            Ok(Some(scanned)) => {
                agrees(scanned.sequence, scanned.hash)?;
                if scanned.sequence >= leaves_from {
                    let (record, hash) = (scanned.record, scanned.hash);
                    leaves.push(TreeHash::of_record(scanned.sequence, record, hash));
                }
            }
            Ok(None) => break None,
            Err(problem) => break Some(problem),
        }
    };
    if problem.is_some() {
        if let Some(later) = frame::later_batch(scan.rest(), scan.sequence) {
            let (segment, sequence, offset) = (name.to_owned(), scan.sequence, scan.offset);
            return Err(OpenError::Damaged(Damage::Durable { segment, sequence, offset, later }));
        }
        recovered.push(quarantine(disk, name, &scan).map_err(io_error(name))?);
    }
    // Records that no checkpoint covers may never have been synced, and neither may the heading of a segment without
    // records. If a sync of them failed, the system may still hold them as written. So they are written anew before
    // anything follows them.
    let last = scan.sequence - 1;
    let is_empty = scan.offset == HEADING_BYTES as u64;
    if problem.is_some() || is_empty || covered.is_none_or(|checkpoint| checkpoint.sequence < last)
    {
        let whole = bytes.len() - scan.rest().len();
        disk.replace(name, bytes.get(..whole).unwrap_or_default()).map_err(io_error(name))?;
    }
    let (next, hash, bytes) = (scan.sequence, scan.hash, scan.offset);
    Ok(Some(End { next, hash, bytes, leaves, leaves_from }))
}

/// Reads the last checkpoint of the folder. An invalid last line is an incomplete write that a crash left.
pub(super) fn last_checkpoint(
    disk: &mut impl Disk,
    key: &dyn CheckpointKey,
    recovered: &mut Vec<Recovered>,
) -> Result<Option<Checkpoint>, OpenError> {
    let failed = || io_error(checkpoint::FILE);
    if !disk.list().map_err(io_error("the folder"))?.iter().any(|name| name == checkpoint::FILE) {
        return Ok(None);
    }
    let bytes = disk.read(checkpoint::FILE).map_err(failed())?;
    let before =
        bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
    let start = before.clone().nth(LAST_LINES).unwrap_or(0);
    let mut read = checkpoint::read(bytes.get(start..).unwrap_or_default(), key);
    let mut whole = bytes.len() - read.unfinished;
    let lines = read.lines;
    let is_last =
        |damage: &mut Damage| matches!(damage, Damage::Checkpoint { line, .. } if *line == lines);
    if read.unfinished == 0 && read.damage.pop_if(is_last).is_some() {
        whole = before.clone().nth(1).unwrap_or(0);
    }
    if let Some(Damage::Checkpoint { line, problem }) = read.damage.into_iter().next() {
        let before = bytes.get(..start).unwrap_or_default();
        let line = line + before.iter().filter(|byte| **byte == b'\n').count();
        return Err(OpenError::Damaged(Damage::Checkpoint { line, problem }));
    }
    // As with records, the lines are durable before anything follows them.
    disk.replace(checkpoint::FILE, bytes.get(..whole).unwrap_or_default()).map_err(failed())?;
    let last = read.signed.into_iter().map(|(_, checkpoint)| checkpoint);
    let last = last.max_by_key(|checkpoint| checkpoint.sequence);
    if whole < bytes.len() {
        recovered.push(Recovered {
            file: checkpoint::FILE.to_owned(),
            offset: whole as u64,
            bytes: (bytes.len() - whole) as u64,
            sequence: last.as_ref().map_or(0, |checkpoint| checkpoint.sequence),
            saved_as: None,
        });
    }
    Ok(last)
}

pub(super) fn io_error(file: &str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io { file: file.to_owned(), source }
}

/// Copies the bytes after the last complete record to a file of their own.
fn quarantine(disk: &mut impl Disk, name: &str, scan: &Scan<'_>) -> io::Result<Recovered> {
    let names = disk.list()?;
    let aside = (0_u32..)
        .map(|count| format!("{:020}.{count}.torn", scan.sequence))
        .find(|aside| !names.contains(aside))
        .unwrap_or_default();
    disk.create(&aside)?;
    disk.append(&aside, scan.rest())?;
    disk.sync(&aside)?;
    disk.sync_names()?;
    Ok(Recovered {
        file: name.to_owned(),
        offset: scan.offset,
        bytes: scan.rest().len() as u64,
        sequence: scan.sequence,
        saved_as: Some(aside),
    })
}
