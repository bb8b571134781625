//! Drills of those who look after replicas, on real PostgreSQL servers: docs/replicas.md has the steps.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/replica_load.rs"]
mod load;
#[path = "../../issuer/tests/support/postgres.rs"]
mod postgres;
#[path = "support/replicas.rs"]
mod replica;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::HashSet;
use std::fs;
use std::thread;
use std::time::Duration;

use postgres::Server;
use replica::{Group, kids, records, refused_start};
use serde_json::{Value, json};
use service::{RUN_ID, run};
use support::{Ran, countersign, until};

fn json_of(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

fn token_of(group: &Group, index: usize) -> String {
    let token = group.served(index).token();
    assert_eq!(token.status, 200, "{token:?}");
    countersign::Digest::of(token.body["access_token"].as_str().unwrap().as_bytes()).to_string()
}

/// The digests of the tokens on record at a replica.
fn on_record(group: &Group, index: usize) -> HashSet<String> {
    let records = records(&group.folder(index).join("state/log"));
    let digests = records.iter().filter_map(|record| record["issued"]["token"].as_str());
    digests.map(str::to_owned).collect()
}

/// Waits until the replicas have been in the register often enough for the database to know their logs.
fn until_told(group: &Group) {
    for index in 0..group.served.len() {
        let records = records(&group.folder(index).join("state/log"));
        // Of tokens: the position that is told is theirs.
        let is_token = |record: &Value| record["issued"].is_object();
        let last = records.iter().rposition(is_token).map_or(0, |index| index as u64 + 1);
        until("the log is told", || {
            let listed =
                countersign(group.folder(0), "replicas list --config issuer.toml --format json");
            // A busy database may not have answered.
            let listed: Value = serde_json::from_str(&listed.stdout).unwrap_or_default();
            listed[index]["log_sequence"].as_u64().is_some_and(|told| told >= last)
        });
    }
}

/// Backup and restore of everything: a dump of the database first, then each replica. What was before the dump is there
/// again; a database of later than the backups is refused.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn replicas_are_restored_with_a_dump_of_their_database() {
    let server = Server::start();
    let mut group = Group::new(&[server.port, server.port]);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    let release = |index: usize, line: &str| {
        let line = format!("release {line} --config issuer.toml --format json");
        json_of(&countersign(group.folder(index), &line))
    };
    let manifest = fs::read_to_string(group.folder(0).join("countersign.toml")).unwrap();
    let next = manifest.replace("\"team-network\"", "\"team-other\"");
    fs::write(group.folder(0).join("next.toml"), next).unwrap();
    release(0, "stage --policies next.toml");
    let promoted = release(0, "promote --without-evidence a-drill")["release"].clone();
    let decides = |index: usize, by: &Value| {
        let line = "release status --config issuer.toml --format json";
        // It fails until then.
        let status = || countersign(group.folder(index), line).stdout;
        until("it decides", || {
            let status: Value = serde_json::from_str(&status()).unwrap_or_default();
            status["service"]["deciding"] == *by
        });
        until("it is ready", || group.ready(index).status == 200);
    };
    decides(1, &promoted);
    let before: Vec<_> = (0..2).map(|index| token_of(&group, index)).collect();
    until_told(&group);
    let dump = server.dump();
    let later = release(1, "rollback")["release"].clone();
    decides(0, &later);
    // After the next beats, which records name.
    thread::sleep(Duration::from_secs(2));
    let between: Vec<_> = (0..2).map(|index| token_of(&group, index)).collect();
    for index in 0..2 {
        let made = countersign(
            group.folder(index),
            "backup --config issuer.toml --to backup --format json",
        );
        let made = json_of(&made);
        assert_eq!(made["database"]["replica"], format!("issuer-{index}"), "{made}");
        assert!(made["database"]["lsn"].as_str().unwrap().contains('/'), "{made}");
        let files = made["files"].as_object().unwrap();
        assert!(
            !files.contains_key("issuer.db") && files.keys().any(|name| name.starts_with("log/"))
        );
        assert!(
            !files.keys().any(|name| name.starts_with("releases")),
            "they are in the database: {files:?}"
        );
        // The key that encrypts those of tokens is not beside them.
        assert!(
            !fs::read_dir(group.folder(index).join("backup"))
                .unwrap()
                .any(|entry| { entry.unwrap().file_name() == "sealing-key" })
        );
    }
    let after: Vec<_> = (0..2).map(|index| token_of(&group, index)).collect();
    assert_eq!(group.finish(0, RUN_ID), 204);
    until_told(&group);
    group.stop_all();
    for index in 0..2 {
        fs::rename(group.folder(index).join("state"), group.folder(index).join("lost")).unwrap();
    }
    let restore = "restore --config issuer.toml --from backup --format json";

    // The database was not restored: it knows of records that are in no backup.
    let refused = countersign(group.folder(0), restore);
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.stderr.contains("the database is later than the backup"), "{}", refused.stderr);
    assert!(refused.stderr.contains("replicas forget issuer-0"), "{}", refused.stderr);
    assert!(!group.folder(0).join("state").exists());

    server.restore(&dump);
    // The backup of another replica.
    let other = countersign(
        group.folder(0),
        &restore.replace("backup", &group.folder(1).join("backup").display().to_string()),
    );
    assert!(other.status == 1 && other.stderr.contains("is of replica `issuer-1`"), "{other:?}");
    for index in 0..2 {
        let restored = json_of(&countersign(group.folder(index), restore));
        // The token after the dump is in the backup alone.
        assert!(restored["restored"].as_u64() < restored["last"].as_u64(), "{restored}");
    }
    group.start_all();
    for index in 0..2 {
        // By the release that decided at the time of the dump, though it was rolled back since.
        let line = "release status --config issuer.toml --format json";
        let status = json_of(&countersign(group.folder(index), line));
        assert_eq!((&status["active"], &status["step"]), (&promoted, &json!(3)), "{status}");
        assert_eq!(status["service"]["deciding"], promoted);
        let digests = on_record(&group, index);
        assert!(digests.contains(&before[index]));
        assert!(!digests.contains(&between[index]) && !digests.contains(&after[index]));
        // The end of the run is forgotten, and the control plane tells it again.
        token_of(&group, index);
    }
    assert_eq!(group.finish(1, RUN_ID), 204);
    assert_eq!(group.served(0).token().status, 403);
    group.stop_all();
    let verified = group.verify();
    assert_eq!(verified.status, 0, "{verified:?}");
}

