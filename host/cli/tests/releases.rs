//! Releases as an operator uses them: staged, promoted, rolled back, beside a service that issues tokens.
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

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_decision_log::Reader;
use serde_json::{Value, json};
use service::{Client, RUN_ID, Served, configure, run};
use support::{Ran, command, countersign, folder};

const LIMITS: &str = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                      run-per-second = 1_000_000\nrun-burst = 1_000_000\n";

const ANYWAY: &str = "--without-evidence a-test";

/// Writes a manifest beside the one that decides: the same, but for a text in it.
fn candidate(folder: &Path, name: &str, from: &str, to: &str) {
    let manifest = fs::read_to_string(folder.join("countersign.toml")).unwrap();
    assert!(manifest.contains(from));
    fs::write(folder.join(name), manifest.replace(from, to)).unwrap();
}

/// One that refuses the published run: its workspace has no tokens.
fn refusing(folder: &Path) {
    candidate(folder, "next.toml", "\"my-workspace\" }", "\"another\" }");
}

#[track_caller]
fn done(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

fn release(folder: &Path, line: &str) -> Ran {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    countersign(folder, &format!("release {word} --config issuer.toml {rest} --format json"))
}

fn stage(folder: &Path, manifest: &str) -> String {
    let staged = done(&release(folder, &format!("stage --policies {manifest}")));
    staged["release"].as_str().unwrap().to_owned()
}

/// The records of a kind.
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

#[test]
fn a_release_is_staged_promoted_and_rolled_back_beside_the_service() {
    let folder = folder();
    let path = folder.path();
    let api_key = configure(path, LIMITS);
    let served = Served::start(path);
    assert_eq!(served.register(&api_key, &run()).status, 201);
    assert_eq!(served.token().status, 200);
    let before = done(&release(path, "status"));
    assert_eq!((&before["step"], &before["active"]), (&json!(0), &json!(null)));
    assert_eq!(before["service"]["running"], true);
    let manifest = before["service"]["deciding"].as_str().unwrap().to_owned();

    refusing(path);
    let staged = stage(path, "next.toml");
    assert_ne!(staged, manifest);
    // Staging changes nothing that decides.
    assert_eq!(served.token().status, 200);
    let promoted = done(&release(path, &format!("promote {ANYWAY}")));
    assert_eq!(
        (&promoted["release"], &promoted["from"], &promoted["taken"]),
        (&json!(staged), &json!(manifest), &json!(true))
    );
    assert_eq!(served.token().status, 403, "the service decides by it when the command returns");

    // The manifest's bindings are a draft now, and its files may go.
    let seen = served.logged().len();
    fs::remove_file(path.join("same-workspace.wasm")).unwrap();
    served.wait_for("reloaded policies", seen);
    assert_eq!(served.token().status, 403);

    let differs = done(&release(path, &format!("diff {} {}", &manifest[7..20], &staged[7..20])));
    let changed = &differs["bindings"][0];
    assert_eq!(changed["change"], "changed", "{differs}");
    assert!(changed["members"]["scope"]["from"].to_string().contains("my-workspace"), "{differs}");

    // Nothing is compiled, so nothing that was compiled is needed.
    fs::remove_dir_all(path.join("cache-home")).unwrap();
    let started = Instant::now();
    let back = done(&release(path, "rollback --reason no-tokens"));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_eq!((&back["release"], &back["taken"]), (&json!(manifest), &json!(true)));
    assert_eq!(served.token().status, 200, "although a file of the manifest is gone");
    let again = release(path, "rollback");
    assert_eq!(again.status, 1);
    assert!(again.stderr.contains("no release was active before"), "{}", again.stderr);

    // It is what decides after a restart as well, and is not compiled again.
    assert_eq!(served.stop(), 0);
    let served = Served::start(path);
    assert_eq!(served.token().status, 200);
    let listed = done(&release(path, "list"));
    assert_eq!(listed.as_array().unwrap().len(), 2);
    assert_eq!(served.stop(), 0);

    // Every step is on record once, in its place among the decisions, which name their release.
    let steps: Vec<_> = records(path, "release");
    let actions: Vec<_> = steps.iter().map(|step| step["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["staged", "adopted", "promoted", "rolled-back"]);
    assert_eq!(steps[2]["reason"], "a-test");
    assert_eq!(steps[3]["reason"], "no-tokens");
    let tokens = records(path, "token");
    let sets: Vec<_> = tokens.iter().map(|token| &token["decision"]["policy_set"]).collect();
    assert_eq!(sets.iter().filter(|set| **set == &json!(staged)).count(), 2, "{sets:?}");
    assert!(sets.iter().all(|set| [&json!(staged), &json!(manifest)].contains(set)));
    let shown = countersign(path, "log show state/log");
    assert!(shown.stdout.contains(&format!(" release promoted {staged}")), "{}", shown.stdout);
    assert_eq!(countersign(path, "log verify state/log").status, 0);
}

#[test]
fn without_a_service_steps_wait_for_the_next_one() {
    let folder = folder();
    let path = folder.path();
    let api_key = configure(path, LIMITS);
    refusing(path);
    let staged = stage(path, "next.toml");
    let promoted = done(&release(path, &format!("promote {} {ANYWAY}", &staged[7..17])));
    assert_eq!(promoted["taken"], false);
    let served = Served::start(path);
    served.register(&api_key, &run());
    assert_eq!(served.token().status, 403);
    assert_eq!(records(path, "release").len(), 3);
    served.kill();
    let served = Served::start(path);
    assert_eq!(served.token().status, 403);
    assert_eq!(records(path, "release").len(), 3, "once");
    assert_eq!(done(&release(path, "status"))["active"], json!(staged));
    assert_eq!(served.stop(), 0);
    // The releases are part of a backup: another set would decide otherwise.
    assert_eq!(countersign(path, "backup --config issuer.toml --to backup").status, 0);
    fs::rename(path.join("state"), path.join("old")).unwrap();
    assert_eq!(countersign(path, "restore --config issuer.toml --from backup").status, 0);
    assert_eq!(done(&release(path, "status"))["active"], json!(staged));
}

#[test]
fn what_cannot_decide_is_refused_when_it_is_staged() {
    let folder = folder();
    let path = folder.path();
    configure(path, "");
    let refused = |expected: &str| {
        let ran = release(path, "stage --policies next.toml");
        assert_eq!(ran.status, 1, "{expected}");
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        let status = done(&release(path, "status"));
        assert_eq!((&status["step"], &status["candidate"]), (&json!(0), &json!(null)));
    };
    candidate(path, "next.toml", "same-workspace.wasm", "missing.wasm");
    refused("missing.wasm");
    fs::write(path.join("broken.wasm"), b"\0asm nonsense").unwrap();
    candidate(path, "next.toml", "same-workspace.wasm", "broken.wasm");
    refused("broken.wasm");
    candidate(path, "next.toml", "[\"team-network\"]", "[\"Team\"]");
    refused("/also/0");
    // On demand as well: nobody is to find it when a run needs it.
    let text = fs::read_to_string(path.join("next.toml")).unwrap();
    let on_demand = format!("{text}\n[preparation]\nbindings = \"on-demand\"\n");
    fs::write(path.join("next.toml"), on_demand).unwrap();
    refused("/also/0");

    // Cases that are shipped with a policy are run.
    refusing(path);
    let cases = "[[case]]\nname = \"a case\"\nexpect = { deny = \"never-so\" }\n";
    fs::write(path.join("same-workspace.cases.toml"), cases).unwrap();
    refused("same-workspace.cases.toml: a case fails");
    let cases = "[[case]]\nname = \"a case\"\nexpect = { permit = {} }\n";
    fs::write(path.join("same-workspace.cases.toml"), cases).unwrap();
    let staged = done(&release(path, "stage --policies next.toml"));
    assert_eq!(staged["cases"], json!({ "same-workspace.wasm": 1 }));

    for (line, expected) in [
        ("promote", "--without-evidence"),
        ("promote 0000 --without-evidence x", "release `0000`: not found"),
        ("rollback", "no release is active"),
        ("diff", "no release is active"),
    ] {
        let ran = release(path, line);
        assert_eq!(ran.status, 1, "{line}");
        assert!(ran.stderr.contains(expected), "{line}: {}", ran.stderr);
    }
    // A manifest that does not load could not be gone back to.
    fs::write(path.join("countersign.toml"), "nonsense").unwrap();
    let ran = release(path, &format!("promote {ANYWAY}"));
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("nothing was promoted"), "{}", ran.stderr);
    assert_eq!(done(&release(path, "status"))["active"], json!(null));
}

#[test]
fn a_damaged_release_is_not_promoted_and_not_served() {
    let folder = folder();
    let path = folder.path();
    configure(path, LIMITS);
    refusing(path);
    let staged = stage(path, "next.toml");
    let listed = done(&release(path, "list"));
    let manifest = listed[0]["manifest"].as_str().unwrap().replace("sha256:", "");
    let file = path.join("state/releases/files").join(manifest);
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[1..]).unwrap();
    let ran = release(path, &format!("promote {ANYWAY}"));
    assert_eq!(ran.status, 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("its digest is sha256:"), "{}", ran.stderr);
    fs::write(&file, &whole).unwrap();
    done(&release(path, &format!("promote {ANYWAY}")));
    fs::write(&file, &whole[1..]).unwrap();
    let ran = countersign(path, "serve --config issuer.toml");
    assert_eq!(ran.status, 1);
    let expected = format!("the active release {staged}; `countersign release rollback`");
    assert!(ran.stderr.contains(&expected), "{}", ran.stderr);
    // A rollback is a way out, and staging it again is one, too.
    assert_eq!(stage(path, "next.toml"), staged);
    let served = Served::start(path);
    assert!(served.logged().contains("decides by the active release"));
    // A step that cannot be read while it runs: what decides stays.
    let seen = served.logged().len();
    fs::write(path.join("state/releases/steps/00000000000000000005.json"), "{}").unwrap();
    served.wait_for("failed to follow releases; what decides stays", seen);
    assert_eq!(release(path, "status").status, 1);
    assert_eq!(served.stop(), 0);
}

/// No file may be longer than 20 KiB, as on a disk that is full soon: the component has no room.
#[test]
fn a_full_disk_while_staging_leaves_everything_as_before() {
    let folder = folder();
    let path = folder.path();
    configure(path, "");
    refusing(path);
    let before = stage(path, "countersign.toml");
    let component = fs::metadata(path.join("same-workspace.wasm")).unwrap().len();
    assert!(component > 20 << 10, "{component}");
    fs::remove_dir_all(path.join("state/releases/files")).unwrap();
    let program = env!("CARGO_BIN_EXE_countersign");
    let line = format!(
        "trap '' XFSZ; ulimit -f 40; exec {program} release stage --config issuer.toml --policies next.toml"
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &line]).current_dir(path);
    for (name, home) in [
        ("XDG_CACHE_HOME", "cache-home"),
        ("XDG_DATA_HOME", "data-home"),
        ("XDG_STATE_HOME", "state-home"),
    ] {
        shell.env(name, path.join(home));
    }
    let full = shell.output().unwrap();
    let stderr = String::from_utf8(full.stderr).unwrap();
    assert_eq!(full.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("nothing was staged") && stderr.contains("state/releases/files"),
        "{stderr}"
    );
    let status = done(&release(path, "status"));
    assert_eq!((&status["step"], &status["candidate"]), (&json!(1), &json!(before)));
    let next = stage(path, "next.toml");
    assert_eq!(done(&release(path, "status"))["candidate"], json!(next));
}

