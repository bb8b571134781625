//! The service killed again and again, and parts of its state taken away in between.
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

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use countersign_decision_log::Reader;
use serde_json::{Value, json};
use service::{Answer, Client, Served, configure, run};
use support::{command, countersign, folder};

const LIMITS: &str = "[limits]\nrunner-per-second = 1_000_000\nrunner-burst = 1_000_000\n\
                      run-per-second = 1_000_000\nrun-burst = 1_000_000\n";

/// A system clock that is behind by an hour, for programs that are started with it. It changes nothing else.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *at) {
    int result = syscall(SYS_clock_gettime, id, at);
    if (result == 0 && id == CLOCK_REALTIME) at->tv_sec -= 3600;
    return result;
}
"#;

/// A disturbance: something that is wrong at a start, until it is put right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Disturbance {
    Segment,
    Database,
    WriteAheadLog,
    Keys,
    Clock,
}

impl Disturbance {
    const ALL: [Self; 5] =
        [Self::Segment, Self::Database, Self::WriteAheadLog, Self::Keys, Self::Clock];

    /// A part of what the service must say when it does not start, one or the other.
    fn says(self) -> &'static [&'static str] {
        match self {
            Self::Segment => &["the decision log"],
            Self::Database => &["the database is older than the decision log"],
            // SQLite may have moved a part of it to the database.
            Self::WriteAheadLog => &[
                "the database is older than the decision log",
                "the database is damaged: where the file beside it that ends with `-wal`",
            ],
            Self::Keys => &["key"],
            Self::Clock => &["clock"],
        }
    }

    /// The parts that are moved away, below the state.
    fn parts(self) -> &'static [&'static str] {
        match self {
            Self::Segment => &["log/00000000000000000001.log"],
            Self::Database => &["issuer.db", "issuer.db-wal", "issuer.db-shm"],
            Self::WriteAheadLog => &["issuer.db-wal", "issuer.db-shm"],
            Self::Keys => &["keys"],
            Self::Clock => &[],
        }
    }
}

fn id(number: usize) -> String {
    format!("{number:08x}-0000-4000-8000-000000000000")
}

fn copy(from: &Path, to: &Path) {
    if from.is_dir() {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            copy(&path, &to.join(path.file_name().unwrap()));
        }
    } else if from.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else if path.exists() {
        fs::remove_file(path).unwrap();
    }
}

/// The clock that is behind; none where there is no C compiler, or no way to put it before the system's.
fn clock_behind(folder: &Path) -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
    fs::write(&source, CLOCK).unwrap();
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .arg(&library)
        .arg(&source)
        .stderr(Stdio::null())
        .status();
    compiled.is_ok_and(|status| status.success()).then_some(library)
}

/// The lines that the service logs until it ends, or `None` where it starts; it is killed then.
fn refusal(folder: &Path, clock: Option<&Path>) -> Option<String> {
    let mut serve = command(folder);
    serve.args(["serve", "--config", "issuer.toml"]);
    if let Some(clock) = clock {
        serve.env("LD_PRELOAD", clock);
    }
    let mut child = serve.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().unwrap()).lines() {
        let line = line.unwrap();
        let parsed: Value = serde_json::from_str(&line).unwrap_or_default();
        if parsed["message"] == "listening" {
            child.kill().unwrap();
            child.wait().unwrap();
            return None;
        }
        said.push_str(&line);
        said.push('\n');
    }
    assert_eq!(child.wait().unwrap().code(), Some(1), "{said}");
    Some(said)
}

fn finish(served: &Served, api_key: &str, id: &str) -> Answer {
    let headers = format!("authorization: Bearer {api_key}\r\n");
    let mut client = Client::new(served.address).unwrap();
    client.ask("POST", &format!("/v1/runs/{id}/finish"), &headers, "").unwrap()
}

/// Everything that was acknowledged.
#[derive(Default)]
struct Acknowledged {
    tokens: Mutex<Vec<String>>,
    /// Each run, and if it was finished.
    runs: Vec<(String, bool)>,
}

impl Acknowledged {
    /// Registers a run, and finishes the one before, so that either is lost with what is older.
    fn change(&mut self, served: &Served, api_key: &str) {
        let id = id(self.runs.len() + 1);
        let mut run = run();
        run["metadata"]["uuid"] = json!(id);
        assert_eq!(served.register(api_key, &run).status, 201);
        if let Some((before, finished)) = self.runs.last_mut() {
            assert_eq!(finish(served, api_key, before).status, 204);
            *finished = true;
        }
        self.runs.push((id, false));
    }