/// A replica that is moved: stopped, backed up, and restored at another place; and one whose disk is lost, which begins anew.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_replica_is_moved_and_another_begins_anew_on_an_empty_disk() {
    let server = Server::start();
    let mut group = Group::new(&[server.port, server.port]);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    let token = token_of(&group, 1);
    until("the other's log is anchored", || group.anchors(0) > 0);
    group.stop(1);
    json_of(&countersign(group.folder(1), "backup --config issuer.toml --to backup --format json"));
    fs::rename(group.folder(1).join("state"), group.folder(1).join("before")).unwrap();
    let restored = json_of(&countersign(
        group.folder(1),
        "restore --config issuer.toml --from backup --format json",
    ));
    assert_eq!(restored["restored"], restored["last"]);
    group.start(1);
    until("it is ready", || group.ready(1).status == 200);
    assert!(on_record(&group, 1).contains(&token));
    let kept = token_of(&group, 1);

    // Its disk is lost, and the backup is of before: the log would go on in another way.
    until_told(&group);
    group.kill(1);
    fs::remove_dir_all(group.folder(1).join("state")).unwrap();
    let late = countersign(group.folder(1), "restore --config issuer.toml --from backup");
    assert!(
        late.status == 1 && late.stderr.contains("start the replica with an empty state"),
        "{late:?}"
    );
    let refused = refused_start(group.folder(1));
    assert!(refused.stderr.contains("the decision log is older"), "{}", refused.stderr);
    fs::remove_dir_all(group.folder(1).join("state")).unwrap();
    until("it is forgotten", || {
        countersign(group.folder(0), "replicas forget issuer-1 --config issuer.toml").status == 0
    });
    group.start(1);
    until("it is ready", || group.ready(1).status == 200);
    // Keys and runs are those of the others, at once.
    assert!(!on_record(&group, 1).contains(&kept));
    token_of(&group, 1);
    // The other one has checkpoints of the lost log, which is none of those that there are.
    let lost = group.verify();
    assert!(lost.stdout.contains("their logs were not given: issuer-1"), "{lost:?}");
    group.stop_all();
}

