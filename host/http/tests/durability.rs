//! No token without a durable record: the disk is full, read-only, or fails when it is asked to sync.
#![allow(
    missing_docs,
    clippy::await_holding_lock,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "tests"
)]

mod support;

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use countersign_decision_log::{Disk, Folder};
use countersign_issuer::{SqliteStore, Store};
use reqwest::StatusCode;
use serde_json::json;
use support::{AWS, RUN, Running, SHARED_RUNNER, Setup, answer, folder, records, run};

/// A folder on a disk that begins to fail, or to wait.
struct FailingDisk {
    folder: Folder,
    fails: Arc<AtomicBool>,
    how: Failure,
}

#[derive(Clone, Debug)]
enum Failure {
    /// `ENOSPC`, after half of it.
    Full,
    /// `EROFS`
    ReadOnly,
    /// `EIO`
    Sync,
    /// It does not fail: its syncs wait for the test.
    Held(Arc<Mutex<()>>),
}

impl FailingDisk {
    fn new(folder: &Path, fails: &Arc<AtomicBool>, how: Failure) -> Self {
        let folder = Folder::open(&folder.join("log")).unwrap();
        Self { folder, fails: Arc::clone(fails), how }
    }

    fn fails(&self, code: i32) -> io::Result<()> {
        if self.fails.load(Ordering::SeqCst) {
            return Err(io::Error::from_raw_os_error(code));
        }
        Ok(())
    }
}

