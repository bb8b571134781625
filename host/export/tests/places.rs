//! The places of exports: what is there already, who else writes, and runs that were interrupted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;

use countersign_decision_log::{archive, prune};
use countersign_export::{
    Destination, DestinationError, ExportError, ExportOptions, FolderDestination, Put, Replica,
    export,
};
use serde_json::json;
use tempfile::TempDir;

use support::*;

/// A place that stops after a number of objects, as if the process was killed.
struct Dying<'p> {
    place: FolderDestination,
    left: &'p mut usize,
}

impl Destination for Dying<'_> {
    fn list(&mut self, prefix: &str) -> Result<Vec<String>, DestinationError> {
        self.place.list(prefix)
    }

    fn read(&mut self, name: &str, max: usize) -> Result<Vec<u8>, DestinationError> {
        self.place.read(name, max)
    }

    fn exists(&mut self, name: &str) -> Result<bool, DestinationError> {
        self.place.exists(name)
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> Result<Put, DestinationError> {
        if *self.left == 0 {
            return Err(DestinationError {
                object: name.to_owned(),
                problem: "killed".to_owned(),
                is_temporary: false,
            });
        }
        *self.left -= 1;
        self.place.create(name, bytes)
    }

    fn name(&self) -> String {
        self.place.name()
    }
}

#[test]
fn a_run_that_was_interrupted_anywhere_is_gone_on_with() {
    for objects in 0..14 {
        let (log, to) = (log_of(20), TempDir::new().unwrap());
        let mut left = objects;
        let mut dying =
            Dying { place: FolderDestination::open(to.path()).unwrap(), left: &mut left };
        let died = export(log.path(), &Key, &mut dying, &small(), |_| {});
        // Meanwhile the log has grown: the file that was claimed has what it had.
        append(log.path(), &[decision(21, BEGIN + 3 * DAY).to_string().into_bytes()]);
        let other_sizes = ExportOptions { file_records: 3, ..ExportOptions::default() };
        let report = run(&log, &to, &other_sizes).unwrap();
        assert_eq!(sequences(&to), (1..=21).collect::<Vec<_>>(), "{objects}: {died:?}");
        assert_eq!(report.last, 21);
    }
}

