//! Keys in a PKCS #11 token and in a stand-in of AWS KMS, as a service uses them. `make custody` installs both.
#![cfg(target_os = "linux")]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

#[path = "support/service.rs"]
mod service;
mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service::{AWS, Answer, Client, Served, configure, run};
use support::{command, countersign, folder, until};

const PIN: &str = "73190428";
const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";

/// Makes a token in a folder, and returns the configuration of its keys.
fn token(folder: &Path) -> String {
    let tokens = folder.join("tokens");
    fs::create_dir(&tokens).unwrap();
    let config = folder.join("softhsm2.conf");
    let text = format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
    fs::write(&config, text).unwrap();
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
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    private(&folder.join("pin"), PIN);
    format!(
        "[keys]\ncustody = \"pkcs11\"\n[keys.pkcs11]\nmodule = \"{MODULE}\"\ntoken = \"countersign\"\n\
         pin-file = \"pin\"\nenvironment = {{ SOFTHSM2_CONF = \"{}\" }}\n[tokens]\nes256-audiences = [\"{AWS}\"]\n",
        config.display()
    )
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The helper processes of a service.
fn helpers(service: &Served) -> Vec<u32> {
    let parent = service.id().to_string();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap() {
        let path = entry.unwrap().path();
        let Ok(id) = path.file_name().unwrap().to_str().unwrap().parse() else { continue };
        let stat = fs::read_to_string(path.join("stat")).unwrap_or_default();
        let line = fs::read_to_string(path.join("cmdline")).unwrap_or_default();
        let fields = stat.rsplit(") ").next().unwrap_or_default();
        if fields.split(' ').nth(1) == Some(&parent) && line.contains("hold-keys-for-parent") {
            found.push(id);
        }
    }
    found
}

fn send(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(process).unwrap()).unwrap(), signal).unwrap();
}

/// Enough for a test that asks until something has changed.
const LIMITS: &str = "[limits]\nrun-per-second = 100_000\nrun-burst = 100_000\nrunner-per-second = 100_000\n\
                      runner-burst = 100_000\n";

fn ready(service: &Served) -> Answer {
    Client::new(service.address).unwrap().ask("GET", "/readyz", "", "").unwrap()
}

fn metric(service: &Served, key: &str, name: &str) -> f64 {
    let text = service.metrics(key);
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("{name}\n{text}")).parse().unwrap()
}

/// AWS KMS as the configuration has it, with its credentials in a file.
fn kms(folder: &Path, address: &str) -> String {
    private(
        &folder.join("aws"),
        "[default]\naws_access_key_id = key\naws_secret_access_key = very-secret\n",
    );
    format!(
        "[keys]\ncustody = \"aws-kms\"\n[keys.aws-kms]\nregion = \"eu-central-1\"\nendpoint = \"{address}\"\n\
         credentials-file = \"aws\"\ntimeout-milliseconds = 20_000\n[tokens]\nes256-audiences = [\"{AWS}\"]\n"
    )
}

