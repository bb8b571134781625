//! Requests for a signature that are never read: too large, too slow, or none of the protocol. Each is refused, and on record.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::convert::Infallible;
use std::path::Path;

use futures_util::StreamExt as _;
use http_body_util::StreamBody;
use hyper::Request;
use hyper::body::{Bytes, Frame};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::api_server::{ApiServer, NoToken};
use support::{API_SERVER, Running, encoded, folder, pod_claims};
use tokio::net::UnixStream;
use tonic::{Code, Status};

/// Asks for a signature with a body of these bytes, which does not end, or does; and returns the status of the answer.
async fn asked(socket: &Path, bytes: Vec<u8>, ends: bool) -> Status {
    let stream = UnixStream::connect(socket).await.unwrap();
    let connected = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = connected.unwrap();
    let connection = tokio::spawn(connection);
    let frame = Ok::<_, Infallible>(Frame::data(Bytes::from(bytes)));
    let begun = futures_util::stream::iter([frame]);
    let body = match ends {
        true => begun.boxed(),
        false => begun.chain(futures_util::stream::pending()).boxed(),
    };
    let request = Request::post("http://localhost/v1.ExternalJWTSigner/Sign")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(StreamBody::new(body))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    connection.abort();
    Status::from_header_map(answer.headers()).unwrap()
}

/// A message with its head.
fn message(length: u32, bytes: &[u8]) -> Vec<u8> {
    [&[0][..], &length.to_be_bytes(), bytes].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_never_read_is_refused_and_on_record() {
    let folder = folder();
    let running = Running::start(folder.path()).await;
    let mut api_server = ApiServer::start(&running.socket).await.unwrap();
    let huge = api_server.token(&"A".repeat(1 << 20)).await.unwrap_err();
    assert!(
        matches!(&huge, NoToken::Refused(status) if status.code() == Code::OutOfRange),
        "{}",
        huge.text()
    );
    let mut number = 1;
    let mut on_record = |text: &str| {
        let records = running.records();
        assert_eq!(records.len(), number, "{text}");
        let record = &records[number - 1];
        assert_eq!(record["reasons"][0]["code"], "request-unread", "{record}");
        assert!(record["reasons"][0]["message"].as_str().unwrap().contains(text), "{record}");
        assert!(record["issued"].is_null() && record["service_account"].is_null(), "{record}");
        assert!(record["requester"]["api_server"]["uid"].is_u64(), "{record}");
        number += 1;
    };
    on_record("message");
    // A field that says that it is longer than the message.
    let none = asked(&running.socket, message(2, &[0x0a, 0x7f]), true).await;
    assert_eq!(none.code(), Code::Internal, "{none}");
    on_record("");
    // Bytes that never come.
    let slow = asked(&running.socket, message(100, b"\x0a"), false).await;
    assert_eq!(slow.code(), Code::DeadlineExceeded, "{slow}");
    on_record("in time");
    // The others are answered meanwhile and after.
    let claims = encoded(&pod_claims(API_SERVER, 3600, running.now()));
    api_server.token(&claims).await.unwrap();
    assert_eq!(running.records().len(), 4);
    let metrics = running.service.as_ref().unwrap().metrics_text().unwrap();
    let metrics = String::from_utf8(metrics).unwrap();
    for line in [
        "countersign_refusals_total{code=\"request-unread\"} 3",
        "countersign_service_account_requests_total{outcome=\"refused\"} 3",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    running.stop().await;
}
