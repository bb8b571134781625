//! Every state that a crash can leave reopens with every acknowledged record.
//!
//! A crash can follow every operation of the disk. Synced data stays. Each unsynced write may be complete, missing,
//! truncated, or lack sectors in the middle (which read as zeros), and each unsynced name may be missing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;

use countersign_decision_log::{Log, LogConfig, OpenError};
use support::{Asked, FakeDisk, Files, Key, apply};

/// Small segments and few records to a checkpoint, so that every kind of write occurs.
const CONFIG: LogConfig = LogConfig { segment_bytes: 1500, checkpoint_records: 5 };

/// Batches of records, in sizes that fill sectors and segments.
fn batches() -> Vec<Vec<Vec<u8>>> {
    let record = |number: usize| {
        let filling = "x".repeat(number * 97 % 700);
        format!("{{\"number\":{number},\"filling\":\"{filling}\"}}").into_bytes()
    };
    let sizes = [1, 2, 1, 3, 1, 4, 1, 1, 2, 1];
    let mut next = 0;
    sizes
        .iter()
        .map(|size| {
            next += size;
            (next - size..next).map(record).collect()
        })
        .collect()
}

/// Opens on `disk`, appends batches until one fails, and notes the acknowledged records.
fn work(disk: &FakeDisk, batches: &[Vec<Vec<u8>>]) {
    let Ok((mut log, _)) = Log::open(disk.clone(), CONFIG, Box::new(Key)) else { return };
    for batch in batches {
        let Ok(positions) = log.append(batch, 1_790_000_000) else { return };
        for position in positions {
            disk.0.lock().unwrap().asked.push(Asked::Acknowledged(position.sequence));
        }
    }
}

/// The outcomes of one unsynced write that lead to different states.
fn outcomes(bytes: &[u8]) -> Vec<Vec<u8>> {
    const SECTOR: usize = 512;
    let mut outcomes = vec![bytes.to_vec(), Vec::new()];
    outcomes.extend((1..bytes.len()).map(|cut| bytes[..cut].to_vec()));
    // Its length is there, and some of its sectors are not: all choices, of up to six.
    let sectors = bytes.len().div_ceil(SECTOR).min(6);
    for lost in 1..1_u32 << sectors {
        let mut holes = bytes.to_vec();
        for (sector, chunk) in holes.chunks_mut(SECTOR).enumerate() {
            if sector < sectors && lost & (1 << sector) != 0 {
                chunk.fill(0);
            }
        }
        outcomes.push(holes);
    }
    outcomes
}

/// The states that a crash after `asked` may leave.
fn states(asked: &[Asked]) -> Vec<Files> {
    let synced = |name: &str, from: usize| {
        asked[from..].iter().any(|asked| matches!(asked, Asked::Sync(synced) if synced == name))
    };
    let names_synced =
        |from: usize| asked[from..].iter().any(|asked| matches!(asked, Asked::SyncNames));
    let mut states = vec![Files::new()];
    for (index, step) in asked.iter().enumerate() {
        let variants: Vec<Option<Asked>> = match step {
            Asked::Append(name, _) if synced(name, index) => vec![Some(step.clone())],
            Asked::Append(name, bytes) => outcomes(bytes)
                .into_iter()
                .map(|bytes| Some(Asked::Append(name.clone(), bytes)))
                .collect(),
            Asked::Create(_) if names_synced(index) => vec![Some(step.clone())],
            Asked::Create(_) => vec![Some(step.clone()), None],
            _ => vec![Some(step.clone())],
        };
        states = states
            .into_iter()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .flat_map(|files| {
                variants.iter().map(move |variant| {
                    let mut files = files.clone();
                    if let Some(step) = variant {
                        // A file whose name is not there takes nothing.
                        let _ = apply(&mut files, step);
                    }
                    files
                })
            })
            .collect();
    }
    states
}

