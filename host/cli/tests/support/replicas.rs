//! A group of replicas on one database.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_decision_log::Reader;
use countersign_signing::{Algorithm, KeySet, SigningKey};
use serde_json::Value;
use tempfile::TempDir;

use crate::load::finish;
use crate::postgres::{PASSWORD, url};
use crate::service::{AWS, Answer, Client, RUNNER, Served, configure};
use crate::support::{PROGRAM, Ran, command, countersign, fill, folder, until};

const JWKS: &str = "/.well-known/jwks.json";
pub(crate) const CLUSTER: &str = "https://cluster.example.com";
pub(crate) const SUBJECT: &str = "system:serviceaccount:runners:shared";

/// Replicas, each with a folder of its own.
pub(crate) struct Group {
    pub(crate) folders: Vec<TempDir>,
    pub(crate) served: Vec<Option<Served>>,
    /// The program that each is started by.
    pub(crate) programs: Vec<PathBuf>,
    /// Variables of the environment of each.
    pub(crate) variables: Vec<Vec<(&'static str, String)>>,
    pub(crate) api_key: String,
    /// The key of an issuer whose tokens may be used once.
    pub(crate) cluster: Arc<SigningKey>,
}

/// The ids of the keys that a replica publishes.
pub(crate) fn kids(served: &Served) -> Vec<String> {
    kids_at(served.address).unwrap()
}

pub(crate) fn kids_at(address: SocketAddr) -> std::io::Result<Vec<String>> {
    let answer = Client::new(address)?.ask("GET", JWKS, "", "")?;
    let keys = answer.body["keys"].as_array().cloned().unwrap_or_default();
    Ok(keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect())
}

pub(crate) fn header_of(token: &str) -> Value {
    let header = token.split('.').next().unwrap();
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap()
}

impl Group {
    /// One for each port at which the database is reached.
    pub(crate) fn new(ports: &[u16]) -> Self {
        let (cluster, _) = SigningKey::generate(Algorithm::Es256).unwrap();
        let jwks = serde_json::to_string(&KeySet::new([cluster.public()])).unwrap();
        let folders: Vec<_> = ports.iter().map(|_| folder()).collect();
        let mut api_key = String::new();
        for (index, (folder, port)) in folders.iter().zip(ports).enumerate() {
            let path = folder.path();
            secret(&path.join("database-password"), PASSWORD);
            secret(&path.join("sealing-key"), "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n");
            fs::write(path.join("cluster.json"), &jwks).unwrap();
            let config = format!(
                "store = \"{}\"\n[database]\npassword-file = \"database-password\"\nquery-milliseconds = 1000\n\
                 [replica]\nname = \"issuer-{index}\"\npoll-seconds = 2\n\
                 [keys]\nsealing-key-file = \"sealing-key\"\n\
                 [tokens]\nes256-audiences = [\"{AWS}\"]\n\
                 [limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                 run-per-second = 1_000_000\nrun-burst = 1_000_000\nunproven-per-second = 1_000_000\n\
                 [[trusted-issuer]]\nurl = \"{CLUSTER}\"\njwks-file = \"cluster.json\"\nsingle-use = true\n\
                 [[trusted-issuer.identity]]\nsubject = \"{SUBJECT}\"\nrunner = \"{RUNNER}\"\n",
                url(*port)
            );
            let key = configure(path, &config);
            if index == 0 {
                api_key = key;
            } else {
                // The same principals everywhere.
                let file = path.join("issuer.toml");
                let own = fs::read_to_string(&file).unwrap();
                let first = fs::read_to_string(folders[0].path().join("issuer.toml")).unwrap();
                let (own, _) = own.split_once("[[api-key]]").unwrap();
                let (_, keys) = first.split_once("[[api-key]]").unwrap();
                fs::write(&file, format!("{own}[[api-key]]{keys}")).unwrap();
            }
        }
        let served = folders.iter().map(|_| None).collect();
        let programs = folders.iter().map(|_| PROGRAM.into()).collect();
        let variables = folders.iter().map(|_| Vec::new()).collect();
        Self { folders, served, programs, variables, api_key, cluster: Arc::new(cluster) }
    }

