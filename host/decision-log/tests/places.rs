//! Files that are taken away or replaced while a log is written: no record is acknowledged that nobody finds again.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::{io, thread, time::Duration};

use countersign_decision_log::{
    AppendError, Folder, Log, LogConfig, LogWriter, NotDurable, prune, verify,
};
use support::Key;
use tempfile::TempDir;

const CONFIG: LogConfig = LogConfig { segment_bytes: 800, checkpoint_records: 4 };

fn record() -> Vec<u8> {
    b"{\"a\":\"record of a decision\"}".to_vec()
}

/// A log of several segments in the folder `log`, open for appending.
fn open(folder: &Path) -> Log<Folder> {
    let disk = Folder::open(&folder.join("log")).unwrap();
    let (mut log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
    for _ in 0..30 {
        log.append(&[record()], 0).unwrap();
    }
    log
}

fn segments(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder.join("log")).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".log")).collect();
    names.sort_unstable();
    names
}

type Disturb = fn(&Path);

fn last(folder: &Path) -> String {
    segments(folder).pop().unwrap()
}

/// Puts a copy in the place of a file, as a restore does.
fn replace(path: &Path) {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).unwrap();
    fs::rename(&copy, path).unwrap();
}

const DISTURBED: [(&str, Disturb); 9] = [
    ("the last segment removed", |folder| {
        fs::remove_file(folder.join("log").join(last(folder))).unwrap();
    }),
    ("the last segment renamed", |folder| {
        let path = folder.join("log").join(last(folder));
        fs::rename(&path, path.with_extension("log.1")).unwrap();
    }),
    ("the last segment replaced", |folder| replace(&folder.join("log").join(last(folder)))),
    ("an earlier segment removed", |folder| {
        fs::remove_file(folder.join("log").join(&segments(folder)[1])).unwrap();
    }),
    ("the first segment removed", |folder| {
        fs::remove_file(folder.join("log").join(&segments(folder)[0])).unwrap();
    }),
    ("an earlier segment replaced", |folder| {
        replace(&folder.join("log").join(&segments(folder)[1]));
    }),
    ("the checkpoints removed", |folder| {
        fs::remove_file(folder.join("log/checkpoints.jsonl")).unwrap();
    }),
    ("the folder moved away", |folder| {
        fs::rename(folder.join("log"), folder.join("old")).unwrap();
    }),
    ("the folder replaced", |folder| {
        fs::rename(folder.join("log"), folder.join("old")).unwrap();
        fs::create_dir(folder.join("log")).unwrap();
        for entry in fs::read_dir(folder.join("old")).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, folder.join("log").join(path.file_name().unwrap())).unwrap();
        }
    }),
];

#[test]
fn nothing_is_acknowledged_once_a_file_is_not_in_its_place() {
    for (what, disturb) in DISTURBED {
        let folder = TempDir::new().unwrap();
        let mut log = open(folder.path());
        assert!(log.check_places().is_ok());
        disturb(folder.path());
        let error = log.append(&[record()], 0).unwrap_err();
        assert!(
            matches!(error, AppendError::Missing { .. } | AppendError::Io(_)),
            "{what}: {error}"
        );
        assert!(matches!(log.append(&[record()], 0), Err(AppendError::Failed)), "{what}");
    }
}

/// Without a record: a look is enough.
#[test]
fn it_is_noticed_while_nothing_is_written() {
    thread::scope(|scope| {
        for (what, disturb) in DISTURBED {
            scope.spawn(move || {
                let folder = TempDir::new().unwrap();
                let mut log = open(folder.path());
                assert!(log.check_places().is_ok());
                // Long enough that the folder alone is looked at.
                thread::sleep(Duration::from_millis(1_100));
                assert!(log.check_places().is_ok());
                disturb(folder.path());
                assert!(log.check_places().is_err(), "{what}");
            });
        }
    });
}

#[test]
fn a_record_is_as_good_as_what_the_guard_sees_to() {
    let folder = TempDir::new().unwrap();
    let log = open(folder.path());
    let gone = Arc::new(AtomicBool::new(false));
    let of_guard = Arc::clone(&gone);
    let guard = move || match of_guard.load(Ordering::SeqCst) {
        true => Err(io::Error::other("issuer.db was taken away")),
        false => Ok(()),
    };
    let writer = LogWriter::start(log, || 0, guard).unwrap();
    let append = || {
        let (told, telling) = channel();
        writer.append(record(), move |result| told.send(result).unwrap());
        telling.recv().unwrap()
    };
    let position = append().unwrap();
    assert_eq!(writer.end(), Some(position));
    gone.store(true, Ordering::SeqCst);
    let error = append().unwrap_err();
    assert!(
        matches!(error, NotDurable::Guard(_) | NotDurable::Append(_) | NotDurable::Queue(_)),
        "{error}"
    );
    let why = writer.failure().unwrap();
    assert_eq!(why, "a check beside the log failed: issuer.db was taken away");
    // It stays so, whatever comes back.
    gone.store(false, Ordering::SeqCst);
    assert!(append().is_err());
    assert_eq!(writer.end(), Some(position));
}

#[test]
fn what_was_pruned_is_not_missed() {
    let folder = TempDir::new().unwrap();
    let mut log = open(folder.path());
    let path = folder.path().join("log");
    let before = segments(folder.path()).len();
    let report = prune(&path, 17, &Key, 100).unwrap();
    assert!(!report.removed.is_empty() && report.first <= 17, "{report:?}");
    assert_eq!(segments(folder.path()).len(), before - report.removed.len());
    assert!(log.check_places().is_ok());
    log.append(&[record()], 0).unwrap();
    // Beyond the statement it is.
    fs::remove_file(path.join(&segments(folder.path())[0])).unwrap();
    assert!(log.append(&[record()], 0).is_err());
    drop(log);
    // Nor at the next start, for what is there.
    let disk = Folder::open(&path).unwrap();
    assert!(Log::open(disk, CONFIG, Box::new(Key)).is_ok());
    assert!(!verify(&path, &CONFIG, &Key).unwrap().damage.is_empty());
}
