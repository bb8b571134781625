//! Verifies a whole log.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::checkpoint::{self, CheckpointKey};
use crate::disk;
use crate::frame::{self, ChainHash, NoFrame};
use crate::log::{LogConfig, MAX_BATCH_RECORDS};
use crate::merkle::{Peaks, TreeHash};
use crate::pruned::{self, Pruned};
use crate::scan::Scan;
use crate::segment::{self, Damage, Heading, Segment, segments};

/// The result of [`verify`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The number of intact records.
    pub records: u64,
    /// The number of segments.
    pub segments: usize,
    /// The number of checkpoints that are signed and agree with the records.
    pub checkpoints: usize,
    /// The first record's sequence; 1 unless segments were [pruned](crate::prune) or are missing.
    pub first: u64,
    /// The hash of the record before the first, to be compared with an archive's.
    pub before: ChainHash,
    /// The last record's sequence; 0 if there is none.
    pub last: u64,
    /// The last record covered by a checkpoint that is signed and agrees; 0 if there is none. Whoever can write to the
    /// folder can change the records after it undetected.
    pub covered: u64,
    /// The last record's hash, to be compared with one stored elsewhere.
    pub hash: ChainHash,
    /// The damage, in the order of the log; empty if there is none.
    pub damage: Vec<Damage>,
}

