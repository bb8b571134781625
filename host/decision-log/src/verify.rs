//! Checking the whole of a log.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::checkpoint::{self, CheckpointKey};
use crate::disk;
use crate::frame::{self, ChainHash, NoFrame};
use crate::log::{LogConfig, MOST_IN_A_BATCH};
use crate::scan::Scan;
use crate::segment::{Damage, Heading, segments};

/// What checking found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// How many records are whole.
    pub records: u64,
    /// How many segments there are.
    pub segments: usize,
    /// How many checkpoints are signed and agree.
    pub checkpoints: usize,
    /// The first record that there is; 1 unless segments are missing.
    pub first: u64,
    /// The last record; 0 where there is none.
    pub last: u64,
    /// The last record that a checkpoint covers, which is signed and agrees; 0 where there is none. Whoever can
    /// write to the folder can change what comes after it unseen.
    pub covered: u64,
    /// The hash of the last record: compare it with one that was kept elsewhere.
    pub hash: ChainHash,
    /// What is wrong, in the order of the log. Empty when nothing is.
    pub damage: Vec<Damage>,
}

/// Checks every byte of every segment and checkpoint in a folder.
///
/// `config` is the one that the log is written with.
///
/// A log that is being written can be checked too, as it was when its files were read, without the record that
/// is in the middle of being written then.
///
/// # Errors
/// When a file cannot be read.
pub fn verify(folder: &Path, config: &LogConfig, key: &dyn CheckpointKey) -> io::Result<Report> {
    let names = disk::list(folder)?;
    // Before the segments: what is appended in between is only more than the checkpoints ask for.
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
        last: 0,
        covered: 0,
        hash: ChainHash::GENESIS,
        damage: Vec::new(),
    };
    // In the order of sequences, so that each is met on the way.
    let mut due = checkpoints.signed;
    due.sort_by_key(|(_, checkpoint)| checkpoint.sequence);
    let mut due = due.into_iter().peekable();
    let segments = segments(names);
    let count = segments.len();
    for (index, (first, name)) in segments.into_iter().enumerate() {
        let (path, is_last) = (folder.join(&name), index + 1 == count);
        let bytes = fs::read(&path)?;
        report.segments += 1;
        let Some((heading, records)) = Heading::read(&bytes).filter(|(h, _)| h.first == first)
        else {
            report.damage.push(Damage::Heading { segment: name });
            continue;
        };
        if report.segments == 1 && first != 1 {
            report.damage.push(Damage::Beginning { first });
            (report.first, report.last, report.hash) = (first, first - 1, heading.previous);
        }
        if first != report.last + 1 || heading.previous != report.hash {
            report.damage.push(Damage::Link { segment: name.clone(), last: report.last });
        }
        let mut scan = Scan::new(heading, records);
        loop {
            (report.last, report.hash) = (scan.sequence - 1, scan.hash);
            while let Some((_, checkpoint)) =
                due.next_if(|(_, checkpoint)| checkpoint.sequence <= report.last)
            {
                if checkpoint.sequence < report.last {
                    // It lies before the first record, or in what is missing: that was said.
                } else if checkpoint.hash == report.hash.to_string() {
                    report.checkpoints += 1;
                    report.covered = report.last;
                } else {
                    report.damage.push(Damage::Rewritten { sequence: report.last });
                }
            }
            match scan.next() {
                Ok(Some(_)) => report.records += 1,
                Ok(None) => break,
                Err(problem) => {
                    let (segment, sequence, offset) = (name, scan.sequence, scan.offset);
                    if let Some(later) = frame::later_batch(scan.rest(), sequence) {
                        report.damage.push(Damage::Durable { segment, sequence, offset, later });
                    // What is being written just now is whole a moment later.
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
    // Also by those that were signed meanwhile, where it is being written.
    let now = match fs::read(folder.join(checkpoint::FILE)) {
        Ok(bytes) => checkpoint::read(&bytes, key).signed,
        Err(_) => Vec::new(),
    };
    let covered = now.iter().map(|(_, checkpoint)| checkpoint.sequence).max().unwrap_or(0);
    let covered = covered.max(report.covered);
    let records = report.last.saturating_sub(covered);
    if records > config.checkpoint_records + MOST_IN_A_BATCH {
        report.damage.push(Damage::Uncovered { covered, records });
    }
    report.damage.extend(checkpoints.damage);
    if checkpoints.unfinished > 0 {
        let line = checkpoints.lines + 1;
        report.damage.push(Damage::Checkpoint { line, problem: "the line has no end" });
    }
    Ok(report)
}

/// Whether a file is longer than it was: somebody is writing it.
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
