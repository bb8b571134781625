//! Tokens a second of the service, each with a durable record, and what it does when it is asked for more.
//!
//! The service is a process of its own (`COUNTERSIGN`, or the release build), and so are its clients
//! within this one: connections that are kept, and ask again as soon as they are answered. Fails when a
//! token that was given is not on record, a request is not answered, or overload is answered with
//! anything but 429 and 503.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_benches::machine;
use countersign_decision_log::Reader;
use countersign_signing::{Algorithm, Signer, SigningKey};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::sign;
use serde_json::Value;
use tempfile::TempDir;

const MEASURED: Duration = Duration::from_secs(10);
const WARM: Duration = Duration::from_secs(2);
const RUN: &str = include_str!("../../examples/run.json");
const MANIFEST: &str = include_str!("../../examples/six-policies.toml");
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
const RUN_TOKEN: &str = "run-token-with-many-bits-4f1c9a7e";
/// Signed with ES256, and with RS256.
const AUDIENCES: [&str; 2] = ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];
/// How many requests the service answers at a time.
const REQUESTS: usize = 128;
const CONNECTIONS: usize = 32;

fn main() {
    println!(
        "{} Six policies decide on each token; the service and its clients share the processors.\n",
        machine()
    );
    println!("| what | a second | p50 ms | p99 ms | target |\n|---|---|---|---|---|");
    let (es256, _) = SigningKey::generate(Algorithm::Es256).expect("a key");
    let (rs256, text) = SigningKey::generate(Algorithm::Rs256).expect("a key");
    let es256 = signatures(|input| es256.sign(input).is_ok());
    let rs256 = signatures(|input| rs256.sign(input).is_ok());
    // What the library does that tokens are otherwise signed with: it parses the key each time.
    let key = EncodingKey::from_rsa_pem(text.expose().as_bytes()).expect("a key");
    let library = signatures(|input| sign(input, &key, jsonwebtoken::Algorithm::RS256).is_ok());
    println!("| signatures alone, ES256, two threads | {es256:.0} | | | |");
    println!("| signatures alone, RS256, two threads | {rs256:.0} | | | |");
    println!("| signatures alone, RS256, by jsonwebtoken, two threads | {library:.0} | | | |");

    let service = Served::start("runner-per-second = 1_000_000\nrunner-burst = 1_000_000");
    let name = format!("tokens of {CONNECTIONS} connections");
    let load = service.load(CONNECTIONS, AUDIENCES[0], MEASURED);
    load.print(&format!("{name}, ES256"), &verdict(load.rate(), 2000.0, "≥ 2,000"));
    let load = service.load(CONNECTIONS, AUDIENCES[1], MEASURED);
    let share = format!("≥ 0.8 × signatures ({:.2})", load.rate() / rs256);
    load.print(&format!("{name}, RS256"), &verdict(load.rate(), 0.8 * rs256, &share));
    let load = service.load(1, AUDIENCES[0], MEASURED);
    load.print("tokens of one connection, ES256", "");
    let overload = service.load(3 * REQUESTS, AUDIENCES[0], MEASURED);
    overload.print(
        &format!("tokens of {} connections, where {REQUESTS} are answered at a time", 3 * REQUESTS),
        &overload.refusals(503),
    );
    let issued = service.stop();
    let limited = Served::start("runner-per-second = 100\nrunner-burst = 200");
    let beyond = limited.load(CONNECTIONS, AUDIENCES[0], MEASURED);
    beyond.print("tokens of one runner that may have 100 a second", &beyond.refusals(429));
    let issued = issued + limited.stop();
    println!("\n{issued} tokens were given, and each is on record. Every request was answered.");
}

/// Signatures a second with nothing else, by two threads.
fn signatures(sign: impl Fn(&[u8]) -> bool + Sync) -> f64 {
    let input = [b'x'; 1200];
    let started = Instant::now();
    let count: u32 = thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while started.elapsed() < Duration::from_secs(3) {
                        assert!(sign(&input), "no signature");
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a count")).sum()
    });
    f64::from(count) / started.elapsed().as_secs_f64()
}

fn verdict(found: f64, target: f64, text: &str) -> String {
    if found >= target { format!("{text}: met") } else { format!("{text}: **missed**") }
}

/// What clients were answered.
#[derive(Default)]
struct Load {
    seconds: f64,
    /// By status.
    statuses: BTreeMap<u16, usize>,
    /// Of tokens, in milliseconds.
    times: Vec<f64>,
}

impl Load {
    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    fn percentile(&self, share: f64) -> f64 {
        let place =
            ((self.times.len() as f64 * share) as usize).min(self.times.len().saturating_sub(1));
        self.times.get(place).copied().unwrap_or(f64::NAN)
    }

    fn print(&self, what: &str, target: &str) {
        let (p50, p99) = (self.percentile(0.5), self.percentile(0.99));
        println!("| {what} | {:.0} | {p50:.2} | {p99:.2} | {target} |", self.rate());
    }

    /// That nothing but tokens and these was answered.
    fn refusals(&self, status: u16) -> String {
        let others: Vec<_> =
            self.statuses.keys().filter(|found| ![200, status].contains(found)).collect();
        assert!(others.is_empty(), "answered {others:?}");
        let refused = self.statuses.get(&status).copied().unwrap_or_default();
        assert!(refused > 0, "nothing was refused");
        format!("only {status} ({:.0} a second): met", refused as f64 / self.seconds)
    }
}

