//! The state of a service: backed up while it works, restored, and kept from being put back in parts.
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
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use countersign_decision_log::Reader;
use serde_json::{Value, json};
use service::{Answer, Client, RUN_ID, Served, configure, run};
use support::{command, countersign, folder};

const LIMITS: &str = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                      run-per-second = 1_000_000\nrun-burst = 1_000_000\n";

fn run_of(id: &str) -> Value {
    let mut run = run();
    run["metadata"]["uuid"] = json!(id);
    run
}

fn id(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn finish(served: &Served, api_key: &str, id: &str) -> Answer {
    let headers = format!("authorization: Bearer {api_key}\r\n");
    let mut client = Client::new(served.address).unwrap();
    client.ask("POST", &format!("/v1/runs/{id}/finish"), &headers, "").unwrap()
}

fn token(served: &Served, id: &str) -> Answer {
    Client::new(served.address).unwrap().token(id).unwrap()
}

fn published(served: &Served) -> Value {
    let answer = Client::new(served.address).unwrap().ask("GET", "/jwks.json", "", "").unwrap();
    assert_eq!(answer.status, 200);
    answer.body
}

fn digest(answer: &Answer) -> String {
    countersign::Digest::of(answer.body["access_token"].as_str().unwrap().as_bytes()).to_string()
}

/// The digests of tokens, and the runs that were registered and finished, on record.
fn on_record(log: &Path) -> HashSet<String> {
    let mut reader = Reader::new(log, 1);
    let mut found = HashSet::new();
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        if let Some(digest) = record["issued"]["token"].as_str() {
            found.insert(digest.to_owned());
        }
        if let Some(id) = record["registered"]["run"]["id"].as_str() {
            found.insert(format!("registered {id}"));
        }
        if let Some(id) = record["run"].as_str() {
            found.insert(format!("finished {id}"));
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// The drill of docs/issuer.md: a backup under load, and the service from it at another place.
#[test]
fn a_backup_under_load_has_everything_that_was_acknowledged_before_it() {
    let (folder, other) = (folder(), support::folder());
    let api_key = configure(folder.path(), LIMITS);
    let served = Served::start(folder.path());
    assert_eq!(served.register(&api_key, &run()).status, 201);
    let acknowledged = Mutex::new(Vec::new());
    let (stop, registered) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut before = Vec::new();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::new(served.address).unwrap();
            while !stop.load(Ordering::SeqCst) {
                let answer = client.token(RUN_ID).unwrap();
                assert_eq!(answer.status, 200);
                acknowledged.lock().unwrap().push(digest(&answer));
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let id = id(registered.load(Ordering::SeqCst) + 1);
                assert_eq!(served.register(&api_key, &run_of(&id)).status, 201);
                acknowledged.lock().unwrap().push(format!("registered {id}"));
                if registered.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                    assert_eq!(finish(&served, &api_key, &id).status, 204);
                    acknowledged.lock().unwrap().push(format!("finished {id}"));
                }
            }
        });
        for number in 0..3 {
            while registered.load(Ordering::SeqCst) < 10 * (number + 1) {
                thread::yield_now();
            }
            before = acknowledged.lock().unwrap().clone();
            let line = format!("backup --config issuer.toml --to backup-{number} --format json");
            let ran = countersign(folder.path(), &line);
            assert_eq!(ran.status, 0, "{}", ran.stderr);
            let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
            assert!(printed["last"].as_u64().unwrap() as usize > before.len(), "{printed}");
        }
        stop.store(true, Ordering::SeqCst);
    });
    assert_eq!(served.stop(), 0);

    // Another folder, with the same configuration.
    for file in ["issuer.toml", "countersign.toml"] {
        fs::copy(folder.path().join(file), other.path().join(file)).unwrap();
    }
    for file in fs::read_dir(folder.path()).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            fs::copy(&path, other.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    let backup = folder.path().join("backup-2");
    let line = format!("restore --config issuer.toml --from {} --format json", backup.display());
    let ran = countersign(other.path(), &line);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["changed"], json!([]));
    let ran = countersign(other.path(), "log verify state/log");
    assert_eq!(ran.status, 0, "{}", ran.stdout);
    let found = on_record(&other.path().join("state/log"));
    for acknowledged in &before {
        assert!(found.contains(acknowledged), "{acknowledged} is lost");
    }
    let served = Served::start(other.path());
    for acknowledged in &before {
        let finished = acknowledged.strip_prefix("finished ");
        if let Some(id) = finished {
            assert_eq!(token(&served, id).status, 403, "{id} was finished");
        } else if let Some(id) = acknowledged.strip_prefix("registered ") {
            let is_finished = before.contains(&format!("finished {id}"));
            let status = token(&served, id).status;
            // It may have been finished after the backup began, and before the database was copied.
            assert!(if is_finished { status == 403 } else { [200, 403].contains(&status) }, "{id}");
        }
    }
    assert_eq!(served.stop(), 0);
}

