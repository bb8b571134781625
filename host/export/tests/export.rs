//! An export of logs: each record is one row, once, whatever it says and however often a run was interrupted.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use countersign_decision_log::{CheckpointKey, Folder, Log, LogConfig, archive, prune};
use countersign_export::{
    COLUMNS, Destination, DestinationError, ExportError, ExportOptions, ExportReport,
    FolderDestination, Kind, Put, Replica, export, schema_text,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Value, json};
use tempfile::TempDir;

const CONFIG: LogConfig = LogConfig { segment_bytes: 4000, checkpoint_records: 10 };
const DAY: u64 = 86_400;
/// 2026-11-30.
const BEGIN: u64 = 1_795_996_800;

struct Key;

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

fn decision(number: u64, time: u64) -> Value {
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

fn append(folder: &Path, records: &[Vec<u8>]) {
    let disk = Folder::open(folder).unwrap();
    let (mut log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
    for record in records {
        log.append(std::slice::from_ref(record), 1).unwrap();
    }
    log.checkpoint(1).unwrap();
}

/// A log of decisions, some a day.
fn log_of(records: u64) -> TempDir {
    let folder = TempDir::new().unwrap();
    let texts: Vec<_> = (1..=records)
        .map(|number| decision(number, BEGIN + number * DAY / 7).to_string().into_bytes())
        .collect();
    append(folder.path(), &texts);
    folder
}

fn run(log: &TempDir, to: &TempDir, options: &ExportOptions) -> Result<ExportReport, ExportError> {
    let mut to = FolderDestination::open(to.path()).unwrap();
    export(log.path(), &Key, &mut to, options, |_| {})
}

fn small() -> ExportOptions {
    ExportOptions { file_records: 5, ..ExportOptions::default() }
}

fn files(root: &Path) -> BTreeMap<String, PathBuf> {
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
fn rows(to: &TempDir) -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, path) in files(to.path()) {
        if name.ends_with(".parquet") {
            let reader = SerializedFileReader::new(fs::File::open(path).unwrap()).unwrap();
            rows.extend(reader.get_row_iter(None).unwrap().map(Result::unwrap));
        }
    }
    rows
}

fn cell<'r>(row: &'r Row, name: &str) -> &'r Field {
    row.get_column_iter().find(|(column, _)| *column == name).unwrap().1
}

fn sequences(to: &TempDir) -> Vec<i64> {
    let sequence = |row: &Row| match cell(row, "sequence") {
        Field::Long(sequence) => *sequence,
        other => panic!("{other:?}"),
    };
    rows(to).iter().map(sequence).collect()
}