/// Checks every byte of every segment and checkpoint in a folder.
///
/// `config` is the one that the log is written with.
///
/// A log that another process is writing is verified as it was when its files were read, without a record that was being
/// appended then.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn verify(folder: &Path, config: &LogConfig, key: &dyn CheckpointKey) -> io::Result<Report> {
    let names = disk::list(folder)?;
    // Checkpoints are read before the segments: records appended in between only exceed them.
    let checkpoints = match fs::read(folder.join(checkpoint::FILE)) {
        Ok(bytes) => checkpoint::read(&bytes, key),
        Err(error) if error.kind() == io::ErrorKind::NotFound => checkpoint::read(&[], key),
        Err(error) => return Err(error),
    };
    let mut report = Report {
        records: 0,
        segments: 0,
        checkpoints: 0,
        first: 1,
        before: ChainHash::GENESIS,
        last: 0,
        covered: 0,
        hash: ChainHash::GENESIS,
        damage: Vec::new(),
    };
    let noted = checkpoints.noted.iter().zip(&checkpoints.signed);
    let notes: Vec<_> = noted
        .filter_map(|(noted, (line, _))| {
            let problem = noted.note(key).err()?;
            Some(Damage::Checkpoint { line: *line, problem })
        })
        .collect();
    // In the order of sequences, so that one pass over the records meets each.
    let mut due = checkpoints.signed;
    due.sort_by_key(|(_, checkpoint)| checkpoint.sequence);
    let mut due = due.into_iter().peekable();
    let segments = segments(names);
    let count = segments.len();
    let pruned = statement(folder, key, &mut report)?;
    // Until damage is found, from where on there is no tree of what was signed.
    let mut tree = Some(Peaks::default());
    for (index, Segment { first, name }) in segments.into_iter().enumerate() {
        let (path, is_last) = (folder.join(&name), index + 1 == count);
        let bytes = segment::read(folder, &name)?;
        report.segments += 1;
        let Some((heading, records)) = Heading::read(&bytes).filter(|(h, _)| h.first == first)
        else {
            report.damage.push(Damage::Heading { segment: name });
            continue;
        };
        if report.segments == 1 && first != 1 {
            (report.first, report.last, report.hash) = (first, first - 1, heading.previous);
            report.before = heading.previous;
            let mut at = due.clone().map(|(_, due)| due).filter(|due| due.sequence == first - 1);
            tree = at.find_map(|due| due.tree?.peaks(first - 1));
            let is_said = pruned.as_ref().is_some_and(|pruned| {
                pruned.explains(first, heading.previous, due.clone().map(|(_, due)| due))
            });
            if !is_said {
                report.damage.push(Damage::Beginning { first });
            }
        }
        if first != report.last + 1 || heading.previous != report.hash {
            report.damage.push(Damage::Link { segment: name.clone(), last: report.last });
            tree = None;
        }
        let mut scan = Scan::new(heading, records);
        loop {
            (report.last, report.hash) = (scan.sequence - 1, scan.hash);
            while let Some((_, checkpoint)) =
                due.next_if(|(_, checkpoint)| checkpoint.sequence <= report.last)
            {
                if checkpoint.sequence < report.last {
                    // It is before the first record or in a gap, which was already reported.
                } else if checkpoint.hash == report.hash.to_string() {
                    let sequence = report.last;
                    let computed = tree.as_ref().zip(checkpoint.tree);
                    if computed
                        .is_some_and(|(tree, head)| head.peaks(sequence).as_ref() != Some(tree))
                    {
                        report.damage.push(Damage::Tree { sequence });
                    } else {
                        report.checkpoints += 1;
                        report.covered = sequence;
                    }
                } else {
                    report.damage.push(Damage::Rewritten { sequence: report.last });
                }
            }
            match scan.next() {
                Ok(Some(scanned)) => {
                    report.records += 1;
                    if let Some(tree) = &mut tree {
                        let (record, hash) = (scanned.record, scanned.hash);
                        tree.push(TreeHash::of_record(scanned.sequence, record, hash), |_| {});
                    }
                }
                Ok(None) => break,
                Err(problem) => {
                    tree = None;
                    let (segment, sequence, offset) = (name, scan.sequence, scan.offset);
                    if let Some(later) = frame::later_batch(scan.rest(), sequence) {
                        report.damage.push(Damage::Durable { segment, sequence, offset, later });
                    // A record that is being appended is complete a moment later.
                    } else if problem != NoFrame::Unfinished || !is_last || !grows(&path, &bytes)? {
                        let problem = problem.problem();
                        report.damage.push(Damage::Record { segment, sequence, offset, problem });
                    }
                    break;
                }
            }
        }
    }
    let kept = key.kept()?.map(|checkpoint| checkpoint.sequence);
    let reached =
        due.last().map(|(_, checkpoint)| checkpoint.sequence).into_iter().chain(kept).max();
    if let Some(sequence) = reached.filter(|reached| *reached > report.last) {
        report.damage.push(Damage::Lost { last: report.last, sequence });
    }
    // A writer may have signed checkpoints meanwhile.
    let now = match fs::read(folder.join(checkpoint::FILE)) {
        Ok(bytes) => checkpoint::read(&bytes, key).signed,
        Err(_) => Vec::new(),
    };
    let covered = now.iter().map(|(_, checkpoint)| checkpoint.sequence).max().unwrap_or(0);
    let covered = covered.max(report.covered);
    let records = report.last.saturating_sub(covered);
    if records > config.checkpoint_records + MAX_BATCH_RECORDS {
        report.damage.push(Damage::Uncovered { covered, records });
    }
    report.damage.extend(checkpoints.damage);
    report.damage.extend(notes);
    if checkpoints.unfinished > 0 {
        let line = checkpoints.lines + 1;
        report.damage.push(Damage::Checkpoint { line, problem: "the line has no end" });
    }
    Ok(report)
}

/// The statement of what was pruned, if there is one.
fn statement(
    folder: &Path,
    key: &dyn CheckpointKey,
    report: &mut Report,
) -> io::Result<Option<Pruned>> {
    let text = match fs::read(folder.join(pruned::FILE)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let pruned = Pruned::read(&text, key);
    if pruned.is_none() {
        report.damage.push(Damage::Statement { file: pruned::FILE.to_owned() });
    }
    Ok(pruned)
}

/// Returns true if a file has grown, so that another process is writing it.
fn grows(path: &Path, before: &[u8]) -> io::Result<bool> {
    let longer = || fs::metadata(path).map(|now| now.len() > before.len() as u64);
    for _ in 0..5 {
        if longer()? {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(20));
    }
    longer()
}