#[test]
fn a_backup_that_is_not_as_it_was_written_is_not_restored() {
    let folder = folder();
    let api_key = configure(folder.path(), LIMITS);
    let served = Served::start(folder.path());
    served.register(&api_key, &run());
    assert_eq!(served.token().status, 200);
    let ran = countersign(folder.path(), "backup --config issuer.toml --to backup");
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let again = countersign(folder.path(), "backup --config issuer.toml --to backup");
    assert!(again.status == 1 && again.stderr.contains("not empty"), "{}", again.stderr);
    // Nothing is put over a state that is there.
    let over = countersign(folder.path(), "restore --config issuer.toml --from backup");
    assert!(over.status == 1 && over.stderr.contains("not empty"), "{}", over.stderr);
    assert_eq!(served.stop(), 0);
    fs::rename(folder.path().join("state"), folder.path().join("old")).unwrap();
    let description: Value =
        serde_json::from_slice(&fs::read(folder.path().join("backup/backup.json")).unwrap())
            .unwrap();
    let files = description["files"].as_object().unwrap();
    assert!(files.contains_key("issuer.db") && files.contains_key("keys/keys.json"), "{files:?}");
    for (file, digest) in files {
        let bytes = fs::read(folder.path().join("backup").join(file)).unwrap();
        assert_eq!(*digest, json!(countersign::Digest::of(&bytes).to_string()), "{file}");
    }
    let restore = || countersign(folder.path(), "restore --config issuer.toml --from backup");
    for file in files.keys() {
        let path = folder.path().join("backup").join(file);
        let whole = fs::read(&path).unwrap();
        let mut changed = whole.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        for bytes in [&changed[..], &whole[..whole.len() - 1]] {
            fs::write(&path, bytes).unwrap();
            let ran = restore();
            assert!(
                ran.status == 1 && ran.stderr.contains("changed since"),
                "{file}: {}",
                ran.stderr
            );
            assert!(!folder.path().join("state").exists());
        }
        fs::remove_file(&path).unwrap();
        assert_eq!(restore().status, 1, "{file}");
        fs::write(&path, &whole).unwrap();
    }
    // A description that leads out of the backup, and none.
    for bad in ["../issuer.toml", "/etc/hostname", ""] {
        let mut description = description.clone();
        description["files"][bad] = json!("sha256:0");
        let text = description.to_string();
        fs::write(folder.path().join("backup/backup.json"), text).unwrap();
        let ran = restore();
        assert!(ran.stderr.contains("not a path within the backup"), "{bad}: {}", ran.stderr);
    }
    fs::write(folder.path().join("backup/backup.json"), description.to_string()).unwrap();
    let ran = restore();
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    let served = Served::start(folder.path());
    assert_eq!(served.token().status, 200);
    assert_eq!(served.stop(), 0);
}

/// Each part alone, from an earlier time or from nothing: it does not start, and says which part is behind.
#[test]
fn a_part_of_the_state_that_is_put_back_alone_is_not_started_on() {
    let folder = folder();
    let api_key = configure(folder.path(), LIMITS);
    let (state, early) = (folder.path().join("state"), folder.path().join("early"));
    let served = Served::start(folder.path());
    served.register(&api_key, &run());
    assert_eq!(served.token().status, 200);
    assert_eq!(served.stop(), 0);
    copy(&state, &early);
    let served = Served::start(folder.path());
    assert_eq!(finish(&served, &api_key, RUN_ID).status, 204);
    assert_eq!(served.register(&api_key, &run_of(&id(1))).status, 201);
    assert_eq!(token(&served, &id(1)).status, 200);
    assert_eq!(served.register(&api_key, &run_of(&id(2))).status, 201);
    assert_eq!(served.stop(), 0);
    let late = folder.path().join("late");
    copy(&state, &late);

    // A log that goes further than another is verified after it as after an archive; the other way round it is not.
    let verify = |log: &str, archive: &str| {
        countersign(folder.path(), &format!("log verify {log}/log --after {archive}/log"))
    };
    assert_eq!(verify("late", "early").status, 0);
    let ran = verify("early", "late");
    assert!(ran.status == 1 && ran.stdout.contains("ends before record"), "{}", ran.stdout);

    let put_back = |parts: &[&str], from: &Path| {
        fs::remove_dir_all(&state).unwrap();
        copy(&late, &state);
        for part in parts {
            let (source, target) = (from.join(part), state.join(part));
            if target.is_dir() {
                fs::remove_dir_all(&target).unwrap();
                copy(&source, &target);
            } else if source.exists() {
                fs::copy(&source, &target).unwrap();
            } else {
                fs::remove_file(&target).unwrap();
            }
        }
    };
    let none = folder.path().join("none");
    fs::create_dir(&none).unwrap();
    for (parts, from, says) in [
        (&["issuer.db"][..], &early, "the database is older than the decision log"),
        (&["issuer.db"], &none, "the database is older than the decision log"),
        (&["log"], &early, "the decision log is older than the database"),
        (&["log", "keys"], &early, "the decision log is older than the database"),
        (&["issuer.db", "log"], &early, "a checkpoint says that it reached"),
    ] {
        put_back(parts, from);
        let ran =
            command(folder.path()).args(["serve", "--config", "issuer.toml"]).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.code() == Some(1) && said.contains(says), "{parts:?}: {said}");
    }
    // All of one time: it cannot be known, and it starts.
    put_back(&["issuer.db", "log", "keys"], &early);
    assert_eq!(Served::start(folder.path()).stop(), 0);
    put_back(&[], &late);
    let served = Served::start(folder.path());
    assert_eq!(token(&served, RUN_ID).status, 403);
    assert_eq!(token(&served, &id(1)).status, 200);
    let keys = published(&served);
    assert_eq!(served.stop(), 0);

    // Where there is no backup, docs/state.md has a way on: the keys stay, and nothing else is known.
    for part in ["issuer.db", "log", "keys/last-checkpoint.json"] {
        let (path, kept) = (state.join(part), folder.path().join(part.replace('/', "-")));
        fs::rename(path, kept).unwrap();
    }
    let served = Served::start(folder.path());
    assert_eq!(published(&served), keys);
    assert_eq!(token(&served, &id(1)).status, 400);
    assert_eq!(served.register(&api_key, &run_of(&id(1))).status, 201);
    assert_eq!(token(&served, &id(1)).status, 200);
    assert_eq!(served.stop(), 0);
    assert_eq!(countersign(folder.path(), "log verify log").status, 0);
    assert_eq!(countersign(folder.path(), "log verify state/log").status, 0);
}