impl Disk for FailingDisk {
    fn list(&mut self) -> io::Result<Vec<String>> {
        self.folder.list()
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        self.folder.read(name)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.folder.create(name)
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        match &self.how {
            Failure::Full if self.fails.load(Ordering::SeqCst) => {
                self.folder.append(name, &bytes[..bytes.len() / 2])?;
                self.fails(28)
            }
            Failure::ReadOnly => self.fails(30).and_then(|()| self.folder.append(name, bytes)),
            Failure::Full | Failure::Sync | Failure::Held(_) => self.folder.append(name, bytes),
        }
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        match &self.how {
            Failure::Sync => self.fails(5)?,
            Failure::Held(held) => drop(held.lock().unwrap()),
            Failure::Full | Failure::ReadOnly => {}
        }
        self.folder.sync(name)
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.folder.sync_names()
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.folder.replace(name, bytes)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.folder.remove(name)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_disk_gives_no_token_until_a_restart() {
    for how in [Failure::Full, Failure::ReadOnly, Failure::Sync] {
        let folder = folder();
        let fails = Arc::new(AtomicBool::new(false));
        let disk = FailingDisk::new(folder.path(), &fails, how.clone());
        let service = Running::on(folder.path(), Setup::default(), disk).await;
        service.register(&run(), SHARED_RUNNER).await;
        assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
        assert_eq!(service.get("/readyz").await.status(), StatusCode::OK);

        fails.store(true, Ordering::SeqCst);
        let refused = async || {
            let response = service.by_run_token(RUN, AWS).await;
            assert!(response.headers().contains_key("retry-after"));
            let (status, body) = answer(response).await;
            assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{how:?}");
            assert_eq!(body["error"], "temporarily_unavailable");
            assert!(body.get("access_token").is_none());
        };
        refused().await;
        // Whatever the disk says now: what is durable is not known before it was looked at.
        fails.store(false, Ordering::SeqCst);
        for _ in 0..3 {
            refused().await;
        }
        assert_eq!(service.get("/readyz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        // Whoever supervises it restarts it by this.
        assert_eq!(service.get("/healthz").await.status(), StatusCode::SERVICE_UNAVAILABLE);
        service.stop().await;

        let service = Running::start(folder.path()).await;
        assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK, "{how:?}");
        service.stop().await;
        let kinds: Vec<_> =
            records(folder.path()).iter().map(|record| record["kind"].clone()).collect();
        // Half a record was put aside, which is on record; a whole one stands, though its token never left.
        let expected = match how {
            Failure::Full => vec!["token", "recovered", "token"],
            Failure::ReadOnly => vec!["token", "token"],
            Failure::Sync => vec!["token", "token", "token"],
            Failure::Held(_) => unreachable!(),
        };
        assert_eq!(json!(kinds), json!(expected), "{how:?}");
    }
}

async fn until_in_flight(service: &Running, requests: usize) {
    while service.service.requests_in_flight() < requests {
        tokio::task::yield_now().await;
    }
}

/// The run ends while its token waits to be durable: it is on record, and never leaves.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ends_while_its_token_is_signed_gets_none() {
    let folder = folder();
    let held = Arc::new(Mutex::new(()));
    let disk = FailingDisk::new(folder.path(), &Arc::default(), Failure::Held(Arc::clone(&held)));
    let service = Running::on(folder.path(), Setup::default(), disk).await;
    service.register(&run(), SHARED_RUNNER).await;
    let hold = held.lock().unwrap();
    let asking = service.by_run_token(RUN, AWS);
    let ending = async {
        until_in_flight(&service, 1).await;
        service.finish(RUN).await.status()
    };
    let released = async {
        // It is finished before that is on record, which waits for the disk as well.
        let is_finished = async || {
            // A store of its own each time: it keeps what it has read of a run.
            let store = SqliteStore::open(&folder.path().join("issuer.db")).await.unwrap();
            let run = store.run(&RUN.parse().unwrap()).await.unwrap().unwrap();
            store.close().await;
            run.finished_at.is_some()
        };
        while !is_finished().await {}
        drop(hold);
    };
    let (response, ended, ()) = tokio::join!(asking, ending, released);
    assert_eq!(ended, StatusCode::NO_CONTENT);
    let (status, body) = answer(response).await;
    assert_eq!(
        (status, &body["reasons"][0]["code"]),
        (StatusCode::FORBIDDEN, &json!("run-finished"))
    );
    service.stop().await;
}

/// Requests in progress finish when the service is stopped; new ones are not accepted.
#[tokio::test(flavor = "multi_thread")]
async fn requests_finish_when_it_is_stopped() {
    let folder = folder();
    let held = Arc::new(Mutex::new(()));
    let disk = FailingDisk::new(folder.path(), &Arc::default(), Failure::Held(Arc::clone(&held)));
    let service = Running::on(folder.path(), Setup::default(), disk).await;
    service.register(&run(), SHARED_RUNNER).await;
    let hold = held.lock().unwrap();
    let (client, url) = (service.client.clone(), service.url("/v1/token"));
    let form = format!(
        "grant_type={}&subject_token_type={}&subject_token={}&run={RUN}&audience={AWS}",
        support::GRANT,
        support::ACCESS_TOKEN,
        support::RUN_TOKEN
    );
    let asking = tokio::spawn(async move {
        let request = client.post(url).header("content-type", "application/x-www-form-urlencoded");
        request.body(form).send().await.unwrap().status()
    });
    until_in_flight(&service, 1).await;
    let (address, stopping) = (service.address, tokio::spawn(service.stop()));
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!stopping.is_finished() && !asking.is_finished());
    drop(hold);
    assert_eq!(asking.await.unwrap(), StatusCode::OK);
    stopping.await.unwrap();
    assert_eq!(records(folder.path()).len(), 1);
}

/// As many as may are being answered: the others are told when to ask again, and who has gone keeps a slot
/// for as long as there is work for it.
#[tokio::test(flavor = "multi_thread")]
async fn beyond_what_is_answered_at_a_time_it_says_when_to_ask_again() {
    let folder = folder();
    let held = Arc::new(Mutex::new(()));
    let disk = FailingDisk::new(folder.path(), &Arc::default(), Failure::Held(Arc::clone(&held)));
    let config = "[limits]\nrequests = 2\n".to_owned();
    let service = Running::on(folder.path(), Setup { config, ..Setup::default() }, disk).await;
    service.register(&run(), SHARED_RUNNER).await;
    let hold = held.lock().unwrap();
    let asking =
        async { tokio::join!(service.by_run_token(RUN, AWS), service.by_run_token(RUN, AWS)) };
    let beside = async {
        until_in_flight(&service, 2).await;
        let refused = service.by_run_token(RUN, AWS).await;
        assert_eq!(refused.headers()["retry-after"], "1");
        let (status, body) = answer(refused).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(body["error"], "temporarily_unavailable");
        // Verifiers and operators still get responses.
        for path in ["/jwks.json", "/.well-known/openid-configuration", "/healthz", "/readyz"] {
            assert_eq!(service.get(path).await.status(), StatusCode::OK, "{path}");
        }
        drop(hold);
    };
    let ((first, second), ()) = tokio::join!(asking, beside);
    assert_eq!((first.status(), second.status()), (StatusCode::OK, StatusCode::OK));
    assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
    service.stop().await;
    assert_eq!(records(folder.path()).len(), 3);
}

/// The policy set is replaced while requests are in flight: each is decided by one set, which is recorded.
#[tokio::test(flavor = "multi_thread")]
async fn each_request_is_decided_by_one_set() {
    let folder = folder();
    let config = "[limits]\nrun-burst = 1000\n".to_owned();
    let service = Running::with(folder.path(), Setup { config, ..Setup::default() }).await;
    let mut neighbour = run();
    neighbour["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-network".into();
    service.register(&neighbour, SHARED_RUNNER).await;
    let with = support::MANIFEST.to_owned();
    let without = with.replace("also = [\"team-network\"]", "");
    let digests = [
        support::context(&with).policies.digest().to_string(),
        support::context(&without).policies.digest().to_string(),
    ];
    // Made before, since that takes longer than requests do.
    let mut sets: Vec<_> = (0..12)
        .map(|turn| support::context(if turn % 2 == 0 { &with } else { &without }))
        .collect();
    let mut approved = 0;
    for request in 0..120 {
        let replacing = async {
            if request % 10 == 5 {
                tokio::task::yield_now().await;
                service.service.replace(sets.pop().unwrap()).unwrap();
            }
        };
        let (response, ()) = tokio::join!(service.by_run_token(RUN, AWS), replacing);
        approved += u32::from(response.status() == StatusCode::OK);
    }
    assert!(approved > 0 && approved < 120, "{approved}");
    service.stop().await;
    let records = records(folder.path());
    assert_eq!(records.len(), 120);
    for record in records {
        let expected = usize::from(record["decision"]["outcome"] != "approved");
        assert_eq!(record["decision"]["policy_set"], digests[expected]);
        assert_eq!(record["issued"].is_null(), expected == 1);
    }
}
