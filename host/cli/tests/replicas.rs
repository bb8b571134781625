//! Replicas on one PostgreSQL: killed, cut off, failed over, and given databases that are not the right one.
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

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use load::Load;
use postgres::{Pooler, Server};
use proxy::Proxy;
use replica::{Group, kids, refused_start};
use rustix::process::Signal;
use serde_json::{Value, json};
use service::{Client, RUN_ID, run};
use support::{countersign, until};

/// Replicas share runs, ends of runs and keys; each has a log of its own, with the others' checkpoints in it.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn replicas_are_one_issuer() {
    let server = Server::start();
    let mut group = Group::new(&[server.port, server.port]);
    group.migrate();
    let said = countersign(group.folder(0), "migrate --config issuer.toml --format json");
    assert_eq!(serde_json::from_str::<Value>(&said.stdout).unwrap(), json!({"from": 3, "to": 3}));
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    assert_eq!(group.served(1).register(&group.api_key, &run()).status, 200);
    // A token of either has a key that both publish.
    for index in [0, 1] {
        let token = group.served(index).token();
        assert_eq!(token.status, 200, "{token:?}");
        let kid = group.kid_of(&token);
        for index in [0, 1] {
            assert!(kids(group.served(index)).contains(&kid));
        }
    }
    // A rotation is taken over by both, within a poll.
    let rotated = countersign(group.folder(1), "keys rotate --config issuer.toml --format json");
    let kid = serde_json::from_str::<Value>(&rotated.stdout).unwrap()[0]["kid"].clone();
    for index in [0, 1] {
        let kid = kid.as_str().unwrap();
        until("the key is published", || kids(group.served(index)).iter().any(|one| one == kid));
    }
    // Finished at one, it is finished at the other by its next request.
    assert_eq!(group.finish(1, RUN_ID), 204);
    assert_eq!(group.served(0).token().status, 403);
    assert_eq!(group.served(1).token().status, 403);
    // Each has anchored the other's log in its own.
    for index in [0, 1] {
        until("the other's log is anchored", || group.anchors(index) > 0);
    }
    let listed = countersign(group.folder(0), "replicas list --config issuer.toml --format json");
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(listed[0]["name"], "issuer-0", "{listed}");
    assert_eq!(listed[0]["policy_set"], listed[1]["policy_set"]);
    assert_eq!(listed[0]["access"], listed[1]["access"]);
    let running = countersign(group.folder(0), "replicas forget issuer-1 --config issuer.toml");
    assert!(running.status == 1 && running.stderr.contains("or it runs"), "{running:?}");
    // No secret is in a line of either, nor the place's password anywhere.
    for index in [0, 1] {
        let logged = group.served(index).logged();
        assert!(!logged.contains(postgres::PASSWORD), "{logged}");
    }
    group.stop_all();
    let verified = group.verify();
    assert_eq!(verified.status, 0, "{verified:?}");
    assert!(verified.stdout.contains("anchors"), "{verified:?}");

    // A log that was cut is found out by the other, though it is whole by itself; so is one that is not there.
    let log = group.folder(1).join("state/log");
    let aside = group.folder(1).join("aside");
    fs::rename(&log, &aside).unwrap();
    fs::create_dir(&log).unwrap();
    fs::copy(aside.join("checkpoint-key.json"), log.join("checkpoint-key.json")).unwrap();
    let cut = group.verify();
    assert_eq!(cut.status, 1, "{cut:?}");
    assert!(cut.stdout.contains("anchors record"), "{cut:?}");
    // And the service does not go on with it.
    let refused = refused_start(group.folder(1));
    assert_eq!(refused.status, 1);
    assert!(refused.stderr.contains("the decision log is older"), "{}", refused.stderr);
    fs::remove_dir_all(&log).unwrap();
    fs::rename(&aside, &log).unwrap();
    group.start(1);
    assert_eq!(group.served(1).token().status, 403);
    group.stop_all();
    let forgotten = countersign(group.folder(0), "replicas forget issuer-1 --config issuer.toml");
    assert_eq!(forgotten.status, 0, "{forgotten:?}");
}

