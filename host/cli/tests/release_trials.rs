//! Candidates beside the policies that decide: tried on live runs, promoted by evidence, and rolled back when they fault.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/service.rs"]
mod service;
mod support;

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_decision_log::Reader;
use countersign_hostile_policies::guest::{GUEST, Guest};
use serde_json::{Value, json};
use service::{Client, RUN_ID, Served, configure, run};
use support::{Ran, countersign, folder};

const LIMITS: &str = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                      run-per-second = 1_000_000\nrun-burst = 1_000_000\n";

const MANIFEST: &str = r#"
[issuer]
url = "https://oidc.example.com"
meshstack-id = "demo"

[[binding]]
name = "consumers"
policy = "same-workspace.wasm"
scope = "all"
settings = { also = ["team-a"] }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }

[[binding]]
name = "ttl"
policy = "ttl-ceiling.wasm"
scope = "all"
settings = { apply = 900, detect = 900, destroy = 900 }
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

/// A binding of a policy that faults, for the published definition alone.
const FAULTS: &str = r#"
[[binding]]
name = "faults"
policy = "faults.wasm"
scope = { definition = "b23cfb9a-6974-444f-9d33-62134a632373" }
may-permit = false
limits = { prepare-ms = 120_000, wall-clock-ms = 10_000 }
"#;

const OF_TEAM_A: &str = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";

