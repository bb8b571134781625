//! How much is asked at a time and how fast, how it ends, and TLS.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;

use countersign_issuer::{Fetch, HttpsFetch, Tls, TlsError, serve};
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

async fn until_in_flight(service: &Running, requests: usize) {
    while service.service.requests_in_flight() < requests {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_what_is_answered_at_a_time_it_says_when_to_ask_again() {
    let folder = folder();
    let config = "[limits]\nrequests = 2\nbody-seconds = 600\n".to_owned();
    let service = Running::with(folder.path(), Setup { config, ..Setup::default() }).await;
    service.register(&run(), SHARED_RUNNER).await;
    let begun = [Slow::begin(&service).await, Slow::begin(&service).await];
    until_in_flight(&service, 2).await;
    let refused = service.get("/jwks.json").await;
    assert_eq!(refused.headers()["retry-after"], "1");
    let (status, body) = answer(refused).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["error"], "temporarily_unavailable");
    assert_eq!(service.get("/healthz").await.status(), StatusCode::OK);
    for slow in begun {
        assert!(slow.end().await.starts_with("HTTP/1.1 200"));
    }
    assert_eq!(service.by_run_token(RUN, AWS).await.status(), StatusCode::OK);
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
        let response = service.by_run_token(RUN, AWS).await;
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
async fn requests_finish_when_it_is_stopped() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    service.register(&run(), SHARED_RUNNER).await;
    let begun = Slow::begin(&service).await;
    until_in_flight(&service, 1).await;
    let (address, stopping) = (service.address, tokio::spawn(service.stop()));
    // Nobody new is taken.
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let answered = begun.end().await;
    assert!(answered.starts_with("HTTP/1.1 200"), "{answered}");
    stopping.await.unwrap();
    assert_eq!(records(folder.path()).len(), 1);
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
        serve(of_server, listener, Some(of_tls), stopped).await.unwrap();
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
    let fetched = HttpsFetch::new(Some(authority)).unwrap().fetch(&url, 1 << 16).await.unwrap();
    assert_eq!(fetched, keys.bytes().await.unwrap());
    assert!(HttpsFetch::new(None).unwrap().fetch(&url, 1 << 16).await.is_err());
    // A certificate is replaced, and a broken one is not.
    assert!(tls.replace(b"x", b"y").is_err());
    tls.replace(certificate, key).unwrap();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::OK);
    // Plain HTTP is no way in.
    let mut plain = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answered = Vec::new();
    let _ = plain.read_to_end(&mut answered).await;
    assert!(!String::from_utf8_lossy(&answered).contains("alive"));
    drop(client);
    drop(stop);
    served.await.unwrap();
}
