//! An export of logs: each record is one row, once, whatever it says.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use countersign_export::{COLUMNS, ExportError, ExportOptions, Kind, schema_text};
use parquet::record::Field;
use serde_json::{Value, json};
use tempfile::TempDir;

use support::*;

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
