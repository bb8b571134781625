//! A log of decisions that a service made, and copies of it with other records.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use countersign_decision_log::{Folder, Log, LogConfig, Reader};
use countersign_issuer::{CheckpointSigner, KeyFolder};
use serde_json::{Value, json};

use crate::service::{AWS, Client, RUN_ID, Served, configure, run};
use crate::support::{Ran, countersign, fill};

pub(crate) const NETWORK: &str = "b23cfb9a-6974-444f-9d33-62134a632373";
pub(crate) const DATABASE: &str = "11111111-1111-4111-8111-111111111111";
pub(crate) const OWNERS: [&str; 4] = ["my-workspace", "team-a", "team-b", "team-c"];

/// The limits of every binding: a busy machine must not change a code.
const LIMITS: &str = "limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }";

/// The policies that decide, of which one is tried out.
pub(crate) const MANIFEST: &str = r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "demo"

[[binding]]
name = "consumers"
policy = "same-workspace.wasm"
scope = "all"
settings = { also = ["team-a", "team-b"], also-max-ttl = 1800 }
LIMITS

[[binding]]
name = "shorter-dry-runs"
policy = "ttl-ceiling.wasm"
scope = { definition-workspace = "my-workspace" }
settings = { apply = 3600, detect = 900, destroy = 3600 }
LIMITS

[[binding]]
name = "tried-out"
policy = "trigger-gate.wasm"
scope = "all"
mode = "shadow"
settings = { behaviors = { destroy = ["user"] } }
LIMITS
"#;

/// A service's folder, with the log of the decisions that it made.
pub(crate) struct Decided(PathBuf);

/// The decisions of a service on four owners, two definitions and two behaviors, made once for all tests of a program.
pub(crate) fn decided() -> &'static Decided {
    static DECIDED: OnceLock<Decided> = OnceLock::new();
    DECIDED.get_or_init(|| {
        // Nothing removes the folder of all tests but their next run.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(env!("CARGO_CRATE_NAME"));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fill(&folder);
        fs::write(folder.join("countersign.toml"), manifest()).unwrap();
        let limits = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                      run-per-second = 1_000_000\nrun-burst = 1_000_000\n";
        let api_key = configure(&folder, limits);
        let served = Served::start(&folder);
        assert_eq!(served.register(&api_key, &run()).status, 201);
        assert_eq!(served.token().status, 200);
        // Refused before any policy is asked: it is on record without a decision.
        let headers = format!("authorization: Bearer {api_key}\r\n");
        let mut client = Client::new(served.address).unwrap();
        let target = format!("/v1/runs/{RUN_ID}/finish");
        assert_eq!(client.ask("POST", &target, &headers, "").unwrap().status, 204);
        assert_eq!(served.token().status, 403);
        let headers = format!("{headers}content-type: application/json\r\n");
        for (number, (owner, definition, behavior)) in requests().enumerate() {
            let run = run_of(number, owner, definition, behavior);
            let body = json!({"run": run, "audiences": [AWS], "ttl_seconds": 3600}).to_string();
            let answer = client.ask("POST", "/v1/decisions", &headers, &body).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        assert_eq!(served.stop(), 0);
        Decided(folder)
    })
}

/// The manifest, which finds the components beside it.
pub(crate) fn manifest() -> String {
    MANIFEST.replace("LIMITS", LIMITS)
}

/// The requests that were decided on.
pub(crate) fn requests() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    OWNERS.into_iter().flat_map(|owner| {
        [NETWORK, DATABASE].into_iter().flat_map(move |definition| {
            ["APPLY", "DETECT"].into_iter().map(move |behavior| (owner, definition, behavior))
        })
    })
}

/// The ids of the runs of the requests that a condition holds for.
pub(crate) fn ids_where(condition: impl Fn(&str, &str, &str) -> bool) -> BTreeSet<String> {
    let all = requests().enumerate();
    all.filter(|(_, (owner, definition, behavior))| condition(owner, definition, behavior))
        .map(|(number, _)| id(number))
        .collect()
}

/// The run of a request.
pub(crate) fn run_of(number: usize, owner: &str, definition: &str, behavior: &str) -> Value {
    let mut run = run();
    run["metadata"]["uuid"] = json!(id(number));
    run["spec"]["behavior"] = json!(behavior);
    run["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!(owner);
    run["spec"]["buildingBlockDefinition"]["uuid"] = json!(definition);
    run
}

fn id(number: usize) -> String {
    format!("{:08x}-0000-4000-8000-000000000000", number + 1)
}

impl Decided {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path().join("state/log")
    }

    /// Runs a command in the folder.
    pub(crate) fn countersign(&self, line: &str) -> Ran {
        countersign(self.path(), line)
    }

    /// Writes a manifest under a name, with the components of the others beside it.
    pub(crate) fn write(&self, name: &str, manifest: &str) {
        fs::write(self.path().join(name), manifest).unwrap();
    }

    /// The records of the log.
    pub(crate) fn records(&self) -> Vec<Value> {
        let mut reader = Reader::new(&self.log(), 1);
        let mut records = Vec::new();
        while let Some(entry) = reader.read().unwrap() {
            records.push(serde_json::from_slice(&entry.record).unwrap());
        }
        records
    }

    /// Copies the log to a folder, whose name is returned, relative to this one.
    pub(crate) fn copy(&self, name: &str) -> String {
        let to = self.path().join(name);
        let _ = fs::remove_dir_all(&to);
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(self.log()).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, to.join(path.file_name().unwrap())).unwrap();
        }
        name.to_owned()
    }

    /// Writes a log of these records, signed by a key of its own, and returns its name, relative to this folder.
    pub(crate) fn log_of(&self, name: &str, records: &[Vec<u8>]) -> String {
        let folder = self.path().join(name);
        let _ = fs::remove_dir_all(&folder);
        let (keys, log) = (folder.join("keys"), folder.join("log"));
        fs::create_dir_all(&log).unwrap();
        let key = CheckpointSigner::open(&KeyFolder::open(&keys).unwrap(), &log).unwrap();
        let config = LogConfig { segment_bytes: 20_000, checkpoint_records: 4 };
        let disk = Folder::open(&log).unwrap();
        let (mut log, _) = Log::open(disk, config, Box::new(key)).unwrap();
        for record in records {
            log.append(std::slice::from_ref(record), 0).unwrap();
        }
        log.checkpoint(0).unwrap();
        format!("{name}/log")
    }
}

/// A decision with another text somewhere, and the id that follows from it.
pub(crate) fn forged(decision: &str, from: &str, to: &str) -> String {
    let (_, rest) = decision.split_once(r#"","version""#).unwrap();
    let rest = format!(r#""version"{rest}"#);
    assert!(rest.contains(from), "{from}");
    let rest = rest.replacen(from, to, 1);
    let id = countersign::Digest::of(format!("{{{rest}").as_bytes());
    format!(r#"{{"id":"{id}",{rest}"#)
}
