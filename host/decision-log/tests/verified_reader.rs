//! Reading with every check: what `verify` finds, a reader finds in its one pass, after it gave everything before.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;

use countersign_decision_log::{
    Damage, Folder, Log, LogConfig, ReadError, VerifiedReader, archive, prune, verify,
};
use support::Key;
use tempfile::TempDir;

const CONFIG: LogConfig = LogConfig { segment_bytes: 800, checkpoint_records: 4 };

fn log_of(records: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    append(folder.path(), records);
    folder
}

fn append(folder: &Path, records: u64) {
    let (mut log, _) = Log::open(Folder::open(folder).unwrap(), CONFIG, Box::new(Key)).unwrap();
    for _ in 0..records {
        let next = log.last() + 1;
        log.append(&[format!("{{\"number\":{next}}}").into_bytes()], 0).unwrap();
    }
    log.checkpoint(0).unwrap();
}

/// Reads to the end, and returns the number of records before it and the damage.
fn read(folder: &Path) -> (u64, Option<Damage>) {
    let mut reader = VerifiedReader::open(folder, &Key).unwrap();
    let mut read = 0;
    loop {
        match reader.read() {
            Ok(Some(entry)) => {
                read += 1;
                assert_eq!(reader.head().last, entry.sequence);
            }
            Ok(None) => return (read, None),
            Err(ReadError::Damaged(damage)) => return (read, Some(damage)),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn an_intact_log_is_read_to_its_head() {
    let folder = log_of(30);
    let mut reader = VerifiedReader::open(folder.path(), &Key).unwrap();
    let estimated = reader.estimated_records();
    assert!((25..=40).contains(&estimated), "{estimated}");
    while reader.read().unwrap().is_some() {}
    let report = verify(folder.path(), &CONFIG, &Key).unwrap();
    let head = reader.head();
    assert_eq!((head.first, head.last, head.hash, head.covered), (1, 30, report.hash, 30));
    assert_eq!(read(TempDir::new().unwrap().path()), (0, None));
}

#[test]
fn every_flipped_byte_is_found() {
    let folder = log_of(14);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x20;
            fs::write(&path, &bytes).unwrap();
            let (before, damage) = read(folder.path());
            assert!(damage.is_some(), "byte {place} of {}, after {before}", path.display());
        }
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(read(folder.path()), (14, None));
}

#[test]
fn a_part_that_is_missing_is_found() {
    let folder = log_of(40);
    let mut names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    names.sort();
    assert!(names.len() > 3);
    for path in &names {
        let whole = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(read(folder.path()).1.is_some(), "{}", path.display());
        fs::write(path, &whole[..whole.len() - 60]).unwrap();
        assert!(read(folder.path()).1.is_some(), "{}", path.display());
        fs::write(path, whole).unwrap();
    }
    assert_eq!(read(folder.path()), (40, None));
    // Checkpoints say how far it reached.
    let last = names.last().unwrap();
    fs::remove_file(last).unwrap();
    let (before, damage) = read(folder.path());
    assert!((1..40).contains(&before));
    assert_eq!(damage, Some(Damage::Lost { last: before, sequence: 40 }));
}

#[test]
fn a_log_that_was_written_anew_is_found() {
    let folder = log_of(20);
    let checkpoints = fs::read(folder.path().join("checkpoints.jsonl")).unwrap();
    // The same records in another chain: they are one batch.
    let rewritten = TempDir::new().unwrap();
    let disk = Folder::open(rewritten.path()).unwrap();
    let (mut log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
    let record = |number: u64| format!("{{\"number\":{number}}}").into_bytes();
    log.append(&(1..=20).map(record).collect::<Vec<_>>(), 0).unwrap();
    drop(log);
    fs::write(rewritten.path().join("checkpoints.jsonl"), checkpoints).unwrap();
    let (before, damage) = read(rewritten.path());
    assert!(matches!(damage, Some(Damage::Rewritten { .. })), "{before}: {damage:?}");
}

#[test]
fn archives_and_pruned_logs_are_read_from_where_they_begin() {
    let (log, to) = (log_of(60), TempDir::new().unwrap());
    let archived = archive(log.path(), to.path()).unwrap();
    assert_eq!(read(to.path()), (archived.last, None));
    let pruned = prune(log.path(), 40, &Key, 0).unwrap();
    let mut reader = VerifiedReader::open(log.path(), &Key).unwrap();
    assert_eq!(reader.read().unwrap().unwrap().sequence, pruned.first);
    assert_eq!(reader.head().first, pruned.first);
    assert_eq!(read(log.path()), (61 - pruned.first, None));
    // Without the statement nobody says that it may begin there.
    fs::remove_file(log.path().join("pruned.json")).unwrap();
    assert_eq!(read(log.path()), (0, Some(Damage::Beginning { first: pruned.first })));
    fs::write(log.path().join("pruned.json"), "{}").unwrap();
    assert!(matches!(read(log.path()), (0, Some(Damage::Statement { .. }))));
}