#[test]
#[ignore = "needs SoftHSM: `make custody`"]
fn a_token_of_pkcs11_signs_and_its_loss_is_noticed() {
    let folder = folder();
    let config = token(folder.path());
    let key = configure(folder.path(), &format!("{config}{LIMITS}"));
    let service = Served::start(folder.path());
    assert_eq!(service.register(&key, &run()).status, 201);
    assert_eq!(service.token().status, 200);
    assert_eq!(ready(&service).status, 200);
    // No private key of a token is in a file of the service, and the PIN is with the helper alone.
    let files = fs::read_dir(folder.path().join("state/keys")).unwrap();
    let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name.len() > 40), "{files:?}");
    let processes = helpers(&service);
    assert!(!processes.is_empty());
    for helper in &processes {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{helper}/{file}")).unwrap();
            let text = String::from_utf8_lossy(&bytes).into_owned();
            assert!(!text.contains(PIN) && !text.contains("CARGO"), "{text}");
        }
    }
    let maps = |id: u32| fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
    assert!(processes.iter().all(|id| maps(*id).contains("libsofthsm2")));
    assert!(!maps(service.id()).contains("libsofthsm2"), "the module is in the service");

    // One that dies is another one by the time of the next token.
    for helper in helpers(&service) {
        send(helper, Signal::KILL);
    }
    until("a token is given again", || service.token().status == 200);

    // One that hangs: not ready, with a code; and ready again when it goes on.
    for helper in helpers(&service) {
        send(helper, Signal::STOP);
    }
    let answer = service.token();
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(
        metric(&service, &key, "countersign_custody_failures_total{code=\"custody-slow\"}") >= 1.0
    );
    until("it is ready again", || ready(&service).status == 200);
    assert_eq!(service.token().status, 200);

    // The token is taken away, and comes back.
    let (tokens, away) = (folder.path().join("tokens"), folder.path().join("away"));
    fs::rename(&tokens, &away).unwrap();
    fs::create_dir(&tokens).unwrap();
    for helper in helpers(&service) {
        send(helper, Signal::KILL);
    }
    until("no token is given", || service.token().status == 503);
    let not_ready = ready(&service);
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.text.contains("custody-unreachable"), "{}", not_ready.text);
    let problem = "countersign_custody_problem{code=\"custody-unreachable\"}";
    assert_eq!(metric(&service, &key, problem), 1.0);
    fs::remove_dir(&tokens).unwrap();
    fs::rename(&away, &tokens).unwrap();
    until("it is ready again", || ready(&service).status == 200);
    assert_eq!(service.token().status, 200);
    assert_eq!(metric(&service, &key, problem), 0.0);

    // Rotation, list and probe.
    let rotated =
        countersign(folder.path(), "keys rotate --config issuer.toml --algorithm es256 --at-once");
    assert_eq!(rotated.status, 0, "{}", rotated.stderr);
    let listed = countersign(folder.path(), "keys list --config issuer.toml --format json");
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert!(listed.as_array().unwrap().iter().any(|key| key["phase"] == "active"));
    probe(folder.path(), "SoftHSM");
    let helpers_of_service = helpers(&service);
    assert_eq!(service.stop(), 0);
    until("the helpers end", || {
        helpers_of_service.iter().all(|id| !Path::new(&format!("/proc/{id}")).exists())
    });
    assert_eq!(countersign(folder.path(), "log verify state/log").status, 0);
}

#[test]
#[ignore = "needs SoftHSM: `make custody`"]
fn a_wrong_pin_is_tried_once_and_keys_that_can_be_read_are_refused() {
    let folder = folder();
    let config = token(folder.path());
    configure(folder.path(), &format!("{config}{LIMITS}"));
    private(&folder.path().join("pin"), "0000");
    let logged = Served::try_start(folder.path()).err().unwrap();
    assert!(logged.contains("PinIncorrect"), "{logged}");
    assert!(!logged.contains("0000\\n") && !logged.contains(PIN), "{logged}");
    private(&folder.path().join("pin"), PIN);
    fs::set_permissions(folder.path().join("pin"), fs::Permissions::from_mode(0o644)).unwrap();
    let logged = Served::try_start(folder.path()).err().unwrap();
    assert!(logged.contains("others than its owner"), "{logged}");
}

/// Prints the signatures of each key, as the command measured them.
fn probe(folder: &Path, name: &str) {
    let probed = countersign(folder, "keys probe --config issuer.toml --threads 2 --format json");
    assert_eq!(probed.status, 0, "{}", probed.stderr);
    let probed: Value = serde_json::from_str(&probed.stdout).unwrap();
    for key in probed.as_array().unwrap() {
        println!(
            "| {name} | {} | {:.0} | {} | {} |",
            key["algorithm"].as_str().unwrap(),
            key["per_second"].as_f64().unwrap(),
            key["median_microseconds"],
            key["p99_microseconds"]
        );
    }
}

/// A stand-in of AWS, which stops when this is dropped.
struct Moto(Child);

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Moto {
    /// As AWS has it.
    fn start(port: &str) -> (Self, String) {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/custody/kms.py");
        Self::started("python", &[script, "-H", "127.0.0.1", "-p", port])
    }

    fn started(program: &str, arguments: &[&str]) -> (Self, String) {
        let installed = std::env::var_os("COUNTERSIGN_ANALYSIS").expect("`make custody` names it");
        let mut server = Command::new(PathBuf::from(installed).join("python/bin").join(program));
        let server = server.args(arguments);
        let server = server.stderr(Stdio::piped()).stdout(Stdio::null());
        let mut server = Self(server.spawn().unwrap());
        let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
        let address = lines
            .find_map(|line| Some(line.unwrap().split_once("Running on ")?.1.trim().to_owned()))
            .unwrap();
        // It writes a line for each request.
        std::thread::spawn(move || lines.for_each(drop));
        (server, address)
    }
}

