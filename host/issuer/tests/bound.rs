//! A store and a log that were put back alone, and files of the state that are taken away while they are used.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;

use countersign::{Facts, Run};
use countersign_decision_log::{CheckpointKey, Folder, Log, LogConfig, prune};
use countersign_issuer::{
    KeyCustody, KeyFolder, RegisteredRun, SqliteStore, Store, StoreMark, UnboundError, check_bound,
};
use countersign_signing::Algorithm;
use support::{RUN, SHARED_RUNNER, START, folder, run};

/// Signs nothing that these tests look at.
struct Key;

impl CheckpointKey for Key {
    fn kid(&self) -> &'static str {
        "test"
    }

    fn sign(&self, _: &[u8]) -> Option<String> {
        Some(String::new())
    }

    fn verify(&self, _: &[u8], _: &str) -> bool {
        true
    }
}

fn log(folder: &Path, segment_bytes: u64) -> Log<Folder> {
    let config = LogConfig { segment_bytes, ..LogConfig::default() };
    let disk = Folder::open(&folder.join("log")).unwrap();
    Log::open(disk, config, Box::new(Key)).unwrap().0
}

fn record(changes: Option<u64>) -> Vec<u8> {
    match changes {
        Some(changes) => format!("{{\"kind\":\"token\",\"changes\":{changes}}}").into_bytes(),
        None => b"{\"kind\":\"subjects\"}".to_vec(),
    }
}

fn registered() -> RegisteredRun {
    RegisteredRun {
        run: Run::parse(run().to_string().as_bytes()).unwrap(),
        runner: SHARED_RUNNER.parse().unwrap(),
        facts: Facts::default(),
        run_token: None,
        registered_at: START,
        expires_at: START + 100,
        finished_at: None,
    }
}

#[tokio::test]
async fn every_change_is_counted_with_what_the_log_had_reached() {
    let folder = folder();
    let path = folder.path().join("issuer.db");
    let store = SqliteStore::open(&path).await.unwrap();
    let mark = |changes, log_sequence, log_hash: &str| StoreMark {
        changes,
        log_sequence,
        log_hash: log_hash.to_owned(),
    };
    assert_eq!(store.mark().await.unwrap(), mark(0, 0, ""));
    store.register(&registered()).await.unwrap();
    // What changes nothing is not counted.
    store.register(&registered()).await.unwrap();
    assert_eq!((store.changes(), store.mark().await.unwrap()), (1, mark(1, 0, "")));
    let position = log(folder.path(), 1 << 20).append(&[record(Some(1))], 0).unwrap()[0];
    store.log_reached(position);
    let hash = position.hash.to_string();
    assert!(store.use_once("issuer", "id", START).await.unwrap());
    assert!(!store.use_once("issuer", "id", START).await.unwrap());
    assert_eq!(store.mark().await.unwrap(), mark(2, 1, &hash));
    let id = RUN.parse().unwrap();
    assert!(store.finish(&id, START).await.unwrap() && store.finish(&id, START).await.unwrap());
    assert_eq!(store.mark().await.unwrap(), mark(3, 1, &hash));
    // A token whose use was taken back can be used.
    store.release("issuer", "id").await.unwrap();
    assert!(store.use_once("issuer", "id", START).await.unwrap());
    store.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!((store.changes(), store.mark().await.unwrap()), (4, mark(4, 1, &hash)));
    store.close().await;
}

#[test]
fn a_store_is_as_new_as_its_log() {
    let folder = folder();
    let mut log = log(folder.path(), 1 << 20);
    let records = [None, Some(1), Some(3), Some(2), None].map(record);
    let positions = log.append(&records, 0).unwrap();
    let mark = |changes, reached: Option<usize>| StoreMark {
        changes,
        log_sequence: reached.map_or(0, |at| positions[at].sequence),
        log_hash: reached.map_or_else(String::new, |at| positions[at].hash.to_string()),
    };
    let check = |mark: &StoreMark| check_bound(&folder.path().join("log"), mark);
    for right in [mark(3, None), mark(3, Some(1)), mark(9, Some(4))] {
        assert!(check(&right).is_ok(), "{right:?}");
    }
    for behind in [mark(0, None), mark(2, Some(1)), mark(2, Some(4))] {
        let error = check(&behind).unwrap_err();
        assert!(matches!(error, UnboundError::StoreBehind { log: 3, .. }), "{error}");
    }
    let ahead = StoreMark { log_sequence: 6, ..mark(3, Some(4)) };
    assert!(matches!(check(&ahead), Err(UnboundError::LogBehind { last: 5, reached: 6 })));
    let other = StoreMark { log_sequence: 3, ..mark(3, Some(4)) };
    assert!(matches!(check(&other), Err(UnboundError::OtherLog { sequence: 3 })));
    // Both are new.
    let (new, none) = (mark(0, None), support::folder());
    fs::create_dir(none.path().join("log")).unwrap();
    assert!(check_bound(&none.path().join("log"), &new).is_ok());
    let lost = check_bound(&none.path().join("log"), &mark(1, None));
    assert!(matches!(lost, Err(UnboundError::NoLog { changes: 1 })));
    let lost = check_bound(&none.path().join("log"), &mark(3, Some(1)));
    assert!(matches!(lost, Err(UnboundError::LogBehind { last: 0, reached: 2 })));
}

