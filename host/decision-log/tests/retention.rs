//! Archives, and logs that were pruned: the chain is verified from its archived beginning to its end.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::fs;
use std::io;
use std::path::Path;

use countersign_decision_log::{
    Checkpoint, CheckpointKey, Damage, Folder, Log, LogConfig, OpenError, PruneError, Reader,
    SignedCheckpoint, archive, copy_log, prune, verify,
};
use support::{FakeDisk, Files, Key};
use tempfile::TempDir;

const CONFIG: LogConfig = LogConfig { segment_bytes: 800, checkpoint_records: 4 };

fn record(number: u64) -> Vec<u8> {
    format!("{{\"number\":{number},\"and\":\"as much text as a segment of several has\"}}")
        .into_bytes()
}

fn append(folder: &Path, records: u64) -> u64 {
    let disk = Folder::open(folder).unwrap();
    let (mut log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
    for _ in 0..records {
        log.append(&[record(log.last() + 1)], 0).unwrap();
    }
    log.checkpoint(0).unwrap();
    log.last()
}

fn numbers(folder: &Path, from: u64) -> Vec<u64> {
    let mut reader = Reader::new(folder, from);
    let mut numbers = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        assert_eq!(entry.record, record(entry.sequence));
        numbers.push(entry.sequence);
    }
    numbers
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

#[test]
fn an_archive_is_read_and_verified_as_a_log() {
    let (log, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    append(log.path(), 40);
    let first = archive(log.path(), to.path()).unwrap();
    assert!(first.copied.len() > 2 && first.compressed < first.bytes, "{first:?}");
    let again = archive(log.path(), to.path()).unwrap();
    assert_eq!((again.copied.len(), again.last), (0, first.last), "nothing twice");
    append(log.path(), 40);
    let more = archive(log.path(), to.path()).unwrap();
    assert!(more.last > first.last && !more.copied.is_empty());

    let report = verify(to.path(), &CONFIG, &Key).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!((report.first, report.last, report.covered), (1, more.last, more.last));
    assert_eq!(numbers(to.path(), 1), (1..=more.last).collect::<Vec<_>>());
    assert_eq!(numbers(to.path(), 13), (13..=more.last).collect::<Vec<_>>());
}

#[test]
fn every_change_of_an_archive_is_found() {
    let (log, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    append(log.path(), 30);
    archive(log.path(), to.path()).unwrap();
    let intact = verify(to.path(), &CONFIG, &Key).unwrap();
    for name in files(to.path()) {
        let path = to.path().join(&name);
        let whole = fs::read(&path).unwrap();
        let mut without_effect = 0;
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let report = verify(to.path(), &CONFIG, &Key);
            if report.is_ok_and(|report| report == intact) {
                without_effect += 1;
                assert_eq!(numbers(to.path(), 1), (1..=intact.last).collect::<Vec<_>>());
            }
        }
        // Of a compressed file: the time of compression, the system, and the bits that fill up the last byte.
        let most = if name.ends_with(".gz") { 10 } else { 0 };
        assert!(without_effect <= most, "{without_effect} of {name}");
        fs::remove_file(&path).unwrap();
        let report = verify(to.path(), &CONFIG, &Key).unwrap();
        assert_ne!(report, intact, "{name} removed");
        fs::write(&path, &whole).unwrap();
    }
    assert_eq!(verify(to.path(), &CONFIG, &Key).unwrap(), intact);
}

#[test]
fn a_log_that_was_pruned_is_whole_and_goes_on() {
    let (log, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    append(log.path(), 40);
    let archived = archive(log.path(), to.path()).unwrap();
    let end = verify(to.path(), &CONFIG, &Key).unwrap();
    let pruned = prune(log.path(), archived.last + 1, &Key, 7).unwrap();
    assert_eq!(pruned.removed.len(), archived.copied.len());
    assert_eq!(pruned.first, archived.last + 1);
    let nothing = prune(log.path(), u64::MAX, &Key, 8).unwrap();
    assert_eq!((nothing.removed.len(), nothing.first), (0, pruned.first), "the last one stays");

    let last = append(log.path(), 40);
    let report = verify(log.path(), &CONFIG, &Key).unwrap();
    assert_eq!(report.damage, []);
    assert_eq!((report.first, report.last), (pruned.first, last));
    assert_eq!(report.before, end.hash, "where the archive ends");
    assert_eq!(numbers(log.path(), 1), (pruned.first..=last).collect::<Vec<_>>());

    // And again: the archive goes on.
    archive(log.path(), to.path()).unwrap();
    let archived = verify(to.path(), &CONFIG, &Key).unwrap();
    assert_eq!((archived.damage, archived.first), (Vec::new(), 1));
}

/// Keeps a copy of the last checkpoint, which has no tree.
struct Keeping(Checkpoint);

impl CheckpointKey for Keeping {
    fn kid(&self) -> &'static str {
        "test"
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        Key.sign(message)
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        Key.verify(message, signature)
    }

    fn kept(&self) -> io::Result<Option<Checkpoint>> {
        Ok(Some(self.0.clone()))
    }
}

/// A log whose checkpoints cannot be read does not go on as one that has no tree.
#[test]
fn a_pruned_log_whose_checkpoints_cannot_be_read_is_not_opened() {
    let folder = TempDir::new().unwrap();
    append(folder.path(), 40);
    prune(folder.path(), 20, &Key, 7).unwrap();
    let names = files(folder.path()).into_iter();
    let whole: Files =
        names.map(|name| (name.clone(), fs::read(folder.path().join(&name)).unwrap())).collect();
    let (log, _) = Log::open(FakeDisk::with(whole.clone()), CONFIG, Box::new(Key)).unwrap();
    let kept = SignedCheckpoint::sign(log.end().unwrap(), 0, &Key).unwrap().checkpoint;
    for times in 0..4 {
        let disk = FakeDisk::with(whole.clone());
        disk.0.lock().unwrap().readable = Some(("checkpoints.jsonl".to_owned(), times));
        match Log::open(disk, CONFIG, Box::new(Keeping(kept.clone()))) {
            Ok(_) => assert!(times > 1, "{times}"),
            Err(OpenError::Io { file, .. }) => {
                assert!(times < 2 && file == "checkpoints.jsonl", "{times}: {file}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_beginning_that_was_lost_is_no_pruned_one() {
    let log = TempDir::new().unwrap();
    append(log.path(), 40);
    let names = files(log.path());
    let segments: Vec<_> = names.iter().filter(|name| name.ends_with(".log")).collect();
    prune(log.path(), 10, &Key, 7).unwrap();
    let report = verify(log.path(), &CONFIG, &Key).unwrap();
    assert_eq!(report.damage, []);
    // One more than the statement says.
    let kept = segments.iter().find(|name| log.path().join(name.as_str()).exists()).unwrap();
    let (path, whole) = (log.path().join(kept.as_str()), fs::read(log.path().join(kept.as_str())));
    fs::remove_file(&path).unwrap();
    let report = verify(log.path(), &CONFIG, &Key).unwrap();
    assert!(matches!(report.damage[..], [Damage::Beginning { .. }]), "{report:?}");
    fs::write(&path, whole.unwrap()).unwrap();
    // Nor is one whose statement was changed or taken away.
    let statement = fs::read(log.path().join("pruned.json")).unwrap();
    for place in 0..statement.len() {
        let mut bytes = statement.clone();
        bytes[place] ^= 1;
        fs::write(log.path().join("pruned.json"), &bytes).unwrap();
        let report = verify(log.path(), &CONFIG, &Key).unwrap();
        let is_space = place + 1 == statement.len();
        assert!(!report.damage.is_empty() || is_space, "byte {place}");
    }
    fs::remove_file(log.path().join("pruned.json")).unwrap();
    let report = verify(log.path(), &CONFIG, &Key).unwrap();
    assert!(matches!(report.damage[..], [Damage::Beginning { .. }]), "{report:?}");
}

/// As a crash leaves it, between the statement and the last removal.
#[test]
fn a_prune_that_was_interrupted_leaves_a_whole_log() {
    let log = TempDir::new().unwrap();
    append(log.path(), 60);
    let before: Vec<_> = files(log.path())
        .into_iter()
        .map(|name| (name.clone(), fs::read(log.path().join(name)).unwrap()))
        .collect();
    let pruned = prune(log.path(), 30, &Key, 7).unwrap();
    assert!(pruned.removed.len() > 2);
    for back in 0..=pruned.removed.len() {
        let names = &pruned.removed[pruned.removed.len() - back..];
        for (name, bytes) in before.iter().filter(|(name, _)| names.contains(name)) {
            fs::write(log.path().join(name), bytes).unwrap();
        }
        let report = verify(log.path(), &CONFIG, &Key).unwrap();
        assert_eq!(report.damage, [], "{back} are there still");
        prune(log.path(), 30, &Key, 8).unwrap();
    }
}

/// A key that has signed nothing of this log.
struct Stranger;

impl CheckpointKey for Stranger {
    fn kid(&self) -> &'static str {
        "stranger"
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        Key.sign(message)
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        Key.verify(message, signature)
    }
}

#[test]
fn nothing_is_pruned_that_no_checkpoint_covers() {
    let log = TempDir::new().unwrap();
    append(log.path(), 40);
    let before = files(log.path());
    assert!(matches!(prune(log.path(), 20, &Stranger, 7), Err(PruneError::Uncovered { .. })));
    fs::write(log.path().join("checkpoints.jsonl"), b"").unwrap();
    assert!(matches!(prune(log.path(), 20, &Key, 7), Err(PruneError::Uncovered { .. })));
    assert_eq!(files(log.path()), before, "nothing was removed");
}

#[test]
fn a_copy_ends_where_it_is_told_to_and_is_whole() {
    let log = TempDir::new().unwrap();
    append(log.path(), 40);
    for last in [0, 1, 9, 10, 11, 23, 39, 40, 99] {
        let to = TempDir::new().unwrap();
        let report = copy_log(log.path(), to.path(), |entry| entry.sequence <= last).unwrap();
        let (last, end) = (last.min(40), report.end.map_or(0, |end| end.sequence));
        assert_eq!(end, last);
        let verified = verify(to.path(), &CONFIG, &Key).unwrap();
        assert_eq!((verified.damage, verified.last), (Vec::new(), last));
        let covered = report.checkpoint.map_or(0, |checkpoint: Checkpoint| checkpoint.sequence);
        assert_eq!(covered, verified.covered);
        assert!(covered <= last);
        // A log can be opened on it, and goes on.
        append(to.path(), 5);
        assert_eq!(verify(to.path(), &CONFIG, &Key).unwrap().damage, []);
    }
}

#[test]
fn a_damaged_log_is_not_copied() {
    let log = TempDir::new().unwrap();
    append(log.path(), 40);
    let name = files(log.path()).into_iter().find(|name| name.ends_with(".log")).unwrap();
    let mut bytes = fs::read(log.path().join(&name)).unwrap();
    bytes[200] ^= 1;
    fs::write(log.path().join(&name), bytes).unwrap();
    let to = TempDir::new().unwrap();
    assert!(copy_log(log.path(), to.path(), |_| true).is_err());
}
