//! The export of a million records, and what others count in it.
//!
//! The bench makes its log: `DECISIONS` records (1,000,000) of five policies. `READERS` is the Python that has DuckDB, pyarrow
//! and pyiceberg. Fails where one of them counts another number of records of a kind and an outcome than the log has. With
//! `EXPORT_LOG` the log is made there, and stays.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench"
)]

#[path = "../impact/log.rs"]
mod log;

use std::collections::BTreeMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use countersign_benches::{compiler, machine};
use countersign_decision_log::Reader;
use countersign_export::{ExportOptions, ExportReport, FolderDestination, export};
use serde_json::Value;

use self::log::Key;

/// Numbers of records by kind and outcome.
type Counts = BTreeMap<(String, Option<String>), u64>;

fn main() -> ExitCode {
    let decisions: usize =
        env::var("DECISIONS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let python = env::var("READERS").expect("READERS: `make bench-export` sets it");
    let folder = tempfile::tempdir().expect("a folder");
    let path = env::var_os("EXPORT_LOG").map_or_else(|| folder.path().join("log"), PathBuf::from);
    let to = folder.path().join("export");
    eprintln!("making a log of {decisions} decisions");
    log::make(&path, decisions);
    eprintln!("exporting");
    let begin = Instant::now();
    let report = exported(&path, &to);
    let seconds = begin.elapsed().as_secs_f64();
    let again = Instant::now();
    assert_eq!(exported(&path, &to).records, 0);
    let again = again.elapsed().as_secs_f64();
    eprintln!("counting the log");
    let expected = counts_of(&path);
    eprintln!("counting the export");
    let found = counted(&python, &to);

    println!("{}", machine());
    println!("{} {decisions} records, {} files.\n", compiler(), report.files.len());
    println!("| what | time | size | records by kind and outcome |\n|---|---|---|---|");
    println!("| the log | | {} | {} |", megabytes(&path, "log"), shown(&expected));
    println!("| `log export` to a folder | {seconds:.1} s | {} | |", megabytes(&to, "parquet"));
    println!("| the same with nothing new | {again:.1} s | | |");
    let mut is_same = true;
    for (reader, found) in found.as_object().expect("readers") {
        let of_reader = counts_in(found);
        is_same &= of_reader == expected;
        let verdict = if of_reader == expected { "the same" } else { "**others**" };
        let seconds = found["seconds"].as_f64().expect("seconds");
        println!("| {reader} | {seconds:.1} s | | {verdict}: {} |", shown(&of_reader));
    }
    if is_same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn exported(log: &Path, to: &Path) -> ExportReport {
    let mut place = FolderDestination::open(to).expect("a folder");
    let report = export(log, &Key, &mut place, &ExportOptions::default(), |_| {});
    report.expect("an export")
}

/// The counts of a log, by its records themselves.
fn counts_of(log: &Path) -> Counts {
    let (mut reader, mut counts) = (Reader::new(log, 1), Counts::new());
    while let Some(entry) = reader.read().expect("a log") {
        let record: Value = serde_json::from_slice(&entry.record).expect("JSON");
        let outcome = record["decision"]["outcome"].as_str().map(str::to_owned);
        let kind = record["kind"].as_str().expect("a kind").to_owned();
        *counts.entry((kind, outcome)).or_default() += 1;
    }
    counts
}

fn counted(python: &str, to: &Path) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/analysis/count.py");
    let mut run = Command::new(python);
    run.arg(script).arg(to).stderr(Stdio::inherit());
    let output = run.output().expect("the readers");
    assert!(output.status.success(), "{}", output.status);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn counts_in(found: &Value) -> Counts {
    let rows = found["rows"].as_array().expect("rows").iter();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    rows.map(|row| {
        ((text(&row[0]).expect("a kind"), text(&row[1])), row[2].as_u64().expect("a number"))
    })
    .collect()
}

fn shown(counts: &Counts) -> String {
    let shown = counts.iter().map(|((kind, outcome), number)| {
        format!("{kind} {}: {number}", outcome.as_deref().unwrap_or("-"))
    });
    shown.collect::<Vec<_>>().join(", ")
}

/// The bytes of the files with an extension below a folder.
fn megabytes(folder: &Path, extension: &str) -> String {
    fn bytes(folder: &Path, extension: &str) -> u64 {
        let entries = std::fs::read_dir(folder).expect("a folder").flatten();
        let sizes = entries.map(|entry| match entry.path() {
            path if path.is_dir() => bytes(&path, extension),
            path if path.extension().is_some_and(|of| of == extension) => {
                entry.metadata().expect("a file").len()
            }
            _ => 0,
        });
        sizes.sum()
    }
    format!("{} MB", bytes(folder, extension) / 1_000_000)
}
