//! `countersign console`, and a client that sends what it is told to.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::command;

/// A console that is running.
pub(crate) struct Shown {
    pub(crate) address: SocketAddr,
    child: Child,
}

/// An answer, as it came.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

impl Shown {
    /// Starts a console on a free port and waits until it listens.
    pub(crate) fn start(folder: &Path, line: &str) -> Self {
        let mut child = command(folder)
            .args(["console", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut seen = String::new();
        let address = loop {
            let mut line = String::new();
            assert!(lines.read_line(&mut line).unwrap() > 0, "it did not start: {seen}");
            let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
            if parsed["message"] == "listening" {
                break parsed["address"].as_str().unwrap().parse().unwrap();
            }
            seen.push_str(&line);
        };
        // It goes on logging.
        thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { address, child }
    }

    pub(crate) fn get(&self, target: &str) -> Page {
        get(self.address, target, "")
    }

    pub(crate) fn json(&self, target: &str) -> Value {
        let page = self.get(target);
        assert_eq!(page.status, 200, "{target}: {}", page.body);
        serde_json::from_str(&page.body).unwrap()
    }

    /// Waits until the log is verified up to a record.
    pub(crate) fn wait_for(&self, log: &str, last: u64) {
        for _ in 0..1200 {
            let state = self.json(&format!("/{log}/records.json?limit=1"))["log"].clone();
            if state["last"].as_u64() >= Some(last) && state["verifying"].is_null() {
                return;
            }
            thread::sleep(Duration::from_millis(25));
        }
        panic!("record {last} was not reached");
    }

    /// Stops it as an operator does, and returns its exit status.
    pub(crate) fn stop(mut self) -> i32 {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::TERM).unwrap();
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // The process may have exited before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks as a program on this machine does; `headers` end each with a line break.
pub(crate) fn get(address: SocketAddr, target: &str, headers: &str) -> Page {
    let request =
        format!("GET {target} HTTP/1.1\r\nhost: {address}\r\n{headers}connection: close\r\n\r\n");
    send(address, request.as_bytes())
}

/// Sends bytes, and reads until the other end closes.
pub(crate) fn send(address: SocketAddr, request: &[u8]) -> Page {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // It may answer before it has read all.
    let _ = stream.write_all(request);
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok()).unwrap_or(0);
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Page { status, headers: headers.collect(), body: body.to_owned() }
}

impl Page {
    /// The first link whose text, without markup, contains a text.
    #[track_caller]
    pub(crate) fn link(&self, text: &str) -> String {
        let mut links = self.body.split("<a ").skip(1);
        let found = links.find_map(|link| {
            let (tag, rest) = link.split_once('>')?;
            let content = rest.split("</a>").next()?;
            let href = tag.split("href=\"").nth(1)?.split('"').next()?;
            content.contains(text).then(|| href.replace("&amp;", "&").replace("&#38;", "&"))
        });
        found.unwrap_or_else(|| panic!("no link `{text}` in {}", self.body))
    }
}
