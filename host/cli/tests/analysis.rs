//! An export of a service's log, as analysts read it. `make analysis` installs the readers.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/decided.rs"]
mod decided;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use decided::decided;
use serde_json::{Value, json};
use support::command;
use tempfile::TempDir;

fn installed() -> PathBuf {
    let folder =
        std::env::var_os("COUNTERSIGN_ANALYSIS").expect("`make analysis` names the readers");
    PathBuf::from(folder)
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The records of the log, as `log show` prints them.
fn shown() -> Vec<Value> {
    let shown = decided().countersign("log show state/log --format json");
    shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn export(to: &str, environment: &[(&str, String)]) -> Value {
    let log = decided().log();
    let mut run = command(decided().path());
    run.args([
        "log",
        "export",
        log.to_str().unwrap(),
        "--to",
        to,
        "--file-records",
        "7",
        "--format",
        "json",
    ]);
    run.envs(environment.iter().cloned());
    // A proxy of the environment, which the place is not reached through.
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        run.env(name, "http://127.0.0.1:9");
    }
    let output = run.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn read(place: &str, environment: &[(&str, String)]) -> Value {
    let output = Command::new(installed().join("python/bin/python"))
        .arg(repository().join("e2e/analysis/read.py"))
        .arg(place)
        .arg(repository().join("docs/analysing-decisions.md"))
        .envs(environment.iter().cloned())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Compares what all readers found with the log itself.
fn compare(found: &Value, report: &Value) {
    let records = shown();
    let count = json!(records.len());
    for reader in ["pyarrow", "duckdb", "iceberg"] {
        assert_eq!(found[reader], count, "{reader}");
    }
    assert_eq!(report["records"], count);
    assert_eq!(found["files"], json!(report["files"].as_array().unwrap().len()));
    let sequences: Vec<_> = records.iter().map(|record| record["sequence"].clone()).collect();
    assert_eq!(found["sequences"], json!(sequences));
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut outcomes: BTreeMap<&str, u64> = BTreeMap::new();
    for record in &records {
        *kinds.entry(record["record"]["kind"].as_str().unwrap()).or_default() += 1;
        if let Some(outcome) = record["record"]["decision"]["outcome"].as_str() {
            *outcomes.entry(outcome).or_default() += 1;
        }
        let exported = found["records"][record["sequence"].to_string()].as_str().unwrap();
        assert_eq!(serde_json::from_str::<Value>(exported).unwrap(), record["record"]);
    }
    assert_eq!(found["kinds"], json!(kinds));
    assert_eq!(found["kinds"], report["kinds"]);
    assert_eq!(found["outcomes"], json!(outcomes));
    let refused = outcomes["refused"] + kinds["refused"];
    assert_eq!(found["iceberg_refused"], json!(refused));
    assert_eq!(found["types"]["time"], "timestamp[us, tz=UTC]");
    // The page's questions, each with an answer that the log has.
    let questions = found["questions"].as_array().unwrap();
    assert_eq!(questions.len(), 10);
    let rows = |number: usize| questions[number - 1]["rows"].as_array().unwrap();
    let of_team_a = records.iter().filter(|record| {
        record["record"]["decision"]["outcome"] == "refused"
            && record["record"]["decision"]["claims"]["run"]["building_block"]["workspace"]
                == "team-a"
    });
    assert_eq!(rows(1).len(), of_team_a.count());
    assert!(rows(2).iter().any(|row| row[0] == "team-c"), "{:?}", rows(2));
    assert!(rows(3).iter().any(|row| row[1] == "foreign-workspace"));
    assert_eq!(rows(4).len(), 1);
    assert!(!rows(5).is_empty());
    assert!(rows(6).is_empty());
    assert_eq!(rows(7).len(), 3);
    assert_eq!((rows(9).len(), rows(9)[0][1].as_str()), (1, Some("1")));
    let of_run = records
        .iter()
        .filter(|record| record.to_string().contains("b3116611-e08b-4b00-91c5-10365b25a6ef"));
    assert_eq!(rows(10).len(), of_run.count());
}

#[test]
#[ignore = "needs readers: `make analysis`"]
fn duckdb_pyarrow_and_pyiceberg_read_a_folder() {
    let to = TempDir::new().unwrap();
    let place = to.path().join("it's an export");
    let place = place.to_str().unwrap();
    let report = export(place, &[]);
    compare(&read(place, &[]), &report);
    assert_eq!(export(place, &[])["records"], 0);
}

/// A stand-in of S3, which stops when this is dropped.
struct S3(Child);

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
#[ignore = "needs readers: `make analysis`"]
fn s3_takes_each_file_once_and_is_read() {
    let mut server = Command::new(installed().join("python/bin/moto_server"));
    let server =
        server.args(["-H", "127.0.0.1", "-p", "0"]).stderr(Stdio::piped()).stdout(Stdio::null());
    let mut server = S3(server.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let address = lines
        .find_map(|line| Some(line.unwrap().split_once("Running on ")?.1.trim().to_owned()))
        .unwrap();
    // It writes a line for each request.
    std::thread::spawn(move || lines.for_each(drop));
    let environment = [
        ("AWS_ENDPOINT_URL_S3", address.clone()),
        ("AWS_ACCESS_KEY_ID", "key".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "secret".to_owned()),
        ("AWS_REGION", "eu-central-1".to_owned()),
    ];
    let log = decided().log();
    let failed = |line: &[&str]| {
        let mut run = command(decided().path());
        run.args(["log", "export", log.to_str().unwrap(), "--to"]).args(line);
        let output = run.envs(environment.iter().cloned()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(failed(&["s3://absent/x"]).contains("status 404, NoSuchBucket"));
    assert!(failed(&["s3://Up/x"]).contains("the name of a bucket"));
    assert!(failed(&["gs://bucket/x"]).contains("expected s3://"));
    let created = Command::new(installed().join("python/bin/python"))
        .args(["-c", "import boto3, os; boto3.client('s3', endpoint_url=os.environ['AWS_ENDPOINT_URL_S3']).create_bucket(Bucket='decisions', CreateBucketConfiguration={'LocationConstraint': 'eu-central-1'})"])
        .envs(environment.iter().cloned())
        .output()
        .unwrap();
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let report = export("s3://decisions/of/all", &environment);
    compare(&read("s3://decisions/of/all", &environment), &report);
    assert_eq!(export("s3://decisions/of/all", &environment)["records"], 0);
}
