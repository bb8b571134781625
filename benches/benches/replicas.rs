//! Tokens per second of one and of two replicas on one PostgreSQL, beside one process on SQLite.
//!
//! Services, database and clients share the processors: what counts is the processor time of a token, the database's share
//! of it included. `COUNTERSIGN` is the program, or the release build. PostgreSQL is Debian's (`.ci/postgres`).
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

#[path = "replicas/client.rs"]
mod client;
#[path = "../../host/issuer/tests/support/postgres.rs"]
mod postgres;
#[path = "tokens/usage.rs"]
#[expect(dead_code, reason = "only processor time is compared here")]
mod usage;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use countersign_benches::machine;
use serde_json::Value;
use tempfile::TempDir;

use self::client::Client;
use self::postgres::{PASSWORD, Server, url};
use self::usage::Usage;

const MEASURED: Duration = Duration::from_secs(10);
const WARM: Duration = Duration::from_secs(3);
const CONNECTIONS: usize = 32;
const RUN: &str = include_str!("../../examples/run.json");
const MANIFEST: &str = include_str!("../../examples/six-policies.toml");
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
const RUN_TOKEN: &str = "run-token-with-many-bits-4f1c9a7e";
const AUDIENCE: &str = "aws-workload-identity-provider:demo";

/// A running service.
struct Served {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

fn main() {
    println!(
        "{} Six policies decide on each token (ES256, {CONNECTIONS} connections); services, database and clients share the \
         processors.\n",
        machine()
    );
    println!(
        "| what | a second | CPU µs of a token: services | database | p50 ms | p99 ms |\n|---|---|---|---|---|---|"
    );
    let api_key = ApiKey::new();
    let sqlite = [Served::start(&api_key, None, 0)];
    measure("one process, SQLite", &sqlite, None, &api_key);
    drop(sqlite);
    let server = Server::start();
    for replicas in [1, 2] {
        server.reset();
        let first = Served::configure(&api_key, Some(server.port), 0);
        let migrate = Command::new(program())
            .args(["migrate", "--config", "issuer.toml"])
            .current_dir(first.path())
            .stdout(Stdio::null())
            .status();
        assert!(migrate.expect("a migration").success(), "no migration");
        let mut served = vec![Served::run(first)];
        served.extend((1..replicas).map(|index| Served::start(&api_key, Some(server.port), index)));
        let name = format!("{replicas} on PostgreSQL");
        measure(&name, &served, Some(&server), &api_key);
    }
}

struct ApiKey {
    key: String,
    sha256: String,
}

impl ApiKey {
    fn new() -> Self {
        let key = Command::new(program()).args(["api-key", "--format", "json"]).output();
        let key: Value = serde_json::from_slice(&key.expect("a key").stdout).expect("a key");
        let text = |name: &str| key[name].as_str().expect("a text").to_owned();
        Self { key: text("key"), sha256: text("sha256") }
    }
}

impl Served {
    fn start(api_key: &ApiKey, database: Option<u16>, index: usize) -> Self {
        Self::run(Self::configure(api_key, database, index))
    }

    fn configure(api_key: &ApiKey, database: Option<u16>, index: usize) -> TempDir {
        let folder = TempDir::new_in(target()).expect("a folder");
        for (name, bytes) in countersign_policy_artifacts::POLICIES {
            fs::write(folder.path().join(format!("{name}.wasm")), bytes).expect("a policy");
        }
        let manifest = MANIFEST.replace("../target/policies/", "");
        fs::write(folder.path().join("countersign.toml"), manifest).expect("a manifest");
        let secret = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a mode");
        };
        secret("database-password", PASSWORD);
        secret("sealing-key", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
        let (store, tables) = match database {
            None => (String::new(), String::new()),
            Some(port) => (
                format!("store = \"{}\"\n", url(port)),
                format!(
                    "[database]\npassword-file = \"database-password\"\n[replica]\nname = \"issuer-{index}\"\n\
                     [keys]\nsealing-key-file = \"sealing-key\"\n"
                ),
            ),
        };
        let config = format!(
            "policies = \"countersign.toml\"\nstate = \"state\"\n{store}{tables}[listen]\naddress = \"127.0.0.1:0\"\n\
             [tokens]\nes256-audiences = [\"{AUDIENCE}\"]\n[limits]\nrun-per-second = 1_000_000\n\
             run-burst = 1_000_000\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
             [[api-key]]\nname = \"bench\"\nsha256 = \"{}\"\nmay = [\"runs\"]\n",
            api_key.sha256
        );
        fs::write(folder.path().join("issuer.toml"), config).expect("a configuration");
        folder
    }

