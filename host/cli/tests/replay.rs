//! `countersign replay`: a log's decisions are what its policies say, or are named with the reason.
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

use std::fs;

use decided::{decided, forged, manifest, requests};
use serde_json::{Value, json};
use support::Ran;

fn json_of(ran: &Ran) -> Value {
    serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

/// The decisions on record: those that were asked for, and the one of the token.
fn decisions() -> u64 {
    requests().count() as u64 + 1
}

#[test]
fn every_decision_has_the_same_bytes_again_however_it_is_compiled() {
    let decided = decided();
    for optimization in ["speed", "none"] {
        let ran = decided.countersign(&format!(
            "replay state/log --policies countersign.toml --optimization {optimization} --format json"
        ));
        assert_eq!(ran.status, 0, "{ran:?}");
        let report = json_of(&ran);
        assert_eq!(report["same"], decisions());
        assert_eq!((&report["different"], &report["not_replayable"]), (&json!(0), &json!({})));
        assert_eq!(report["damage"], Value::Null);
        let read = report["read"].as_u64().unwrap();
        assert_eq!(report["log"]["last"], read);
        let without = report["without_decision"].as_object().unwrap();
        assert!(
            without.contains_key("refused") && without.contains_key("registered"),
            "{without:?}"
        );
        let without: u64 = without.values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(without + decisions(), read);
    }
    let ran = decided.countersign("replay state/log -p countersign.toml");
    assert!(ran.stdout.contains("decisions made again with the same bytes"), "{ran:?}");
    assert_eq!(ran.stderr, "");
}

#[test]
fn a_decision_of_another_set_is_not_replayable_and_the_reason_is_named() {
    let decided = decided();
    let reasons = [
        ("settings.toml", "\"team-b\"]", "\"team-x\"]", "other-settings"),
        ("limits.toml", "wall-clock-ms = 10_000", "wall-clock-ms = 9_999", "other-limits"),
        (
            "component.toml",
            "policy = \"same-workspace",
            "policy = \"allowed-consumers",
            "component-gone",
        ),
        ("set.toml", "name = \"consumers\"", "name = \"renamed\"", "other-set"),
    ];
    for (name, from, to, reason) in reasons {
        let mut changed = manifest().replacen(from, to, 1);
        assert_ne!(changed, manifest(), "{name}");
        if reason == "component-gone" {
            let settings = "settings = { also = [\"team-a\", \"team-b\"], also-max-ttl = 1800 }";
            changed = changed.replace(settings, "settings = { workspaces = [\"team-a\"] }");
        }
        decided.write(name, &changed);
        let ran = decided.countersign(&format!("replay state/log -p {name} --format json"));
        assert_eq!(ran.status, 1, "{name}");
        let report = json_of(&ran);
        assert_eq!(report["not_replayable"], json!({ reason: decisions() }), "{name}");
        assert_eq!((&report["same"], &report["different"]), (&json!(0), &json!(0)));
        let detail = report["unreplayed"][0]["detail"].as_str().unwrap();
        assert!(
            detail.contains(if reason == "other-set" { "sha256:" } else { "`consumers`" }),
            "{detail}"
        );
        // Beside the set that decided, it does no harm.
        let both = format!("replay state/log -p {name} -p countersign.toml");
        assert_eq!(decided.countersign(&both).status, 0);
    }
}

#[test]
fn a_decision_that_the_policies_do_not_make_is_named_with_what_they_say() {
    let decided = decided();
    let mut records = decided.records();
    let place = records.iter().position(|record| {
        record["decision"]["claims"]["run"]["building_block"]["workspace"] == "team-c"
    });
    let place = place.unwrap();
    // As if somebody had let a run in that the policies keep out, and fuel that was never used.
    let forge = |from: &str, to: &str, records: &[Value]| {
        let mut bytes: Vec<Vec<u8>> =
            records.iter().map(|record| serde_json::to_vec(record).unwrap()).collect();
        bytes.clear();
        let mut reader = countersign_decision_log::Reader::new(&decided.log(), 1);
        while let Some(entry) = reader.read().unwrap() {
            let text = String::from_utf8(entry.record).unwrap();
            let text = match bytes.len() == place {
                false => text,
                true => {
                    let (head, decision) = text.split_once(r#","decision":"#).unwrap();
                    let decision = decision.strip_suffix('}').unwrap();
                    format!(r#"{head},"decision":{}}}"#, forged(decision, from, to))
                }
            };
            bytes.push(text.into_bytes());
        }
        bytes
    };
    let sequence = place as u64 + 1;
    let denial = records[place]["decision"]["trace"][0]["verdict"].take().to_string();
    let log = decided.log_of("forged", &forge(&denial, r#"{"permit":{}}"#, &records));
    let ran = decided.countersign(&format!("replay {log} -p countersign.toml --format json"));
    assert_eq!(ran.status, 1, "{ran:?}");
    let report = json_of(&ran);
    assert_eq!((&report["different"], &report["same"]), (&json!(1), &json!(decisions() - 1)));
    let difference = &report["differences"][0];
    assert_eq!(difference["record"], sequence);
    assert_eq!(difference["bindings"][0]["binding"], "consumers");
    assert_eq!(difference["bindings"][0]["before"], "permit");
    assert_eq!(difference["bindings"][0]["after"], "deny foreign-workspace");
    let ran = decided.countersign(&format!("replay {log} -p countersign.toml"));
    let line = "consumers: permit → deny foreign-workspace";
    assert!(
        ran.stdout.contains(line) && ran.stdout.contains(&format!("record {sequence} ")),
        "{ran:?}"
    );

    // A decision of a version that is not known, and a record of one.
    let log = decided.log_of("newer", &forge(r#""version":1"#, r#""version":2"#, &records));
    let ran = decided.countersign(&format!("replay {log} -p countersign.toml --format json"));
    assert_eq!((ran.status, &json_of(&ran)["not_replayable"]), (1, &json!({"unreadable": 1})));
    let partial = format!("replay {log} -p countersign.toml --partial");
    assert_eq!(decided.countersign(&partial).status, 0);
}

#[test]
fn damage_ends_it_and_everything_before_counts() {
    let decided = decided();
    let log = decided.copy("damaged-replay");
    let segment = decided.path().join(&log).join("00000000000000000001.log");
    let mut bytes = fs::read(&segment).unwrap();
    let place = bytes.len() * 3 / 4;
    bytes[place] ^= 1;
    fs::write(&segment, bytes).unwrap();
    let ran = decided.countersign(&format!("replay {log} -p countersign.toml --format json"));
    assert_eq!(ran.status, 1, "{ran:?}");
    let report = json_of(&ran);
    let (same, last) = (report["same"].as_u64().unwrap(), report["log"]["last"].as_u64().unwrap());
    assert!((5..decisions()).contains(&same), "{same}");
    let damage = report["damage"].as_str().unwrap();
    let next = format!("record {}, at byte", last + 1);
    assert!(damage.contains(&next), "{damage}");
    assert!(damage.contains(&format!("records up to {last} are intact and counted")), "{damage}");
}

#[test]
fn a_log_that_was_cut_short_is_not_the_whole_one() {
    let decided = decided();
    let log = decided.copy("cut");
    let segment = decided.path().join(&log).join("00000000000000000001.log");
    let bytes = fs::read(&segment).unwrap();
    // At the beginning of the last record, where nothing of the segment itself is wrong.
    let last = bytes.windows(4).rposition(|window| window == b"CSL1").unwrap();
    fs::write(&segment, &bytes[..last]).unwrap();
    let ran = decided.countersign(&format!("replay {log} -p countersign.toml"));
    assert_eq!(ran.status, 1, "{ran:?}");
    assert!(ran.stdout.contains("but a checkpoint says that it reached"), "{ran:?}");
}

#[test]
fn a_range_without_a_decision_proves_nothing() {
    let decided = decided();
    for (filter, status) in [
        ("--until 2020-01-01T00:00:00Z", 1),
        ("--workspace nobody", 1),
        ("--definition 00000000-0000-4000-8000-000000000000", 1),
        ("--since 2020-01-01T00:00:00Z --workspace team-a", 0),
        ("--workspace my-workspace", 0),
    ] {
        let line = format!("replay state/log -p countersign.toml {filter}");
        let ran = decided.countersign(&line);
        assert_eq!(ran.status, status, "{filter}: {ran:?}");
    }
    for (wrong, says) in [
        ("--since yesterday", "expected RFC 3339"),
        ("--since 20 --until 20", "--since is not before --until"),
        ("--key countersign.toml", "countersign.toml"),
    ] {
        let ran = decided.countersign(&format!("replay state/log -p countersign.toml {wrong}"));
        assert_eq!(ran.status, 1, "{wrong}: {ran:?}");
        assert!(ran.stderr.contains(says), "{wrong}: {}", ran.stderr);
    }
    let ran = decided.countersign("replay state -p countersign.toml");
    assert_eq!(ran.status, 1);
    assert!(ran.stderr.contains("no log here"), "{}", ran.stderr);
}
