//! Keys that an API server knows, and rotations under way.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use countersign_signing::Algorithm;
use serde_json::json;
use support::api_server::{ApiServer, NoToken};
use support::{API_SERVER, Running, Setup, encoded, folder, pod_claims};

fn kids(server: &ApiServer) -> Vec<String> {
    server.keys.keys.iter().map(|key| key.key_id.clone()).collect()
}

async fn kid_of(server: &mut ApiServer, running: &Running) -> String {
    let claims = encoded(&pod_claims(API_SERVER, 3607, running.now()));
    let token = server.token(&claims).await.unwrap();
    let header = countersign_issuer_header(&token);
    header["kid"].as_str().unwrap().to_owned()
}

fn countersign_issuer_header(token: &str) -> serde_json::Value {
    use base64::Engine as _;
    let header = token.split('.').next().unwrap();
    let header = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(header).unwrap();
    serde_json::from_slice(&header).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_shown_before_it_signs_and_until_its_last_token_has_expired() {
    let folder = folder();
    let config = "[keys]\nverifier-cache-seconds = 100\nmax-age-seconds = 10\nrotate-every-seconds = 1_000_000\n";
    let running = Running::with(folder.path(), Setup { config, ..Setup::default() }).await;
    let mut server = ApiServer::start(&running.socket).await.unwrap();
    let first = kids(&server);
    assert_eq!(first.len(), 1);
    let since = server.keys.data_timestamp.unwrap().seconds;
    assert_eq!(kid_of(&mut server, &running).await, first[0]);

    // The next key: shown at once, after those before it, and signs when every verifier has it.
    let times = &running.config.settings.key_times;
    assert_eq!((times.verifier_cache, times.max_token_lifetime), (100, 86_400));
    running.advance(1000);
    let next = running.ring.rotate(Algorithm::Rs256, times, false, running.now()).unwrap();
    running.signer.reload_keys().unwrap();
    server.fetch().await.unwrap();
    assert_eq!(kids(&server), [first[0].clone(), next.clone()]);
    assert!(server.keys.data_timestamp.unwrap().seconds > since);
    assert!(server.keys.keys.iter().all(|key| !key.exclude_from_oidc_discovery));
    running.advance(99);
    assert_eq!(kid_of(&mut server, &running).await, first[0]);
    running.advance(1);
    assert_eq!(kid_of(&mut server, &running).await, next);
    // Until the last token of the one before has expired, and nobody keeps a key set of before.
    running.advance(86_400 + 100 - 1);
    server.fetch().await.unwrap();
    assert_eq!(kids(&server).len(), 2);
    running.advance(1);
    server.fetch().await.unwrap();
    assert_eq!(kids(&server), [next]);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_an_api_server_may_not_have_seen_does_not_sign_while_there_is_another() {
    let folder = folder();
    let running = Running::start(folder.path()).await;
    let mut server = ApiServer::start(&running.socket).await.unwrap();
    let first = kids(&server)[0].clone();
    let times = running.config.settings.key_times;
    // Another process makes a key, and this one comes to look at it only when it is active already.
    let next = running.ring.rotate(Algorithm::Rs256, &times, false, running.now()).unwrap();
    running.advance(times.verifier_cache);
    running.signer.reload_keys().unwrap();
    assert_eq!(kid_of(&mut server, &running).await, first);
    running.advance(4);
    assert_eq!(kid_of(&mut server, &running).await, first);
    running.advance(1);
    assert_eq!(server.fetches, 1);
    assert_eq!(kid_of(&mut server, &running).await, next, "shown for as long as the hint");
    assert_eq!(server.fetches, 2, "the API server fetches at once for a kid that it does not know");

    // There is no other key once the one before is in other hands.
    let now = running.now();
    let at_once = running.ring.rotate(Algorithm::Rs256, &times, true, now).unwrap();
    running.signer.reload_keys().unwrap();
    assert_eq!(kid_of(&mut server, &running).await, at_once);
    assert_eq!(kids(&server), [at_once]);
    running.stop().await;
}

/// A plan whose next key is to be published later, as one that was written by a clock that is ahead.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_time_has_not_come_is_excluded_and_signs_nothing() {
    let folder = folder();
    let running = Running::start(folder.path()).await;
    let mut server = ApiServer::start(&running.socket).await.unwrap();
    let first = kids(&server)[0].clone();
    let times = running.config.settings.key_times;
    let later = running.ring.rotate(Algorithm::Rs256, &times, false, running.now()).unwrap();
    let plan = folder.path().join("keys/keys.json");
    let mut text: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&plan).unwrap()).unwrap();
    // Active before it is published, which no rotation writes.
    text["keys"][1]["published"] = json!(running.now() + 50);
    text["keys"][1]["active"] = json!(running.now());
    std::fs::write(&plan, text.to_string()).unwrap();
    running.signer.reload_keys().unwrap();
    running.advance(49);
    server.fetch().await.unwrap();
    let excluded: Vec<_> = server
        .keys
        .keys
        .iter()
        .map(|key| (key.key_id.clone(), key.exclude_from_oidc_discovery))
        .collect();
    assert_eq!(excluded, [(first.clone(), false), (later.clone(), true)]);
    assert_eq!(kid_of(&mut server, &running).await, first);
    let since = server.keys.data_timestamp.unwrap().seconds;
    running.advance(1);
    server.fetch().await.unwrap();
    assert!(server.keys.keys.iter().all(|key| !key.exclude_from_oidc_discovery));
    assert!(server.keys.data_timestamp.unwrap().seconds > since);
    assert_eq!(kid_of(&mut server, &running).await, later);
    running.stop().await;
}