/// A replica that is not as the others are is not ready, says so, and issues no token.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_replica_that_differs_or_is_cut_off_issues_nothing() {
    let server = Server::start();
    let proxies = [Proxy::start(server.port), Proxy::start(server.port), Proxy::start(server.port)];
    let ports: Vec<_> = proxies.iter().map(|proxy| proxy.port).collect();
    let mut group = Group::new(&ports);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);

    // A network cut: it stops within its poll time, and goes on by itself.
    proxies[2].cut(true);
    until("it is cut off", || group.ready(2).text.contains("replica-cut-off"));
    let refused = group.served(2).token();
    assert_eq!((refused.status, &refused.body["error"]), (503, &json!("temporarily_unavailable")));
    // Its keys are published for longer: nobody can have changed them.
    assert!(!kids(group.served(2)).is_empty());
    let metrics = group.served(2).metrics(&group.api_key);
    assert!(metrics.contains("countersign_replica_problem{code=\"replica-cut-off\"} 1"));
    assert!(!metrics.contains("countersign_store_failures_total{code=\"database-unreachable\"} 0"));
    assert_eq!(group.served(1).token().status, 200);
    // A key that is made meanwhile signs later, since this replica does not publish it; and it does so at once, when it can.
    let made = countersign(group.folder(0), "keys rotate --config issuer.toml --format json");
    let made: Value = serde_json::from_str(&made.stdout).unwrap();
    let active = || {
        let listed = countersign(group.folder(0), "keys list --config issuer.toml --format json");
        let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
        let keys = listed.as_array().unwrap();
        let key = keys.iter().find(|key| key["kid"] == made[0]["kid"]).unwrap().clone();
        key["active"].as_u64().unwrap()
    };
    until("the key signs later", || active() > made[0]["active"].as_u64().unwrap());
    proxies[2].cut(false);
    let kid = made[0]["kid"].as_str().unwrap();
    until("it is published there", || kids(group.served(2)).iter().any(|one| one == kid));
    until("it is there again", || group.ready(2).status == 200);
    assert_eq!(group.served(2).token().status, 200);

    // One with another policy set is outvoted; the others say who differs.
    let manifest = group.folder(2).join("countersign.toml");
    let good = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, good.replace("\"team-network\"", "\"team-other\"")).unwrap();
    group.served(2).signal(Signal::HUP);
    until("it differs", || group.ready(2).text.contains("replica-differs"));
    assert_eq!(group.served(2).token().status, 503);
    until("the others say so", || {
        let ready = group.ready(0);
        ready.status == 200 && ready.text.contains("replica issuer-2 has another policy set")
    });
    assert_eq!(group.served(0).token().status, 200);
    fs::write(&manifest, good).unwrap();
    group.served(2).signal(Signal::HUP);
    until("it is as the others are", || group.ready(2).status == 200);

    // A change of access likewise.
    let config = group.folder(1).join("issuer.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("\"runs\", \"decisions\"", "\"runs\"")).unwrap();
    group.served(1).signal(Signal::HUP);
    until("it differs", || group.ready(1).text.contains("another access configuration"));
    fs::write(&config, text).unwrap();
    group.served(1).signal(Signal::HUP);
    until("it is as the others are", || group.ready(1).status == 200);

    // Another process that takes the name with a folder of its own.
    let stolen = group.clone_of(1);
    let refused = refused_start(stolen.path());
    assert_eq!(refused.status, 1, "{refused:?}");
    assert_eq!(group.served(1).token().status, 200);

    // One with another sealing key cannot use the keys, and is told apart from one that has none.
    let other = group.clone_of(1);
    let config = fs::read_to_string(other.path().join("issuer.toml")).unwrap();
    let config = config.replace("\"issuer-1\"", "\"issuer-9\"");
    fs::write(other.path().join("issuer.toml"), config).unwrap();
    let key = "YTEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
    fs::write(other.path().join("sealing-key"), key).unwrap();
    let refused = refused_start(other.path());
    assert!(refused.status == 1 && refused.stderr.contains("sealed by another key"), "{refused:?}");
    fs::write(other.path().join("sealing-key"), "no key").unwrap();
    let refused = refused_start(other.path());
    assert!(refused.stderr.contains("expected 32 random bytes in base64"), "{refused:?}");

    // A slow database.
    server.freeze(true);
    until("all are cut off", || (0..3).all(|index| group.ready(index).status == 503));
    let answered = Instant::now();
    assert_eq!(group.served(0).token().status, 503);
    assert!(answered.elapsed() < Duration::from_secs(30));
    server.freeze(false);
    until("all are there again", || (0..3).all(|index| group.ready(index).status == 200));
    group.stop_all();
    assert_eq!(group.verify().status, 0);
}

