//! A service in the place of AWS KMS that answers slowly, garbage, or with the way to somewhere else.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use countersign_aws::Credentials;
use countersign_custody::{AwsKms, AwsKmsConfig, KeyDevice};
use countersign_issuer::CustodyFailure;
use countersign_signing::Algorithm;

const KID: &str = "0123456789012345678901234567890123456789012";

/// A server that answers each request with the same bytes, and keeps the requests.
struct Server {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// It never answers where `answer` is empty.
    fn start(answer: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&requests);
        // It ends with the process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, answer, kept) = (stream.unwrap(), answer.clone(), Arc::clone(&kept));
                thread::spawn(move || serve(stream, &answer, &kept));
            }
        });
        Self { address, requests }
    }

    fn kms(&self, timeout: Duration) -> AwsKms {
        AwsKms::new(AwsKmsConfig {
            region: "eu-central-1".to_owned(),
            endpoint: Some(self.address.clone()),
            alias: "countersign".to_owned(),
            timeout,
            credentials: Box::new(|| {
                Ok(Credentials {
                    key_id: "AKIA".to_owned(),
                    secret: "very-secret".to_owned().into(),
                    session_token: Some("session".to_owned().into()),
                })
            }),
        })
        .unwrap()
    }
}

fn serve(mut stream: TcpStream, answer: &[u8], kept: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head += &line;
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    kept.lock().unwrap().push(head + &String::from_utf8(body).unwrap());
    if answer.is_empty() {
        // Until the client is gone.
        let _ = reader.read(&mut [0]);
    } else {
        let _ = stream.write_all(answer);
    }
}

fn http(status: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

#[test]
fn what_is_no_answer_of_kms_is_a_failure_with_a_code() {
    use CustodyFailure::{Busy, Malformed, Refused, Slow, Unreachable};
    let long = format!("{{\"Signature\":\"{}\"}}", "A".repeat(1 << 20));
    for (answer, expected) in [
        (http("200 OK", "<html>"), Malformed),
        (http("200 OK", "[]"), Malformed),
        (http("200 OK", "{}"), Malformed),
        (http("200 OK", "{\"Signature\":1}"), Malformed),
        (http("200 OK", "{\"Signature\":\"***\"}"), Malformed),
        (http("200 OK", &long), Malformed),
        (http("302 Found", ""), Malformed),
        (http("400 Bad Request", "nothing"), Malformed),
        (http("400 Bad Request", "{\"__type\":\"AccessDeniedException\"}"), Refused),
        (http("400 Bad Request", "{\"__type\":\"x.y#DisabledException\"}"), Refused),
        (http("400 Bad Request", "{\"__type\":\"NotFoundException\"}"), Refused),
        (http("400 Bad Request", "{\"__type\":\"ThrottlingException\"}"), Busy),
        (http("429 Too Many Requests", ""), Busy),
        (http("500 Internal Server Error", "{}"), Unreachable),
        (http("504 Gateway Timeout", ""), Slow),
        (b"garbage\r\n\r\n".to_vec(), Unreachable),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_vec(), Slow),
    ] {
        let server = Server::start(answer.clone());
        // Only the last one lasts.
        let time = if expected == Slow { 300 } else { 60_000 };
        let kms = server.kms(Duration::from_millis(time));
        let error = kms.sign(KID, Algorithm::Es256, &[0; 32]).unwrap_err();
        let answer = String::from_utf8_lossy(&answer[..answer.len().min(80)]).into_owned();
        let is_cut = answer.starts_with("HTTP/1.1 200 OK\r\ncontent-length: 9");
        assert!(
            error.failure == expected || (is_cut && error.failure == Unreachable),
            "{answer}: {error}"
        );
        assert!(
            !error.said.contains("very-secret") && !error.said.contains("127.0.0.1"),
            "{error}"
        );
    }
}

#[test]
fn a_kms_that_is_silent_or_gone_takes_no_longer_than_it_may() {
    let server = Server::start(Vec::new());
    let kms = server.kms(Duration::from_millis(200));
    let error = kms.sign(KID, Algorithm::Rs256, &[0; 32]).unwrap_err();
    assert_eq!(error.failure, CustodyFailure::Slow);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let gone = Server { address, requests: Arc::default() };
    let error = gone.kms(Duration::from_secs(60)).list().unwrap_err();
    assert_eq!(error.failure, CustodyFailure::Unreachable);
}

#[test]
fn a_request_has_a_digest_and_a_signature_and_goes_nowhere_else() {
    let elsewhere = Server::start(http("200 OK", "{}"));
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
        elsewhere.address
    );
    let server = Server::start(redirect.into_bytes());
    let kms = server.kms(Duration::from_secs(60));
    assert!(kms.sign(KID, Algorithm::Es256, &[1; 32]).is_err());
    assert!(elsewhere.requests.lock().unwrap().is_empty());
    let request = server.requests.lock().unwrap().pop().unwrap();
    for part in [
        "POST / HTTP/1.1\r\n",
        "x-amz-target: TrentService.Sign\r\n",
        "x-amz-security-token: session\r\n",
        "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-security-token;x-amz-target,",
        &format!("\"KeyId\":\"alias/countersign/{KID}\""),
        "\"MessageType\":\"DIGEST\"",
        "\"SigningAlgorithm\":\"ECDSA_SHA_256\"",
    ] {
        assert!(request.contains(part), "{part} is not in {request}");
    }
    assert!(!request.contains("very-secret"));
    // A name that leads elsewhere is no key's, and nothing is asked.
    for kid in ["", "../x", "a/b", &"x".repeat(44)] {
        assert!(kms.public(kid).unwrap().is_none(), "{kid}");
        kms.destroy(kid).unwrap();
    }
    assert!(server.requests.lock().unwrap().is_empty());
}

#[test]
fn a_list_that_does_not_end_is_none() {
    for (page, said) in [
        ("{\"Aliases\":[],\"Truncated\":true,\"NextMarker\":\"same\"}", "does not go on"),
        ("{\"Aliases\":[],\"Truncated\":true}", "does not go on"),
        ("{\"Truncated\":false}", "without aliases"),
    ] {
        let server = Server::start(http("200 OK", page));
        let error = server.kms(Duration::from_secs(60)).list().unwrap_err();
        assert!(error.said.contains(said), "{page}: {error}");
    }
}