fn acknowledged(asked: &[Asked]) -> u64 {
    let last = asked.iter().rev().find_map(|asked| match asked {
        Asked::Acknowledged(sequence) => Some(*sequence),
        _ => None,
    });
    last.unwrap_or(0)
}

#[test]
fn every_state_that_a_crash_leaves_reopens_with_what_was_acknowledged() {
    let disk = FakeDisk::default();
    work(&disk, &batches());
    let asked = disk.0.lock().unwrap().asked.clone();
    let mut seen = 0;
    for length in 0..=asked.len() {
        let asked = &asked[..length];
        let acknowledged = acknowledged(asked);
        for files in states(asked) {
            seen += 1;
            let disk = FakeDisk::with(files.clone());
            let (mut log, recovered) = Log::open(disk.clone(), CONFIG, Box::new(Key))
                .unwrap_or_else(|error| panic!("after {length} steps: {error}"));
            assert!(log.last() >= acknowledged, "after {length} steps");
            // What is gone was said: a file that is shorter than before is one of these.
            for (name, bytes) in &files {
                let now = disk.files().get(name).map_or(0, Vec::len);
                let said = recovered.iter().any(|recovered| recovered.file == *name);
                assert!(now == bytes.len() || said, "after {length} steps: {name}");
            }
            // And it goes on, and opens again with nothing more to say.
            let next = log.last() + 1;
            let positions = log.append(&[b"{\"after\":1}".to_vec()], 1_790_000_001).unwrap();
            assert_eq!(positions[0].sequence, next);
            drop(log);
            let (log, recovered) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
            assert_eq!((log.last(), recovered.len()), (next, 0));
        }
    }
    assert!(seen > 1000, "{seen}");
}

/// The process is killed, another one continues, and then the machine fails: the second process must not build on
/// unsynced writes of the first.
#[test]
fn a_machine_that_fails_after_a_process_was_killed_loses_nothing() {
    let whole = FakeDisk::default();
    work(&whole, &batches());
    let calls = whole.0.lock().unwrap().asked.len();
    let mut seen = 0;
    for dies_at in 0..calls {
        let disk = FakeDisk::default();
        disk.0.lock().unwrap().dies_at = Some(dies_at);
        work(&disk, &batches());
        let killed = {
            let mut state = disk.0.lock().unwrap();
            state.dies_at = None;
            state.asked.len()
        };
        work(&disk, &batches()[..3]);
        let asked = disk.0.lock().unwrap().asked.clone();
        assert!(asked.len() > killed);
        for length in killed..=asked.len() {
            let asked = &asked[..length];
            let acknowledged = acknowledged(asked);
            for files in states(asked) {
                seen += 1;
                let (log, _) = Log::open(FakeDisk::with(files), CONFIG, Box::new(Key))
                    .unwrap_or_else(|error| panic!("killed at {dies_at}, {length} steps: {error}"));
                assert!(log.last() >= acknowledged, "killed at {dies_at}, {length} steps");
            }
        }
    }
    assert!(seen > 1000, "{seen}");
}

/// A crash during recovery is recovered from as well.
#[test]
fn a_crash_while_recovering_is_recovered_from() {
    let disk = FakeDisk::default();
    work(&disk, &batches());
    let mut torn = disk.files();
    let last = torn.keys().rfind(|name| name.ends_with(".log")).unwrap().clone();
    let bytes = torn.get_mut(&last).unwrap();
    let whole = bytes.len();
    bytes.extend_from_slice(b"CSL1\0\0\0");

    let disk = FakeDisk::with(torn.clone());
    Log::open(disk.clone(), CONFIG, Box::new(Key)).unwrap();
    let asked = disk.0.lock().unwrap().asked.clone();
    assert!(asked.len() >= 4, "{asked:?}");
    for length in 0..=asked.len() {
        let mut files = torn.clone();
        asked[..length].iter().for_each(|step| apply(&mut files, step).unwrap());
        let disk = FakeDisk::with(files);
        Log::open(disk.clone(), CONFIG, Box::new(Key)).unwrap();
        assert_eq!(disk.files()[&last].len(), whole, "after {length} steps");
        let saved = disk
            .files()
            .into_iter()
            .any(|(name, bytes)| name.ends_with(".torn") && bytes == b"CSL1\0\0\0");
        assert!(saved, "after {length} steps");
    }
}