/// A database that was put back to an earlier time, by which runs would be live again, is not used.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn a_database_of_yesterday_is_not_used() {
    let server = Server::start();
    let mut group = Group::new(&[server.port, server.port]);
    group.migrate();
    group.start_all();
    assert_eq!(group.served(0).register(&group.api_key, &run()).status, 201);
    let yesterday = server.dump();
    assert_eq!(group.finish(0, RUN_ID), 204);
    assert_eq!(group.served(1).token().status, 403);
    // After the next beats, which the records name.
    let seen: Vec<_> = (0..2).map(|index| group.served(index).logged().len()).collect();
    thread::sleep(Duration::from_secs(3));
    server.restore(&yesterday);
    for (index, seen) in seen.into_iter().enumerate() {
        until("it stops for good", || {
            Client::new(group.served(index).address)
                .unwrap()
                .ask("GET", "/healthz", "", "")
                .unwrap()
                .status
                == 503
        });
        assert_eq!(group.served(index).token().status, 503);
        assert!(group.served(index).logged()[seen..].contains("put back to an earlier time"));
        group.kill(index);
        let refused = refused_start(group.folder(index));
        assert_eq!(refused.status, 1);
        assert!(refused.stderr.contains("older than the decision log"), "{}", refused.stderr);
    }
    // The operator accepts the loss: logs are kept elsewhere, and begin anew; keys are those of the database.
    for index in 0..2 {
        let name = format!("replicas forget issuer-{index} --config issuer.toml");
        until("it is forgotten", || countersign(group.folder(index), &name).status == 0);
        fs::rename(group.folder(index).join("state"), group.folder(index).join("before")).unwrap();
    }
    group.start_all();
    assert_eq!(group.served(0).token().status, 200);
    group.stop_all();
}

/// Killed, cut off, frozen and failed over under a load of honest clients: no token without a record, no single use twice,
/// no token after a finish, and each key that signs is published everywhere. `KILLS=300 make replicas` does it for longer.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn killing_replicas_and_databases_loses_nothing() {
    let kills: usize = std::env::var("KILLS").map_or(24, |kills| kills.parse().unwrap());
    let mut primary = Server::start();
    let mut standby = Some(primary.standby());
    primary.wait_for_standby();
    let pooler = Pooler::start(primary.port, 8);
    let proxies =
        [Proxy::start(primary.port), Proxy::start(pooler.port), Proxy::start(primary.port)];
    let ports: Vec<_> = proxies.iter().map(|proxy| proxy.port).collect();
    let mut group = Group::new(&ports);
    group.migrate();
    group.start_all();
    let load = Load::start(&group);
    let (mut killed, mut round) = (0, 0);
    while killed < kills {
        round += 1;
        // Two at a time; the third goes on.
        let first = round % 3;
        let second = (round + 1) % 3;
        load.until_more_tokens(first);
        for index in [first, second] {
            group.kill(index);
            killed += 1;
        }
        match round % 6 {
            1 => {
                primary.crash();
                primary.run();
            }
            3 => {
                primary.freeze(true);
                thread::sleep(Duration::from_millis(1500));
                primary.freeze(false);
            }
            5 => {
                proxies[(round + 2) % 3].cut(true);
                thread::sleep(Duration::from_millis(1500));
                proxies[(round + 2) % 3].cut(false);
            }
            _ => {}
        }
        // Once, in the middle: the primary is lost for good, and its standby takes its place.
        if killed >= kills / 2
            && let Some(next) = standby.take()
        {
            primary.crash();
            next.promote();
            proxies.iter().for_each(|proxy| proxy.lead_to(next.port));
            // It has no standby of its own, and is told so.
            primary = next;
        }
        for index in [first, second] {
            group.start(index);
            load.moved(index, group.served(index).address);
        }
    }
    for index in 0..3 {
        load.until_more_tokens(index);
    }
    let done = load.stop();
    for index in 0..3 {
        until("it is ready", || group.ready(index).status == 200);
    }
    done.check_ends(&group);
    group.stop_all();
    let verified = group.verify();
    assert_eq!(verified.status, 0, "{verified:?}");
    let counted = done.check_records(&group, false);
    println!(
        "killed {killed} replicas, with crashes, freezes, cuts and a failover of the database: {counted}\n{}",
        verified.stdout.trim_end()
    );
}
