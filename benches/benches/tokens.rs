//! Tokens per second of the service, each with a durable record, and its behaviour under overload.
//!
//! The service is a process of its own (`COUNTERSIGN`, or the release build). Its clients are in this one: persistent
//! connections that send the next request as soon as they have a response. Fails if an issued token has no record, a
//! request gets no response, overload gets a status other than 429 and 503, or a ratio is worse than recorded.
//!
//! `-- flame-graph es256` (or `rs256`) asks for such tokens while `perf` records the service, for `make flame-graph`.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

#[path = "tokens/usage.rs"]
mod usage;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_benches::record::{self, Ratio};
use countersign_benches::spread::Spread;
use countersign_benches::{machine, processors, runs};
use countersign_decision_log::Reader;
use countersign_signing::{Algorithm, Signer, SigningKey};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::sign;
use serde_json::Value;
use tempfile::TempDir;

use self::usage::Usage;

const MEASURED: Duration = Duration::from_secs(10);
/// In each of several runs.
const MEASURED_EACH: Duration = Duration::from_secs(4);
const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures/tokens.json");
const WARM: Duration = Duration::from_secs(2);
const RUN: &str = include_str!("../../examples/run.json");
const MANIFEST: &str = include_str!("../../examples/six-policies.toml");
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
const RUN_TOKEN: &str = "run-token-with-many-bits-4f1c9a7e";
/// Signed with ES256, and with RS256.
const AUDIENCES: [&str; 2] = ["aws-workload-identity-provider:demo", "api://AzureADTokenExchange"];
/// The maximum number of concurrent requests of the service.
const REQUESTS: usize = 128;
const CONNECTIONS: usize = 32;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip_while(|argument| argument != "flame-graph");
    if let (Some(_), algorithm) = (arguments.next(), arguments.next()) {
        record_profile(AUDIENCES[usize::from(algorithm.as_deref() == Some("rs256"))]);
        return ExitCode::SUCCESS;
    }
    println!(
        "{} Six policies decide on each token; the service and its clients share the processors.\n",
        machine()
    );
    println!(
        "| what | a second | CPU µs each | switches each | p50 ms | p99 ms | target |\n\
         |---|---|---|---|---|---|---|"
    );
    let (es256, _) = SigningKey::generate(Algorithm::Es256).expect("a key");
    let (rs256, text) = SigningKey::generate(Algorithm::Rs256).expect("a key");
    // The usual library parses the key for each signature, which is measured too.
    let key = EncodingKey::from_rsa_pem(text.expose().as_bytes()).expect("a key");
    let library =
        Signatures::measure(|input| sign(input, &key, jsonwebtoken::Algorithm::RS256).is_ok());
    // Each with a service of its own.
    let runs: Vec<_> = (0..runs()).map(|_| Run::measure(&es256, &rs256)).collect();
    let es256 = Signatures::medians(runs.iter().map(|run| run.es256));
    let rs256 = Signatures::medians(runs.iter().map(|run| run.rs256));
    es256.print("ES256");
    rs256.print("RS256");
    library.print("RS256, by jsonwebtoken");

    let name = format!("tokens of {CONNECTIONS} connections");
    let load = Load::all(runs.iter().map(|run| &run.es256_tokens));
    let beyond = format!("≥ 2,000; {}", load.beyond(es256));
    load.print(&format!("{name}, ES256"), &verdict(load.rate() >= 2000.0, &beyond));
    let load = Load::all(runs.iter().map(|run| &run.rs256_tokens));
    let beyond = format!("CPU ≤ signature + 60 µs; {}", load.beyond(rs256));
    let met = load.cpu_micros() <= rs256.cpu_micros + 60.0;
    load.print(&format!("{name}, RS256"), &verdict(met, &beyond));
    let load = Load::all(runs.iter().map(|run| &run.one_connection));
    load.print("tokens of one connection, ES256", "");
    let service = Served::start("runner-per-second = 1_000_000\nrunner-burst = 1_000_000");
    let overload = service.load(3 * REQUESTS, AUDIENCES[0], MEASURED);
    overload.print(
        &format!("tokens of {} connections, where {REQUESTS} are answered at a time", 3 * REQUESTS),
        &overload.refusals(503),
    );
    let issued = runs.iter().map(|run| run.issued).sum::<usize>() + service.stop();
    let limited = Served::start("runner-per-second = 100\nrunner-burst = 200");
    let beyond = limited.load(CONNECTIONS, AUDIENCES[0], MEASURED);
    beyond.print("tokens of one runner that may have 100 a second", &beyond.refusals(429));
    let issued = issued + limited.stop();
    println!("\n{issued} tokens were given, and each is on record. Every request was answered.");

    let ratios = ratios(&runs);
    println!("\n| figure | median of {} runs, and the extremes |\n|---|---|", runs.len());
    ratios.iter().for_each(|ratio| println!("| {} | {} |", ratio.name(), ratio.spread()));
    let holds = record::holds(Path::new(RECORDED), &processors(), &ratios).expect("a record");
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The figures of each run that are compared with the record.
fn ratios(runs: &[Run]) -> Vec<Ratio> {
    let of = |figure: fn(&Run) -> f64| Spread::of(runs.iter().map(figure));
    vec![
        Ratio::higher(
            "tokens ÷ signatures alone, ES256",
            of(|run| run.es256_tokens.rate() / run.es256.rate),
        ),
        Ratio::higher(
            "tokens ÷ signatures alone, RS256",
            of(|run| run.rs256_tokens.rate() / run.rs256.rate),
        ),
        Ratio::lower(
            "the service's own CPU µs of a token, ES256",
            of(|run| run.es256_tokens.cpu_micros()),
        ),
        Ratio::lower(
            "the service's own CPU µs of a token, RS256",
            of(|run| run.rs256_tokens.cpu_micros()),
        ),
    ]
}

