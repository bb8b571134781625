//! A log that is damaged or cut is shown up to there, and it is said.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::fs;

use serde_json::Value;

use support::{TestLog, decision, get, get_json, verified};

fn records() -> Vec<Value> {
    (0..60)
        .map(|n| decision(n, n, "team-a", if n % 2 == 0 { &[] } else { &["not-listed"] }))
        .collect()
}

/// A kind of damage.
enum Damage {
    /// A byte of the record in the middle of the second segment.
    Byte,
    /// The end of the last segment.
    End,
    /// The last segments.
    Segments,
    /// The first segment.
    First,
    /// A checkpoint's signature.
    Checkpoint,
}

fn damage(log: &TestLog, damage: &Damage) {
    let segments = log.segments();
    match damage {
        Damage::Byte => {
            let mut bytes = fs::read(&segments[1]).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&segments[1], bytes).unwrap();
        }
        Damage::End => {
            let last = segments.last().unwrap();
            let bytes = fs::read(last).unwrap();
            fs::write(last, &bytes[..bytes.len() - 40]).unwrap();
        }
        Damage::Segments => segments[2..].iter().for_each(|path| fs::remove_file(path).unwrap()),
        Damage::First => fs::remove_file(&segments[0]).unwrap(),
        Damage::Checkpoint => {
            let path = log.path().join("checkpoints.jsonl");
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replacen("test-key", "best-key", 1)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_log_is_shown_up_to_there() {
    for (kind, words, is_shown) in [
        (Damage::Byte, "the hash does not match", true),
        (Damage::End, "are lost", true),
        (Damage::Segments, "are lost", true),
        (Damage::First, "segments before it are missing", false),
        (Damage::Checkpoint, "signed by another key", true),
    ] {
        // Damaged before it was indexed, and after it.
        for is_indexed in [false, true] {
            let log = TestLog::of(&records());
            if is_indexed {
                let console = log.open().await;
                verified(&console, 60).await;
                console.close().await;
            }
            damage(&log, &kind);
            let console = log.open().await;
            let state = loop {
                let state = verified(&console, 61).await;
                // An index of more than the log has is built anew first.
                let page = get_json(&console, "/log/refusals.json").await;
                let refused = page["refused"].as_u64().unwrap();
                if refused == state["last"].as_u64().unwrap() / 2 {
                    break state;
                }
                tokio::time::sleep(std::time::Duration::from_millis(25)).await;
            };
            let problem = state["damage"].as_str().unwrap();
            assert!(problem.contains(words), "{problem}");
            let last = state["last"].as_u64().unwrap();
            assert_eq!(last > 0, is_shown, "{words}: {last}");
            for target in
                ["/log/records", "/log/refusals", "/log/keys", "/log/policies", "/log/releases"]
            {
                let page = get(&console, target).await;
                assert_eq!(page.status, 200);
                assert!(
                    page.body.contains(
                        "<p class=\"state bad\" role=\"alert\"><strong>Damaged.</strong>"
                    ),
                    "{target}"
                );
                assert!(page.body.contains(words), "{target}");
            }
            let found = get_json(&console, "/log/records.json?kind=any&limit=200").await;
            assert_eq!(found["records"].as_array().unwrap().len() as u64, last);
            assert_eq!(found["total"], last);
            assert_eq!(get(&console, &format!("/log/records/{}", last + 1)).await.status, 404);
            if last > 0 {
                assert_eq!(get(&console, &format!("/log/records/{last}")).await.status, 200);
            }
            console.close().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_changed_after_it_was_verified_is_not_shown() {
    let log = TestLog::of(&records());
    let console = log.open().await;
    verified(&console, 60).await;
    damage(&log, &Damage::Byte);
    let mut damaged = Vec::new();
    for sequence in 1..=60 {
        let record = get_json(&console, &format!("/log/records/{sequence}.json")).await;
        assert_eq!(record["record"].is_null(), !record["damage"].is_null());
        if record["record"].is_null() {
            damaged.push(sequence);
            let page = get(&console, &format!("/log/records/{sequence}")).await;
            assert!(page.body.contains("The record is not what was verified"), "{}", page.body);
            let explained = get(&console, &format!("/log/records/{sequence}/explain")).await;
            assert!(explained.body.contains("the record is not what was verified"));
        }
    }
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    let page = get(&console, "/log/records?limit=200").await;
    assert_eq!(page.body.matches("Damaged since it was indexed").count(), 1);
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_no_index_is_left_as_it_is() {
    let log = TestLog::of(&records());
    for content in [&b"not a database, and of more than one line\n"[..], &[0; 5000]] {
        let path = log.folder.path().join("other");
        fs::write(&path, content).unwrap();
        let name = countersign_console::LogName::parse("log").unwrap();
        let source = countersign_console::LogSource {
            name,
            folder: log.path(),
            key: std::sync::Arc::new(support::Key),
            index: path.clone(),
        };
        let config = countersign_console::ConsoleConfig {
            logs: vec![source],
            policies: std::sync::Arc::new(countersign_console::NoPolicies),
            reports: None,
            base: "",
            hosts: None,
        };
        let error = countersign_console::Console::open(config).await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("not an index of the console"), "{source}");
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

/// Records that are removed on purpose while a console runs are no damage, and are not shown any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_pruned_meanwhile_is_shown_from_where_it_begins() {
    let log = TestLog::of(&records());
    let console = log.open().await;
    assert_eq!(verified(&console, 60).await["first"], 1);
    let pruned = countersign_decision_log::prune(&log.path(), 30, &support::Key, 99).unwrap();
    assert!(pruned.first > 1);
    let mut state = Value::Null;
    for _ in 0..400 {
        state = verified(&console, 60).await;
        if state["first"].as_u64() == Some(pruned.first) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    assert_eq!(
        (&state["first"], &state["pruned_before"]),
        (&pruned.first.into(), &pruned.first.into())
    );
    assert!(state["damage"].is_null(), "{state}");
    assert_eq!(get(&console, "/log/records/1").await.status, 404);
    let page = get(&console, &format!("/log/records/{}", pruned.first)).await;
    assert!(page.status == 200 && !page.body.contains("not what was verified"), "{}", page.body);
    // It goes on where the log grows.
    log.append(&records()[..1], true);
    verified(&console, 61).await;
    assert_eq!(get(&console, "/log/records/61").await.status, 200);
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_pruned_and_archived_is_shown() {
    let log = TestLog::of(&records());
    let archive = log.folder.path().join("archive");
    fs::create_dir(&archive).unwrap();
    countersign_decision_log::archive(&log.path(), &archive).unwrap();
    let console = log.open().await;
    verified(&console, 60).await;
    console.close().await;
    let pruned = countersign_decision_log::prune(&log.path(), 30, &support::Key, 99).unwrap();
    assert!(pruned.first > 1);
    // Its index began earlier, and is built anew.
    let console = log.open().await;
    let state = verified(&console, 60).await;
    assert!(state["damage"].is_null(), "{state}");
    let state = loop {
        let state = verified(&console, 60).await;
        if state["first"].as_u64() == Some(pruned.first) {
            break state;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    };
    assert_eq!(state["pruned_before"], pruned.first);
    let page = get(&console, "/log/keys").await;
    assert!(page.body.contains("Removed on purpose"));
    assert_eq!(get(&console, "/log/records/1").await.status, 404);
    assert_eq!(get(&console, &format!("/log/records/{}", pruned.first)).await.status, 200);
    console.close().await;
    // The archive has the records that were removed, compressed.
    let name = countersign_console::LogName::parse("log").unwrap();
    let index = log.folder.path().join("archive.db");
    let source = countersign_console::LogSource {
        name,
        folder: archive,
        key: std::sync::Arc::new(support::Key),
        index,
    };
    let config = countersign_console::ConsoleConfig {
        logs: vec![source],
        policies: std::sync::Arc::new(countersign_console::NoPolicies),
        reports: None,
        base: "",
        hosts: None,
    };
    let console = countersign_console::Console::open(config).await.unwrap();
    let request = || hyper::Request::get("/log/records/1.json");
    for _ in 0..1200 {
        if support::ask(&console, request()).await.status == 200 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
    }
    let record: Value =
        serde_json::from_str(&support::ask(&console, request()).await.body).unwrap();
    assert_eq!(record["record"]["request"], "request-0");
    console.close().await;
}
