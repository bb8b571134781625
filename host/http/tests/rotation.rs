//! Keys change under load, and a verifier that keeps its key set for as long as it may refuses nothing.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use countersign_issuer::{Jwks, KeyCustody, KeyFolder, KeyRing, KeyTimes, verified_claims};
use countersign_signing::Algorithm;
use serde_json::Value;
use support::{
    AWS, AZURE, ISSUER, MemoryCustody, RUN, Running, SHARED_RUNNER, Setup, answer, folder, run,
};

const DAY: u64 = 86_400;

/// A verifier that fetches the key set once a day, as clouds do, and tokens that are not verified before
/// they are nearly expired.
struct Verifier {
    keys: Jwks,
    fetched: u64,
}

impl Verifier {
    async fn at(service: &Running) -> Self {
        let keys = service.get("/jwks.json").await.bytes().await.unwrap();
        Self { keys: Jwks::parse(&keys).unwrap(), fetched: service.now() }
    }

    async fn verify(&mut self, service: &Running, token: &str, audience: &str) {
        if service.now() - self.fetched >= DAY {
            *self = Self::at(service).await;
        }
        verified_claims(token, &self.keys, ISSUER, audience, service.now())
            .unwrap_or_else(|error| panic!("{error} at {}", service.now()));
    }
}

fn kid(token: &str) -> String {
    let header = token.split('.').next().unwrap();
    let header = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, header).unwrap();
    serde_json::from_slice::<Value>(&header).unwrap()["kid"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_verifier_with_a_cached_key_set_refuses_nothing() {
    let folder = folder();
    let config = format!(
        "[tokens]\nes256-audiences = [\"{AWS}\"]\n[runs]\nmax-ttl-seconds = 2_592_000\n\
         [keys]\nrotate-every-seconds = {}\n[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\nrun-per-second = 1_000_000\nrun-burst = 1_000_000\n",
        5 * DAY
    );
    let service = Running::with(folder.path(), Setup { config, ..Setup::default() }).await;
    service.register(&run(), SHARED_RUNNER).await;

    // Others ask all the while.
    let done = AtomicBool::new(false);
    let load = async {
        let mut issued = 0;
        while !done.load(Ordering::Relaxed) {
            assert_eq!(service.by_run_token(RUN, AZURE).await.status(), 200);
            issued += 1;
        }
        issued
    };
    let verifiers = async {
        let mut kids = BTreeSet::new();
        // Each began to keep its key set at another hour of the day.
        let mut caches = Vec::new();
        let mut waiting: Vec<(u64, String, &str)> = Vec::new();
        for hour in 0..24 * 24 {
            if hour < 24 {
                caches.push(Verifier::at(&service).await);
            }
            for audience in [AWS, AZURE] {
                let (status, body) = answer(service.by_run_token(RUN, audience).await).await;
                assert_eq!(status, 200, "{body}");
                let token = body["access_token"].as_str().unwrap().to_owned();
                kids.insert(kid(&token));
                for cache in &mut caches {
                    cache.verify(&service, &token, audience).await;
                }
                let lifetime = body["expires_in"].as_u64().unwrap();
                waiting.push((service.now() + lifetime - 1, token, audience));
            }
            // In the last second of each token that is left, then on to the next hour.
            let next = service.now() + 3600;
            while let Some(place) = waiting.iter().position(|(at, ..)| *at < next) {
                let (at, token, audience) = waiting.swap_remove(place);
                service.clock.0.store(at.max(service.now()), Ordering::SeqCst);
                for cache in &mut caches {
                    cache.verify(&service, &token, audience).await;
                }
            }
            service.clock.0.store(next, Ordering::SeqCst);
            service.service.run_maintenance().await.unwrap();
        }
        done.store(true, Ordering::Relaxed);
        kids
    };
    let (issued, kids) = tokio::join!(load, verifiers);
    // Four generations of each algorithm at least, in 24 days of 5 days each.
    assert!(kids.len() >= 8, "{kids:?}");
    assert!(issued > 50, "{issued}");
    service.stop().await;
}

/// `countersign keys rotate` is another process.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_another_process_made_is_taken_up() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let times = KeyTimes { verifier_cache: DAY, max_token_lifetime: 7200, rotate_every: None };
    let keys = KeyRing::in_folder(&KeyFolder::open(&folder.path().join("keys")).unwrap());
    let made = keys.rotate(Algorithm::Rs256, &times, false, service.now()).unwrap();
    assert!(keys.rotate(Algorithm::Rs256, &times, false, service.now()).is_err());
    service.service.run_maintenance().await.unwrap();
    let published = service.get("/jwks.json").await.text().await.unwrap();
    assert!(published.contains(&made));
    let token = async || {
        let (_, body) = answer(service.by_run_token(RUN, AWS).await).await;
        kid(body["access_token"].as_str().unwrap())
    };
    let first = token().await;
    assert_ne!(first, made);
    // In other hands: at once, and the ones before are gone.
    let next = keys.rotate(Algorithm::Rs256, &times, true, service.now()).unwrap();
    service.service.run_maintenance().await.unwrap();
    assert_eq!(token().await, next);
    let published = service.get("/jwks.json").await.text().await.unwrap();
    assert!(!published.contains(&first) && !published.contains(&made));
    assert!(!folder.path().join(format!("keys/{first}.pem")).exists());
    service.stop().await;
}