type Disturb = fn(&Path);

/// While it runs: no token whose record nobody would find, and whoever supervises it is told to restart it.
#[test]
fn a_file_of_the_state_that_is_taken_away_ends_tokens() {
    let disturbed: [(&str, Disturb); 6] = [
        ("the segment", |state| {
            fs::remove_file(state.join("log/00000000000000000001.log")).unwrap();
        }),
        ("the folder of the log", |state| {
            fs::rename(state.join("log"), state.join("old")).unwrap();
        }),
        ("the database", |state| fs::remove_file(state.join("issuer.db")).unwrap()),
        ("the write-ahead log", |state| fs::remove_file(state.join("issuer.db-wal")).unwrap()),
        ("the keys", |state| fs::rename(state.join("keys"), state.join("old")).unwrap()),
        ("all", |state| fs::rename(state, state.with_extension("old")).unwrap()),
    ];
    for (what, disturb) in disturbed {
        let folder = folder();
        let api_key = configure(folder.path(), LIMITS);
        let served = Served::start(folder.path());
        served.register(&api_key, &run());
        assert_eq!(served.token().status, 200);
        disturb(&folder.path().join("state"));
        assert_eq!(served.token().status, 503, "{what}");
        assert_eq!(served.register(&api_key, &run_of(&id(1))).status, 503, "{what}");
        let mut client = Client::new(served.address).unwrap();
        for probe in ["/readyz", "/healthz"] {
            assert_eq!(client.ask("GET", probe, "", "").unwrap().status, 503, "{what}");
        }
        assert_eq!(client.ask("GET", "/jwks.json", "", "").unwrap().status, 200);
        assert_eq!(served.stop(), 0);
    }
}

#[test]
fn a_log_is_archived_and_pruned_while_it_is_written() {
    let folder = folder();
    let api_key = configure(folder.path(), LIMITS);
    let served = Served::start(folder.path());
    served.register(&api_key, &run());
    assert_eq!(served.token().status, 200);
    // A segment is never full here: nothing is archived or removed, and both are no error.
    let archived = countersign(folder.path(), "log archive state/log --to archive --format json");
    assert_eq!(archived.status, 0, "{}", archived.stderr);
    let archived: Value = serde_json::from_str(&archived.stdout).unwrap();
    assert_eq!((&archived["copied"], &archived["last"]), (&json!([]), &json!(0)));
    for how in ["--archived archive", "--before 1000000"] {
        let line = format!("log prune --config issuer.toml {how} --format json");
        let pruned = countersign(folder.path(), &line);
        assert_eq!(pruned.status, 0, "{}", pruned.stderr);
        let pruned: Value = serde_json::from_str(&pruned.stdout).unwrap();
        assert_eq!((&pruned["removed"], &pruned["first"]), (&json!([]), &json!(1)));
    }
    let verified = countersign(folder.path(), "log verify state/log --after archive");
    assert_eq!(verified.status, 0, "{}", verified.stdout);
    // The archive of another log, and none.
    fs::write(folder.path().join("archive/checkpoint-key.json"), "{}").unwrap();
    let other = countersign(folder.path(), "log archive state/log --to archive");
    assert!(other.status == 1 && other.stderr.contains("of another log"), "{}", other.stderr);
    let none = countersign(folder.path(), "log prune --config issuer.toml --archived none");
    assert!(none.status == 1 && none.stderr.contains("no log here"), "{}", none.stderr);
    assert_eq!(served.token().status, 200);
    assert_eq!(served.stop(), 0);
}