/// One of several runs: signatures alone, and next to them the tokens of a service of its own.
struct Run {
    es256: Signatures,
    rs256: Signatures,
    es256_tokens: Load,
    rs256_tokens: Load,
    one_connection: Load,
    issued: usize,
}

impl Run {
    fn measure(es256: &SigningKey, rs256: &SigningKey) -> Self {
        let es256 = Signatures::measure(|input| es256.sign(input).is_ok());
        let rs256 = Signatures::measure(|input| rs256.sign(input).is_ok());
        let service = Served::start("runner-per-second = 1_000_000\nrunner-burst = 1_000_000");
        let es256_tokens = service.load(CONNECTIONS, AUDIENCES[0], MEASURED_EACH);
        let rs256_tokens = service.load(CONNECTIONS, AUDIENCES[1], MEASURED_EACH);
        let one_connection = service.load(1, AUDIENCES[0], MEASURED_EACH);
        let issued = service.stop();
        Self { es256, rs256, es256_tokens, rs256_tokens, one_connection, issued }
    }
}

/// Asks for tokens while `perf` records the service into the file that `PERF_DATA` names, and prints the service's own
/// processor time of a token in microseconds.
fn record_profile(audience: &str) {
    let file = std::env::var_os("PERF_DATA").expect("PERF_DATA");
    let service = Served::start("runner-per-second = 1_000_000\nrunner-burst = 1_000_000");
    let mut perf = Command::new("perf")
        .args(["record", "--quiet", "--freq", "299", "--call-graph", "dwarf,32768", "--pid"])
        .arg(service.child.id().to_string())
        .arg("--output")
        .arg(file)
        .spawn()
        .expect("`perf`");
    let load = service.load(CONNECTIONS, audience, MEASURED);
    let stopped = Command::new("kill").args(["-INT", &perf.id().to_string()]).status();
    assert!(stopped.expect("kill").success());
    // It ends as the signal ends it, with the file complete.
    perf.wait().expect("the end of `perf`");
    println!("{:.1}", load.cpu_micros());
    service.stop();
}

/// Signatures and nothing else, on two threads.
#[derive(Clone, Copy)]
struct Signatures {
    rate: f64,
    /// Of one signature.
    cpu_micros: f64,
}

