//! Events around a service: its log's reader goes away, and signals arrive.
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

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use service::{Client, Served, configure, run};
use support::{command, countersign, folder};

/// A service whose log goes where a test says.
struct Logging {
    address: SocketAddr,
    child: Child,
}

impl Logging {
    /// Starts a service whose log is a pipe.
    fn piped(folder: &Path) -> (Self, BufReader<ChildStderr>) {
        let mut child = command(folder)
            .args(["serve", "--config", "issuer.toml"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let address = listening(&mut lines);
        (Self { address, child }, lines)
    }

    /// Asks, and returns the status.
    fn get(&self, path: &str, headers: &str) -> (u16, String) {
        let mut client = Client::new(self.address).unwrap();
        let answer = client.ask("GET", path, headers, "").unwrap();
        (answer.status, answer.text)
    }

    /// The counter of lines that were dropped.
    fn dropped(&self, api_key: &str) -> f64 {
        let (status, text) = self.get("/metrics", &format!("authorization: Bearer {api_key}\r\n"));
        assert_eq!(status, 200);
        let name = "countersign_log_lines_dropped_total ";
        text.lines().find_map(|line| line.strip_prefix(name)).unwrap().parse().unwrap()
    }

    fn stop(mut self) -> Option<i32> {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        self.child.wait().unwrap().code()
    }
}

fn listening(lines: &mut impl BufRead) -> SocketAddr {
    loop {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "it did not start");
        let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
        if parsed["message"] == "listening" {
            return parsed["address"].as_str().unwrap().parse().unwrap();
        }
    }
}

/// Every request is answered, also those of which a line was to be written at once.
#[test]
fn a_log_that_nobody_reads_any_more_stops_nothing() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    let (served, lines) = Logging::piped(folder.path());
    drop(lines);
    for _ in 0..3 {
        assert_eq!(served.get("/jwks.json", "").0, 200);
        assert_eq!(served.get("/healthz", "").0, 200);
        assert_eq!(served.get("/v1/nothing", "").0, 404);
        // Each of these is a warning.
        assert_eq!(served.get("/metrics", "").0, 401);
    }
    // They are written, or not, soon after they were answered.
    while served.dropped(&api_key) < 3.0 {
        std::thread::yield_now();
    }
    assert_eq!(served.stop(), Some(0));
}

/// A reader that stays and does not read, as `less` does.
#[test]
fn a_log_whose_reader_does_not_read_stops_nothing() {
    let folder = folder();
    configure(folder.path(), "");
    let (served, lines) = Logging::piped(folder.path());
    // More than a pipe holds.
    let key = format!("authorization: Bearer csk_{}\r\n", "x".repeat(4000));
    for _ in 0..500 {
        assert_eq!(served.get("/metrics", &key).0, 401);
    }
    assert_eq!(served.stop(), Some(0));
    drop(lines);
}

