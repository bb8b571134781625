//! The state of an issuer: runs, used tokens, and how far its log has reached.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use countersign::Run;
use countersign_decision_log::{Folder, LogConfig, LogWriter, verify};
use countersign_issuer::{
    CHECKPOINT_KEY_FILE, CheckpointSigner, CheckpointVerifier, Clock, ClockError, KeyFolder,
    Liveness, Registered, RegisteredRun, SecretHash, SqliteStore, Store, StoreError, SystemClock,
    open_log,
};
use support::{OTHER_RUNNER, RUN, SHARED_RUNNER, START, TestClock, folder, run};

fn registered() -> RegisteredRun {
    RegisteredRun {
        run: Run::parse(run().to_string().as_bytes()).unwrap(),
        runner: SHARED_RUNNER.parse().unwrap(),
        facts: countersign::Facts::new([("cost-centre", "4711"), ("a/b", "ü \"x\"")]).unwrap(),
        run_token: Some(SecretHash::of(b"a-run-token-with-many-bits")),
        registered_at: START,
        expires_at: START + 100,
        finished_at: None,
    }
}

#[tokio::test]
async fn a_run_is_as_it_was_registered_until_it_is_finished() {
    let folder = folder();
    let path = folder.path().join("issuer.db");
    let (store, id) = (SqliteStore::open(&path).await.unwrap(), RUN.parse().unwrap());
    assert!(store.run(&id).await.unwrap().is_none());
    assert_eq!(store.register(&registered()).await.unwrap(), Registered::New);
    assert_eq!(*store.run(&id).await.unwrap().unwrap(), registered());
    let other = RegisteredRun { runner: OTHER_RUNNER.parse().unwrap(), ..registered() };
    let before = store.register(&other).await.unwrap();
    assert_eq!(before, Registered::Before(Box::new(registered())));
    // A cached run must not hide a later registration.
    assert!(store.finish(&id, START + 7).await.unwrap());
    assert!(store.finish(&id, START + 9).await.unwrap());
    let finished = store.run(&id).await.unwrap().unwrap();
    assert_eq!(finished.finished_at, Some(START + 7));
    assert_eq!(finished.liveness(START + 8), Liveness::Finished);
    assert!(!store.finish(&OTHER_RUNNER.parse().unwrap(), START).await.unwrap());
    store.close().await;
    let store = SqliteStore::open(&path).await.unwrap();
    assert_eq!(store.run(&id).await.unwrap().unwrap(), finished);
    store.close().await;
}

