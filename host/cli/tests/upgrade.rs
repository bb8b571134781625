//! A rolling upgrade: replicas of one version are replaced by those of another, one after the other, under load.
//!
//! Without `COUNTERSIGN_BEFORE`, both are this version: that is the procedure itself, as an operator restarts replicas one
//! after the other. `make upgrade BEFORE=COMMIT` builds the version before.
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

use std::path::{Path, PathBuf};

use load::Load;
use postgres::Server;
use replica::{Group, kids};
use serde_json::Value;
use support::{PROGRAM, command_of, countersign, until};

/// Replaces one replica by that of a program, as an operator does, and waits until it gives tokens.
fn replace(group: &mut Group, load: &Load, index: usize, program: &Path) {
    group.stop(index);
    group.programs[index] = program.to_owned();
    group.start(index);
    load.moved(index, group.served(index).address);
    until("it is ready", || group.ready(index).status == 200);
    load.until_more_tokens(index);
}

/// No token is lost, refused or given twice, no run that has ended gets one, and every key that signs is published
/// everywhere, while each replica is replaced. A key that is made while both versions serve is taken over by both.
#[test]
#[ignore = "needs PostgreSQL: `make replicas`"]
fn an_upgrade_of_one_replica_after_another_loses_nothing() {
    let after = PathBuf::from(PROGRAM);
    let before =
        std::env::var_os("COUNTERSIGN_BEFORE").map_or_else(|| after.clone(), PathBuf::from);
    let server = Server::start();
    let mut group = Group::new(&[server.port; 3]);
    group.programs = vec![before.clone(); 3];
    let mut migrate = command_of(&before, group.folder(0));
    assert!(migrate.args(["migrate", "--config", "issuer.toml"]).status().unwrap().success());
    group.start_all();
    let mut load = Load::start(&group);
    load.never_without(&group.api_key);
    for index in 0..3 {
        load.until_more_tokens(index);
    }
    // The tables first, while those that know only the ones before go on.
    group.migrate();
    load.until_more_tokens(0);
    for index in 0..3 {
        replace(&mut group, &load, index, &after);
        if index == 0 {
            let rotated =
                countersign(group.folder(0), "keys rotate --config issuer.toml --format json");
            let rotated: Value = serde_json::from_str(&rotated.stdout).unwrap();
            let kid = rotated[0]["kid"].as_str().unwrap();
            for index in 0..3 {
                until("the key is published", || {
                    kids(group.served(index)).iter().any(|one| one == kid)
                });
            }
        }
    }
    // Back by the same way, and forth again. A program that names no form of its digests takes itself for outvoted.
    group.stop(1);
    group.programs[1] = before;
    group.start(1);
    load.moved(1, group.served(1).address);
    let mut goes_back = false;
    until("it is ready, or outvoted", || {
        let ready = group.ready(1);
        goes_back = ready.status == 200;
        goes_back || ready.text.contains("replica-differs")
    });
    if goes_back {
        load.until_more_tokens(1);
    }
    replace(&mut group, &load, 1, &after);
    let done = load.stop();
    done.check_ends(&group);
    group.stop_all();
    let verified = group.verify();
    assert_eq!(verified.status, 0, "{verified:?}");
    let counted = done.check_records(&group, true);
    println!(
        "replaced 5 replicas, one of them back ({goes_back}): {counted}\n{}",
        verified.stdout.trim_end()
    );
}
