//! Limits of concurrency and rate, shutdown, and TLS.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::sync::Arc;

use countersign_deployment::HttpsFetch;
use countersign_http::{Listeners, Tls, TlsError, serve};
use countersign_issuer::{Fetch, FetchErrorKind};
use reqwest::{Certificate, Client, StatusCode};
use support::{
    ACCESS_TOKEN, AWS, GRANT, RUN, RUN_TOKEN, Running, SHARED_RUNNER, Setup, answer, folder,
    records, run,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// A request whose body comes in two parts.
struct Slow {
    stream: TcpStream,
    rest: String,
}

impl Slow {
    async fn begin(service: &Running) -> Self {
        let body = format!(
            "grant_type={GRANT}&subject_token_type={ACCESS_TOKEN}&subject_token={RUN_TOKEN}&run={RUN}&audience={AWS}"
        );
        let (begun, rest) = body.split_at(10);
        let head = format!(
            "POST /v1/token HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{begun}",
            body.len()
        );
        let mut stream = TcpStream::connect(service.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        Self { stream, rest: rest.to_owned() }
    }

    async fn end(mut self) -> String {
        self.stream.write_all(self.rest.as_bytes()).await.unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).await.unwrap();
        answer
    }
}

/// Whoever holds one run's token does not use up what all runs of its runner share; one that has ended
/// takes nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_not_use_up_its_runners_share() {
    let folder = folder();
    let config =
        "[limits]\nrunner-per-second = 1\nrunner-burst = 40\nrun-per-second = 1\nrun-burst = 2\n";
    let setup = Setup { config: config.to_owned(), ..Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    service.register(&run(), SHARED_RUNNER).await;
    let ended = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    service.register(&support::run_of(ended, "team-a", support::OTHER_RUNNER), SHARED_RUNNER).await;
    service.finish(ended).await;
    let (mut refused, mut of_ended) = (0, Vec::new());
    for _ in 0..60 {
        of_ended.push(service.by_run_token(ended, AWS).await.status());
        let status = service.by_run_token(RUN, AWS).await.status();
        refused += usize::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 0);
    // Each is on record, so it has the rate of its run.
    assert_eq!(of_ended[..2], [StatusCode::FORBIDDEN; 2]);
    of_ended.retain(|status| *status != StatusCode::TOO_MANY_REQUESTS);
    assert!(of_ended.len() < 60, "{of_ended:?}");
    assert!(of_ended.iter().all(|status| *status == StatusCode::FORBIDDEN), "{of_ended:?}");
    let on_record = support::all_records(folder.path());
    let refusals = on_record.iter().filter(|record| record["kind"] == "refused");
    assert_eq!(refusals.count(), of_ended.len());
    let identity = service.identity(support::SHARED_SUBJECT);
    assert_eq!(service.by_identity(RUN, &identity).await.status(), StatusCode::OK);
    service.stop().await;
}

/// However many bodies do not come, whoever says all that they want to is answered.
#[tokio::test(flavor = "multi_thread")]
async fn slow_requests_take_nobodys_place() {
    let folder = folder();
    let config = "[limits]\nrequests = 1\nbody-seconds = 600\n".to_owned();
    let service = Running::with(folder.path(), Setup { config, ..Setup::default() }).await;
    service.register(&run(), SHARED_RUNNER).await;
    let mut begun = Vec::new();
    for _ in 0..20 {
        begun.push(Slow::begin(&service).await);
        assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
    }
    assert!(begun.pop().unwrap().end().await.starts_with("HTTP/1.1"));
    drop(begun);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_asks_too_often_waits_and_others_do_not() {
    let folder = folder();
    let config = "[limits]\nrunner-per-second = 1\nrunner-burst = 2\n".to_owned();
    let service = Running::with(folder.path(), Setup { config, ..Setup::default() }).await;
    service.register(&run(), SHARED_RUNNER).await;
    let other = support::run_of(support::OTHER_RUNNER, "team-a", support::OTHER_RUNNER);
    service.register(&other, support::OTHER_RUNNER).await;
    let mut refused = 0;
    for _ in 0..20 {
        let identity = service.identity(support::SHARED_SUBJECT);
        let response = service.by_identity(RUN, &identity).await;
        if response.status() == StatusCode::TOO_MANY_REQUESTS {
            let wait: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
            assert!((1..=3).contains(&wait), "{wait}");
            assert_eq!(answer(response).await.1["error"], "too_many_requests");
            refused += 1;
        }
    }
    assert!(refused > 0);
    assert_eq!(service.by_run_token(support::OTHER_RUNNER, AWS).await.status(), StatusCode::OK);
    // Whoever cannot say who they are uses up nobody's share.
    assert_eq!(records(folder.path()).len(), 20 - refused + 1);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_speaks_tls_where_it_has_a_certificate() {
    let authority = include_bytes!("data/tls-authority.pem");
    let (certificate, key) =
        (include_bytes!("data/tls-certificate.pem"), include_bytes!("data/tls-key.pem"));
    assert!(matches!(Tls::new(certificate, certificate), Err(TlsError::Pem)));
    assert!(matches!(Tls::new(authority, key), Err(TlsError::Unusable(_))));
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let tls = Arc::new(Tls::new(certificate, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (stop, stopped) = oneshot::channel::<()>();
    let (of_server, of_tls) = (Arc::clone(&service.service), Arc::clone(&tls));
    let served = tokio::spawn(async move {
        let stopped = async {
            let _ = stopped.await;
        };
        serve(
            of_server,
            Listeners { main: listener, tls: Some(of_tls), probes: None, console: None },
            stopped,
        )
        .await
        .unwrap();
    });
    let url = format!("https://localhost:{port}/jwks.json");
    let client = Client::builder()
        .no_proxy()
        .tls_certs_only([Certificate::from_pem(authority).unwrap()])
        .build()
        .unwrap();
    let keys = client.get(&url).send().await.unwrap();
    assert_eq!(keys.status(), StatusCode::OK);
    // Its own way of fetching keys verifies too, and refuses whom it does not know.
    let fetched =
        HttpsFetch::new(Some(authority), None, None).unwrap().fetch(&url, 1 << 16).await.unwrap();
    assert_eq!(fetched.bytes, keys.bytes().await.unwrap());
    let error = HttpsFetch::new(None, None, None).unwrap().fetch(&url, 1 << 16).await.unwrap_err();
    assert_eq!(error.kind, FetchErrorKind::Connection);
    assert!(error.problem.contains("invalid peer certificate: UnknownIssuer"), "{error}");
    // A certificate is replaced, and a broken one is not.
    let now = tls.validity().not_before;
    assert!(tls.replace(b"x", b"y", now).is_err());
    tls.replace(certificate, key, now).unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
    // Plain HTTP is not accepted.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answered = Vec::new();
    let _ = plain.read_to_end(&mut answered).await;
    assert!(!String::from_utf8_lossy(&answered).contains("alive"));
    drop(client);
    drop(stop);
    served.await.unwrap();
}
