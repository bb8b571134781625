//! The service under a supervisor that speaks systemd's protocol.
#![cfg(target_os = "linux")]
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
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use service::configure;
use support::{command, folder};

/// The time that a test waits for a message, far longer than any takes.
const PATIENCE: Duration = Duration::from_secs(120);

struct Supervisor(UnixDatagram);

impl Supervisor {
    /// The messages until one begins so.
    fn until(&self, beginning: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let mut buffer = [0; 4096];
            let length = self.0.recv(&mut buffer).unwrap();
            all.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
            if all.last().unwrap().starts_with(beginning) {
                return all;
            }
        }
    }
}

fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

#[test]
fn a_supervisor_is_told_what_the_service_does() {
    let folder = folder();
    configure(folder.path(), "");
    let socket = folder.path().join("notify");
    let supervisor = Supervisor(UnixDatagram::bind(&socket).unwrap());
    supervisor.0.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut child = command(folder.path())
        .args(["serve", "--config", "issuer.toml"])
        .env("NOTIFY_SOCKET", &socket)
        .env("WATCHDOG_USEC", "200000")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    supervisor.until("READY=1");
    supervisor.until("WATCHDOG=1");
    signal(&child, Signal::HUP);
    let reload = supervisor.until("RELOADING=1").pop().unwrap();
    assert!(reload.contains("\nMONOTONIC_USEC="), "{reload}");
    supervisor.until("READY=1");
    // Without its log it can issue nothing until it is started again.
    let log = folder.path().join("state/log");
    fs::rename(&log, folder.path().join("taken-away")).unwrap();
    supervisor.until("WATCHDOG=trigger");
    signal(&child, Signal::TERM);
    let last = supervisor.until("STOPPING=1");
    assert!(!last.contains(&"WATCHDOG=1".to_owned()), "{last:?}");
    child.wait().unwrap();
}