#[test]
fn every_record_is_a_row_with_what_it_says() {
    let (log, to) = (log_of(30), TempDir::new().unwrap());
    let report = run(&log, &to, &small()).unwrap();
    assert_eq!((report.records, report.last, report.before), (30, 30, 0));
    assert_eq!(report.kinds, BTreeMap::from([("token".to_owned(), 30)]));
    // Seven a day, five a file.
    let of_days: Vec<_> = report.files.iter().map(|file| (file.first, file.last)).collect();
    assert_eq!(of_days[..4], [(1, 5), (6, 6), (7, 11), (12, 13)]);
    assert!(
        report.files[0]
            .path
            .starts_with("date=2026-11-30/replica=main/00000000000000000001-00000000000000000005-")
    );
    assert!(report.files[2].path.starts_with("date=2026-12-01/replica=main/"));
    assert_eq!(sequences(&to), (1..=30).collect::<Vec<_>>());
    let rows = rows(&to);
    let row = &rows[2];
    let text = |name: &str| match cell(row, name) {
        Field::Str(text) => text.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(
        (text("kind"), text("outcome"), text("run_id")),
        ("token".into(), "refused".into(), "run-3".into())
    );
    assert_eq!(
        (text("owning_workspace"), text("definition_workspace")),
        ("team-a".into(), "team-b".into())
    );
    assert_eq!((text("requester_kind"), text("requester")), ("run_token".into(), "runner".into()));
    assert_eq!(*cell(row, "run_number"), Field::Long(3));
    assert_eq!(*cell(row, "client"), Field::Null);
    assert_eq!(*cell(row, "preflight"), Field::Null);
    let time = i64::try_from((BEGIN + 3 * DAY / 7) * 1_000_000).unwrap();
    assert_eq!(*cell(row, "time"), Field::TimestampMicros(time));
    assert_eq!(cell(row, "audiences").to_string(), "[\"one\", \"two\"]");
    let bindings = cell(row, "bindings").to_string();
    for expected in [
        "verdict: \"deny\", code: \"no\", fuel: 5, fuel_limit: 9",
        "verdict: \"fault\", code: \"out-of-fuel\"",
        "verdict: \"permit\", code: null",
        "binding: null, mode: null",
    ] {
        assert!(bindings.contains(expected), "{expected} in {bindings}");
    }
    assert!(bindings.contains("verdict: \"abstain\""), "{bindings}");
    assert_eq!(
        serde_json::from_str::<Value>(&text("record")).unwrap(),
        decision(3, BEGIN + 3 * DAY / 7)
    );
    // The manifest is the report.
    let manifest = fs::read(to.path().join(report.manifest.as_ref().unwrap())).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!((&manifest["schema"], &manifest["records"]), (&json!(1), &json!(30)));
    assert_eq!(manifest["files"].as_array().unwrap().len(), report.files.len());
}

#[test]
fn an_export_goes_on_and_writes_nothing_twice() {
    let (log, to) = (log_of(12), TempDir::new().unwrap());
    run(&log, &to, &small()).unwrap();
    let before = files(to.path());
    let contents: BTreeMap<_, _> =
        before.iter().map(|(name, path)| (name.clone(), fs::read(path).unwrap())).collect();
    let again = run(&log, &to, &small()).unwrap();
    assert_eq!((again.records, again.before, again.last, again.manifest), (0, 12, 12, None));
    assert_eq!(files(to.path()), before);
    for number in 13..=20 {
        append(log.path(), &[decision(number, BEGIN + number * DAY / 7).to_string().into_bytes()]);
        let report = run(&log, &to, &small()).unwrap();
        assert_eq!((report.records, report.before), (1, number - 1));
    }
    assert_eq!(sequences(&to), (1..=20).collect::<Vec<_>>());
    for (name, bytes) in contents {
        assert_eq!(fs::read(to.path().join(&name)).unwrap(), bytes, "{name}");
    }
    let hidden = files(to.path()).into_keys().filter(|name| name.contains("/.")).count();
    assert_eq!(hidden, 0);
}

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

#[test]
fn damage_ends_an_export_before_it() {
    let (log, to) = (log_of(30), TempDir::new().unwrap());
    let name = files(log.path())
        .into_iter()
        .find(|(name, _)| name.starts_with("0000") && !name.contains("0001.log"))
        .unwrap();
    let mut bytes = fs::read(&name.1).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&name.1, &bytes).unwrap();
    let error = run(&log, &to, &small()).unwrap_err();
    assert!(matches!(error, ExportError::Log(_)), "{error}");
    let written = sequences(&to);
    assert_eq!(written, (1..=written.len() as i64).collect::<Vec<_>>());
    assert!(written.len() < 30);
    // Repaired, it goes on.
    bytes[middle] ^= 1;
    fs::write(&name.1, &bytes).unwrap();
    run(&log, &to, &small()).unwrap();
    assert_eq!(sequences(&to), (1..=30).collect::<Vec<_>>());
}

#[test]
fn times_bound_an_export() {
    let (log, to) = (log_of(30), TempDir::new().unwrap());
    let options = ExportOptions {
        since: BEGIN + DAY,
        until: Some(BEGIN + 2 * DAY),
        ..ExportOptions::default()
    };
    let report = run(&log, &to, &options).unwrap();
    assert_eq!(sequences(&to), (7..=13).collect::<Vec<_>>());
    assert_eq!(report.files.len(), 1);
    let report = run(&log, &to, &ExportOptions::default()).unwrap();
    assert_eq!(report.before, 13);
    assert_eq!(sequences(&to), (7..=30).collect::<Vec<_>>());
}