impl Signatures {
    fn measure(sign: impl Fn(&[u8]) -> bool + Sync) -> Self {
        let input = [b'x'; 1200];
        let (started, before) = (Instant::now(), Usage::of("self"));
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
        let (count, used) = (f64::from(count), Usage::of("self").since(before));
        let rate = count / started.elapsed().as_secs_f64();
        Self { rate, cpu_micros: used.cpu_seconds * 1e6 / count }
    }

    /// The medians of several runs.
    fn medians(runs: impl Iterator<Item = Self> + Clone) -> Self {
        Self {
            rate: Spread::of(runs.clone().map(|run| run.rate)).median,
            cpu_micros: Spread::of(runs.map(|run| run.cpu_micros)).median,
        }
    }

    fn print(self, what: &str) {
        let Self { rate, cpu_micros } = self;
        println!("| signatures alone, {what}, two threads | {rate:.0} | {cpu_micros:.0} | | | | |");
    }
}

fn verdict(met: bool, text: &str) -> String {
    if met { format!("{text}: met") } else { format!("{text}: **missed**") }
}

/// The responses that the clients got.
#[derive(Default)]
struct Load {
    seconds: f64,
    /// The number of responses by status.
    statuses: BTreeMap<u16, usize>,
    /// The latencies of tokens, in milliseconds.
    times: Vec<f64>,
    /// The service's own use meanwhile.
    used: Usage,
}

impl Load {
    /// The responses of several runs as those of one.
    fn all<'l>(runs: impl Iterator<Item = &'l Self>) -> Self {
        let mut all = Self::default();
        for run in runs {
            all.seconds += run.seconds;
            all.times.extend(&run.times);
            for (status, count) in &run.statuses {
                *all.statuses.entry(*status).or_default() += count;
            }
            all.used.cpu_seconds += run.used.cpu_seconds;
            all.used.switches += run.used.switches;
        }
        all.times.sort_by(f64::total_cmp);
        all
    }

    fn rate(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    fn responses(&self) -> f64 {
        self.statuses.values().sum::<usize>() as f64
    }

    /// The service's own processor time of one response, in microseconds: the clients' is not in it.
    fn cpu_micros(&self) -> f64 {
        self.used.cpu_seconds * 1e6 / self.responses()
    }

    /// A token's processor time: that of its signature, and the rest.
    fn beyond(&self, signature: Signatures) -> String {
        let (signature, all) = (signature.cpu_micros, self.cpu_micros());
        format!("signature {signature:.0} µs + {:.0}", all - signature)
    }

    fn percentile(&self, share: f64) -> f64 {
        let place =
            ((self.times.len() as f64 * share) as usize).min(self.times.len().saturating_sub(1));
        self.times.get(place).copied().unwrap_or(f64::NAN)
    }

    fn print(&self, what: &str, target: &str) {
        let (p50, p99) = (self.percentile(0.5), self.percentile(0.99));
        let (cpu, switches) = (self.cpu_micros(), self.used.switches / self.responses());
        println!(
            "| {what} | {:.0} | {cpu:.0} | {switches:.1} | {p50:.2} | {p99:.2} | {target} |",
            self.rate()
        );
    }

    /// Asserts that there were no responses but tokens and these statuses.
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
            // One log line for each request, as in production, which nobody reads.
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

    /// Sends requests on that many connections, each one as soon as the last has its response.
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
            let pid = self.child.id().to_string();
            measuring.store(true, Ordering::Relaxed);
            let (started, before) = (Instant::now(), Usage::of(&pid));
            thread::sleep(time);
            let used = Usage::of(&pid).since(before);
            stop.store(true, Ordering::Relaxed);
            let seconds = started.elapsed().as_secs_f64();
            let mut all = Load { seconds, used, ..Load::default() };
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

    /// Stops the service, compares its counters with the records, and returns the number of tokens.
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

/// The number of tokens issued to the clients of the running service.
static GIVEN: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// One connection, whose requests must get a response.
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

    /// Returns the status of the response.
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