/// Keys of a device rotate as those of a folder do, and no private key is in a file.
#[tokio::test(flavor = "multi_thread")]
async fn keys_in_another_custody_rotate_and_sign() {
    let folder = folder();
    let custody = MemoryCustody::default();
    let config = format!(
        "[tokens]\nes256-audiences = [\"{AWS}\"]\n[runs]\nmax-ttl-seconds = 2_592_000\n\
         [keys]\nrotate-every-seconds = {}\n[limits]\nrun-per-second = 1_000\nrun-burst = 1_000\n",
        5 * DAY
    );
    let setup = Setup { config, custody: Some(Arc::new(custody.clone())), ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    service.register(&run(), SHARED_RUNNER).await;
    let mut kids = BTreeSet::new();
    for _ in 0..16 {
        for audience in [AWS, AZURE] {
            let (status, body) = answer(service.by_run_token(RUN, audience).await).await;
            assert_eq!(status, 200, "{body}");
            let token = body["access_token"].as_str().unwrap();
            service.verified(token, audience).await;
            kids.insert(kid(token));
        }
        service.advance(DAY);
        service.service.run_maintenance().await.unwrap();
    }
    assert!(kids.len() >= 6, "{kids:?}");
    assert_eq!(custody.device().signatures.load(Ordering::SeqCst), 32);
    // Those that were removed are destroyed.
    let ring = KeyRing::open(&folder.path().join("plan"), Arc::new(custody.clone())).unwrap();
    let mut planned: Vec<_> = ring.plan().unwrap().keys.into_iter().map(|key| key.kid).collect();
    let mut held = custody.list().unwrap();
    planned.sort();
    held.sort();
    assert_eq!(planned, held);
    assert!(kids.iter().any(|kid| !held.contains(kid)));
    // The checkpoints' key is the log's own.
    let files = |name: &str| {
        let files = std::fs::read_dir(folder.path().join(name)).unwrap();
        let pem = |name: &String| name.ends_with(".pem");
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).filter(pem).collect()
    };
    let (beside, in_plan): (Vec<String>, Vec<String>) = (files("keys"), files("plan"));
    assert_eq!((beside, in_plan), (vec!["checkpoint.pem".to_owned()], vec![]));

    // A device that does not answer signs nothing, and nothing else breaks.
    custody.device().fails.store(true, Ordering::SeqCst);
    let (status, body) = answer(service.by_run_token(RUN, AWS).await).await;
    assert_eq!((status.as_u16(), &body["error"]), (503, &"temporarily_unavailable".into()));
    custody.device().fails.store(false, Ordering::SeqCst);
    assert_eq!(service.by_run_token(RUN, AWS).await.status(), 200);
    service.stop().await;
}

#[cfg(unix)]
#[tokio::test]
async fn private_keys_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.stop().await;
    let keys = KeyRing::in_folder(&KeyFolder::open(&folder.path().join("keys")).unwrap());
    let mut seen = 0;
    for entry in std::fs::read_dir(folder.path().join("keys")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
            seen += 1;
        }
    }
    assert_eq!(seen, 2);
    let error = keys.load(&ISSUER.parse().unwrap(), support::START).err().unwrap().to_string();
    assert!(error.contains("others than its owner"), "{error}");
}