    fn run(folder: TempDir) -> Self {
        let mut child = Command::new(program())
            .args(["serve", "--config", "issuer.toml", "--no-cache"])
            .current_dir(folder.path())
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
        Self { folder, address, child }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // Until then the service writes there.
        let _ = self.folder.path();
    }
}

/// Loads the services alike, and prints a row.
fn measure(what: &str, served: &[Served], server: Option<&Server>, api_key: &ApiKey) {
    let mut run: Value = serde_json::from_str(RUN).expect("a run");
    run["spec"]["runToken"] = RUN_TOKEN.into();
    let id = run["metadata"]["uuid"].as_str().expect("an id").to_owned();
    let head = format!(
        "PUT /v1/runs/{id}?runner={RUNNER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\n",
        api_key.key
    );
    let registered = Client::new(served[0].address).ask(&client::request(&head, &run.to_string()));
    assert_eq!(registered, 201);
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
         &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
         &subject_token={RUN_TOKEN}&run={id}&audience={AUDIENCE}"
    );
    let head =
        "POST /v1/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    let request = client::request(head, &form);
    let (measuring, stop) = (AtomicBool::new(false), AtomicBool::new(false));
    let others = AtomicUsize::new(0);
    let (mut times, seconds, services, database) = thread::scope(|scope| {
        let clients: Vec<_> = (0..CONNECTIONS)
            .map(|number| {
                let (request, measuring, stop, others) = (&request, &measuring, &stop, &others);
                let address = served[number % served.len()].address;
                scope.spawn(move || {
                    let (mut client, mut times) = (Client::new(address), Vec::new());
                    while !stop.load(Ordering::Relaxed) {
                        let (asked, counts) = (Instant::now(), measuring.load(Ordering::Relaxed));
                        let status = client.ask(request);
                        if status != 200 {
                            others.fetch_add(1, Ordering::Relaxed);
                        } else if counts {
                            times.push(asked.elapsed().as_secs_f64() * 1e3);
                        }
                    }
                    times
                })
            })
            .collect();
        thread::sleep(WARM);
        let used = || {
            let pids = served.iter().map(|served| served.child.id().to_string());
            let services: f64 = pids.map(|pid| Usage::of(&pid).cpu_seconds).sum();
            let database = server.map_or(0.0, |server| {
                server.processes().iter().map(|pid| Usage::of(pid).cpu_seconds).sum()
            });
            (services, database)
        };
        let (started, before) = (Instant::now(), used());
        measuring.store(true, Ordering::Relaxed);
        thread::sleep(MEASURED);
        let (seconds, after) = (started.elapsed().as_secs_f64(), used());
        stop.store(true, Ordering::Relaxed);
        let times: Vec<f64> =
            clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
        (times, seconds, after.0 - before.0, after.1 - before.1)
    });
    assert_eq!(others.load(Ordering::Relaxed), 0, "requests that got no token");
    times.sort_by(f64::total_cmp);
    let count = times.len() as f64;
    let percentile = |share: f64| times[((count * share) as usize).min(times.len() - 1)];
    println!(
        "| {what} | {:.0} | {:.0} | {:.0} | {:.2} | {:.2} |",
        count / seconds,
        services * 1e6 / count,
        database * 1e6 / count,
        percentile(0.5),
        percentile(0.99)
    );
}

fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

fn program() -> PathBuf {
    std::env::var_os("COUNTERSIGN")
        .map_or_else(|| target().join("release/countersign"), PathBuf::from)
}