struct Served {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

impl Served {
    fn start(limits: &str) -> Self {
        let folder = TempDir::new_in(target()).expect("a folder");
        for (name, bytes) in countersign_policy_artifacts::POLICIES {
            fs::write(folder.path().join(format!("{name}.wasm")), bytes).expect("a policy");
        }
        let manifest = MANIFEST.replace("../target/policies/", "");
        fs::write(folder.path().join("countersign.toml"), manifest).expect("a manifest");
        let key = Command::new(program()).args(["api-key", "--format", "json"]).output();
        let key: Value = serde_json::from_slice(&key.expect("a key").stdout).expect("a key");
        let config = format!(
            "policies = \"countersign.toml\"\nstate = \"state\"\n[listen]\naddress = \"127.0.0.1:0\"\n\
             [tokens]\nes256-audiences = [\"{}\"]\n[limits]\nrequests = {REQUESTS}\nrun-per-second = 1_000_000\nrun-burst = 1_000_000\n{limits}\n\
             [[api-key]]\nname = \"bench\"\nsha256 = {}\nmay = [\"runs\"]\n",
            AUDIENCES[0], key["sha256"]
        );
        fs::write(folder.path().join("issuer.toml"), config).expect("a configuration");
        let mut child = Command::new(program())
            .args(["serve", "--config", "issuer.toml", "--no-cache"])
            .current_dir(folder.path())
            // One line for each request, as in production, read by nobody.
            .stderr(Stdio::piped())
            .spawn()
            .expect("the release build: `cargo build --release --bin countersign`");
        let mut lines = BufReader::new(child.stderr.take().expect("its log"));
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).expect("its log") > 0, "it did not start");
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            if let Some(address) = line["address"].as_str() {
                break address.parse().expect("an address");
            }
        };
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        let served = Self { folder, address, child };
        let mut run: Value = serde_json::from_str(RUN).expect("a run");
        run["spec"]["runToken"] = RUN_TOKEN.into();
        let head = format!(
            "PUT /v1/runs/{}?runner={RUNNER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\n",
            run["metadata"]["uuid"].as_str().expect("an id"),
            key["key"].as_str().expect("a key")
        );
        assert_eq!(Client::new(address).ask(&request(&head, &run.to_string())), 201);
        served
    }

    /// Asks on so many connections, each again as soon as it is answered.
    fn load(&self, connections: usize, audience: &str, time: Duration) -> Load {
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
             &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
             &subject_token={RUN_TOKEN}&run=b3116611-e08b-4b00-91c5-10365b25a6ef&audience={audience}"
        );
        let head = "POST /v1/token HTTP/1.1\r\nhost: x\r\n\
                    content-type: application/x-www-form-urlencoded\r\n";
        let request = request(head, &form);
        let (measuring, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            let clients: Vec<_> = (0..connections)
                .map(|_| {
                    scope.spawn(|| {
                        let mut client = Client::new(self.address);
                        let mut load = Load::default();
                        while !stop.load(Ordering::Relaxed) {
                            let asked = Instant::now();
                            let counts = measuring.load(Ordering::Relaxed);
                            let status = client.ask(&request);
                            if counts {
                                *load.statuses.entry(status).or_default() += 1;
                                if status == 200 {
                                    load.times.push(asked.elapsed().as_secs_f64() * 1e3);
                                }
                            }
                        }
                        load
                    })
                })
                .collect();
            thread::sleep(WARM);
            measuring.store(true, Ordering::Relaxed);
            let started = Instant::now();
            thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            let mut all = Load { seconds: started.elapsed().as_secs_f64(), ..Load::default() };
            for client in clients {
                let load = client.join().expect("a client whose requests were all answered");
                all.times.extend(load.times);
                for (status, count) in load.statuses {
                    *all.statuses.entry(status).or_default() += count;
                }
            }
            all.times.sort_by(f64::total_cmp);
            all
        })
    }

    /// Stops it, and compares what it counted with what is on record. How many tokens.
    fn stop(mut self) -> usize {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().expect("kill");
        assert!(asked.success());
        assert!(self.child.wait().expect("it ends").success(), "it did not end as it should");
        let given = GIVEN.swap(0, Ordering::Relaxed);
        let mut reader = Reader::new(&self.folder.path().join("state/log"), 1);
        let mut on_record = 0;
        while let Some(entry) = reader.read().expect("a whole log") {
            let record: Value = serde_json::from_slice(&entry.record).expect("a record");
            on_record += usize::from(record["issued"].is_object());
        }
        assert_eq!(given, on_record, "given, and on record");
        given
    }
}

/// How many tokens the clients of the running service were given.
static GIVEN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// One connection, which must be answered.
struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_nodelay(true).expect("an option");
        Self { stream, buffer: vec![0; 16 << 10] }
    }

    /// The status of the answer.
    fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).expect("a request that is taken");
        let mut filled = 0;
        loop {
            let free = self.buffer.get_mut(filled..).expect("room for an answer");
            let read = self.stream.read(free).expect("an answer");
            assert!(read > 0, "the connection was closed");
            filled += read;
            let text = self.buffer.get(..filled).unwrap_or_default();
            let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(text.get(..head).unwrap_or_default()).expect("a head");
            let length: usize = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse().ok())
                .expect("a length");
            if filled < head.len() + 4 + length {
                continue;
            }
            let status = head.get(9..12).and_then(|status| status.parse().ok()).expect("a status");
            if status == 200 {
                GIVEN.fetch_add(1, Ordering::Relaxed);
            }
            return status;
        }
    }
}

fn request(head: &str, body: &str) -> Vec<u8> {
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

fn program() -> PathBuf {
    std::env::var_os("COUNTERSIGN")
        .map_or_else(|| target().join("release/countersign"), PathBuf::from)
}
