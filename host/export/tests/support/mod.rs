//! Logs, exports of them, and what was exported.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use countersign_decision_log::{CheckpointKey, Folder, Log, LogConfig};
use countersign_export::{ExportError, ExportOptions, ExportReport, FolderDestination, export};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) const CONFIG: LogConfig = LogConfig { segment_bytes: 4000, checkpoint_records: 10 };
pub(crate) const DAY: u64 = 86_400;
/// 2026-11-30.
pub(crate) const BEGIN: u64 = 1_795_996_800;

pub(crate) struct Key;

impl CheckpointKey for Key {
    fn kid(&self) -> &'static str {
        "test"
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        let sum = message.iter().fold(7_u64, |sum, byte| sum.wrapping_mul(31) + u64::from(*byte));
        Some(format!("{sum:016x}"))
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        self.sign(message).as_deref() == Some(signature)
    }
}

pub(crate) fn decision(number: u64, time: u64) -> Value {
    json!({
        "version": 1, "kind": "token", "request": format!("r{number}"), "time": time,
        "requester": {"run_token": {"runner": "runner"}},
        "decision": {
            "id": format!("sha256:{number:064x}"), "outcome": if number.is_multiple_of(2) { "approved" } else { "refused" },
            "reasons": [{"code": "foreign-workspace", "message": "no", "source": "policy", "binding": "one"}],
            "claims": {"run": {"id": format!("run-{number}"), "number": number, "behavior": "APPLY",
                "building_block": {"id": "b", "workspace": "team-a", "parents": []},
                "definition": {"id": "d", "workspace": "team-b", "version": 3, "implementation": "TERRAFORM"}},
                "token": {"subject": "s", "audiences": ["one", "two"], "ttl_seconds": 3600, "issued_at": time}},
            "trace": [
                {"binding": "one", "mode": "enforce", "verdict": {"deny": [{"code": "no"}]}, "fuel": {"used": 5, "limit": 9}},
                {"binding": "two", "mode": "shadow", "fault": {"code": "out-of-fuel", "detail": "x"}},
                {"binding": "three", "verdict": {"permit": {}}}, {"verdict": "abstain"}
            ]
        }
    })
}

pub(crate) fn append(folder: &Path, records: &[Vec<u8>]) {
    let disk = Folder::open(folder).unwrap();
    let (mut log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
    for record in records {
        log.append(std::slice::from_ref(record), 1).unwrap();
    }
    log.checkpoint(1).unwrap();
}

/// A log of decisions, some a day.
pub(crate) fn log_of(records: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    let texts: Vec<_> = (1..=records)
        .map(|number| decision(number, BEGIN + number * DAY / 7).to_string().into_bytes())
        .collect();
    append(folder.path(), &texts);
    folder
}

pub(crate) fn run(
    log: &TempDir,
    to: &TempDir,
    options: &ExportOptions,
) -> Result<ExportReport, ExportError> {
    let mut to = FolderDestination::open(to.path()).unwrap();
    export(log.path(), &Key, &mut to, options, |_| {})
}

pub(crate) fn small() -> ExportOptions {
    ExportOptions { file_records: 5, ..ExportOptions::default() }
}

pub(crate) fn files(root: &Path) -> BTreeMap<String, PathBuf> {
    fn walk(root: &Path, folder: &Path, into: &mut BTreeMap<String, PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, into);
            } else {
                into.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(), path);
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(root, root, &mut found);
    found
}

/// All rows of an export, in the order of files.
pub(crate) fn rows(to: &TempDir) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, path) in files(to.path()) {
        if name.ends_with(".parquet") {
            let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
            rows.extend(reader.get_row_iter(None).unwrap().map(Result::unwrap));
        }
    }
    rows
}

pub(crate) fn cell<'r>(row: &'r Row, name: &str) -> &'r Field {
    row.get_column_iter().find(|(column, _)| *column == name).unwrap().1
}

pub(crate) fn sequences(to: &TempDir) -> Vec<i64> {
    let sequence = |row: &Row| match cell(row, "sequence") {
        Field::Long(sequence) => *sequence,
        other => panic!("{other:?}"),
    };
    rows(to).iter().map(sequence).collect()
}