#[test]
fn after_a_failure_nothing_is_appended_until_it_was_opened_again() {
    let whole = FakeDisk::default();
    work(&whole, &batches());
    let calls = whole.0.lock().unwrap().asked.len();
    let mut failures = 0;
    for fail_at in 0..calls {
        let disk = FakeDisk::default();
        disk.0.lock().unwrap().fail_at = Some(fail_at);
        let Ok((mut log, _)) = Log::open(disk.clone(), CONFIG, Box::new(Key)) else { continue };
        let (mut acknowledged, mut failed) = (0, false);
        for batch in batches() {
            match log.append(&batch, 1_790_000_000) {
                Ok(positions) => {
                    assert!(!failed, "acknowledged after a failure");
                    acknowledged = positions.last().unwrap().sequence;
                }
                Err(_) => failed = true,
            }
        }
        failures += usize::from(failed);
        drop(log);
        // The fake disk has half of what it failed on, and no longer fails.
        disk.0.lock().unwrap().fail_at = None;
        let (log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
        assert!(log.last() >= acknowledged);
    }
    assert!(failures > 10, "{failures}");
}

/// Small records, so that the last segment has several batches.
const SMALL: LogConfig = LogConfig { segment_bytes: 600, checkpoint_records: 5 };

#[test]
fn damage_that_is_no_crash_is_not_opened() {
    let disk = FakeDisk::default();
    let (mut log, _) = Log::open(disk.clone(), SMALL, Box::new(Key)).unwrap();
    for _ in 0..18 {
        log.append(&[b"{}".to_vec()], 0).unwrap();
    }
    let files = disk.files();
    let (last, checkpoints) = ("00000000000000000010.log".to_owned(), "checkpoints.jsonl");
    let refuses = |change: &dyn Fn(&mut Files), expected: &str| {
        let mut files = files.clone();
        change(&mut files);
        match Log::open(FakeDisk::with(files), SMALL, Box::new(Key)) {
            Err(error @ OpenError::Damaged(_)) => {
                assert!(error.to_string().contains(expected), "{error}");
            }
            Err(error) => panic!("{error}"),
            Ok(_) => panic!("opened; expected {expected}"),
        }
    };
    refuses(&|files| files.get_mut(&last).unwrap()[100] ^= 1, "this is no crash");
    refuses(&|files| files.get_mut(&last).unwrap()[20] ^= 1, "the heading is damaged");
    refuses(&|files| drop(files.remove(&last)), "are lost");
    refuses(&|files| files.get_mut(checkpoints).unwrap()[10] ^= 1, "checkpoint 1");
    // Cut off before what a checkpoint covers.
    refuses(&|files| files.get_mut(&last).unwrap().truncate(80), "are lost");
    // Replaced by a chain of its own.
    let other = FakeDisk::default();
    let (mut log, _) = Log::open(other.clone(), LogConfig::default(), Box::new(Key)).unwrap();
    for _ in 0..20 {
        log.append(&[b"[]".to_vec()], 0).unwrap();
    }
    refuses(
        &|files| {
            files.retain(|name, _| name == checkpoints);
            files.extend(other.files());
        },
        "rewritten",
    );
    // More than a log ever has without a checkpoint.
    let long = FakeDisk::default();
    let (mut log, _) = Log::open(long.clone(), SMALL, Box::new(Key)).unwrap();
    log.append(&vec![b"{}".to_vec(); 1100], 0).unwrap();
    refuses(
        &|files| {
            *files = long.files();
            files.remove(checkpoints);
        },
        "no checkpoint covers",
    );
}