#[track_caller]
fn done(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn release(folder: &Path, line: &str) -> Ran {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    countersign(folder, &format!("release {word} --config issuer.toml {rest} --format json"))
}

fn status(folder: &Path) -> Value {
    serde_json::from_str(&release(folder, "status").stdout).unwrap()
}

/// Waits until the status is as expected.
fn wait(folder: &Path, served: &Served, is_so: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let status = status(folder);
        if is_so(&status) {
            return status;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{status}\n{}", served.logged());
        thread::sleep(Duration::from_millis(50));
    }
}

/// A service that decides by the manifest, with a run of the definition workspace and one of `team-a`.
fn serve(folder: &Path, releases: &str) -> Served {
    fs::write(folder.join("countersign.toml"), MANIFEST).unwrap();
    let api_key = configure(folder, &format!("{LIMITS}{releases}"));
    fs::write(folder.join("api-key"), &api_key).unwrap();
    let served = Served::start(folder);
    assert_eq!(served.register(&api_key, &run()).status, 201);
    let mut other = run();
    other["metadata"]["uuid"] = json!(OF_TEAM_A);
    other["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!("team-a");
    assert_eq!(served.register(&api_key, &other).status, 201);
    served
}

/// Asks for a token of each run so many times, and returns the statuses of the last time.
fn ask(served: &Served, times: usize) -> [u16; 2] {
    let mut client = Client::new(served.address).unwrap();
    let mut last = [0; 2];
    for _ in 0..times {
        last = [RUN_ID, OF_TEAM_A].map(|run| client.token(run).unwrap().status);
    }
    last
}

/// The report of `impact` over the log, in a file.
fn evidence(folder: &Path, candidate: &str) -> Value {
    let ran =
        countersign(folder, &format!("impact state/log --candidate {candidate} --format json"));
    fs::write(folder.join("impact.json"), &ran.stdout).unwrap();
    done(&ran)
}

#[track_caller]
fn refused(folder: &Path, line: &str, expected: &str) {
    let ran = release(folder, line);
    assert_eq!(ran.status, 1, "{line}: {}", ran.stdout);
    assert!(ran.stderr.contains(expected), "{line}: {}", ran.stderr);
}

fn records(folder: &Path, kind: &str) -> Vec<Value> {
    let mut reader = Reader::new(&folder.join("state/log"), 1);
    let mut records = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        if record["kind"] == kind {
            records.push(record);
        }
    }
    records
}

fn stage(folder: &Path, name: &str, text: &str) -> String {
    fs::write(folder.join(name), text).unwrap();
    let staged = done(&release(folder, &format!("stage --policies {name}")));
    staged["release"].as_str().unwrap().to_owned()
}

#[test]
fn a_candidate_is_tried_on_live_runs_and_promoted_by_evidence() {
    let folder = folder();
    let path = folder.path();
    let trial = "[releases]\ncandidate-percent = 100\nevidence-decisions = 6\n";
    let served = serve(path, trial);
    assert_eq!(ask(&served, 2), [200, 200]);

    // A list loses a workspace.
    let lost = MANIFEST.replace("[\"team-a\"]", "[\"team-b\"]");
    let staged = stage(path, "next.toml", &lost);
    wait(path, &served, |status| {
        status["service"]["candidate"]["release"] == json!(staged) || {
            ask(&served, 1);
            false
        }
    });
    let before = records(path, "token").len();
    assert_eq!(ask(&served, 3), [200, 200], "it decides nothing");
    let tried = wait(path, &served, |status| {
        status["service"]["candidate"]["compared"].as_u64().unwrap() >= 6
    });
    let trial = &tried["service"]["candidate"];
    assert!(trial["classes"]["lost"].as_u64().unwrap() >= 3, "{trial}");
    assert_eq!(trial["faults"], 0);
    assert_eq!(records(path, "token").len(), before + 6);
    let differences = records(path, "candidate");
    assert!(differences.len() >= 3, "{differences:?}");
    for difference in &differences {
        assert_eq!((&difference["class"], &difference["run"]), (&json!("lost"), &json!(OF_TEAM_A)));
        assert_eq!(difference["release"], json!(staged));
        assert_eq!(difference["causes"][0]["binding"], "consumers");
    }
    let api_key = fs::read_to_string(path.join("api-key")).unwrap();
    let metrics = served.metrics(&api_key);
    assert!(metrics.contains("countersign_candidate_decisions_total{class=\"lost\"}"), "{metrics}");
    assert!(metrics.contains("countersign_candidate 1\n"), "{metrics}");

    // Evidence names the decisions, and refuses until they are accounted for.
    let impact = evidence(path, "next.toml");
    assert_eq!(impact["evidence"]["candidate"], json!(staged));
    refused(path, "promote --evidence impact.json", "decisions are `lost`");
    refused(
        path,
        "promote --evidence impact.json --accept gained --reason x",
        "decisions are `lost`",
    );
    refused(path, "promote", "--evidence");
    refused(path, "promote --evidence impact.json --without-evidence x", "cannot be used with");

    // Of another set, log or version, or changed.
    let report = fs::read_to_string(path.join("impact.json")).unwrap();
    let changed = |from: &str, to: &str| {
        assert!(report.contains(from), "{from}");
        fs::write(path.join("changed.json"), report.replace(from, to)).unwrap();
    };
    let accept = "promote --evidence changed.json --accept lost --reason meant";
    changed("\"lost\": ", "\"lost\": 1");
    refused(path, accept, "was changed after it was made");
    let tool = impact["evidence"]["tool"].as_str().unwrap();
    changed(&format!("\"tool\": \"{tool}\""), "\"tool\": \"9.9.9\"");
    refused(path, accept, "was made by version 9.9.9");
    fs::write(path.join("changed.json"), "{}").unwrap();
    refused(path, accept, "expected a report of `countersign impact --format json`");
    let line =
        "impact --generate 50 --current countersign.toml --candidate next.toml --format json";
    fs::write(path.join("changed.json"), countersign(path, line).stdout).unwrap();
    refused(path, accept, "runs that nobody asked for");
    let line = "impact state/log --candidate next.toml --workspace team-a --format json";
    fs::write(path.join("changed.json"), countersign(path, line).stdout).unwrap();
    refused(path, accept, "leaves decisions out (workspace)");
    fs::rename(path.join("state/log"), path.join("state/moved")).unwrap();
    fs::create_dir(path.join("state/log")).unwrap();
    fs::write(path.join("changed.json"), &report).unwrap();
    refused(path, accept, "over another log");
    fs::remove_dir(path.join("state/log")).unwrap();
    fs::rename(path.join("state/moved"), path.join("state/log")).unwrap();
    drop(served);
    let served = Served::start(path);

    // A TTL grows; a policy faults for one definition.
    stage(
        path,
        "wider.toml",
        &MANIFEST.replace("apply = 900, detect = 900", "apply = 1800, detect = 1800"),
    );
    refused(
        path,
        "promote --evidence impact.json --accept lost --reason meant",
        "the evidence is about",
    );
    evidence(path, "wider.toml");
    refused(path, "promote --evidence impact.json", "decisions are `wider`");
    fs::write(path.join("faults.wasm"), Guest { evaluate: "unreachable", ..GUEST }.component())
        .unwrap();
    stage(path, "faults.toml", &format!("{MANIFEST}{FAULTS}"));
    evidence(path, "faults.toml");
    let accept = "promote --evidence impact.json --accept gained,lost,wider --reason meant";
    refused(path, accept, "a binding faults that did not");
    assert_eq!(status(path)["active"], json!(null), "nothing was promoted");

    // What is meant is promoted, with its evidence on record.
    let staged = stage(path, "next.toml", &lost);
    let impact = evidence(path, "next.toml");
    let promoted =
        done(&release(path, "promote --evidence impact.json --accept lost --reason meant"));
    assert_eq!((&promoted["release"], &promoted["taken"]), (&json!(staged), &json!(true)));
    assert_eq!(ask(&served, 1), [200, 403]);
    let step = records(path, "release").pop().unwrap();
    assert_eq!((&step["action"], &step["reason"]), (&json!("promoted"), &json!("meant")));
    assert_eq!(step["evidence"]["digest"], impact["evidence"]["digest"]);
    assert_eq!(step["evidence"]["compared"], impact["evidence"]["compared"]);

    // And one that changes nothing needs no words.
    let shadow = FAULTS
        .replace("may-permit", "mode = \"shadow\"\nmay-permit")
        .replace("faults.wasm", "ttl-ceiling.wasm");
    stage(path, "shadow.toml", &format!("{lost}{shadow}"));
    evidence(path, "shadow.toml");
    let ran = release(path, "promote --evidence impact.json");
    // Decisions of before the first promotion are still lost by it.
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    let since = step["time"].as_u64().unwrap();
    let since =
        humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + Duration::from_secs(since));
    ask(&served, 4);
    let line = format!("impact state/log --candidate shadow.toml --since {since} --format json");
    fs::write(path.join("impact.json"), countersign(path, &line).stdout).unwrap();
    done(&release(path, "promote --evidence impact.json"));
    assert_eq!(served.stop(), 0);
    assert_eq!(countersign(path, "log verify state/log").status, 0);
}