/// Also where the last segment has no record yet, and where the record that the store names was pruned.
#[test]
fn the_last_segments_are_enough() {
    let folder = folder();
    let mut log = log(folder.path(), 400);
    let mut positions = Vec::new();
    for changes in 1..=40 {
        positions.extend(log.append(&[record(Some(changes))], 0).unwrap());
    }
    let path = folder.path().join("log");
    let mark = |changes, at: usize| StoreMark {
        changes,
        log_sequence: positions[at].sequence,
        log_hash: positions[at].hash.to_string(),
    };
    assert!(check_bound(&path, &mark(40, 3)).is_ok());
    assert!(matches!(check_bound(&path, &mark(39, 3)), Err(UnboundError::StoreBehind { .. })));
    prune(&path, 30, &Key, 0).unwrap();
    assert!(check_bound(&path, &mark(40, 3)).is_ok());
    assert!(matches!(check_bound(&path, &mark(39, 39)), Err(UnboundError::StoreBehind { .. })));
}

type Disturb = fn(&Path);

#[tokio::test]
async fn a_database_that_is_not_in_its_place_is_noticed() {
    let disturb: [(&str, Disturb); 5] = [
        ("removed", |path| fs::remove_file(path).unwrap()),
        ("moved", |path| fs::rename(path, path.with_extension("old")).unwrap()),
        ("replaced", |path| {
            fs::copy(path, path.with_extension("copy")).unwrap();
            fs::rename(path.with_extension("copy"), path).unwrap();
        }),
        ("its write-ahead log removed", |path| {
            fs::remove_file(path.with_extension("db-wal")).unwrap();
        }),
        ("its folder moved", |path| {
            let folder = path.parent().unwrap();
            fs::rename(folder, folder.with_extension("old")).unwrap();
        }),
    ];
    for (what, disturb) in disturb {
        let folder = folder();
        let state = folder.path().join("state");
        fs::create_dir(&state).unwrap();
        let path = state.join("issuer.db");
        let store = SqliteStore::open(&path).await.unwrap();
        store.register(&registered()).await.unwrap();
        assert!(store.check_place().is_ok());
        disturb(&path);
        assert!(store.check_place().is_err(), "{what}");
    }
}

#[test]
fn keys_that_are_not_in_their_place_are_noticed() {
    let folder = folder();
    let keys = KeyFolder::open(&folder.path().join("keys")).unwrap();
    assert!(keys.check_place().is_ok());
    let kid = keys.make(Algorithm::Es256).unwrap().kid().to_owned();
    let own = keys.key_of_its_own("checkpoint").unwrap();
    assert!(keys.check_place().is_ok());
    let (path, checkpoint) =
        (keys.path().join(format!("{kid}.pem")), keys.path().join("checkpoint.pem"));
    for path in [&path, &checkpoint] {
        let whole = fs::read(path).unwrap();
        fs::remove_file(path).unwrap();
        let error = keys.check_place().unwrap_err().to_string();
        assert!(error.contains("was taken away"), "{error}");
        // Put back as it was; then another one.
        private(path, &whole);
        assert!(keys.check_place().is_ok());
        let other = KeyFolder::open(&folder.path().join("other")).unwrap();
        let other_kid = other.make(Algorithm::Es256).unwrap().kid().to_owned();
        let other = fs::read(other.path().join(format!("{other_kid}.pem"))).unwrap();
        private(path, &other);
        let error = keys.check_place().unwrap_err().to_string();
        assert!(error.contains("was replaced by another key"), "{error}");
        private(path, &whole);
        assert!(keys.check_place().is_ok());
    }
    // A key that is destroyed by plan is not missed.
    keys.destroy(&kid).unwrap();
    assert!(keys.check_place().is_ok());
    drop(own);
}

fn private(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
}