/// 1,000 tokens of eight callers beside ten rotations: each verifies by the keys that its API server has or fetches.
#[tokio::test(flavor = "multi_thread")]
async fn no_token_of_a_rotation_is_unverifiable() {
    let folder = folder();
    let config = "[keys]\nverifier-cache-seconds = 20\nmax-age-seconds = 1\nrotate-every-seconds = 1_000_000\n";
    let running = Running::with(folder.path(), Setup { config, ..Setup::default() }).await;
    let mut callers = Vec::new();
    let clock = running.clock.clone();
    let issued = Arc::new(AtomicUsize::new(0));
    for caller in 0..8 {
        let (socket, clock) = (running.socket.clone(), clock.clone());
        let issued = Arc::clone(&issued);
        callers.push(tokio::spawn(async move {
            let mut server = ApiServer::start(&socket).await.unwrap();
            let mut kids = std::collections::BTreeSet::new();
            for number in 0..125 {
                let now = clock.0.load(Ordering::SeqCst);
                let mut claims = pod_claims(API_SERVER, 3607, now);
                claims["jti"] = format!("{caller}-{number}").into();
                match server.token(&encoded(&claims)).await {
                    Ok(token) => kids.insert(countersign_issuer_header(&token)["kid"].to_string()),
                    Err(NoToken::Refused(status)) => return Err(status.to_string()),
                    Err(NoToken::Rejected(problem)) => return Err(problem.to_owned()),
                };
                issued.fetch_add(1, Ordering::SeqCst);
            }
            Ok(kids)
        }));
    }
    let times = running.config.settings.key_times;
    for rotation in 1..=10 {
        // Spread over the tokens, so that each key signs some.
        let is_due = async {
            while issued.load(Ordering::SeqCst) < rotation * 90 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(120), is_due).await.unwrap();
        running.ring.rotate(Algorithm::Rs256, &times, false, running.now()).unwrap();
        running.signer.reload_keys().unwrap();
        running.advance(20);
    }
    let mut all = std::collections::BTreeSet::new();
    for caller in callers {
        let caller = tokio::time::timeout(Duration::from_secs(120), caller).await.unwrap().unwrap();
        all.extend(caller.unwrap());
    }
    assert!(all.len() > 1, "{all:?}");
    assert_eq!(running.records().len(), 1000);
    running.stop().await;
}
