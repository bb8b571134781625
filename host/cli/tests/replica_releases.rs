//! Releases of replicas on one PostgreSQL: staged, promoted and rolled back at one of them, they decide at all.
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
#[path = "support/proxy.rs"]
mod proxy;
#[path = "support/replicas.rs"]
mod replica;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use postgres::{Pooler, Server};
use proxy::Proxy;
use replica::{Group, records, refused_start};
use serde_json::{Value, json};
use service::{Client, RUN_ID, run};
use support::{Ran, countersign, until};

const ANYWAY: &str = "--without-evidence a-test";

fn release(folder: &Path, line: &str) -> Ran {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    countersign(folder, &format!("release {word} --config issuer.toml {rest} --format json"))
}

#[track_caller]
fn done(ran: &Ran) -> Value {
    assert_eq!(ran.status, 0, "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The status, which fails while a service does not decide by the active release.
fn status(folder: &Path) -> Value {
    serde_json::from_str(&release(folder, "status").stdout).unwrap_or_default()
}

/// Writes a manifest that refuses the published run, beside the one that decides; `with` makes it one of its own.
fn refusing(folder: &Path, with: &str) {
    let manifest = fs::read_to_string(folder.join("countersign.toml")).unwrap();
    let refusing = manifest.replace("\"my-workspace\" }", &format!("\"another{with}\" }}"));
    assert_ne!(manifest, refusing);
    fs::write(folder.join("next.toml"), refusing).unwrap();
}

fn stage(group: &Group, at: usize) -> String {
    let staged = done(&release(group.folder(at), "stage --policies next.toml"));
    let staged = staged["release"].as_str().unwrap().to_owned();
    // Everywhere, so that promoting it changes a pointer.
    until("each replica has it prepared", || {
        let status = status(group.folder((at + 1) % 3));
        let replicas = status["replicas"].as_array().cloned().unwrap_or_default();
        replicas.len() == group.served.len()
            && replicas.iter().all(|one| one["candidate"] == json!(staged))
    });
    staged
}

/// Replicas whose database may be as slow as a busy machine makes it.
fn group(ports: &[u16]) -> Group {
    let group = Group::new(ports);
    for folder in &group.folders {
        let file = folder.path().join("issuer.toml");
        let config = fs::read_to_string(&file).unwrap();
        let config = config.replace("query-milliseconds = 1000", "query-milliseconds = 10_000");
        fs::write(&file, config.replace("poll-seconds = 2", "poll-seconds = 3")).unwrap();
    }
    group
}

/// Waits until each replica decides so.
fn decides(group: &Group, status: u16) {
    for index in 0..group.served.len() {
        until("the release decides everywhere", || group.served(index).token().status == status);
    }
}

/// Asks a replica for tokens until it is told to stop, and counts the answers.
fn ask(address: SocketAddr, stop: &AtomicBool, asked: &AtomicUsize) -> BTreeMap<String, usize> {
    let mut client = Client::new(address).unwrap();
    let mut answers = BTreeMap::new();
    while !stop.load(Ordering::Relaxed) {
        let answer = client.token(RUN_ID).unwrap();
        let text = match answer.status {
            200 | 403 => answer.status.to_string(),
            other => format!("{other} {}", answer.text),
        };
        *answers.entry(text).or_default() += 1;
        asked.fetch_add(1, Ordering::Relaxed);
    }
    answers
}

/// Under load, each answer is one that the release before or the one after gives, at each replica; and afterwards each decides
/// by what was promoted, or rolled back to, at another one.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_release_is_promoted_at_one_replica_and_decides_at_all() {
    let server = Server::start();
    let pooler = Pooler::start(server.port, 8);
    let mut group = group(&[server.port, pooler.port, server.port]);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    decides(&group, 200);
    let before = done(&release(group.folder(1), "status"));
    assert_eq!((&before["step"], &before["active"]), (&json!(0), &json!(null)));
    refusing(group.folder(0), "");
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let answers: Vec<_> = thread::scope(|scope| {
        let (group, stop, asked) = (&group, &stop, &asked);
        let asking: Vec<_> = (0..3)
            .map(|index| scope.spawn(move || ask(group.served(index).address, stop, asked)))
            .collect();
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let staged = stage(group, 0);
            for round in 0..2 {
                let promoted = release(group.folder(1), &format!("promote {staged} {ANYWAY}"));
                let promoted = done(&promoted);
                assert_eq!(
                    (&promoted["taken"], &promoted["release"]),
                    (&json!(true), &json!(staged))
                );
                assert_eq!(group.served(1).token().status, 403, "the command waits for this one");
                decides(group, 403);
                let back = done(&release(group.folder(2), "rollback --reason no-tokens"));
                assert_eq!(back["step"], json!(4 + 2 * round));
                assert_eq!(group.served(2).token().status, 200);
                decides(group, 200);
            }
            // For long enough after the last for policy sets to be compared again.
            let before = asked.load(Ordering::Relaxed);
            until("each says that it is ready", || {
                thread::sleep(Duration::from_secs(5));
                (0..3).all(|index| group.ready(index).text.trim() == "ready")
            });
            assert!(asked.load(Ordering::Relaxed) > before);
        }));
        stop.store(true, Ordering::Relaxed);
        let answers = asking.into_iter().map(|thread| thread.join().unwrap()).collect();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        answers
    });
    println!("answers by replica: {answers:?}");
    for answers in &answers {
        assert!(answers.contains_key("200") && answers.contains_key("403"), "{answers:?}");
        let differs = answers.keys().find(|text| !["200", "403"].contains(&text.as_str()));
        assert_eq!(differs, None, "a token was refused that neither release would refuse");
    }
    let listed: Vec<_> = (0..3).map(|at| done(&release(group.folder(at), "list"))).collect();
    assert_eq!((&listed[0], listed[0].as_array().unwrap().len()), (&listed[1], 2));
    assert_eq!(listed[0], listed[2]);
    group.stop_all();
    assert_eq!(group.verify().status, 0);
    // Each log has each step once, before the decisions that follow from it.
    for folder in &group.folders {
        let records = records(&folder.path().join("state/log"));
        let steps = records.iter().filter(|record| record["kind"] == "release");
        let actions: Vec<_> = steps.map(|step| step["action"].as_str().unwrap()).collect();
        let expected = ["staged", "adopted", "promoted", "rolled-back", "promoted", "rolled-back"];
        assert_eq!(actions, expected);
        let first = |is: &dyn Fn(&Value) -> bool| records.iter().position(is).unwrap();
        let promoted = first(&|record| record["action"] == "promoted");
        let staged = records[promoted]["release"].clone();
        assert!(promoted < first(&|record| record["decision"]["policy_set"] == staged));
    }
}