#[test]
fn a_release_that_faults_after_its_promotion_is_rolled_back_by_the_service() {
    let folder = folder();
    let path = folder.path();
    let served = serve(path, "[releases]\nrollback-on-faults = 3\n");
    assert_eq!(ask(&served, 1), [200, 200]);
    fs::write(path.join("faults.wasm"), Guest { evaluate: "unreachable", ..GUEST }.component())
        .unwrap();
    stage(path, "faults.toml", &format!("{MANIFEST}{FAULTS}"));
    let promoted = done(&release(path, "promote --without-evidence a-test"));
    let first = promoted["from"].clone();
    let rolled_back = wait(path, &served, |status| {
        ask(&served, 1);
        status["active"] == first && status["service"]["deciding"] == first
    });
    assert_eq!(rolled_back["previous"], json!(null));
    assert_eq!(ask(&served, 1), [200, 200]);
    assert_eq!(served.stop(), 0);
    let steps = records(path, "release");
    let last = steps.last().unwrap();
    assert_eq!((&last["action"], &last["automatic"]), (&json!("rolled-back"), &json!(true)));
    assert!(last["reason"].as_str().unwrap().contains("trap of `faults`"), "{last}");

    // A fault that the release before has as well says nothing about the one that was promoted.
    let served = Served::start(path);
    let both =
        format!("{MANIFEST}{}", FAULTS.replace("may-permit", "mode = \"shadow\"\nmay-permit"));
    stage(path, "both.toml", &both);
    // Not a fault that refuses, and one all the same.
    done(&release(path, "promote --without-evidence a-test"));
    wait(path, &served, |status| {
        ask(&served, 1);
        status["active"] == first
    });
    assert_eq!(served.stop(), 0);
    let entry = fs::read_to_string(path.join("issuer.toml")).unwrap();
    fs::write(
        path.join("issuer.toml"),
        entry.replace("rollback-on-faults = 3", "rollback-on-faults = 0"),
    )
    .unwrap();
    let served = Served::start(path);
    // Its candidate of before is none any more.
    stage(path, "both.toml", &both);
    done(&release(path, "promote --without-evidence a-test"));
    assert_eq!(served.stop(), 0);
    fs::write(path.join("issuer.toml"), entry).unwrap();
    let served = Served::start(path);
    let also = both.replace("[\"team-a\"]", "[\"team-a\", \"team-b\"]");
    let staged = stage(path, "also.toml", &also);
    done(&release(path, "promote --without-evidence a-test"));
    assert_eq!(ask(&served, 10), [200, 200]);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(status(path)["active"], json!(staged));
    assert_eq!(served.stop(), 0);
}

