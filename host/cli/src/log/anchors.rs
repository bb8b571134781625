//! The checkpoints of other replicas' logs in a log, compared with those logs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use countersign_decision_log::{CheckpointKey, ReadError, Reader, Report};
use countersign_issuer::{CheckpointVerifier, anchors_of};

/// A log that was verified by itself.
pub(super) struct VerifiedLog {
    pub(super) folder: PathBuf,
    pub(super) key: CheckpointVerifier,
    pub(super) report: Report,
}

/// The outcome of the comparison.
#[derive(Default)]
pub(super) struct Compared {
    /// The number of anchors of logs that were given.
    pub(super) anchors: u64,
    /// The replicas that anchors are of whose logs were not given.
    pub(super) missing: BTreeSet<String>,
    pub(super) damage: Vec<String>,
}

/// A record of another log that an anchor names.
struct Named {
    sequence: u64,
    hash: String,
    /// The log and the record that has the anchor.
    by: String,
}

/// Compares the anchors in each log with the logs that they are of, which are told by their keys.
pub(super) fn compare(logs: &[VerifiedLog]) -> Result<Compared> {
    let mut compared = Compared::default();
    let mut named: BTreeMap<usize, Vec<Named>> = BTreeMap::new();
    for log in logs {
        each(&log.folder, log.report.first, |sequence, _, record| {
            for anchor in anchors_of(record) {
                let kid = &anchor.checkpoint.checkpoint.kid;
                let Some(of) = logs.iter().position(|log| log.key.kid() == kid) else {
                    compared.missing.insert(countersign::visible(&anchor.replica));
                    continue;
                };
                compared.anchors += 1;
                let by = format!("record {sequence} of {}", log.folder.display());
                if logs.get(of).is_some_and(|of| !anchor.checkpoint.is_signed_by(&of.key)) {
                    compared.damage.push(format!("{by}: an anchor's signature is not the key's"));
                    continue;
                }
                let checkpoint = anchor.checkpoint.checkpoint;
                let named = named.entry(of).or_default();
                named.push(Named { sequence: checkpoint.sequence, hash: checkpoint.hash, by });
            }
        })?;
    }
    for (of, mut named) in named {
        let Some(log) = logs.get(of) else { continue };
        named.sort_by_key(|one| one.sequence);
        let mut left = named.into_iter().peekable();
        // Those before the first record were pruned.
        while left.next_if(|one| one.sequence < log.report.first).is_some() {}
        let name = log.folder.display();
        each(&log.folder, log.report.first, |sequence, hash, _| {
            while let Some(one) = left.next_if(|one| one.sequence == sequence) {
                if one.hash != hash {
                    compared.damage.push(format!(
                        "{name}: {} anchors record {sequence} with another hash",
                        one.by
                    ));
                }
            }
        })?;
        // One is enough: all records after the end, or after damage, are lost.
        if let Some(one) = left.last() {
            let last = log.report.last;
            compared.damage.push(format!(
                "{name}: {} anchors record {}, and the log ends with record {last}",
                one.by, one.sequence
            ));
        }
    }
    Ok(compared)
}

/// Calls a function with each record of a log up to its end or to damage, which its own report has: the record's sequence,
/// its hash and its bytes.
fn each(folder: &Path, first: u64, mut of: impl FnMut(u64, String, &[u8])) -> Result<()> {
    let mut reader = Reader::new(folder, first.max(1));
    loop {
        match reader.read() {
            Ok(Some(entry)) => of(entry.sequence, entry.hash.to_string(), &entry.record),
            Ok(None) | Err(ReadError::Damaged(_)) => return Ok(()),
            Err(error) => return Err(error).with_context(|| folder.display().to_string()),
        }
    }
}