#[test]
#[ignore = "needs moto: `make custody`"]
fn aws_kms_signs_and_its_loss_is_noticed() {
    let folder = folder();
    let (moto, address) = Moto::start("0");
    let config = kms(folder.path(), &address);
    let key = configure(folder.path(), &format!("{config}{LIMITS}"));
    let service = Served::start(folder.path());
    assert_eq!(service.register(&key, &run()).status, 201);
    assert_eq!(service.token().status, 200);
    let listed = countersign(folder.path(), "keys list --config issuer.toml --format json");
    assert_eq!((listed.status, listed.stderr.as_str()), (0, ""), "none is without a plan");
    let rotated = countersign(folder.path(), "keys rotate --config issuer.toml --algorithm rs256");
    assert_eq!(rotated.status, 0, "{}", rotated.stderr);
    probe(folder.path(), "moto, over loopback");
    // It is gone, and what was there is not.
    drop(moto);
    until("no token is given", || service.token().status == 503);
    let not_ready = ready(&service);
    assert_eq!(not_ready.status, 503);
    assert!(not_ready.text.contains("custody-unreachable"), "{}", not_ready.text);
    let port = address.rsplit(':').next().unwrap();
    let (_moto, _) = Moto::start(port);
    // It came back without the keys: it refuses, and so is the service still not ready.
    let refused = "countersign_custody_problem{code=\"custody-refused\"}";
    until("the loss of the keys is noticed", || metric(&service, &key, refused) == 1.0);
    assert_eq!(service.token().status, 503);
    assert!(!service.logged().contains("very-secret"));
    assert_eq!(service.stop(), 0);
}

/// moto by itself hashes what is a digest already: it signs other bytes than it was given.
#[test]
#[ignore = "needs moto: `make custody`"]
fn a_kms_that_signs_other_bytes_is_not_started_on() {
    let folder = folder();
    let (_moto, address) = Moto::started("moto_server", &["-H", "127.0.0.1", "-p", "0"]);
    let config = kms(folder.path(), &address);
    configure(folder.path(), &config);
    let logged = Served::try_start(folder.path()).err().unwrap();
    assert!(logged.contains("custody-wrong-signature"), "{logged}");
    // The key that was made for nothing is not left with a name.
    let listed = countersign(folder.path(), "keys list --config issuer.toml");
    assert!(!listed.stderr.contains("in no plan"), "{}", listed.stderr);
}

#[test]
fn an_encrypted_folder_is_opened_by_a_credential_alone() {
    let folder = folder();
    let plain = configure(folder.path(), "");
    let service = Served::start(folder.path());
    assert_eq!(service.register(&plain, &run()).status, 201);
    let before = service.token().status;
    assert_eq!((before, service.stop()), (200, 0));
    // The key as systemd gives it.
    let credentials = folder.path().join("credentials");
    fs::create_dir(&credentials).unwrap();
    let sealing = "c2VhbGluZy1rZXktb2YtMzItYnl0ZXMtMTIzNDU2Nzg=\n";
    private(&credentials.join("sealing-key"), sealing);
    let config = "[keys]\ncustody = \"encrypted-folder\"\nsealing-key-file = \"$CREDENTIALS_DIRECTORY/sealing-key\"\n";
    configure(folder.path(), config);
    let logged = Served::try_start(folder.path()).err().unwrap();
    assert!(logged.contains("CREDENTIALS_DIRECTORY is not set"), "{logged}");
    let variables = [("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap())];
    let service = Served::start_with(folder.path(), &variables);
    assert_eq!(service.token().status, 200);
    let listed = command(folder.path())
        .args(["keys", "list", "--config", "issuer.toml"])
        .envs(variables)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    assert_eq!(service.stop(), 0);
    for entry in fs::read_dir(folder.path().join("state/keys")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(11).any(|part| part == b"PRIVATE KEY"), "{}", path.display());
    }
    // Back to texts is no way to lose keys.
    configure(folder.path(), "");
    let logged = Served::try_start(folder.path()).err().unwrap();
    assert!(logged.contains("encrypted-folder"), "{logged}");
}
