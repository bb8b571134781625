//! Traces of a service: a collector has them, and none that fails is in a token's way.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/service.rs"]
mod service;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::Value;
use service::{AWS, Client, RUN_ID, RUN_TOKEN, Served, configure, run};
use support::{countersign, folder};

const LIMITS: &str = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                      run-per-second = 1_000_000\nrun-burst = 1_000_000\n";
const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// A collector that answers each request with a status, and passes on what it got; or never answers.
fn collector(status: Option<u16>) -> (SocketAddr, Receiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (got, requests) = channel();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let Some(status) = status else {
                kept.push(stream);
                continue;
            };
            let got = got.clone();
            thread::spawn(move || {
                while let Some(request) = request(&mut stream) {
                    let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
                    if got.send(request).is_err() || stream.write_all(answer.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, requests)
}

fn request(stream: &mut TcpStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().ok()?;
        }
        head.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

fn serve(folder: &Path, address: &str, more: &[(&str, &str)]) -> Served {
    let mut variables = vec![
        ("OTEL_EXPORTER_OTLP_ENDPOINT", address),
        ("OTEL_TRACES_SAMPLER", "always_on"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=a%20secret"),
        // Nobody listens there: the collector is reached through no proxy of the environment.
        ("HTTP_PROXY", "http://127.0.0.1:9"),
        ("http_proxy", "http://127.0.0.1:9"),
    ];
    variables.extend_from_slice(more);
    Served::start_with(folder, &variables)
}

/// A token of the run, with a parent that its caller names.
fn token(client: &mut Client) -> u16 {
    let body = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
         &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
         &subject_token={RUN_TOKEN}&run={RUN_ID}&audience={AWS}"
    );
    let headers =
        format!("content-type: application/x-www-form-urlencoded\r\ntraceparent: {PARENT}\r\n");
    client.ask("POST", "/v1/token", &headers, &body).unwrap().status
}

fn dropped(served: &Served, api_key: &str) -> u64 {
    let headers = format!("authorization: Bearer {api_key}\r\n");
    let answer = Client::new(served.address).unwrap().ask("GET", "/metrics", &headers, "").unwrap();
    let line =
        answer.text.lines().find(|line| line.starts_with("countersign_spans_dropped_total "));
    line.unwrap().rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn contains(body: &[u8], text: &[u8]) -> bool {
    body.windows(text.len()).any(|window| window == text)
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|place| u8::from_str_radix(&text[2 * place..2 * place + 2], 16).unwrap())
        .collect()
}

#[test]
fn a_collector_has_the_spans_of_a_token_and_none_of_its_secrets() {
    let folder = folder();
    let api_key = configure(folder.path(), LIMITS);
    let (address, requests) = collector(Some(200));
    let served = serve(folder.path(), &format!("http://{address}"), &[]);
    assert_eq!(served.register(&api_key, &run()).status, 201);
    let answer = served.token();
    assert_eq!(answer.status, 200);
    let mut client = Client::new(served.address).unwrap();
    assert_eq!(token(&mut client), 200);
    assert_eq!(served.stop(), 0);
    let (mut heads, mut all) = (String::new(), Vec::new());
    while let Ok((head, body)) = requests.try_recv() {
        heads.push_str(&head);
        all.extend(body);
    }
    assert!(heads.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{heads}");
    let lower = heads.to_lowercase();
    assert!(lower.contains("content-type: application/x-protobuf"), "{heads}");
    assert!(lower.contains("x-collector-key: a secret"), "{heads}");
    for expected in [
        "service.name",
        "countersign",
        "PUT /v1/runs/{uuid}",
        "POST /v1/token",
        "authenticate",
        "decide",
        "sign",
        "append",
        "sync",
        "consumers-of-my-workspace",
        "countersign.verdict",
        "permit",
        "countersign.fuel",
        "http.response.status_code",
    ] {
        assert!(contains(&all, expected.as_bytes()), "{expected}");
    }
    // The caller's trace is linked, and is no trace of ours.
    let (trace, span) = (hex(&PARENT[3..35]), hex(&PARENT[36..52]));
    assert!(contains(&all, &[&[0x0a, 16], trace.as_slice(), &[0x12, 8], span.as_slice()].concat()));
    let token = answer.body["access_token"].as_str().unwrap();
    for secret in [
        RUN_TOKEN,
        token,
        api_key.as_str(),
        RUN_ID,
        "system:serviceaccount",
        "a secret",
        "68ce5455-2a4a",
    ] {
        assert!(!contains(&all, secret.as_bytes()), "{secret}");
    }
    // The record names its trace, beside the decision; and the log has nothing of the collector's key.
    let shown = countersign(folder.path(), "log show state/log --format json");
    let records: Vec<Value> =
        shown.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of_tokens = records.iter().filter(|record| record["record"]["kind"] == "token");
    for record in of_tokens {
        let id = record["record"]["trace"].as_str().unwrap();
        assert!(contains(&all, &hex(id)), "{id}");
        assert!(record["record"]["decision"].get("trace").is_some_and(Value::is_array));
        assert!(!record["record"]["decision"].to_string().contains(id));
    }
    let replayed = countersign(folder.path(), "replay state/log --policies countersign.toml");
    assert_eq!(replayed.status, 0, "{replayed:?}");
}

/// Whatever is wrong with a collector, tokens are issued, what is lost is counted, and the service stops.
#[test]
fn a_collector_that_fails_is_in_nobody_s_way() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (failing, _requests) = collector(Some(500));
    let (hanging, _none) = collector(None);
    for (address, counts) in [(gone, true), (failing, true), (hanging, false)] {
        let folder = folder();
        let api_key = configure(folder.path(), LIMITS);
        let served = serve(folder.path(), &format!("http://{address}"), &[]);
        assert_eq!(served.register(&api_key, &run()).status, 201);
        // More than are queued, since nothing of the hanging one's is taken.
        let mut client = Client::new(served.address).unwrap();
        for _ in 0..if counts { 20 } else { 1400 } {
            assert_eq!(client.token(RUN_ID).unwrap().status, 200);
        }
        // Those that failed are known when their request is over.
        let counted = (0..600).any(|_| {
            let dropped = dropped(&served, &api_key) > 0;
            if !dropped {
                thread::sleep(std::time::Duration::from_millis(50));
            }
            dropped
        });
        assert!(counted, "{address}");
        assert_eq!(served.stop(), 0);
        assert_eq!(countersign(folder.path(), "log verify state/log").status, 0);
    }
}

#[test]
fn what_is_not_supported_ends_the_start() {
    let folder = folder();
    configure(folder.path(), LIMITS);
    for (name, value) in [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ("OTEL_TRACES_SAMPLER", "mine"),
    ] {
        let output = support::command(folder.path())
            .args(["serve", "--config", "issuer.toml"])
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
            .env(name, value)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let logged = String::from_utf8_lossy(&output.stderr);
        assert!(logged.contains(name) && !logged.contains("secret"), "{logged}");
    }
    assert!(!fs::exists(folder.path().join("state/log")).unwrap());
}

/// An implementation of OTLP that shares no code with this one. `make analysis` installs it.
#[test]
#[ignore = "needs oteltap: `make analysis`"]
fn oteltap_reads_the_spans() {
    let installed = std::env::var_os("COUNTERSIGN_ANALYSIS").expect("`make analysis` names it");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/analysis/spans.py");
    let mut sink = Command::new(PathBuf::from(installed).join("python/bin/python"))
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(sink.stdout.take().unwrap()).lines();
    let endpoint = lines.next().unwrap().unwrap();
    let folder = folder();
    let api_key = configure(folder.path(), LIMITS);
    let served = serve(folder.path(), &endpoint, &[]);
    assert_eq!(served.register(&api_key, &run()).status, 201);
    assert_eq!(served.token().status, 200);
    let mut client = Client::new(served.address).unwrap();
    assert_eq!(token(&mut client), 200);
    assert_eq!(served.stop(), 0);
    drop(sink.stdin.take());
    let spans: Vec<Value> =
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    assert!(sink.wait().unwrap().success());
    let named = |name: &str| {
        spans
            .iter()
            .find(|span| span["name"] == name)
            .unwrap_or_else(|| panic!("{name}: {spans:?}"))
    };
    let request = named("POST /v1/token");
    assert_eq!((&request["kind"], &request["parent"]), (&Value::from(2), &Value::from("")));
    for name in ["decide", "sign", "append", "sync"] {
        let span = named(name);
        assert_eq!(span["trace"], request["trace"], "{name}");
        assert_eq!(span["parent"], request["id"], "{name}");
        assert!(
            span["start"].as_u64() >= request["start"].as_u64()
                && span["end"].as_u64() >= span["start"].as_u64()
        );
    }
    assert!(spans.iter().any(|span| span["name"] == "authenticate"));
    let events = named("decide")["events"].as_array().unwrap();
    assert!(!events.is_empty());
    assert!(
        events.iter().all(|event| event["countersign.fuel"].as_u64().is_some_and(|fuel| fuel > 0)),
        "{events:?}"
    );
    assert!(
        spans.iter().any(|span| span["links"] == serde_json::json!([&PARENT[3..35]])),
        "{spans:?}"
    );
    assert_eq!(request["attributes"]["http.response.status_code"], 200);
}
