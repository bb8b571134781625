//! Following a log finds what reading it with every check finds, goes on where it grows, and says where each record is.
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
use std::sync::Arc;

use countersign_decision_log::{
    ChainHash, Damage, Folder, FollowedLog, FramePlace, Log, LogConfig, Placed, PlacedReader,
    ReadError, archive, prune,
};
use support::Key;
use tempfile::TempDir;

const CONFIG: LogConfig = LogConfig { segment_bytes: 800, checkpoint_records: 4 };

fn log_of(records: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    append(folder.path(), records, true);
    folder
}

fn append(folder: &Path, records: u64, is_closed: bool) {
    let (mut log, _) = Log::open(Folder::open(folder).unwrap(), CONFIG, Box::new(Key)).unwrap();
    for _ in 0..records {
        let next = log.last() + 1;
        log.append(&[format!("{{\"number\":{next}}}").into_bytes()], 0).unwrap();
    }
    if is_closed {
        log.checkpoint(0).unwrap();
    }
}

fn follow(folder: &Path) -> Result<FollowedLog, ReadError> {
    FollowedLog::open(folder, Arc::new(Key))
}

/// Reads what is there.
fn read(log: &mut FollowedLog) -> Result<Vec<Placed>, ReadError> {
    let mut read = Vec::new();
    while let Some(placed) = log.read()? {
        read.push(placed);
    }
    Ok(read)
}

