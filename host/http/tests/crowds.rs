//! Whoever has proved nothing keeps nobody out: by connections, requests, or an address.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;
#[path = "support/wire.rs"]
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use reqwest::StatusCode;
use support::{
    ACCESS_TOKEN, AWS, GRANT, JWT, OTHER_RUNNER, RUN, RUN_TOKEN, Running, SHARED_RUNNER, Setup,
    folder, run,
};
use wire::Wire;

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";

async fn started(config: &str) -> (tempfile::TempDir, Running) {
    let folder = folder();
    let limits = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                  run-per-second = 1_000_000\nrun-burst = 1_000_000\n";
    let setup = Setup { config: format!("{limits}{config}"), ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    service.register(&run(), SHARED_RUNNER).await;
    (folder, service)
}

fn form(run: &str, kind: &str, token: &str) -> String {
    let body = format!(
        "grant_type={GRANT}&subject_token_type={kind}&subject_token={token}&run={run}&audience={AWS}"
    );
    format!(
        "POST /v1/token HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// More connections than there is room for, on which nothing comes, half a head, or half a body.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_wait_make_room() {
    let (_folder, service) = started("connections = 8\n").await;
    let whole = form(RUN, ACCESS_TOKEN, RUN_TOKEN);
    for begun in ["", "P", "POST /v1/token HTTP/1.1\r\nHost: a\r\n", &whole[..whole.len() - 1]] {
        let mut crowd = Vec::new();
        for _ in 0..40 {
            let mut wire = Wire::open(service.address).await;
            wire.send(begun).await;
            crowd.push(wire);
            if crowd.len() % 10 == 0 {
                assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
            }
        }
        // The first ones have made room.
        assert!(crowd[0].ends().await, "{begun:?}");
    }
    let metrics = service.client.get(service.url("/metrics")).bearer_auth(&service.api_key);
    let text = metrics.send().await.unwrap().text().await.unwrap();
    let evicted =
        text.lines().find_map(|line| line.strip_prefix("countersign_connections_evicted_total "));
    assert!(evicted.unwrap().parse::<u32>().unwrap() >= 4 * 32 - 8, "{evicted:?}");
    service.stop().await;
}

/// One on which something was proved stays, however many come after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_proved_something_is_the_last_to_make_room() {
    let (_folder, service) = started("connections = 8\n").await;
    let mut honest = Wire::open(service.address).await;
    assert_eq!(honest.ask(form(RUN, ACCESS_TOKEN, RUN_TOKEN)).await.status, 200);
    let mut crowd = Vec::new();
    for _ in 0..40 {
        let mut wire = Wire::open(service.address).await;
        assert_eq!(wire.ask(HEALTH).await.status, 200);
        crowd.push(wire);
    }
    assert_eq!(honest.ask(form(RUN, ACCESS_TOKEN, RUN_TOKEN)).await.status, 200);
    service.stop().await;
}

/// Requests of whoever can prove nothing take no place of those that can.
#[tokio::test(flavor = "multi_thread")]
async fn requests_that_prove_nothing_keep_nobody_out() {
    let (_folder, service) = started("requests = 2\nunproven-requests = 2\n").await;
    let (stop, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let forged = {
        let identity = service.identity(support::SHARED_SUBJECT);
        let (signed, _) = identity.rsplit_once('.').unwrap();
        format!("{signed}.{}", "A".repeat(342))
    };
    let mut crowd = Vec::new();
    for kind in 0..4 {
        let request = match kind {
            0 => form(OTHER_RUNNER, ACCESS_TOKEN, RUN_TOKEN),
            1 => form(RUN, ACCESS_TOKEN, "another-run-token-of-some-length"),
            2 => form(RUN, JWT, &forged),
            _ => form(RUN, JWT, "no.token.atall"),
        };
        for _ in 0..16 {
            let (stop, asked, address) = (Arc::clone(&stop), Arc::clone(&asked), service.address);
            let request = request.clone();
            crowd.push(tokio::spawn(async move {
                let mut wire = Wire::open(address).await;
                while !stop.load(Ordering::Relaxed) {
                    let heard = wire.ask(&request).await;
                    assert!([400, 503].contains(&heard.status), "{heard:?}");
                    asked.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
    }
    let mut honest = Wire::open(service.address).await;
    let before = asked.load(Ordering::Relaxed);
    let mut exchanged = 0;
    while exchanged < 50 || asked.load(Ordering::Relaxed) < before + 500 {
        let heard = honest.ask(form(RUN, ACCESS_TOKEN, RUN_TOKEN)).await;
        assert_eq!(heard.status, 200, "{heard:?}");
        exchanged += 1;
    }
    stop.store(true, Ordering::Relaxed);
    for one in crowd {
        one.await.unwrap();
    }
    service.stop().await;
}

/// Whoever proves nothing on a connection, again and again, waits there; others do not, nor does who proves something.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_whose_requests_prove_nothing_waits() {
    let (_folder, service) = started("unproven-per-second = 5\n").await;
    let paced = async || {
        let metrics = service.client.get(service.url("/metrics")).bearer_auth(&service.api_key);
        let text = metrics.send().await.unwrap().text().await.unwrap();
        let paced =
            text.lines().find_map(|line| line.strip_prefix("countersign_requests_paced_total "));
        paced.unwrap().parse::<u32>().unwrap()
    };
    let unknown = form(OTHER_RUNNER, ACCESS_TOKEN, RUN_TOKEN);
    let proving = form(RUN, ACCESS_TOKEN, RUN_TOKEN);
    for request in [
        unknown.as_str(),
        "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /no HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let before = paced().await;
        let mut crowd = Wire::open(service.address).await;
        for _ in 0..11 {
            crowd.ask(request).await;
        }
        assert_eq!(paced().await, before, "as many as in two seconds come at once: {request}");
        while paced().await == before {
            crowd.ask(request).await;
        }
        crowd.send(request).await;
        let mut honest = Wire::open(service.address).await;
        for _ in 0..20 {
            assert_eq!(honest.ask(&proving).await.status, 200);
        }
        crowd.hear(true).await.unwrap();
        // Also one that proves something has waited, and those after it do not.
        assert_eq!(crowd.ask(&proving).await.status, 200);
        let before = paced().await;
        for _ in 0..11 {
            crowd.ask(request).await;
        }
        assert_eq!(paced().await, before, "{request}");
    }
    service.stop().await;
}

/// Probes have a listener of their own, which has room although the other has none.
#[tokio::test(flavor = "multi_thread")]
async fn probes_are_answered_on_their_own_listener() {
    let (_folder, service) = started("connections = 1\nbody-seconds = 600\n").await;
    let slot = service.service.slot().unwrap();
    let mut crowd = Vec::new();
    for _ in 0..200 {
        let mut wire = Wire::open(service.address).await;
        wire.send("P").await;
        crowd.push(wire);
        let mut wire = Wire::open(service.probes_address).await;
        wire.send("P").await;
        crowd.push(wire);
    }
    let mut probe = Wire::open(service.probes_address).await;
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 200),
        ("/metrics", 401),
        ("/jwks.json", 404),
        ("/v1/token", 404),
    ] {
        let heard = probe.ask(format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert_eq!(heard.status, status, "{path}: {heard:?}");
    }
    let key = format!("Authorization: Bearer {}\r\n", service.api_key);
    let heard = probe.ask(format!("GET /metrics HTTP/1.1\r\nHost: a\r\n{key}\r\n")).await;
    assert!(heard.status == 200 && heard.body.contains("countersign_log_failed 0"));
    // As before, they are on the other one, too.
    drop((crowd, slot));
    for path in ["/healthz", "/readyz"] {
        assert_eq!(service.get(path).await.status(), StatusCode::OK, "{path}");
    }
    // It says that it stops until it has.
    service.service.stop();
    let heard = probe.ask("GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(heard.status, 503);
    service.stop().await;
}

/// An address that sends too many waits, and its proxy's note says whose it is.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_a_rate_and_a_number_of_connections() {
    let (_folder, service) = started(
        "address-per-second = 1\naddress-burst = 3\naddress-connections = 4\n\
         [listen]\ntrusted-proxies = [\"127.0.0.1\"]\nclient-address-header = \"X-Forwarded-For\"\n",
    )
    .await;
    // A proxy's connections are not counted.
    let mut wires = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::open(service.address).await;
        assert_eq!(wire.ask(HEALTH).await.status, 200);
        wires.push(wire);
    }
    let ask = async |client: &str| {
        let mut wire = Wire::open(service.address).await;
        let heard = wire
            .ask(format!(
                "GET /jwks.json HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 1.2.3.4, {client}\r\n\r\n"
            ))
            .await;
        assert!(heard.status == 200 || heard.header("retry-after").is_some(), "{heard:?}");
        heard.status
    };
    let mut answered = Vec::new();
    for _ in 0..20 {
        answered.push(ask("192.0.2.1").await);
    }
    assert!(answered[0] == 200 && answered.contains(&429), "{answered:?}");
    assert_eq!(ask("192.0.2.2").await, 200, "another client of the same proxy");
    // Probes are answered whoever asks.
    for _ in 0..20 {
        let mut wire = Wire::open(service.address).await;
        assert_eq!(wire.ask(HEALTH).await.status, 200);
    }
    for mut wire in wires {
        assert_eq!(wire.ask(HEALTH).await.status, 200, "none was closed");
    }
    service.stop().await;
}

/// A connection on which nothing comes stays for `idle-seconds`, and one with half a head for `header-seconds`.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_outlives_a_head_that_does_not_come() {
    let (_folder, service) = started("header-seconds = 1\nidle-seconds = 600\n").await;
    let mut idle = Wire::open(service.address).await;
    let mut used = Wire::open(service.address).await;
    assert_eq!(used.ask(HEALTH).await.status, 200);
    for begun in ["G", "GET /healthz HTTP/1.1\r\nHost: a\r\n", "\r\n\r\nGET"] {
        let mut slow = Wire::open(service.address).await;
        slow.send(begun).await;
        assert!(slow.rest().await.is_empty(), "{begun}");
        let mut slow = Wire::open(service.address).await;
        assert_eq!(slow.ask(HEALTH).await.status, 200);
        slow.send(begun).await;
        assert!(slow.rest().await.is_empty(), "{begun}");
    }
    // Seconds have passed.
    assert_eq!(used.ask(HEALTH).await.status, 200);
    assert_eq!(idle.ask(HEALTH).await.status, 200);
    service.stop().await;

    let (_folder, service) = started("header-seconds = 600\nidle-seconds = 1\n").await;
    let mut idle = Wire::open(service.address).await;
    assert!(idle.rest().await.is_empty());
    service.stop().await;
}

/// Whoever has proved who they are waits for nobody who has not, and each of their refusals is in the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_known_waits_for_nobody_who_is_not() {
    let (_folder, service) = started("connections = 4\n").await;
    let identity = service.identity(support::SHARED_SUBJECT);
    // A run that is not there: refused, and proved all the same.
    let mut honest = Wire::open(service.address).await;
    assert_eq!(honest.ask(form(OTHER_RUNNER, JWT, &identity)).await.status, 400);
    let mut crowd = Vec::new();
    for _ in 0..20 {
        let mut wire = Wire::open(service.address).await;
        wire.send("P").await;
        crowd.push(wire);
    }
    assert_eq!(honest.ask(form(RUN, JWT, &identity)).await.status, 200, "it was not closed");
    service.stop().await;
}