/// The commands are killed at any moment, and so is the service: one release is active, and the service decides by it.
#[test]
fn killing_a_promotion_or_a_rollback_leaves_one_release_active() {
    let kills: u64 = std::env::var("KILLS").map_or(16, |kills| kills.parse().unwrap());
    let folder = folder();
    let path = folder.path();
    let api_key = configure(path, LIMITS);
    refusing(path);
    let next = stage(path, "next.toml");
    done(&release(path, &format!("promote {ANYWAY}")));
    let first = done(&release(path, "rollback"))["release"].as_str().unwrap().to_owned();
    let mut served = Served::start(path);
    served.register(&api_key, &run());
    let (mut done_before_kill, mut seen) = (0, HashSet::new());
    for kill in 0..kills {
        let before = done(&release(path, "status"));
        let active = before["active"].as_str().unwrap().to_owned();
        let words = match active == first {
            true => vec!["promote", &next, "--without-evidence", "a-test"],
            false => vec!["rollback"],
        };
        let mut child = command(path)
            .args(["release", words[0], "--config", "issuer.toml"])
            .args(&words[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_micros(1_000 + kill * 1_777 % 40_000));
        if kill % 3 == 0 {
            served.kill();
            child.kill().unwrap();
            child.wait().unwrap();
            served = Served::start(path);
        } else {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        // The service may be about to take it.
        let state = done_or_failed(&release(path, "status"));
        let now = state["active"].as_str().unwrap().to_owned();
        assert!([&first, &next].contains(&&now), "{state}");
        done_before_kill += usize::from(now != active);
        seen.insert(now.clone());
        // It is what the service decides by, at once or soon.
        let started = Instant::now();
        loop {
            let service = done_or_failed(&release(path, "status"));
            if service["service"]["deciding"] == json!(now) {
                break;
            }
            assert!(started.elapsed() < Duration::from_secs(60), "{service}");
            thread::sleep(Duration::from_millis(20));
        }
        let expected = if now == first { 200 } else { 403 };
        assert_eq!(served.token().status, expected);
    }
    assert_eq!(served.stop(), 0);
    assert_eq!(countersign(path, "log verify state/log").status, 0);
    let steps = records(path, "release");
    let numbers: HashSet<_> = steps.iter().map(|step| step["step"].as_u64().unwrap()).collect();
    let last = done(&release(path, "status"))["step"].as_u64().unwrap();
    assert_eq!(numbers.len() as u64, last, "every step is on record");
    println!("{kills} killed, {done_before_kill} after their step, {} releases seen", seen.len());
}

fn done_or_failed(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap()
}

/// Under load, every answer is one that the release before or the release after gives, and none fails.
#[test]
fn promoting_and_rolling_back_under_load_fails_no_request() {
    let folder = folder();
    let path = folder.path();
    let api_key = configure(path, LIMITS);
    refusing(path);
    let served = Served::start(path);
    served.register(&api_key, &run());
    stage(path, "next.toml");
    let stop = AtomicBool::new(false);
    let answers: Vec<u16> = thread::scope(|scope| {
        let asking: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut client = Client::new(served.address).unwrap();
                    let mut answers = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        answers.push(client.token(RUN_ID).unwrap().status);
                    }
                    answers
                })
            })
            .collect();
        for _ in 0..2 {
            let next = match done(&release(path, "status"))["candidate"].as_str() {
                Some(next) => next.to_owned(),
                None => stage(path, "next.toml"),
            };
            done(&release(path, &format!("promote {next} {ANYWAY}")));
            done(&release(path, "rollback"));
        }
        stop.store(true, Ordering::Relaxed);
        asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|status| [200, 403].contains(status)), "{answers:?}");
    assert!(answers.contains(&200) && answers.contains(&403));
    assert_eq!(served.stop(), 0);
    // By the records: a decision of a release is after the step that made it active, and before the next one.
    let mut reader = Reader::new(&path.join("state/log"), 1);
    let (mut active, mut behind) = (json!(null), 0_u32);
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        let set = &record["decision"]["policy_set"];
        if record["kind"] == "release" && record["action"] != "staged" {
            active = record["release"].clone();
        } else if set.is_string() && *set != active && active != json!(null) {
            // Decided before the step was taken, and written after it: the release before.
            behind += 1;
        }
    }
    assert!(behind < 200, "{behind} decisions of another release than the active one");
}
