//! A log in a folder: appended records are read again, many callers share a sync, and every changed byte is detected.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::io::Write;
use std::sync::mpsc::{TryRecvError, channel};
use std::thread;

use countersign_decision_log::{
    Damage, Folder, Log, LogConfig, LogWriter, MAX_RECORD_BYTES, NotDurable, QueueError, Reader,
    verify,
};
use support::{FakeDisk, Key};
use tempfile::TempDir;

const CONFIG: LogConfig = LogConfig { segment_bytes: 800, checkpoint_records: 4 };

fn record(number: u64) -> Vec<u8> {
    format!("{{\"number\":{number}}}").into_bytes()
}

/// A log of `records`, each a batch of its own.
fn log_of(records: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    let disk = Folder::open(folder.path()).unwrap();
    let (mut log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
    for number in 1..=records {
        log.append(&[record(number)], number).unwrap();
    }
    log.checkpoint(records).unwrap();
    folder
}

#[test]
fn every_flipped_byte_is_found() {
    let folder = log_of(14);
    let report = verify(folder.path(), &CONFIG, &Key).unwrap();
    assert!(report.damage.is_empty(), "{report:?}");
    assert_eq!((report.records, report.last, report.first), (14, 14, 1));
    assert!(report.segments > 1 && report.checkpoints > 2, "{report:?}");
    let mut flips = 0;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let whole = fs::read(&path).unwrap();
        for place in 0..whole.len() {
            for flip in [0x01, 0x20, 0xff] {
                let mut bytes = whole.clone();
                bytes[place] ^= flip;
                fs::write(&path, &bytes).unwrap();
                let report = verify(folder.path(), &CONFIG, &Key).unwrap();
                assert!(!report.damage.is_empty(), "byte {place} of {}", path.display());
                flips += 1;
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(flips > 3000, "{flips}");
}

/// A record whose length exceeds the file is not one that is being appended, however much is appended meanwhile.
#[test]
fn damage_is_found_while_the_log_grows() {
    let folder = TempDir::new().unwrap();
    let disk = Folder::open(folder.path()).unwrap();
    let (mut log, _) = Log::open(disk, LogConfig::default(), Box::new(Key)).unwrap();
    for number in 1..=5 {
        log.append(&[record(number)], 0).unwrap();
    }
    let path = folder.path().join("00000000000000000001.log");
    let mut bytes = fs::read(&path).unwrap();
    // The third byte of the first record's length: 64 KiB more.
    bytes[80 + 5] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let (stop, stopped) = channel::<()>();
    let report = thread::scope(|scope| {
        scope.spawn(move || {
            let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
            while stopped.try_recv().is_err_and(|error| error == TryRecvError::Empty) {
                file.write_all(b"x").unwrap();
                thread::yield_now();
            }
        });
        let report = verify(folder.path(), &LogConfig::default(), &Key).unwrap();
        drop(stop);
        report
    });
    assert!(matches!(report.damage.as_slice(), [Damage::Durable { .. }]), "{report:?}");
}

#[test]
fn a_missing_or_added_part_is_found() {
    let folder = log_of(40);
    let names = || {
        let mut names: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        names.sort();
        names
    };
    let segments = names();
    assert!(segments.len() > 2);
    for path in &segments {
        let whole = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        assert!(
            !verify(folder.path(), &CONFIG, &Key).unwrap().damage.is_empty(),
            "{}",
            path.display()
        );
        fs::write(path, &whole[..whole.len() - 60]).unwrap();
        assert!(
            !verify(folder.path(), &CONFIG, &Key).unwrap().damage.is_empty(),
            "{}",
            path.display()
        );
        fs::write(path, [whole.as_slice(), b"{}"].concat()).unwrap();
        assert!(
            !verify(folder.path(), &CONFIG, &Key).unwrap().damage.is_empty(),
            "{}",
            path.display()
        );
        fs::write(path, whole).unwrap();
    }
    assert!(verify(folder.path(), &CONFIG, &Key).unwrap().damage.is_empty());
}

#[test]
fn records_are_read_in_order_from_anywhere_while_more_are_written() {
    let folder = log_of(10);
    for from in [0, 1, 5, 10, 11] {
        let mut reader = Reader::new(folder.path(), from);
        for number in from.max(1)..=10 {
            let entry = reader.read().unwrap().unwrap();
            assert_eq!((entry.sequence, entry.record), (number, record(number)));
        }
        assert!(reader.read().unwrap().is_none());
    }
    let mut reader = Reader::new(folder.path(), 10);
    assert_eq!(reader.read().unwrap().unwrap().sequence, 10);
    assert!(reader.read().unwrap().is_none());
    let (mut log, recovered) =
        Log::open(Folder::open(folder.path()).unwrap(), CONFIG, Box::new(Key)).unwrap();
    assert!(recovered.is_empty());
    for number in 11..=30 {
        log.append(&[record(number)], 0).unwrap();
        assert_eq!(reader.read().unwrap().unwrap().record, record(number));
        assert!(reader.read().unwrap().is_none());
    }
}

#[test]
fn one_process_at_a_time_writes() {
    let folder = TempDir::new().unwrap();
    let held = Folder::open(folder.path()).unwrap();
    let error = Folder::open(folder.path()).unwrap_err();
    assert_eq!(error.to_string(), "another process is writing this log");
    drop(held);
    assert!(Folder::open(folder.path()).is_ok());
}

#[test]
fn many_callers_share_syncs_and_each_is_told() {
    let disk = FakeDisk::default();
    let (log, _) = Log::open(disk.clone(), LogConfig::default(), Box::new(Key)).unwrap();
    let writer = LogWriter::start(log, || 0, || Ok(())).unwrap();
    let (told, telling) = channel();
    thread::scope(|scope| {
        for caller in 0..8_u64 {
            let (writer, told) = (&writer, told.clone());
            scope.spawn(move || {
                for number in 0..200 {
                    let told = told.clone();
                    let done = move |result: Result<_, NotDurable>| told.send(result).unwrap();
                    writer.append(record(caller * 1000 + number), done);
                }
            });
        }
    });
    drop(told);
    let mut sequences: Vec<_> = telling.iter().map(|position| position.unwrap().sequence).collect();
    sequences.sort_unstable();
    assert_eq!(sequences, (1..=1600).collect::<Vec<_>>());
    drop(writer);
    // It is closed with a checkpoint.
    assert!(disk.files().contains_key("checkpoints.jsonl"));
    let (log, recovered) = Log::open(disk, LogConfig::default(), Box::new(Key)).unwrap();
    assert_eq!((log.end().map_or(0, |end| end.sequence), recovered.len()), (1600, 0));
}

#[test]
fn an_expected_record_that_does_not_come_holds_nobody_up() {
    let disk = FakeDisk::default();
    let (log, _) = Log::open(disk, LogConfig::default(), Box::new(Key)).unwrap();
    let writer = LogWriter::start(log, || 0, || Ok(())).unwrap();
    let _held = writer.expect();
    let (told, telling) = channel();
    // Those after a batch of several are gathered.
    for number in 0..500 {
        let told = told.clone();
        let expected = writer.expect();
        writer.append(record(number), move |result| told.send(result).unwrap());
        drop(expected);
        if number % 5 == 0 {
            assert!(telling.recv().unwrap().is_ok());
        }
    }
    drop(told);
    // One in each five was waited for.
    assert_eq!(telling.iter().filter(Result::is_ok).count(), 400);
}

#[test]
fn after_a_failed_sync_no_caller_is_told_that_it_is_durable() {
    let disk = FakeDisk::default();
    let (log, _) = Log::open(disk.clone(), LogConfig::default(), Box::new(Key)).unwrap();
    let writer = LogWriter::start(log, || 0, || Ok(())).unwrap();
    let append = |record: Vec<u8>| {
        let (told, telling) = channel();
        writer.append(record, move |result| told.send(result).unwrap());
        telling.recv().unwrap()
    };
    let record = || b"{}".to_vec();
    assert!(append(record()).is_ok());
    // The write is done, and the sync fails.
    disk.0.lock().unwrap().fail_at = Some(1);
    assert!(matches!(append(record()), Err(NotDurable::Append(_))));
    for _ in 0..3 {
        let refused = append(record());
        assert!(
            matches!(refused, Err(NotDurable::Append(_) | NotDurable::Queue(QueueError::Closed))),
            "{refused:?}"
        );
    }
    assert!(writer.has_failed());
    let long = append(vec![0; MAX_RECORD_BYTES + 1]);
    assert!(matches!(long, Err(NotDurable::Queue(QueueError::Closed))));
}