/// The database is lost, without a standby or a copy: the issuer begins anew, with new keys; the logs are kept.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_database_that_is_lost_begins_anew() {
    let server = Server::start();
    let mut group = Group::new(&[server.port, server.port]);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    let token = token_of(&group, 0);
    let before = kids(group.served(0));
    server.reset();
    for index in 0..2 {
        until("no token leaves", || group.served(index).token().status == 503);
    }
    // An empty one is none of theirs, and neither is one with new tables.
    group.migrate();
    for index in 0..2 {
        until("it stops for good", || {
            group.served(index).logged().contains("put back to an earlier time")
        });
        group.kill(index);
        let refused = refused_start(group.folder(index));
        assert!(refused.stderr.contains("older than the decision log"), "{}", refused.stderr);
        fs::rename(group.folder(index).join("state"), group.folder(index).join("before")).unwrap();
    }
    group.start_all();
    // The run is unknown until it is registered again. Verifiers fetch the new keys.
    assert_ne!(group.served(1).token().status, 200);
    assert_eq!(group.served(1).register(&group.api_key, &run()).status, 201);
    token_of(&group, 0);
    token_of(&group, 1);
    let after = kids(group.served(0));
    assert!(!after.is_empty() && after.iter().all(|kid| !before.contains(kid)), "{after:?}");
    group.stop_all();
    // The logs of before are whole.
    let old = countersign(group.folder(0), "log verify before/log");
    assert_eq!(old.status, 0, "{old:?}");
    let shown = records(&group.folder(0).join("before/log"));
    assert!(shown.iter().any(|record| record["issued"]["token"] == json!(token)));
}

/// A key is in other hands: it is replaced at one replica, and gone from all. So is the key that encrypts all.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn keys_in_other_hands_are_replaced_everywhere() {
    let server = Server::start();
    let mut group = Group::new(&[server.port, server.port]);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    let stolen = group.kid_of(&group.served(0).token());
    let rotated = countersign(group.folder(0), "keys rotate --config issuer.toml --at-once");
    assert_eq!(rotated.status, 0, "{rotated:?}");
    for index in [0, 1] {
        until("the key is published no more", || !kids(group.served(index)).contains(&stolen));
        let token = group.served(index).token();
        assert_eq!(token.status, 200, "{token:?}");
        assert_ne!(group.kid_of(&token), stolen);
    }

    let before = kids(group.served(0));
    group.stop_all();
    server.sql(
        "countersign",
        "DELETE FROM countersign.signing_key; UPDATE countersign.key_plan SET version = version + 1, plan = '{\"keys\":[]}'",
    );
    for index in [0, 1] {
        let file = group.folder(index).join("sealing-key");
        fs::write(file, "YTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n").unwrap();
    }
    group.start_all();
    for index in [0, 1] {
        token_of(&group, index);
        assert!(kids(group.served(index)).iter().all(|kid| !before.contains(kid)));
    }
    group.stop_all();
    assert_eq!(group.verify().status, 0);
}

/// The clock of one replica is wrong, ahead or behind: it issues nothing and says why, and the others go on.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_replica_whose_clock_is_wrong_issues_nothing() {
    let server = Server::start();
    let mut group = Group::new(&[server.port, server.port]);
    let clock = group.folder(1).join("clock");
    fs::write(&clock, "+0\n").unwrap();
    let library = fs::read_dir("/usr/lib").unwrap().find_map(|entry| {
        let library = entry.unwrap().path().join("faketime/libfaketimeMT.so.1");
        library.exists().then(|| library.display().to_string())
    });
    group.variables[1] = vec![
        ("LD_PRELOAD", library.expect("libfaketime: run `.ci/postgres`")),
        ("FAKETIME_TIMESTAMP_FILE", clock.display().to_string()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        // The time that passes is right.
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
    ];
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    token_of(&group, 1);
    for wrong in ["+40", "-40"] {
        fs::write(&clock, format!("{wrong}\n")).unwrap();
        until("it says so", || group.ready(1).text.contains("replica-clock"));
        assert_eq!(group.served(1).token().status, 503);
        let metrics = group.served(1).metrics(&group.api_key);
        assert!(metrics.contains("countersign_replica_problem{code=\"replica-clock\"} 1"));
        assert_eq!(group.ready(0).status, 200);
        token_of(&group, 0);
        fs::write(&clock, "+0\n").unwrap();
        until("it is ready again", || group.ready(1).status == 200);
        token_of(&group, 1);
    }
    group.stop_all();
    assert_eq!(group.verify().status, 0);
}
