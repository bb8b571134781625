//! `countersign serve`, and a client of a few lines.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::support::{PROGRAM, RUN, command_of, countersign};

pub(crate) const RUN_ID: &str = "b3116611-e08b-4b00-91c5-10365b25a6ef";
pub(crate) const RUNNER: &str = "98520496-627d-43e6-82da-ce499179ff3f";
pub(crate) const RUN_TOKEN: &str = "run-token-with-many-bits-4f1c9a7e";
pub(crate) const AWS: &str = "aws-workload-identity-provider:demo";

/// A service that is running.
pub(crate) struct Served {
    pub address: SocketAddr,
    /// The address of the listener for probes, where it has one.
    pub probes: Option<SocketAddr>,
    child: Child,
    /// The log so far.
    logged: Arc<Mutex<String>>,
}

/// A response of the service.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Value,
    /// The body as it is.
    pub text: String,
}

/// Writes the configuration of a service on a free port, and returns the API key of its control plane.
pub(crate) fn configure(folder: &Path, more: &str) -> String {
    let ran = countersign(folder, "api-key --format json");
    let key: Value = serde_json::from_str(&ran.stdout).unwrap();
    let config = format!(
        "policies = \"countersign.toml\"\nstate = \"state\"\n{more}\n[listen]\naddress = \"127.0.0.1:0\"\n\
         [[api-key]]\nname = \"test\"\nsha256 = {}\nmay = [\"runs\", \"decisions\", \"metrics\"]\n",
        key["sha256"]
    );
    fs::write(folder.join("issuer.toml"), config).unwrap();
    key["key"].as_str().unwrap().to_owned()
}

impl Served {
    /// Starts the service and waits until it listens.
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// [`Self::start`], with variables of the environment.
    pub(crate) fn start_with(folder: &Path, variables: &[(&str, &str)]) -> Self {
        Self::started(Path::new(PROGRAM), folder, variables)
            .unwrap_or_else(|logged| panic!("it did not start: {logged}"))
    }

    /// [`Self::start`]; or what it logged, where it did not start.
    pub(crate) fn try_start(folder: &Path) -> Result<Self, String> {
        Self::started(Path::new(PROGRAM), folder, &[])
    }

    /// The same by a program, perhaps of another version.
    pub(crate) fn started(
        program: &Path,
        folder: &Path,
        variables: &[(&str, &str)],
    ) -> Result<Self, String> {
        let mut child = command_of(program, folder)
            .args(["serve", "--config", "issuer.toml"])
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let logged = Arc::new(Mutex::new(String::new()));
        let (address, probes) = loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap() == 0 {
                let _ = child.wait();
                return Err(logged.lock().unwrap().clone());
            }
            logged.lock().unwrap().push_str(&line);
            let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
            if parsed["message"] == "listening" {
                let address = |name: &str| Some(parsed[name].as_str()?.parse().unwrap());
                break (address("address").unwrap(), address("probes"));
            }
        };
        let writer = Arc::clone(&logged);
        thread::spawn(move || {
            let mut line = String::new();
            while lines.read_line(&mut line).is_ok_and(|bytes| bytes > 0) {
                writer.lock().unwrap().push_str(&line);
                line.clear();
            }
        });
        Ok(Self { address, probes, child, logged })
    }

    /// The id of the process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn logged(&self) -> String {
        self.logged.lock().unwrap().clone()
    }

    /// Waits until a line with this text was logged since `seen` bytes.
    pub(crate) fn wait_for(&self, text: &str, seen: usize) {
        for _ in 0..600 {
            if self.logged()[seen..].contains(text) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("`{text}` was not logged: {}", self.logged());
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.child.id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Stops the service as an operator does, and returns its exit status.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Waits for the end of the service, and returns its exit status.
    pub(crate) fn wait(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }

    /// Kills the service.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn register(&self, api_key: &str, run: &Value) -> Answer {
        let id = run["metadata"]["uuid"].as_str().unwrap();
        let headers =
            format!("authorization: Bearer {api_key}\r\ncontent-type: application/json\r\n");
        let target = format!("/v1/runs/{id}?runner={RUNNER}");
        let mut client = Client::new(self.address).unwrap();
        client.ask("PUT", &target, &headers, &run.to_string()).unwrap()
    }

    /// The metrics, by the listener for probes where there is one.
    pub(crate) fn metrics(&self, api_key: &str) -> String {
        let mut client = Client::new(self.probes.unwrap_or(self.address)).unwrap();
        let headers = format!("authorization: Bearer {api_key}\r\n");
        client.ask("GET", "/metrics", &headers, "").unwrap().text
    }

    pub(crate) fn token(&self) -> Answer {
        Client::new(self.address).unwrap().token(RUN_ID).unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // The process may have exited before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) fn new(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self(BufReader::new(stream)))
    }

    pub(crate) fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &str,
    ) -> std::io::Result<Answer> {
        let length = body.len();
        let request = format!(
            "{method} {target} HTTP/1.1\r\nhost: localhost\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let closed = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let (mut status, mut length) = (0, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line)? == 0 {
                return Err(closed());
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if status == 0 {
                status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(closed)?;
            } else if let Some((name, value)) = line.split_once(": ")
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.parse().map_err(|_| closed())?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        let text = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status, body: serde_json::from_slice(&body).unwrap_or_default(), text })
    }

    pub(crate) fn token(&mut self, run: &str) -> std::io::Result<Answer> {
        let form = format!(
            "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
             &subject_token_type=urn:ietf:params:oauth:token-type:access_token\
             &subject_token={RUN_TOKEN}&run={run}&audience={AWS}"
        );
        let headers = "content-type: application/x-www-form-urlencoded\r\n";
        self.ask("POST", "/v1/token", headers, &form)
    }
}

/// The published run, with a run token.
pub(crate) fn run() -> Value {
    let mut run: Value = serde_json::from_str(RUN).unwrap();
    run["spec"]["runToken"] = RUN_TOKEN.into();
    run
}
