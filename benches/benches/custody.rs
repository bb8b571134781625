//! Signatures and tokens per second by the custody of the keys: a folder, an encrypted folder, SoftHSM by one, two and four helper
//! processes, and a stand-in of AWS KMS.
//!
//! Signatures are those of `countersign keys probe`, which verifies each; tokens those of a service, decided on, on record and
//! signed. Service, device and clients share the processors. `COUNTERSIGN` is the program, or the release build;
//! `COUNTERSIGN_ANALYSIS` the folder of Python's tools (`e2e/analysis/readers.sh`). Fails where a request gets no token.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::indexing_slicing, reason = "a bench")]

mod served;
#[path = "tokens/usage.rs"]
#[expect(dead_code, reason = "only processor time is compared here")]
mod usage;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use countersign_benches::machine;
use serde_json::Value;

use self::served::{ApiKey, CONNECTIONS, Load, Served, program, secret};
use self::usage::Usage;

const PIN: &str = "73190428";

/// The seconds for each key.
const SECONDS: &str = "5";

/// Signatures at a time.
const THREADS: usize = 8;

fn main() {
    println!(
        "{} `keys probe` with {THREADS} signatures at a time for {SECONDS} s; tokens of six policies (ES256, {CONNECTIONS} \
         connections). Service, device and clients share the processors.\n",
        machine()
    );
    println!(
        "| keys in | ES256 signatures a second | median; p99 ms | RS256 | median; p99 ms | tokens a second | CPU µs of a token: \
         service | helpers | p50; p99 ms |\n|---|---|---|---|---|---|---|---|---|"
    );
    measure("a folder", |_| String::new());
    measure("an encrypted folder", |folder| {
        secret(&folder.join("sealing-key"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
        "[keys]\ncustody = \"encrypted-folder\"\nsealing-key-file = \"sealing-key\"\n".to_owned()
    });
    for processes in [1, 2, 4] {
        let name = format!("SoftHSM, {processes} of `processes`");
        measure(&name, |folder| token(folder, processes));
    }
    let (_kms, address) = stand_in();
    measure("AWS KMS's stand-in (Python, one process)", |folder| kms(folder, &address));
}

/// Measures a custody, whose tables of the configuration `keys` gives for a folder, and prints a row.
fn measure(name: &str, keys: impl Fn(&Path) -> String) {
    let api_key = ApiKey::new();
    let folder = Served::configure(&api_key, "", "");
    let config = folder.path().join("issuer.toml");
    let text = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, text + &keys(folder.path())).expect("a configuration");
    let served = [Served::run(folder)];
    let load = Load::on(&served, &api_key, || {
        let service = served[0].id();
        let helpers = helpers(service);
        vec![used(service), helpers.into_iter().map(used).sum()]
    });
    let micros: Vec<f64> = load.micros().collect();
    let probed = probe(served[0].folder());
    let [es256, rs256] = ["ES256", "RS256"].map(|algorithm| {
        let key = probed.iter().find(|key| key["algorithm"] == algorithm).expect("its key");
        let number = |member: &str| key[member].as_f64().expect("a number");
        let (median, p99) = (number("median_microseconds"), number("p99_microseconds"));
        format!("{:.0} | {:.2}; {:.2}", number("per_second"), median / 1e3, p99 / 1e3)
    });
    println!(
        "| {name} | {es256} | {rs256} | {:.0} | {:.0} | {:.0} | {:.2}; {:.2} |",
        load.per_second(),
        micros[0],
        micros[1],
        load.percentile(0.5),
        load.percentile(0.99)
    );
}

/// The signatures of each key, beside a service that has nothing to do.
fn probe(folder: &Path) -> Vec<Value> {
    let threads = THREADS.to_string();
    let output = Command::new(program())
        .args(["keys", "probe", "--config", "issuer.toml", "--format", "json"])
        .args(["--seconds", SECONDS, "--threads", &threads])
        .current_dir(folder)
        .output()
        .expect("the program");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    serde_json::from_slice(&output.stdout).expect("a list")
}

/// The configuration of keys in a new token of SoftHSM.
fn token(folder: &Path, processes: usize) -> String {
    let (tokens, config) = (folder.join("tokens"), folder.join("softhsm2.conf"));
    fs::create_dir(&tokens).expect("a folder");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    fs::write(&config, text).expect("a configuration");
    let made = Command::new("softhsm2-util")
        .args([
            "--init-token",
            "--free",
            "--label",
            "countersign",
            "--so-pin",
            "9876",
            "--pin",
            PIN,
        ])
        .env("SOFTHSM2_CONF", &config)
        .stdout(Stdio::null())
        .status();
    assert!(made.expect("SoftHSM: `.ci/softhsm`").success(), "no token");
    secret(&folder.join("pin"), PIN);
    format!(
        "[keys]\ncustody = \"pkcs11\"\n[keys.pkcs11]\nmodule = \"/usr/lib/softhsm/libsofthsm2.so\"\ntoken = \"countersign\"\n\
         pin-file = \"pin\"\nprocesses = {processes}\nenvironment = {{ SOFTHSM2_CONF = \"{}\" }}\n",
        config.display()
    )
}

/// The configuration of keys in AWS KMS.
fn kms(folder: &Path, address: &str) -> String {
    let credentials = "[default]\naws_access_key_id = key\naws_secret_access_key = secret\n";
    secret(&folder.join("aws"), credentials);
    format!(
        "[keys]\ncustody = \"aws-kms\"\n[keys.aws-kms]\nregion = \"eu-central-1\"\nendpoint = \"{address}\"\n\
         credentials-file = \"aws\"\ntimeout-milliseconds = 20_000\n"
    )
}

/// A process that ends when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A stand-in of AWS KMS, and its address.
fn stand_in() -> (Running, String) {
    let installed =
        std::env::var_os("COUNTERSIGN_ANALYSIS").expect("`make bench-custody` names it");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../e2e/custody/kms.py");
    let child = Command::new(PathBuf::from(installed).join("python/bin/python"))
        .args([script, "-H", "127.0.0.1", "-p", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut running = Running(child.expect("a stand-in"));
    let mut lines = BufReader::new(running.0.stderr.take().expect("its log")).lines();
    let address = lines.find_map(|line| {
        Some(line.expect("a line").split_once("Running on ")?.1.trim().to_owned())
    });
    // It writes a line for each request.
    std::thread::spawn(move || lines.for_each(drop));
    (running, address.expect("an address"))
}

fn used(process: u32) -> f64 {
    Usage::of(&process.to_string()).cpu_seconds
}

/// The helper processes of a service.
fn helpers(service: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("Linux' /proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_helper = |id: &u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
        fields.and_then(|fields| fields.split(' ').nth(1)?.parse().ok()) == Some(service)
    };
    ids.filter(is_helper).collect()
}