    pub(crate) fn folder(&self, index: usize) -> &Path {
        self.folders[index].path()
    }

    pub(crate) fn served(&self, index: usize) -> &Served {
        self.served[index].as_ref().unwrap()
    }

    pub(crate) fn migrate(&self) {
        let migrated = countersign(self.folder(0), "migrate --config issuer.toml");
        assert_eq!(migrated.status, 0, "{migrated:?}");
    }

    pub(crate) fn start(&mut self, index: usize) {
        // As a supervisor does: again where the database was not there, or not yet.
        let began = Instant::now();
        let variables: Vec<_> =
            self.variables[index].iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.served[index] = loop {
            match Served::started(&self.programs[index], self.folder(index), &variables) {
                Ok(served) => break Some(served),
                Err(logged) => assert!(began.elapsed() < Duration::from_secs(60), "{logged}"),
            }
        };
    }

    pub(crate) fn start_all(&mut self) {
        for index in 0..self.folders.len() {
            self.start(index);
        }
        for index in 0..self.folders.len() {
            until("it is ready", || self.ready(index).status == 200);
        }
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.served[index].take().unwrap().kill();
    }

    /// Stops one as an operator does.
    pub(crate) fn stop(&mut self, index: usize) {
        assert_eq!(self.served[index].take().unwrap().stop(), 0);
    }

    pub(crate) fn stop_all(&mut self) {
        for served in self.served.iter_mut().filter_map(Option::take) {
            assert_eq!(served.stop(), 0);
        }
    }

    pub(crate) fn ready(&self, index: usize) -> Answer {
        let address = self.served(index).address;
        Client::new(address).unwrap().ask("GET", "/readyz", "", "").unwrap()
    }

    pub(crate) fn finish(&self, index: usize, run: &str) -> u16 {
        finish(self.served(index).address, &self.api_key, run).unwrap()
    }

    pub(crate) fn kid_of(&self, token: &Answer) -> String {
        let header = header_of(token.body["access_token"].as_str().unwrap());
        header["kid"].as_str().unwrap().to_owned()
    }

    /// The anchors in the log of a replica, while it runs.
    pub(crate) fn anchors(&self, index: usize) -> usize {
        records(&self.folder(index).join("state/log"))
            .iter()
            .filter(|record| record["kind"] == "anchor")
            .map(|record| record["anchors"].as_array().unwrap().len())
            .sum()
    }

    /// `log verify` over the logs of all.
    pub(crate) fn verify(&self) -> Ran {
        let logs: Vec<_> = self
            .folders
            .iter()
            .map(|folder| folder.path().join("state/log").display().to_string())
            .collect();
        countersign(self.folder(0), &format!("log verify {}", logs.join(" ")))
    }

    /// A folder with the same configuration, and no state.
    pub(crate) fn clone_of(&self, index: usize) -> TempDir {
        let clone = TempDir::new().unwrap();
        fill(clone.path());
        for name in ["issuer.toml", "countersign.toml", "cluster.json"] {
            fs::copy(self.folder(index).join(name), clone.path().join(name)).unwrap();
        }
        for name in ["database-password", "sealing-key"] {
            let text = fs::read_to_string(self.folder(index).join(name)).unwrap();
            secret(&clone.path().join(name), &text);
        }
        clone
    }
}

fn secret(path: &Path, text: &str) {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).unwrap().write_all(text.as_bytes()).unwrap();
}

pub(crate) fn records(log: &Path) -> Vec<Value> {
    let mut reader = Reader::new(log, 1);
    let mut records = Vec::new();
    while let Some(entry) = reader.read().unwrap() {
        records.push(serde_json::from_slice(&entry.record).unwrap());
    }
    records
}

/// Starts a service that does not start, and is killed where it does.
pub(crate) fn refused_start(folder: &Path) -> Ran {
    let mut serve = command(folder);
    serve.args(["serve", "--config", "issuer.toml"]);
    let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        if line.contains("\"listening\"") {
            child.kill().unwrap();
        }
        stderr.push_str(&line);
        stderr.push('\n');
    }
    let status = child.wait().unwrap().code().unwrap_or(-1);
    Ran { status, stdout: String::new(), stderr }
}