#[test]
fn two_exporters_write_no_record_twice() {
    let (log, to) = (log_of(40), TempDir::new().unwrap());
    let ran = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|number| {
                let (log, to) = (&log, &to);
                scope.spawn(move || {
                    let options =
                        ExportOptions { file_records: 3 + number, ..ExportOptions::default() };
                    run(log, to, &options)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    for error in ran.into_iter().filter_map(Result::err) {
        assert!(
            matches!(error, ExportError::Contended { .. } | ExportError::Claim { .. }),
            "{error}"
        );
    }
    run(&log, &to, &small()).unwrap();
    assert_eq!(sequences(&to), (1..=40).collect::<Vec<_>>());
}

#[test]
fn another_log_and_a_log_that_lost_records_are_refused() {
    let (log, to) = (log_of(12), TempDir::new().unwrap());
    run(&log, &to, &small()).unwrap();
    let other = TempDir::new().unwrap();
    let texts: Vec<_> =
        (1..=15).map(|number| decision(number, BEGIN).to_string().into_bytes()).collect();
    append(other.path(), &texts);
    let error = run(&other, &to, &small()).unwrap_err();
    assert!(matches!(error, ExportError::OtherLog { sequence: 12, .. }), "{error}");
    let shorter = log_of(5);
    let error = run(&shorter, &to, &small()).unwrap_err();
    assert!(matches!(error, ExportError::OtherLog { sequence: 12, .. }), "{error}");
    // Side by side, it is fine.
    let options = ExportOptions { replica: "eu-2".parse().unwrap(), ..small() };
    assert_eq!(run(&other, &to, &options).unwrap().records, 15);
    // A log that was pruned past what the place has, and one that was pruned up to it.
    append(
        log.path(),
        &(13..=60).map(|n| decision(n, BEGIN).to_string().into_bytes()).collect::<Vec<_>>(),
    );
    let old = TempDir::new().unwrap();
    archive(log.path(), old.path()).unwrap();
    prune(log.path(), 30, &Key, 1).unwrap();
    let error = run(&log, &to, &small()).unwrap_err();
    assert!(matches!(error, ExportError::Missing { before: 12, first } if first > 13), "{error}");
    let archived = run(&old, &to, &small()).unwrap().last;
    assert!(archived >= 30);
    run(&log, &to, &small()).unwrap();
    let of_main = sequences(&to);
    assert_eq!(of_main.iter().filter(|sequence| **sequence > 15).count(), 60 - 15);
}

/// A log that was pruned up to what the place has names the hash of the record before, and nothing else of it.
#[test]
fn another_log_that_was_pruned_up_to_the_place_is_refused() {
    let records = |text: &str| -> Vec<_> {
        (1..=60).map(|number| format!("{{\"{text}\":{number:0500}}}").into_bytes()).collect()
    };
    let (own, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    append(own.path(), &records("one"));
    append(other.path(), &records("two"));
    let pruned = prune(other.path(), 30, &Key, 1).unwrap().first;
    assert!(pruned > 1);
    // The place has the records up to the last one that was pruned.
    let (begun, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    append(begun.path(), &records("one")[..usize::try_from(pruned - 1).unwrap()]);
    assert_eq!(run(&begun, &to, &small()).unwrap().last, pruned - 1);
    let error = run(&other, &to, &small()).unwrap_err();
    let is_other =
        |sequence| matches!(&error, ExportError::OtherLog { sequence: at, .. } if *at == sequence);
    assert!(is_other(pruned - 1), "{error}");
    assert_eq!(sequences(&to).len() as u64, pruned - 1);
    // The log itself goes on, pruned at the same place.
    assert_eq!(prune(own.path(), 30, &Key, 1).unwrap().first, pruned);
    assert_eq!(run(&own, &to, &small()).unwrap().last, 60);
    assert_eq!(sequences(&to), (1..=60).collect::<Vec<_>>());
}

/// A place whose answers to what it created were lost, so that it was asked again.
struct Repeating(FolderDestination);

impl Destination for Repeating {
    fn list(&mut self, prefix: &str) -> Result<Vec<String>, DestinationError> {
        self.0.list(prefix)
    }

    fn read(&mut self, name: &str, max: usize) -> Result<Vec<u8>, DestinationError> {
        self.0.read(name, max)
    }

    fn exists(&mut self, name: &str) -> Result<bool, DestinationError> {
        self.0.exists(name)
    }

    fn create(&mut self, name: &str, bytes: &[u8]) -> Result<Put, DestinationError> {
        assert_eq!(self.0.create(name, bytes)?, Put::Created, "{name}");
        self.0.create(name, bytes)
    }

    fn name(&self) -> String {
        self.0.name()
    }
}

#[test]
fn an_answer_that_was_lost_is_no_other_exporter() {
    let (log, to) = (log_of(20), TempDir::new().unwrap());
    let mut place = Repeating(FolderDestination::open(to.path()).unwrap());
    let report = export(log.path(), &Key, &mut place, &small(), |_| {}).unwrap();
    assert_eq!((report.records, report.last), (20, 20));
    assert_eq!(sequences(&to), (1..=20).collect::<Vec<_>>());
}

/// The manifest has the digest of a file, so no other bytes may stand in its place.
#[test]
fn a_file_that_is_there_with_other_bytes_is_refused() {
    let (log, to, elsewhere) = (log_of(4), TempDir::new().unwrap(), TempDir::new().unwrap());
    let path = run(&log, &elsewhere, &small()).unwrap().files[0].path.clone();
    let there = to.path().join(&path);
    fs::create_dir_all(there.parent().unwrap()).unwrap();
    for bytes in [&b"other bytes"[..], &[0; 1 << 20]] {
        fs::write(&there, bytes).unwrap();
        let error = run(&log, &to, &small()).unwrap_err();
        assert!(error.to_string().contains(&path), "{error}");
        assert_eq!(fs::read(&there).unwrap(), bytes);
        assert!(files(to.path()).keys().all(|name| !name.starts_with("_manifests")));
        fs::remove_dir_all(to.path().join("_files")).unwrap();
    }
    // The claim is there; without the file it is fulfilled.
    fs::write(&there, "other bytes").unwrap();
    run(&log, &to, &small()).unwrap_err();
    fs::remove_file(&there).unwrap();
    assert_eq!(run(&log, &to, &small()).unwrap().records, 4);
    assert_eq!(fs::read(&there).unwrap(), fs::read(elsewhere.path().join(&path)).unwrap());
}

/// A file that somebody else has put into the place leads to no other file.
#[test]
fn claims_that_are_none_are_refused() {
    let (log, to) = (log_of(3), TempDir::new().unwrap());
    let folder = to.path().join("_files/replica=main");
    fs::create_dir_all(&folder).unwrap();
    let claim = |path: &str, first: u64, last: u64| {
        json!({"schema": 1, "path": path, "first": first, "last": last, "records": 1, "hash": "sha256:0"}).to_string()
    };
    for (text, expected) in [
        (String::new(), "EOF"),
        ("{}".to_owned(), "missing field"),
        (claim("../../x", 1, 1), "names another file"),
        (claim("date=1/../x", 1, 1), "names another file"),
        (claim("date=1/replica=other/x.parquet", 1, 1), "names another file"),
        (claim("date=1/replica=main/x.parquet", 2, 2), "names another file"),
        (claim("date=1/replica=main/x.parquet", 1, 0), "names another file"),
        (
            claim("date=1/replica=main/x.parquet", 1, 2).replace("\"schema\":1", "\"schema\":2"),
            "schema 2",
        ),
        (claim("date=1/replica=main/x.parquet", 1, 1), "another log"),
        (claim("date=1/replica=main/x.parquet", 1, 9), "claimed the records 1 to 9"),
        ("x".repeat(70_000), "longer than"),
    ] {
        fs::write(folder.join("00000000000000000001.json"), text).unwrap();
        let error = run(&log, &to, &small()).unwrap_err().to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert!(sequences(&to).is_empty());
    }
    for name in ["", "main/x", "..", "Main", "a b", &"a".repeat(64)] {
        assert!(name.parse::<Replica>().is_err(), "{name}");
    }
}