/// Parts of a file that are another time's, or nothing of SQLite's, as where its write-ahead log was taken away.
#[tokio::test]
async fn a_database_that_is_damaged_is_said_to_be() {
    let folder = folder();
    let path = folder.path().join("issuer.db");
    let store = SqliteStore::open(&path).await.unwrap();
    store.register(&registered()).await.unwrap();
    store.close().await;
    let whole = fs::read(&path).unwrap();
    assert!(!folder.path().join("issuer.db-wal").exists());
    for begin in [0, 100, 4096] {
        let mut damaged = whole.clone();
        damaged[begin..].fill(0x5a);
        fs::write(&path, damaged).unwrap();
        let opened = SqliteStore::open(&path).await;
        let error = opened.err().unwrap_or_else(|| panic!("{begin}: it was opened"));
        assert!(matches!(error, StoreError::Damaged(_)), "{begin}: {error:?}");
        for more in ["-wal", "-shm"] {
            let _ = fs::remove_file(folder.path().join(format!("issuer.db{more}")));
        }
    }
    fs::write(&path, whole).unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    assert!(store.run(&RUN.parse().unwrap()).await.unwrap().is_some());
    store.close().await;
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_nothing_else() {
    let folder = folder();
    let store = SqliteStore::open(&folder.path().join("issuer.db")).await.unwrap();
    let id = RUN.parse().unwrap();
    store.register(&registered()).await.unwrap();
    // Finished early, it is remembered until it would have expired.
    store.finish(&id, START + 1).await.unwrap();
    assert_eq!(store.forget(START + 100, START).await.unwrap(), 0);
    assert!(store.run(&id).await.unwrap().is_some());
    assert_eq!(store.forget(START + 101, START).await.unwrap(), 1);
    assert!(store.run(&id).await.unwrap().is_none());

    let day = 86_400;
    assert!(store.use_once("issuer", "id", START).await.unwrap());
    for (now, first) in [(START + day, false), (START + day + 1, true)] {
        store.forget(0, now).await.unwrap();
        assert_eq!(store.use_once("issuer", "id", START).await.unwrap(), first, "{now}");
    }
    assert!(store.use_once("other", "id", START).await.unwrap());
    store.close().await;
}

/// Anybody can ask for runs that are not there: that costs no read of the database, and hides none that is.
#[tokio::test]
async fn a_run_that_is_not_there_is_not_read() {
    let folder = folder();
    let path = folder.path().join("issuer.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    // More than are read at once; they are no runs, which whoever reads one finds out.
    sqlx::query(
        "WITH RECURSIVE number(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number LIMIT 20001) \
         INSERT INTO run (id, record, runner, registered_at, expires_at) SELECT \
         '00000000-0000-4000-8000-' || printf('%012x', n), '{}', '', 0, n / 1000 FROM number",
    )
    .execute(&pool)
    .await
    .unwrap();
    let store = SqliteStore::open(&path).await.unwrap();
    let read = async |number: usize| {
        store.run(&format!("00000000-0000-4000-8000-{number:012x}").parse().unwrap()).await
    };
    for number in [1, 10_000, 10_001, 20_000, 20_001] {
        assert!(read(number).await.unwrap_err().to_string().contains("malformed"), "{number}");
    }
    store.register(&registered()).await.unwrap();
    assert!(store.run(&RUN.parse().unwrap()).await.unwrap().is_some());
    sqlx::query("DROP TABLE run").execute(&pool).await.unwrap();
    // One in a thousand is read all the same.
    let mut failed = 0;
    for number in 30_000..31_000 {
        failed += usize::from(read(number).await.is_err());
    }
    assert!(failed < 20, "{failed} of 1,000 were read");
    pool.close().await;
    store.close().await;
}

#[tokio::test]
async fn a_database_that_is_none_or_of_a_later_version_is_not_opened() {
    let folder = folder();
    let path = folder.path().join("issuer.db");
    fs::write(&path, "this is no database, and is long enough to be looked at".repeat(20)).unwrap();
    assert!(SqliteStore::open(&path).await.is_err());
    assert!(SqliteStore::open(folder.path()).await.is_err());
    assert!(SqliteStore::open(&folder.path().join("missing/issuer.db")).await.is_err());
}

/// Before the first release the tables had another form.
#[tokio::test]
async fn a_database_of_before_the_first_release_is_refused_by_name() {
    let folder = folder();
    let path = folder.path().join("issuer.db");
    SqliteStore::open(&path).await.unwrap().close().await;
    let pool = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::query("UPDATE _sqlx_migrations SET checksum = x'00'").execute(&pool).await.unwrap();
    pool.close().await;
    let error = SqliteStore::open(&path).await.unwrap_err().to_string();
    assert!(error.contains("before the first release: move the file away"), "{error}");
}

/// A log whose checkpoint is kept beside the key, and its records.
fn log(folder: &Path, records: usize) -> Result<(), String> {
    let path = folder.join("log");
    let disk = Folder::open(&path).unwrap();
    let keys = KeyFolder::open(&folder.join("keys")).unwrap();
    let key = CheckpointSigner::open(&keys, &path).map_err(|error| error.to_string())?;
    let clock = Arc::new(TestClock(Arc::new(AtomicU64::new(START))));
    let config = LogConfig { checkpoint_records: 4, ..LogConfig::default() };
    let opened = open_log(disk, config, key, clock, || Ok(()));
    let (log, _): (LogWriter, _) = opened
        .map_err(|error| format!("{error}: {}", std::error::Error::source(&error).unwrap()))?;
    for _ in 0..records {
        log.append(b"{}".to_vec(), |result| assert!(result.is_ok()));
    }
    drop(log);
    Ok(())
}

/// Whoever can write to the log, and not to the keys, cannot make it shorter unseen.
#[test]
fn a_log_that_was_cut_off_with_its_checkpoints_is_not_opened() {
    let folder = folder();
    log(folder.path(), 3).unwrap();
    let at = |name: &str| folder.path().join("log").join(name);
    let (segment, checkpoints) = (at("00000000000000000001.log"), at("checkpoints.jsonl"));
    let before = (fs::read(&segment).unwrap(), fs::read(&checkpoints).unwrap());
    log(folder.path(), 5).unwrap();
    let after = (fs::read(&segment).unwrap(), fs::read(&checkpoints).unwrap());
    fs::write(&segment, &before.0).unwrap();
    fs::write(&checkpoints, &before.1).unwrap();
    // By itself it is whole: `verify` knows only what is in the folder.
    let key = CheckpointVerifier::parse(&fs::read(at(CHECKPOINT_KEY_FILE)).unwrap()).unwrap();
    let report = verify(&folder.path().join("log"), &LogConfig::default(), &key).unwrap();
    assert_eq!((report.damage.len(), report.covered), (0, 3));
    let error = log(folder.path(), 0).unwrap_err();
    assert!(error.contains("reached 8: records 4 to 8 are lost"), "{error}");
    // Nor without any checkpoints, nor all of it.
    fs::remove_file(&checkpoints).unwrap();
    assert!(log(folder.path(), 0).unwrap_err().contains("are lost"));
    fs::remove_file(&segment).unwrap();
    assert!(log(folder.path(), 0).unwrap_err().contains("records 1 to 8 are lost"));
    fs::write(&segment, &after.0).unwrap();
    fs::write(&checkpoints, &after.1).unwrap();
    log(folder.path(), 1).unwrap();
    // Nor with a key that is not its own, nor with a last checkpoint that cannot be read.
    let last = folder.path().join("keys/last-checkpoint.json");
    let text = fs::read(&last).unwrap();
    fs::write(&last, "x").unwrap();
    assert!(log(folder.path(), 0).unwrap_err().contains("the last checkpoint stored elsewhere"));
    fs::write(&last, text).unwrap();
    fs::write(at(CHECKPOINT_KEY_FILE), "{}").unwrap();
    assert!(log(folder.path(), 0).unwrap_err().contains("another key"));
}

#[test]
fn the_clock_is_not_before_what_was_written_down() {
    let folder = folder();
    log(folder.path(), 1).unwrap();
    let keys = KeyFolder::open(&folder.path().join("keys")).unwrap();
    let key = CheckpointSigner::open(&keys, &folder.path().join("log")).unwrap();
    assert_eq!(key.last_signed().unwrap(), Some(START));
    let far = 4_000_000_000;
    assert!(matches!(SystemClock::monotonic_from(far).now(), Err(ClockError::WentBack { .. })));
    assert!(SystemClock::monotonic_from(START).now().is_ok());
}