/// A replica that was away takes what was promoted before it decides; an empty folder is filled from the database; what is
/// damaged there, or contradicts it here, is refused.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_replica_that_was_away_takes_the_steps_before_it_issues_a_token() {
    let server = Server::start();
    let proxies = [Proxy::start(server.port), Proxy::start(server.port), Proxy::start(server.port)];
    let ports: Vec<_> = proxies.iter().map(|proxy| proxy.port).collect();
    let mut group = group(&ports);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    refusing(group.folder(0), "");
    let staged = stage(&group, 0);
    group.kill(2);

    // The database is lost in the middle of a promotion: nothing is made.
    proxies[0].cut(true);
    let lost = release(group.folder(0), &format!("promote {staged} {ANYWAY}"));
    assert_eq!(lost.status, 1, "{lost:?}");
    assert!(
        lost.stderr.contains("cannot be reached") || lost.stderr.contains("in time"),
        "{lost:?}"
    );
    proxies[0].cut(false);
    until("the database is there again", || release(group.folder(0), "status").status == 0);
    assert_eq!(done(&release(group.folder(1), "status"))["step"], json!(1));
    until("it is ready", || group.ready(0).status == 200);
    done(&release(group.folder(0), &format!("promote {staged} {ANYWAY}")));
    until("it decides here", || group.served(1).token().status == 403);
    // From its first answer on.
    group.start(2);
    for _ in 0..20 {
        assert_eq!(group.served(2).token().status, 403);
    }

    // Two at a time: one is made after the other, or one is told that it was overtaken.
    group.stop(1);
    let racing = [("0", 0), ("1", 2)].map(|(with, at)| {
        refusing(group.folder(at), with);
        (at, done(&release(group.folder(at), "stage --policies next.toml"))["release"].clone())
    });
    let made: Vec<_> = thread::scope(|scope| {
        let (group, racing) = (&group, &racing);
        let promote = |(at, next): &(usize, Value)| {
            release(group.folder(*at), &format!("promote {} {ANYWAY}", next.as_str().unwrap()))
        };
        let both = [0, 1].map(|one| scope.spawn(move || promote(&racing[one])));
        both.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (good, bad): (Vec<_>, Vec<_>) = made.iter().partition(|ran| ran.status == 0);
    assert!(
        bad.iter().all(|ran| ran.stderr.contains("another step was made meanwhile")),
        "{bad:?}"
    );
    let mut froms: Vec<_> = good.iter().map(|ran| done(ran)["from"].clone()).collect();
    froms.retain(|from| *from == json!(staged));
    assert_eq!((froms.len(), good.len() + bad.len()), (1, 2), "{made:?}");
    println!("of two promotions at once, {} made", good.len());
    let decided = status(group.folder(0))["active"].clone();
    for at in [0, 2] {
        until("it decides", || status(group.folder(at))["service"]["deciding"] == decided);
    }

    // An empty folder gets everything, and what is damaged in the database is not taken.
    let (folder, kept) = (group.folder(1).join("state/releases"), group.folder(1).join("kept"));
    fs::rename(&folder, &kept).unwrap();
    let last = done(&release(group.folder(0), "list"));
    let of = |one: &&Value| one["release"] == decided;
    let manifest = last.as_array().unwrap().iter().find(of).unwrap()["manifest"].clone();
    let manifest = manifest.as_str().unwrap();
    let sql = |statement: &str| server.sql("countersign", statement);
    let part = format!("countersign.release_part WHERE digest = '{manifest}'");
    let whole = sql(&format!("SELECT encode(content, 'hex') FROM {part}"));
    let set = |hex: &str| {
        let part = part.replace(" WHERE", &format!(" SET content = decode('{hex}', 'hex') WHERE"));
        sql(&format!("UPDATE {part}"));
    };
    set(&format!("ff{}", &whole[2..]));
    let refused = refused_start(group.folder(1));
    assert_eq!(refused.status, 1);
    let expected = format!("content {manifest} of releases: its digest is");
    assert!(refused.stderr.contains(&expected), "{}", refused.stderr);
    // The others have it, and go on.
    assert_eq!(group.served(0).token().status, 403);
    set(&whole);
    until("its name is free", || {
        countersign(group.folder(0), "replicas list --config issuer.toml").status == 0
    });
    group.start(1);
    assert_eq!(group.served(1).token().status, 403);
    assert_eq!(done(&release(group.folder(1), "list")), last);
    assert_eq!(done(&release(group.folder(1), "status"))["active"], decided);

    // Other steps than the database has are nobody's to decide by.
    group.stop(1);
    let step = folder.join("steps/00000000000000000001.json");
    let text = fs::read_to_string(&step).unwrap();
    fs::write(&step, text.replace("\"at\": 1", "\"at\": 2")).unwrap();
    for refused in [refused_start(group.folder(1)), release(group.folder(1), "status")] {
        assert_eq!(refused.status, 1);
        assert!(
            refused.stderr.contains("step 1 is another one in postgres://")
                && refused.stderr.contains("move the folder away"),
            "{}",
            refused.stderr
        );
    }
    group.stop(0);
    group.stop(2);
    assert_eq!(group.verify().status, 0);
}

/// A replica that cannot take a release keeps its policies, and issues nothing once the others had the time to take it.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_replica_that_cannot_take_a_release_is_told_apart_and_a_service_that_moved_brings_its_own() {
    let server = Server::start();
    let mut group = group(&[server.port; 3]);
    group.migrate();
    // Before it was a replica: releases of its own, and the second one's are others.
    let alone = |index: usize| {
        let folder = group.folder(index);
        let config = fs::read_to_string(folder.join("issuer.toml")).unwrap();
        let (start, rest) = config.split_once("store = ").unwrap();
        let (_, rest) = rest.split_once("[tokens]").unwrap();
        fs::write(folder.join("alone.toml"), format!("{start}[tokens]{rest}")).unwrap();
        refusing(folder, &index.to_string());
        let staged = "release stage --config alone.toml --policies next.toml --format json";
        let staged = done(&countersign(folder, staged));
        let promote = format!("release promote --config alone.toml {ANYWAY} --format json");
        assert_eq!(done(&countersign(folder, &promote))["taken"], false);
        staged["release"].clone()
    };
    let (first, second) = (alone(0), alone(1));
    assert_ne!(first, second);
    group.start(0);
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    assert_eq!(group.served(0).token().status, 403);
    let refused = refused_start(group.folder(1));
    assert!(refused.status == 1 && refused.stderr.contains("is another one in"), "{refused:?}");
    fs::rename(group.folder(1).join("state/releases"), group.folder(1).join("kept")).unwrap();
    group.start(1);
    group.start(2);
    decides(&group, 403);
    let status = done(&release(group.folder(1), "status"));
    assert_eq!((&status["active"], &status["step"]), (&first, &json!(3)));

    // A disk that takes nothing: one of three keeps the policies before, and is not asked for tokens by them.
    let files = group.folder(2).join("state/releases/files");
    let aside = group.folder(2).join("files");
    fs::rename(&files, &aside).unwrap();
    fs::write(&files, "in the way").unwrap();
    let manifest = fs::read_to_string(group.folder(0).join("countersign.toml")).unwrap();
    let permitting = manifest.replace("\"team-network\"", "\"team-other\"");
    fs::write(group.folder(0).join("next.toml"), permitting).unwrap();
    done(&release(group.folder(0), "stage --policies next.toml"));
    done(&release(group.folder(0), &format!("promote {ANYWAY}")));
    for index in [0, 1] {
        until("it decides", || group.served(index).token().status == 200);
    }
    until("it is told apart", || group.ready(2).text.contains("replica-differs"));
    assert_eq!(group.served(2).token().status, 503);
    until("the others say so", || {
        let ready = group.ready(0);
        ready.status == 200 && ready.text.contains("replica issuer-2 has an earlier release")
    });
    let status = countersign(group.folder(0), "release status --config issuer.toml");
    assert!(
        status.stdout.contains("decides since step 3, before the active release"),
        "{}",
        status.stdout
    );
    assert!(group.served(2).logged().contains("failed to follow releases; what decides stays"));
    fs::remove_file(&files).unwrap();
    fs::rename(&aside, &files).unwrap();
    until("it has taken it", || group.served(2).token().status == 200);
    group.stop_all();
    assert_eq!(group.verify().status, 0);
}