/// A disk without room, as `/dev/full` is.
#[cfg(target_os = "linux")]
#[test]
fn a_log_that_has_no_room_stops_nothing() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    let config = folder.path().join("issuer.toml");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("127.0.0.1:0", &format!("127.0.0.1:{port}"))).unwrap();
    let child = command(folder.path())
        .args(["serve", "--config", "issuer.toml"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(OpenOptions::new().write(true).open("/dev/full").unwrap())
        .spawn()
        .unwrap();
    let address = ([127, 0, 0, 1], port).into();
    let served = Logging { address, child };
    while Client::new(address).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert_eq!(served.get("/healthz", "").0, 200);
    assert_eq!(served.get("/metrics", "").0, 401);
    while served.dropped(&api_key) < 2.0 {
        std::thread::yield_now();
    }
    assert_eq!(served.stop(), Some(0));
}

/// Lines that anybody can bring about, or that matter to nobody, are not in the log at its usual level.
#[test]
fn probes_and_unknown_paths_are_not_logged_and_refusals_are_bounded() {
    let folder = folder();
    let api_key = configure(folder.path(), "[limits]\nunproven-per-second = 1_000_000\n");
    let served = Served::start(folder.path());
    let mut client = Client::new(served.address).unwrap();
    for _ in 0..20 {
        for path in ["/healthz", "/readyz", "/jwks.json", "/nothing", "/openapi.json"] {
            client.ask("GET", path, "", "").unwrap();
        }
    }
    for _ in 0..3000 {
        assert_eq!(client.ask("GET", "/metrics", "", "").unwrap().status, 401);
    }
    // Of whoever is known, each.
    let headers = format!("authorization: Bearer {api_key}\r\ncontent-type: application/json\r\n");
    for _ in 0..50 {
        let answer = client.ask("POST", "/v1/decisions", &headers, "{}").unwrap();
        assert_eq!(answer.status, 400);
    }
    served.signal(Signal::USR1);
    served.wait_for("ignored a signal", 0);
    let logged = served.logged();
    let count = |text: &str| logged.lines().filter(|line| line.contains(text)).count();
    for route in ["/healthz", "/readyz", "/jwks.json", "\"none\"", "/openapi.json"] {
        assert_eq!(count(&format!("\"route\":{}", quoted(route))), 0, "{route}");
    }
    let refusals = count("\"route\":\"/metrics\"");
    assert!((1000..2500).contains(&refusals), "{refusals}");
    assert_eq!(count("\"route\":\"/v1/decisions\""), 50);
    assert!(logged.contains("\"client\":\"127.0.0.1\""), "{logged}");
    assert_eq!(served.stop(), 0);
}

fn quoted(route: &str) -> String {
    if route.starts_with('"') { route.to_owned() } else { format!("\"{route}\"") }
}

/// No signal that others send by mistake ends it, and those that end it close the log.
#[test]
fn signals_are_ignored_or_end_it_in_order() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    let served = Served::start(folder.path());
    served.register(&api_key, &run());
    for signal in [
        Signal::USR1,
        Signal::USR2,
        Signal::ALARM,
        Signal::VTALARM,
        Signal::PROF,
        Signal::IO,
        Signal::XFSZ,
        Signal::XCPU,
        Signal::PIPE,
        Signal::HUP,
    ] {
        let seen = served.logged().len();
        served.signal(signal);
        served.signal(signal);
        match signal {
            Signal::HUP => served.wait_for("reloaded policies", seen),
            Signal::PIPE => {}
            _ => served.wait_for("ignored a signal", seen),
        }
        assert_eq!(served.token().status, 200, "{signal:?}");
    }
    served.signal(Signal::TERM);
    assert_eq!(served.wait(), 0);
    for signal in [Signal::QUIT, Signal::INT] {
        let served = Served::start(folder.path());
        assert_eq!(served.token().status, 200, "{signal:?}");
        served.signal(signal);
        served.signal(signal);
        assert_eq!(served.wait(), 0, "{signal:?}");
        let verified = countersign(folder.path(), "log verify state/log --format json");
        let report: Value = serde_json::from_str(&verified.stdout).unwrap();
        // The last record is under the checkpoint that closing the log writes.
        assert_eq!(verified.status, 0, "{signal:?} {report}");
        assert_eq!(report["covered"], report["last"], "{signal:?} {report}");
    }
}

/// A stop while policies are prepared is a stop.
#[test]
fn a_service_is_stopped_before_it_serves() {
    let folder = folder();
    configure(folder.path(), "");
    let mut child = command(folder.path())
        .args(["serve", "--config", "issuer.toml", "--no-cache"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The folder of the log is made after signals are listened for.
    while !folder.path().join("state/log").exists() {
        assert!(child.try_wait().unwrap().is_none());
        std::thread::yield_now();
    }
    let id = i32::try_from(child.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let mut logged = String::new();
    child.stderr.unwrap().read_to_string(&mut logged).unwrap();
    assert!(logged.contains("stopped"), "{logged}");
    assert!(File::open(folder.path().join("state/log")).is_ok());
}

/// A limit on open files below that on connections: those that nobody needs do not take the log's.
#[cfg(target_os = "linux")]
#[test]
fn connections_leave_room_for_files() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    let program = command(folder.path()).get_program().to_owned();
    let mut child = std::process::Command::new("sh")
        .args(["-c", "ulimit -n 400 && exec \"$0\" serve --config issuer.toml"])
        .arg(program)
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let served = Logging { address: listening(&mut lines), child };
    let crowd: Vec<_> = (0..600).map(|_| Client::new(served.address).unwrap()).collect();
    let mut client = Client::new(served.address).unwrap();
    let headers = format!("authorization: Bearer {api_key}\r\ncontent-type: application/json\r\n");
    let target = format!("/v1/runs/{}?runner={}", service::RUN_ID, service::RUNNER);
    let registered = client.ask("PUT", &target, &headers, &run().to_string()).unwrap();
    assert_eq!(registered.status, 201, "{registered:?}");
    assert_eq!(client.token(service::RUN_ID).unwrap().status, 200);
    drop(crowd);
    assert_eq!(served.stop(), Some(0));
}
