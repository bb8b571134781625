//! Logs of records that are made up, and a console over them that is asked without a listener.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_console::{AllowedHosts, Console, ConsoleConfig, LogName, LogSource, NoPolicies};
use countersign_decision_log::{CheckpointKey, Folder, Log, LogConfig};
use http_body_util::BodyExt;
use hyper::Request;
use hyper::http::request::Builder;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Small segments, and checkpoints of few records, so that a short log has several.
pub(crate) const CONFIG: LogConfig = LogConfig { segment_bytes: 20_000, checkpoint_records: 8 };

/// A key whose signatures are digests.
pub(crate) struct Key;

impl CheckpointKey for Key {
    fn kid(&self) -> &str {
        "test-key"
    }

    fn sign(&self, message: &[u8]) -> Option<String> {
        Some(format!("{:?}", Sha256::digest(message)))
    }

    fn verify(&self, message: &[u8], signature: &str) -> bool {
        self.sign(message).as_deref() == Some(signature)
    }
}

/// A log's folder with a file for its index beside it.
pub(crate) struct TestLog {
    pub(crate) folder: TempDir,
}

/// An answer of a console.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: hyper::HeaderMap,
    pub(crate) body: String,
}

impl TestLog {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        std::fs::create_dir(folder.path().join("log")).unwrap();
        Self { folder }
    }

    /// A log of these records, a batch each, closed with a checkpoint.
    pub(crate) fn of(records: &[Value]) -> Self {
        let log = Self::new();
        log.append(records, true);
        log
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.folder.path().join("log.console.db")
    }

    pub(crate) fn append(&self, records: &[Value], is_closed: bool) {
        let disk = Folder::open(&self.path()).unwrap();
        let (mut log, _) = Log::open(disk, CONFIG, Box::new(Key)).unwrap();
        for record in records {
            let time = record["time"].as_u64().unwrap_or(0);
            log.append(&[serde_json::to_vec(record).unwrap()], time).unwrap();
        }
        if is_closed {
            log.checkpoint(7).unwrap();
        }
    }

    /// The segments' files, in order.
    pub(crate) fn segments(&self) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.path()).unwrap().map(|file| file.unwrap().path());
        let mut segments: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
        segments.sort();
        segments
    }

    pub(crate) async fn open(&self) -> Arc<Console> {
        self.open_with(None, &self.index()).await
    }

    pub(crate) async fn open_with(&self, reports: Option<PathBuf>, index: &Path) -> Arc<Console> {
        let name = LogName::parse("log").unwrap();
        let (folder, index) = (self.path(), index.to_owned());
        let console = Console::open(ConsoleConfig {
            logs: vec![LogSource { name, folder, key: Arc::new(Key), index }],
            policies: Arc::new(NoPolicies),
            reports,
            base: "",
            hosts: Some(AllowedHosts::loopback_and([])),
        });
        console.await.unwrap()
    }
}

/// Asks as a program on this machine does.
pub(crate) async fn get(console: &Console, target: &str) -> Answer {
    ask(console, Request::get(target).header("host", "localhost")).await
}

pub(crate) async fn ask(console: &Console, request: Builder) -> Answer {
    let response = console.respond(&request.body(()).unwrap().into_parts().0).await;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Answer { status: head.status.as_u16(), headers: head.headers, body }
}

pub(crate) async fn get_json(console: &Console, target: &str) -> Value {
    let answer = get(console, target).await;
    assert_eq!(answer.status, 200, "{target}: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// Waits until the log is verified up to a record, or is found to be damaged. Returns its state.
pub(crate) async fn verified(console: &Console, last: u64) -> Value {
    for _ in 0..1200 {
        let log = get_json(console, "/log/records.json?limit=1").await["log"].clone();
        let is_there = log["last"].as_u64() >= Some(last) && log["verifying"].is_null();
        if is_there || !log["damage"].is_null() {
            return log;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("record {last} was not reached");
}

/// A record of a decision. `owner` and `code` choose what is decided.
pub(crate) fn decision(number: u64, time: u64, owner: &str, codes: &[&str]) -> Value {
    let reasons: Vec<_> = codes
        .iter()
        .map(|code| json!({"code": code, "message": "no", "source": "policy", "binding": "consumers"}))
        .collect();
    let outcome = if codes.is_empty() { "approved" } else { "refused" };
    let mut decision = json!({
        "id": format!("sha256:{number:064x}"), "version": 1, "outcome": outcome,
        "policy_set": format!("sha256:{:064x}", number % 2),
        "claims": {
            "run": {
                "id": run(number), "number": 1, "behavior": "APPLY",
                "building_block": {"id": "68ce5455-2a4a-4a4b-a324-6a6c18cab85a", "workspace": owner},
                "definition": {"id": "b23cfb9a-6974-444f-9d33-62134a632373", "workspace": "platform-team"},
            },
            "token": {"subject": "system", "audiences": ["a"], "ttl_seconds": 900},
        },
        "trace": [{
            "binding": "consumers", "mode": "enforce", "may_permit": true, "scope": "all",
            "policy": {"name": "same-workspace", "version": "0.1.0", "digest": format!("sha256:{:064x}", 9)},
            "settings": format!("sha256:{:064x}", 8), "verdict": "abstain",
            "fuel": {"used": 1273, "limit": 10_000_000},
        }],
    });
    if !codes.is_empty() {
        decision["reasons"] = json!(reasons);
    }
    let mut record = json!({
        "version": 1, "kind": "token", "request": format!("request-{number}"), "time": time,
        "requester": {"run_token": {"runner": "r"}}, "decision": decision,
    });
    if codes.is_empty() {
        record["issued"] = json!({
            "jti": format!("jti-{number}"), "token": "sha256:0", "kid": "key-1", "algorithm": "ES256",
            "subject_profile": "by-definition", "expires_at": time + 900,
        });
    }
    record
}

/// The run of a number: several decisions are on one.
pub(crate) fn run(number: u64) -> String {
    format!("{:08x}-0000-4000-8000-000000000000", number / 2)
}