/// Reads to the end for as long as a writer may take, and returns the damage.
fn damage(folder: &Path) -> Option<Damage> {
    let followed =
        follow(folder).and_then(|mut log| (0..20).try_for_each(|_| read(&mut log).map(drop)));
    match followed {
        Ok(()) => None,
        Err(ReadError::Damaged(damage)) => Some(damage),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn it_goes_on_where_the_log_grows() {
    let folder = TempDir::new().unwrap();
    let mut log = follow(folder.path()).unwrap();
    assert_eq!(read(&mut log).unwrap(), []);
    let mut last = 0;
    for (records, is_closed) in [(3, false), (1, false), (30, true), (2, false), (1, true)] {
        append(folder.path(), records, is_closed);
        let placed = read(&mut log).unwrap();
        assert_eq!(placed.len() as u64, records);
        last += records;
        let head = log.head();
        assert_eq!((head.first, head.last), (1, last));
        if is_closed {
            assert_eq!(head.covered, last);
        }
        assert_eq!(log.checkpoints().last().map_or(0, |one| one.sequence), head.covered);
    }
    // A segment that is taken away meanwhile is not read again; the end that is is missed.
    let path = folder.path().join("checkpoints.jsonl");
    let checkpoints = fs::read(&path).unwrap();
    fs::write(&path, &checkpoints[10..]).unwrap();
    assert!(matches!(log.read(), Err(ReadError::Damaged(Damage::Checkpoint { .. }))));
}

/// A file of checkpoints that has not grown is read where its time is another one.
#[test]
fn checkpoints_that_are_changed_in_their_place_are_found() {
    let folder = log_of(9);
    let mut log = follow(folder.path()).unwrap();
    assert_eq!(read(&mut log).unwrap().len(), 9);
    let path = folder.path().join("checkpoints.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    let before = fs::metadata(&path).unwrap().modified().unwrap();
    bytes[30] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_modified(before + std::time::Duration::from_secs(1)).unwrap();
    assert!(matches!(log.read(), Err(ReadError::Damaged(Damage::Checkpoint { .. }))));
}

#[test]
fn it_is_told_that_what_was_read_was_pruned() {
    let folder = log_of(60);
    let mut log = follow(folder.path()).unwrap();
    assert!(!log.is_pruned_since().unwrap());
    read(&mut log).unwrap();
    assert!(!log.is_pruned_since().unwrap());
    let first = folder.path().join(format!("{:020}.log", 1));
    let segment = fs::read(&first).unwrap();
    let pruned = prune(folder.path(), 40, &Key, 0).unwrap();
    assert!(log.is_pruned_since().unwrap());
    // The records that it goes on with are the same.
    assert_eq!(log.read().unwrap(), None);
    // As while it is being pruned: the statement is there, and the segment still is.
    fs::write(&first, &segment).unwrap();
    assert!(!log.is_pruned_since().unwrap());
    fs::remove_file(&first).unwrap();
    // A beginning that is missing without a statement was not pruned.
    let statement = folder.path().join("pruned.json");
    let text = fs::read(&statement).unwrap();
    fs::remove_file(&statement).unwrap();
    assert!(!log.is_pruned_since().unwrap());
    fs::write(&statement, &text[1..]).unwrap();
    assert!(matches!(log.is_pruned_since(), Err(ReadError::Damaged(Damage::Statement { .. }))));
    fs::write(&statement, &text).unwrap();
    let mut anew = follow(folder.path()).unwrap();
    read(&mut anew).unwrap();
    assert_eq!((anew.head().first, anew.is_pruned_since().unwrap()), (pruned.first, false));
}

#[test]
fn a_checkpoint_that_contradicts_what_was_read_is_found() {
    // The same records in two chains: those of one are batches of their own.
    let (one, other) = (log_of(7), TempDir::new().unwrap());
    let disk = Folder::open(other.path()).unwrap();
    let (mut log, _) = Log::open(disk, LogConfig::default(), Box::new(Key)).unwrap();
    let record = |number: u64| format!("{{\"number\":{number}}}").into_bytes();
    log.append(&(1..=7).map(record).collect::<Vec<_>>(), 0).unwrap();
    drop(log);
    let mut followed = follow(other.path()).unwrap();
    assert_eq!(read(&mut followed).unwrap().len(), 7);
    fs::copy(one.path().join("checkpoints.jsonl"), other.path().join("checkpoints.jsonl")).unwrap();
    let error = followed.read().unwrap_err();
    assert!(matches!(error, ReadError::Damaged(Damage::Rewritten { .. })), "{error}");
}

#[test]
fn every_flipped_byte_is_found() {
    let folder = log_of(14);
    assert_eq!(damage(folder.path()), None);
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x20;
            fs::write(&path, &bytes).unwrap();
            assert!(damage(folder.path()).is_some(), "byte {place} of {}", path.display());
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_record_is_read_from_its_place_alone() {
    let (log, to) = (log_of(60), TempDir::new().unwrap());
    let placed = read(&mut follow(log.path()).unwrap()).unwrap();
    let archived = archive(log.path(), to.path()).unwrap();
    for folder in [log.path(), to.path()] {
        let mut reader = PlacedReader::new(folder);
        let mut previous = ChainHash::from_bytes([0; 32]);
        // Segments in any order.
        let mut befores = Vec::new();
        for one in &placed {
            befores.push(previous);
            previous = one.entry.hash;
        }
        for number in (0..archived.last as usize).rev().chain([3, 50, 1]) {
            let (one, previous) = (&placed[number], befores[number]);
            let entry = reader.read(one.entry.sequence, one.place, previous).unwrap();
            assert_eq!(entry, one.entry);
            let sequence = one.entry.sequence;
            for (sequence, place, previous) in [
                (sequence + 1, one.place, previous),
                (sequence, one.place, one.entry.hash),
                (sequence, FramePlace { offset: one.place.offset + 1, ..one.place }, previous),
                (sequence, FramePlace { length: one.place.length - 1, ..one.place }, previous),
                (sequence, FramePlace { length: u32::MAX, ..one.place }, previous),
                (sequence, FramePlace { offset: 1 << 40, ..one.place }, previous),
            ] {
                let error = reader.read(sequence, place, previous).unwrap_err();
                assert!(matches!(error, ReadError::Damaged(Damage::Record { .. })), "{error}");
            }
        }
    }
    let place = FramePlace { segment: 2, ..placed[0].place };
    let gone = PlacedReader::new(log.path()).read(2, place, placed[0].entry.hash);
    assert!(matches!(gone, Err(ReadError::Io { .. })));
}

#[test]
fn a_pruned_log_is_followed_from_where_it_begins() {
    let log = log_of(60);
    let pruned = prune(log.path(), 40, &Key, 0).unwrap();
    let mut followed = follow(log.path()).unwrap();
    let placed = read(&mut followed).unwrap();
    assert_eq!(followed.head().first, pruned.first);
    let first = &placed[0];
    let read = PlacedReader::new(log.path()).read(pruned.first, first.place, followed.before());
    assert_eq!(read.unwrap(), first.entry);
    fs::remove_file(log.path().join("pruned.json")).unwrap();
    assert_eq!(damage(log.path()), Some(Damage::Beginning { first: pruned.first }));
}