/// Under load, a token that both releases give is never refused, and one that neither gives is never issued.
#[test]
fn under_load_no_token_is_refused_or_issued_that_neither_release_would() {
    let folder = folder();
    let path = folder.path();
    let served = serve(path, "[releases]\ncandidate-percent = 20\n");
    let mut stranger = run();
    let of_team_c = "cccccccc-cccc-4ccc-8ccc-cccccccccccc";
    stranger["metadata"]["uuid"] = json!(of_team_c);
    stranger["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = json!("team-c");
    let api_key = fs::read_to_string(path.join("api-key")).unwrap();
    assert_eq!(served.register(&api_key, &stranger).status, 201);
    let next = stage(path, "next.toml", &MANIFEST.replace("[\"team-a\"]", "[\"team-b\"]"));
    let stop = AtomicBool::new(false);
    let ask_all = || {
        let mut client = Client::new(served.address).unwrap();
        let mut answers = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let runs = [RUN_ID, OF_TEAM_A, of_team_c];
            answers.push(runs.map(|run| client.token(run).unwrap().status));
        }
        answers
    };
    let answers: Vec<[u16; 3]> = thread::scope(|scope| {
        let asking: Vec<_> = (0..2).map(|_| scope.spawn(ask_all)).collect();
        for _ in 0..4 {
            done(&release(path, &format!("promote {next} --without-evidence a-test")));
            thread::sleep(Duration::from_millis(100));
            done(&release(path, "rollback"));
            thread::sleep(Duration::from_millis(100));
        }
        stop.store(true, Ordering::Relaxed);
        asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for [of_both, of_one, of_none] in &answers {
        assert_eq!((of_both, of_none), (&200, &403));
        assert!([200, 403].contains(of_one), "{of_one}");
    }
    let given = answers.iter().filter(|answers| answers[1] == 200).count();
    assert!(given > 0 && given < answers.len(), "{given} of {}", answers.len());
    assert_eq!(served.stop(), 0);
}

/// A candidate that burns all its fuel on every run: tokens are given as before, and what it has no time for is counted.
#[test]
fn a_candidate_that_burns_its_fuel_is_in_no_tokens_way() {
    let folder = folder();
    let path = folder.path();
    let served = serve(path, "[releases]\ncandidate-percent = 5\n");
    assert_eq!(ask(&served, 1), [200, 200]);
    let burns = Guest { evaluate: "(loop $l (br $l)) unreachable", ..GUEST }.component();
    fs::write(path.join("faults.wasm"), burns).unwrap();
    stage(path, "burns.toml", &format!("{MANIFEST}{FAULTS}"));
    let status = wait(path, &served, |status| {
        assert_eq!(ask(&served, 20), [200, 200]);
        status["service"]["candidate"]["skipped"].as_u64().unwrap_or(0) > 0
    });
    let trial = &status["service"]["candidate"];
    assert_eq!(trial["faults"], trial["compared"], "{trial}");
    // It has a twentieth of the time since it began, but for the evaluation that is under way.
    let started = Instant::now();
    let before = trial["compared"].as_u64().unwrap();
    while started.elapsed() < Duration::from_secs(1) {
        assert_eq!(ask(&served, 5), [200, 200]);
    }
    let after = wait(path, &served, |_| true);
    let compared = after["service"]["candidate"]["compared"].as_u64().unwrap() - before;
    assert!(compared < 400, "{compared} evaluations of all fuel in a second");
    assert_eq!(served.stop(), 0);
}
