//! Signatures for a cluster's API server: 1,000 a second beside ten rotations of the key, on one machine with its clients.
//!
//! Each client is an API server that verifies each token by the keys that it has or fetches. A latency counts from the moment
//! at which the call was due, so that a slow one does not hide those that wait for it. Fails if a token does not verify or a
//! call fails.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

#[path = "../../host/kubernetes-signer/tests/support/mod.rs"]
mod support;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use countersign_benches::machine;
use countersign_signing::Algorithm;
use support::api_server::ApiServer;
use support::{API_SERVER, AWS, Running, Setup, encoded, folder, pod_claims, run};
use tokio::runtime::Runtime;

/// The calls that are due each second, of all clients.
const RATE: u32 = 1000;

/// The number of API servers.
const CLIENTS: u32 = 8;

/// The seconds that are measured, with a rotation in each.
const SECONDS: u32 = 10;

const KEYS: &str =
    "[keys]\nverifier-cache-seconds = 20\nmax-age-seconds = 1\nrotate-every-seconds = 1_000_000\n";

/// The calls of all clients.
#[derive(Default)]
struct Calls {
    /// Sorted.
    latencies: Vec<Duration>,
    failed: usize,
    took: Duration,
    fetches: usize,
}

fn main() -> ExitCode {
    println!(
        "{} {CLIENTS} API servers, {RATE} calls due a second for {SECONDS} s, ten rotations (RS256); signer, log and \
         clients, which verify each token, share the processors.\n",
        machine()
    );
    println!(
        "| tokens | a second | p50 ms | p99 ms | max ms | key fetches | failed or unverifiable |"
    );
    println!("|---|---|---|---|---|---|---|");
    let runtime = Runtime::new().expect("a runtime");
    let mut failed = 0;
    for (name, audience) in
        [("for the API server (`pass`)", API_SERVER), ("for a cloud (`decide`, two policies)", AWS)]
    {
        let calls = runtime.block_on(measured(audience));
        failed += calls.failed;
        let at = |share: f64| {
            let index = ((calls.latencies.len() - 1) as f64 * share) as usize;
            calls.latencies[index].as_secs_f64() * 1000.0
        };
        let rate = calls.latencies.len() as f64 / calls.took.as_secs_f64();
        println!(
            "| {name} | {rate:.0} | {:.2} | {:.2} | {:.1} | {} | {} |",
            at(0.5),
            at(0.99),
            at(1.0),
            calls.fetches,
            calls.failed
        );
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measured(audience: &'static str) -> Calls {
    let folder = folder();
    let running = Running::with(folder.path(), Setup { config: KEYS, ..Setup::default() }).await;
    running.register(&run()).await;
    let period = Duration::from_secs(1) * CLIENTS / RATE;
    let started = Instant::now() + Duration::from_millis(200);
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let (socket, clock) = (running.socket.clone(), running.clock.clone());
        clients.push(tokio::spawn(async move {
            let mut server = ApiServer::start(&socket).await.expect("an API server");
            let (mut latencies, mut failed) = (Vec::new(), 0);
            for number in 0..RATE * SECONDS / CLIENTS {
                let due = started + period * number + period * client / CLIENTS;
                tokio::time::sleep_until(due.into()).await;
                let now = clock.0.load(std::sync::atomic::Ordering::SeqCst);
                let claims = encoded(&pod_claims(audience, 3600, now));
                match server.token(&claims).await {
                    Ok(_) => latencies.push(due.elapsed()),
                    Err(_) => failed += 1,
                }
            }
            (latencies, failed, server.fetches)
        }));
    }
    let times = running.config.settings.key_times;
    for rotation in 0..SECONDS {
        let due = started + Duration::from_secs(1) * rotation + Duration::from_millis(500);
        tokio::time::sleep_until(due.into()).await;
        let (ring, signer, now) = (running.ring.clone(), running.signer.clone(), running.now());
        let rotated = tokio::task::spawn_blocking(move || {
            ring.rotate(Algorithm::Rs256, &times, false, now).expect("a rotation");
            signer.reload_keys().expect("keys");
        });
        rotated.await.expect("a rotation");
        running.advance(20);
    }
    let mut calls = Calls::default();
    for client in clients {
        let (latencies, failed, fetches) = client.await.expect("a client");
        calls.latencies.extend(latencies);
        calls.failed += failed;
        calls.fetches += fetches;
    }
    calls.took = started.elapsed();
    calls.latencies.sort_unstable();
    running.stop().await;
    calls
}