    /// Asks for tokens by several clients until the service is killed, at a point of a batch that varies.
    fn kill_under_load(&self, served: Served, number: usize) {
        let (address, run) = (served.address, &self.runs.last().unwrap().0);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let Ok(mut client) = Client::new(address) else { return };
                    while let Ok(answer) = client.token(run) {
                        assert_eq!(answer.status, 200, "{answer:?}");
                        let token = answer.body["access_token"].as_str().unwrap().as_bytes();
                        let digest = countersign::Digest::of(token).to_string();
                        self.tokens.lock().unwrap().push(digest);
                    }
                });
            }
            let before = self.tokens.lock().unwrap().len();
            let started = Instant::now();
            while self.tokens.lock().unwrap().len() == before {
                assert!(started.elapsed() < Duration::from_secs(60), "no token is given");
                thread::sleep(Duration::from_millis(1));
            }
            thread::sleep(Duration::from_micros(2_000 + number as u64 * 7919 % 20_000));
            served.kill();
        });
    }

    /// Checks the last runs with a service, since all of them would take ever longer.
    fn check(&self, served: &Served, last: usize) {
        let mut client = Client::new(served.address).unwrap();
        for (id, finished) in self.runs.iter().rev().take(last) {
            let expected = if *finished { 403 } else { 200 };
            assert_eq!(client.token(id).unwrap().status, expected, "{id}");
        }
    }
}

/// Killed under load, and started on a state of which a part is not there, is older, or with a clock that is behind: it does
/// not start, and says what is wrong; and once that is put right, nothing that was acknowledged is lost.
/// `KILLS=1000 make kills` does it a thousand times.
#[test]
fn killing_it_and_disturbing_its_state_loses_nothing() {
    let kills = std::env::var("KILLS").map_or(5, |kills| kills.parse().unwrap());
    let folder = folder();
    let api_key = configure(folder.path(), LIMITS);
    let (state, aside) = (folder.path().join("state"), folder.path().join("aside"));
    let clock = clock_behind(folder.path());
    let mut acknowledged = Acknowledged::default();
    let mut refused: BTreeMap<Disturbance, usize> = BTreeMap::new();
    for kill in 0..kills {
        let disturbance = Disturbance::ALL[kill % Disturbance::ALL.len()];
        // The database as it was before the changes of this time.
        let early = folder.path().join("early");
        remove(&early);
        for part in Disturbance::Database.parts() {
            copy(&state.join(part), &early.join(part));
        }
        if disturbance == Disturbance::Clock {
            // The earliest time that the clock may have is that of the last checkpoint, which an orderly stop makes.
            assert_eq!(Served::start(folder.path()).stop(), 0);
        }
        let served = Served::start(folder.path());
        acknowledged.check(&served, 3);
        acknowledged.change(&served, &api_key);
        acknowledged.kill_under_load(served, kill);

        if disturbance == Disturbance::Clock && clock.is_none() {
            continue;
        }
        remove(&aside);
        for part in disturbance.parts() {
            let (from, to) = (state.join(part), aside.join(part));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            if from.exists() {
                fs::rename(&from, &to).unwrap();
            }
            if disturbance == Disturbance::Database {
                copy(&early.join(part), &from);
            }
        }
        let behind = clock.as_deref().filter(|_| disturbance == Disturbance::Clock);
        let said = refusal(folder.path(), behind);
        match &said {
            Some(said) => {
                let is_said = disturbance.says().iter().any(|text| said.contains(text));
                assert!(is_said, "{disturbance:?}: {said}");
                *refused.entry(disturbance).or_default() += 1;
            }
            // SQLite has moved all of it to the database by then: nothing is missing, which the next start checks.
            None => assert_eq!(disturbance, Disturbance::WriteAheadLog, "it has started"),
        }
        if said.is_some() {
            for part in disturbance.parts() {
                remove(&state.join(part));
                if aside.join(part).exists() {
                    fs::rename(aside.join(part), state.join(part)).unwrap();
                }
            }
        }
    }
    let served = Served::start(folder.path());
    acknowledged.check(&served, usize::MAX);
    assert_eq!(served.stop(), 0);
    let mut on_record = std::collections::HashSet::new();
    let mut reader = Reader::new(&state.join("log"), 1);
    while let Some(entry) = reader.read().unwrap() {
        let record: Value = serde_json::from_slice(&entry.record).unwrap();
        on_record.extend(record["issued"]["token"].as_str().map(str::to_owned));
    }
    let tokens = acknowledged.tokens.into_inner().unwrap();
    let lost = tokens.iter().filter(|digest| !on_record.contains(*digest)).count();
    assert_eq!(lost, 0, "of {}", tokens.len());
    let verified = countersign(folder.path(), "log verify state/log");
    assert_eq!(verified.status, 0, "{}", verified.stdout);
    let expected =
        Disturbance::ALL.iter().filter(|one| **one != Disturbance::Clock || clock.is_some());
    for disturbance in expected.take(kills) {
        assert!(refused.contains_key(disturbance), "{disturbance:?} was never refused");
    }
    println!(
        "killed {kills} times, and refused to start: {refused:?}{}; {} tokens and {} runs, none lost; {}",
        if clock.is_some() { "" } else { " (no C compiler, so no clock)" },
        tokens.len(),
        acknowledged.runs.len(),
        verified.stdout.trim_end()
    );
}