/// Whatever a record says, it is a row, and leads to no other file.
#[test]
fn hostile_records_are_data() {
    let hostile = [
        r#"{"kind":"\u001b[31m","time":1795996800,"request":"'; DROP TABLE x; --"}"#.to_owned(),
        r#"{"kind":"../../../etc/passwd","time":"now","run":"\u202e\ufffe\u0000"}"#.to_owned(),
        r#"{"kind":7,"time":18446744073709551615,"decision":[],"registered":{"run":"x"}}"#.to_owned(),
        r#"{"time":-1,"decision":{"trace":{"a":1},"reasons":[1,null,{"code":null},{"code":"x"}],"claims":{"run":{"number":1e300}}}}"#.to_owned(),
        r#"{"time":253402300800,"requester":{"a":1,"b":2},"preflight":[[],{}]}"#.to_owned(),
        r#"{"decision":{"trace":[{"verdict":{"deny":[]}},{"verdict":7},{"fault":null},5]}}"#.to_owned(),
        "[]".to_owned(),
        "null".to_owned(),
        "not json".to_owned(),
        String::new(),
        format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("{{\"kind\":\"{}\",\"time\":1795996800}}", "k".repeat(1 << 20)),
    ];
    let (log, to) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut texts: Vec<_> = hostile.iter().map(|text| text.clone().into_bytes()).collect();
    texts.push(vec![0xff, 0xfe, 0x00]);
    append(log.path(), &texts);
    let report = run(&log, &to, &ExportOptions::default()).unwrap();
    assert_eq!(report.records, texts.len() as u64);
    let rows = rows(&to);
    assert_eq!(rows.len(), texts.len());
    for (row, text) in rows.iter().zip(&hostile) {
        assert_eq!(*cell(row, "record"), Field::Str(text.clone()));
    }
    assert_eq!(*cell(&rows[0], "kind"), Field::Str("\u{1b}[31m".to_owned()));
    assert_eq!(*cell(&rows[2], "time"), Field::Null);
    for name in files(to.path()).into_keys() {
        let is_own = name.starts_with("date=1970-01-01/replica=main/")
            || name.starts_with("date=2026-11-30/replica=main/")
            || name.starts_with("_files/replica=main/")
            || name.starts_with("_manifests/replica=main/");
        assert!(is_own && !name.contains(".."), "{name}");
    }
    assert!(report.kinds.keys().all(|kind| kind.len() <= 64));
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

/// The page lists every column with its type, and nothing else.
#[test]
fn the_columns_are_documented() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/analysing-decisions.md");
    let page = fs::read_to_string(&path).unwrap();
    let word = |kind: Kind| match kind {
        Kind::Sequence | Kind::Integer(_) => "BIGINT",
        Kind::Time(_) => "TIMESTAMP WITH TIME ZONE",
        Kind::Texts(..) => "VARCHAR[]",
        Kind::Rows(..) => "STRUCT[]",
        _ => "VARCHAR",
    };
    let mut table = String::from("| column | type | meaning |\n|---|---|---|\n");
    for column in COLUMNS {
        table += &format!("| `{}` | {} | {} |\n", column.name, word(column.kind), column.doc);
        if let Kind::Rows(_, members) = column.kind {
            for member in members {
                table += &format!(
                    "| `{}[].{}` | {} | {} |\n",
                    column.name,
                    member.name,
                    word(member.kind),
                    member.doc
                );
            }
        }
    }
    let (before, rest) = page.split_once("<!-- columns -->\n").unwrap();
    let (_, after) = rest.split_once("<!-- end -->").unwrap();
    let expected = format!("{before}<!-- columns -->\n{table}<!-- end -->{after}");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, expected).unwrap();
    } else {
        assert_eq!(page, expected, "UPDATE=1 rewrites the table");
    }
    assert!(schema_text().contains("REQUIRED INT64 sequence;"));
}
