//! Services of the release build, each a process with a folder of its own, and a load of token exchanges on them.

mod client;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use self::client::Client;

const MEASURED: Duration = Duration::from_secs(10);
const READY: Duration = Duration::from_secs(30);
const WARM: Duration = Duration::from_secs(3);
const RUN: &str = include_str!("../../../examples/run.json");
const MANIFEST: &str = include_str!("../../../examples/six-policies.toml");
const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
const RUN_TOKEN: &str = "run-token-with-many-bits-4f1c9a7e";
const AUDIENCE: &str = "aws-workload-identity-provider:demo";

/// The connections of a load, each of which has one request on its way.
pub(crate) const CONNECTIONS: usize = 32;

/// A running service.
pub(crate) struct Served {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
}

/// The key of the control plane.
pub(crate) struct ApiKey {
    key: String,
    sha256: String,
}

/// The tokens of a load.
pub(crate) struct Load {
    /// Of tokens, in milliseconds, sorted.
    times: Vec<f64>,
    seconds: f64,
    /// The use of processors by processes that the caller names, in seconds.
    used: Vec<f64>,
}

impl ApiKey {
    pub(crate) fn new() -> Self {
        let key = Command::new(program()).args(["api-key", "--format", "json"]).output();
        let key: Value = serde_json::from_slice(&key.expect("a key").stdout).expect("a key");
        let text = |name: &str| key[name].as_str().expect("a text").to_owned();
        Self { key: text("key"), sha256: text("sha256") }
    }
}

impl Served {
    /// A folder with six policies, and a configuration of a service that has `top` before its tables, and `tables` among them.
    pub(crate) fn configure(api_key: &ApiKey, top: &str, tables: &str) -> TempDir {
        let folder = TempDir::new_in(target()).expect("a folder");
        for (name, bytes) in countersign_policy_artifacts::POLICIES {
            fs::write(folder.path().join(format!("{name}.wasm")), bytes).expect("a policy");
        }
        let manifest = MANIFEST.replace("../target/policies/", "");
        fs::write(folder.path().join("countersign.toml"), manifest).expect("a manifest");
        let config = format!(
            "policies = \"countersign.toml\"\nstate = \"state\"\n{top}{tables}[listen]\naddress = \"127.0.0.1:0\"\n\
             [tokens]\nes256-audiences = [\"{AUDIENCE}\"]\n[limits]\nrun-per-second = 1_000_000\n\
             run-burst = 1_000_000\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
             [[api-key]]\nname = \"bench\"\nsha256 = \"{}\"\nmay = [\"runs\"]\n",
            api_key.sha256
        );
        fs::write(folder.path().join("issuer.toml"), config).expect("a configuration");
        folder
    }

    pub(crate) fn run(folder: TempDir) -> Self {
        let mut child = Command::new(program())
            .args(["serve", "--config", "issuer.toml", "--no-cache"])
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the release build: `cargo build --release --bin countersign`");
        let mut lines = BufReader::new(child.stderr.take().expect("its log"));
        let mut logged = String::new();
        let address = loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("its log");
            assert!(read > 0, "it did not start: {logged}");
            logged.push_str(&line);
            let line: Value = serde_json::from_str(&line).expect("a line of JSON");
            if let Some(address) = line["address"].as_str() {
                break address.parse().expect("an address");
            }
        };
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        // The first key of an installation signs from the next second of the database's clock on.
        let mut client = Client::new(address);
        let started = Instant::now();
        while client.ask(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n") != 200 {
            assert!(started.elapsed() < READY, "it is not ready: {}", client.response());
            thread::sleep(Duration::from_millis(20));
        }
        Self { folder, address, child }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Load {
    /// Loads the services alike, and asks `used` for the use of processors before and after.
    pub(crate) fn on(served: &[Served], api_key: &ApiKey, used: impl Fn() -> Vec<f64>) -> Self {
        let request = registered(&served[0], api_key);
        let (measuring, stop) = (AtomicBool::new(false), AtomicBool::new(false));
        let others = Mutex::new(Vec::new());
        let mut load = thread::scope(|scope| {
            let clients: Vec<_> = (0..CONNECTIONS)
                .map(|number| {
                    let (request, measuring, stop, others) = (&request, &measuring, &stop, &others);
                    let address = served[number % served.len()].address;
                    scope.spawn(move || {
                        let (mut client, mut times) = (Client::new(address), Vec::new());
                        while !stop.load(Ordering::Relaxed) {
                            let (asked, counts) =
                                (Instant::now(), measuring.load(Ordering::Relaxed));
                            let status = client.ask(request);
                            if status != 200 {
                                others.lock().expect("no panic").push(client.response());
                            } else if counts {
                                times.push(asked.elapsed().as_secs_f64() * 1e3);
                            }
                        }
                        times
                    })
                })
                .collect();
            thread::sleep(WARM);
            let (started, before) = (Instant::now(), used());
            measuring.store(true, Ordering::Relaxed);
            thread::sleep(MEASURED);
            let (seconds, after) = (started.elapsed().as_secs_f64(), used());
            stop.store(true, Ordering::Relaxed);
            let times =
                clients.into_iter().flat_map(|client| client.join().expect("a client")).collect();
            let used = after.iter().zip(before).map(|(after, before)| after - before).collect();
            Self { times, seconds, used }
        });
        let others = others.into_inner().expect("no panic");
        assert!(others.is_empty(), "{} requests got no token: {}", others.len(), others[0]);
        assert!(!load.times.is_empty(), "no token");
        load.times.sort_by(f64::total_cmp);
        load
    }

    pub(crate) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.seconds
    }

    /// The use of processors for a token by each that was asked for, in microseconds.
    pub(crate) fn micros(&self) -> impl Iterator<Item = f64> {
        self.used.iter().map(|used| used * 1e6 / self.times.len() as f64)
    }

    /// The time that this share of tokens does not exceed, in milliseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let index = (self.times.len() as f64 * share) as usize;
        self.times[index.min(self.times.len() - 1)]
    }
}

/// Registers a run, and returns a request for a token of it.
fn registered(served: &Served, api_key: &ApiKey) -> Vec<u8> {
    let mut run: Value = serde_json::from_str(RUN).expect("a run");
    run["spec"]["runToken"] = RUN_TOKEN.into();
    let id = run["metadata"]["uuid"].as_str().expect("an id").to_owned();
    let head = format!(
        "PUT /v1/runs/{id}?runner={RUNNER} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\n",
        api_key.key
    );
    let status = Client::new(served.address).ask(&client::request(&head, &run.to_string()));
    assert_eq!(status, 201);
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
         &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
         &subject_token={RUN_TOKEN}&run={id}&audience={AUDIENCE}"
    );
    let head =
        "POST /v1/token HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    client::request(head, &form)
}

/// Writes a file that its owner alone can read.
pub(crate) fn secret(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

pub(crate) fn target() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")
}

/// The program of the services: `COUNTERSIGN`, or the release build.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("COUNTERSIGN")
        .map_or_else(|| target().join("release/countersign"), PathBuf::from)
}
