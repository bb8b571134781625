//! A load of honest clients on a group of replicas, and the check of what they received.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign_signing::{Signer, SigningKey};
use serde_json::{Value, json};

use crate::replica::{CLUSTER, Group, SUBJECT, header_of, kids_at, records};
use crate::service::{AWS, Answer, Client, RUNNER, run};
use crate::support::until;

pub(crate) fn finish(address: SocketAddr, api_key: &str, run: &str) -> std::io::Result<u16> {
    let headers = format!("authorization: Bearer {api_key}\r\n");
    let target = format!("/v1/runs/{run}/finish");
    Ok(Client::new(address)?.ask("POST", &target, &headers, "")?.status)
}

fn register(address: SocketAddr, api_key: &str, id: &str) -> std::io::Result<u16> {
    let mut run = run();
    run["metadata"]["uuid"] = json!(id);
    let headers = format!("authorization: Bearer {api_key}\r\ncontent-type: application/json\r\n");
    let target = format!("/v1/runs/{id}?runner={RUNNER}");
    Ok(Client::new(address)?.ask("PUT", &target, &headers, &run.to_string())?.status)
}

/// A token of the runner that may be used once.
fn identity(key: &SigningKey, jti: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let header = json!({"alg": "ES256", "kid": key.public().kid(), "typ": "JWT"});
    let claims = json!({"iss": CLUSTER, "sub": SUBJECT, "aud": ["https://oidc.example.com"],
                        "iat": now, "exp": now + 3000, "jti": jti});
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", part(&header), part(&claims));
    let signature = key.sign(input.as_bytes()).unwrap();
    format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

fn exchange(address: SocketAddr, identity: &str, run: &str) -> std::io::Result<Answer> {
    let form = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:token-exchange\
         &subject_token_type=urn:ietf:params:oauth:token-type:jwt\
         &subject_token={identity}&run={run}&audience={AWS}"
    );
    let headers = "content-type: application/x-www-form-urlencoded\r\n";
    Client::new(address)?.ask("POST", "/v1/token", headers, &form)
}

/// Everything that the clients know.
#[derive(Default)]
struct Known {
    /// The runs that may have tokens, as far as is known.
    live: Vec<String>,
    /// The runs whose end was acknowledged.
    ended: HashSet<String>,
    /// The digests of the tokens that were received.
    tokens: Vec<String>,
    /// The number of tokens that were received by each single-use token.
    used: BTreeMap<String, usize>,
    violations: Vec<String>,
}

/// Honest clients, until they are stopped.
pub(crate) struct Load {
    known: Arc<Mutex<Known>>,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    received: Arc<Vec<AtomicUsize>>,
    stopped: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    cluster: Arc<SigningKey>,
}

/// The outcome of a load.
pub(crate) struct Done {
    known: Known,
    cluster: Arc<SigningKey>,
}

impl Load {
    pub(crate) fn start(group: &Group) -> Self {
        let addresses: Vec<_> =
            (0..group.served.len()).map(|index| group.served(index).address).collect();
        let received = Arc::new(addresses.iter().map(|_| AtomicUsize::new(0)).collect::<Vec<_>>());
        let mut load = Self {
            known: Arc::default(),
            addresses: Arc::new(Mutex::new(addresses)),
            received,
            stopped: Arc::default(),
            threads: Vec::new(),
            cluster: Arc::clone(&group.cluster),
        };
        let runs = load.client();
        let api_key = group.api_key.clone();
        load.threads.push(thread::spawn(move || runs.run_through_runs(&api_key)));
        for number in 0..3 {
            let tokens = load.client();
            load.threads.push(thread::spawn(move || tokens.ask_for_tokens(number)));
        }
        let single = load.client();
        load.threads.push(thread::spawn(move || single.use_twice()));
        load
    }

    fn client(&self) -> LoadClient {
        LoadClient {
            known: Arc::clone(&self.known),
            addresses: Arc::clone(&self.addresses),
            received: Arc::clone(&self.received),
            stopped: Arc::clone(&self.stopped),
            cluster: Arc::clone(&self.cluster),
        }
    }

    /// Adds clients whose run goes on, and who ask one replica after the other: one of them has to give a token.
    pub(crate) fn never_without(&mut self, api_key: &str) {
        for number in 0..2 {
            let (client, api_key) = (self.client(), api_key.to_owned());
            self.threads.push(thread::spawn(move || client.is_always_served(number, &api_key)));
        }
    }

    /// Waits until a replica has given more tokens.
    pub(crate) fn until_more_tokens(&self, index: usize) {
        let before = self.received[index].load(Ordering::SeqCst);
        until("more tokens", || self.received[index].load(Ordering::SeqCst) > before);
    }

    pub(crate) fn moved(&self, index: usize, address: SocketAddr) {
        self.addresses.lock().unwrap()[index] = address;
    }

    pub(crate) fn stop(self) -> Done {
        self.stopped.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let known = std::mem::take(&mut *self.known.lock().unwrap());
        Done { known, cluster: self.cluster }
    }
}

struct LoadClient {
    known: Arc<Mutex<Known>>,
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
    received: Arc<Vec<AtomicUsize>>,
    stopped: Arc<AtomicBool>,
    cluster: Arc<SigningKey>,
}

impl LoadClient {
    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::SeqCst)
    }

    fn address(&self, index: usize) -> (usize, SocketAddr) {
        let addresses = self.addresses.lock().unwrap();
        (index % addresses.len(), addresses[index % addresses.len()])
    }

    fn violation(&self, text: String) {
        self.known.lock().unwrap().violations.push(text);
    }

    /// Notes a token, and that every replica that answers publishes its key.
    fn received(&self, index: usize, answer: &Answer) {
        let token = answer.body["access_token"].as_str().unwrap();
        let digest = countersign::Digest::of(token.as_bytes()).to_string();
        let number = {
            let mut known = self.known.lock().unwrap();
            known.tokens.push(digest);
            known.tokens.len()
        };
        self.received[index].fetch_add(1, Ordering::SeqCst);
        let header = header_of(token);
        let kid = header["kid"].as_str().unwrap();
        if let Ok(kids) = kids_at(self.address(number).1)
            && !kids.is_empty()
            && !kids.iter().any(|one| one == kid)
        {
            self.violation(format!("{kid} signs, and is not published: {kids:?}"));
        }
    }

    /// Registers runs at one replica, and finishes them at another.
    fn run_through_runs(&self, api_key: &str) {
        let mut number = 0;
        while self.goes_on() {
            number += 1;
            let id = format!("{number:08x}-0000-4000-8000-000000000000");
            while self.goes_on() {
                match register(self.address(number).1, api_key, &id) {
                    Ok(200 | 201) => break,
                    Ok(503) | Err(_) => thread::sleep(Duration::from_millis(20)),
                    Ok(other) => return self.violation(format!("registration: {other}")),
                }
            }
            self.known.lock().unwrap().live.push(id.clone());
            thread::sleep(Duration::from_millis(100));
            let oldest = {
                let known = self.known.lock().unwrap();
                (known.live.len() > 5).then(|| known.live[0].clone())
            };
            let Some(oldest) = oldest else { continue };
            while self.goes_on() {
                match finish(self.address(number + 1).1, api_key, &oldest) {
                    Ok(204) => {
                        let mut known = self.known.lock().unwrap();
                        known.live.retain(|one| *one != oldest);
                        known.ended.insert(oldest);
                        break;
                    }
                    Ok(503) | Err(_) => thread::sleep(Duration::from_millis(20)),
                    Ok(other) => return self.violation(format!("finish: {other}")),
                }
            }
        }
    }

    fn is_always_served(&self, offset: usize, api_key: &str) {
        let id = format!("{offset:08x}-1111-4000-8000-000000000000");
        while self.goes_on() && !matches!(register(self.address(0).1, api_key, &id), Ok(201)) {
            thread::sleep(Duration::from_millis(20));
        }
        let (mut number, replicas) = (offset, self.received.len());
        while self.goes_on() {
            number += 1;
            let mut refusals = Vec::new();
            for one in number..number + replicas {
                let (index, address) = self.address(one);
                match Client::new(address).and_then(|mut client| client.token(&id)) {
                    Ok(answer) if answer.status == 200 => {
                        self.received(index, &answer);
                        break;
                    }
                    Ok(answer) if answer.status != 503 => {
                        return self.violation(format!("a token of a live run: {answer:?}"));
                    }
                    not_now => refusals.push(format!("{index}: {not_now:?}")),
                }
            }
            if refusals.len() == replicas {
                self.violation(format!("no replica gives a token: {refusals:?}"));
            }
        }
    }

    fn a_run(&self, number: usize) -> Option<(String, bool)> {
        let known = self.known.lock().unwrap();
        // Of those that have ended as well.
        if number.is_multiple_of(4) {
            return known.ended.iter().next().map(|run| (run.clone(), true));
        }
        let run = known.live.get(number % known.live.len().max(1))?;
        Some((run.clone(), false))
    }

    fn ask_for_tokens(&self, offset: usize) {
        let mut number = offset;
        while self.goes_on() {
            number += 1;
            let ((index, address), asked) = (self.address(number), self.a_run(number));
            let Some((run, has_ended)) = asked else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            let answer = Client::new(address).and_then(|mut client| client.token(&run));
            match answer {
                Ok(answer) if answer.status == 200 => {
                    self.received(index, &answer);
                    if has_ended {
                        self.violation(format!("a token of {run} after it has ended"));
                    }
                }
                // It has ended since, or before.
                Ok(answer) if answer.status == 403 => {}
                Ok(answer) if answer.status == 503 => thread::sleep(Duration::from_millis(5)),
                Ok(answer) => self.violation(format!("token: {answer:?}")),
                Err(_) => thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Uses each single-use token at two replicas at once.
    fn use_twice(&self) {
        let mut number = 1;
        while self.goes_on() {
            number += 1;
            let Some((run, false)) = self.a_run(number) else {
                thread::sleep(Duration::from_millis(5));
                continue;
            };
            let jti = format!("jti-{number}");
            let token = identity(&self.cluster, &jti);
            thread::scope(|scope| {
                for other in 0..2 {
                    let (run, token, jti) = (&run, &token, &jti);
                    scope.spawn(move || {
                        let (index, address) = self.address(number + other);
                        match exchange(address, token, run) {
                            Ok(answer) if answer.status == 200 => {
                                self.received(index, &answer);
                                let mut known = self.known.lock().unwrap();
                                *known.used.entry(jti.clone()).or_default() += 1;
                            }
                            Ok(answer) if ![400, 403, 503].contains(&answer.status) => {
                                self.violation(format!("exchange: {answer:?}"));
                            }
                            _ => {}
                        }
                    });
                }
            });
        }
    }
}

impl Done {
    /// Checks, with the replicas that run now, that what has ended has ended and what was used is used.
    pub(crate) fn check_ends(&self, group: &Group) {
        let known = &self.known;
        assert_eq!(known.violations, [] as [String; 0]);
        let twice: Vec<_> = known.used.iter().filter(|(_, count)| **count > 1).collect();
        assert!(twice.is_empty(), "used twice: {twice:?}");
        let live = known.live.first();
        for index in 0..group.served.len() {
            let address = group.served(index).address;
            for run in known.ended.iter().take(50) {
                let status = Client::new(address).unwrap().token(run).unwrap().status;
                assert_eq!(status, 403, "{run}");
            }
            for jti in known.used.keys().rev().take(50) {
                let token = identity(&self.cluster, jti);
                let again = exchange(address, &token, live.unwrap()).unwrap();
                assert_eq!(again.status, 400, "{jti}: {again:?}");
            }
        }
    }

    /// Checks the records of all logs: each token that was received is on record once, and was not withheld; no single-use
    /// token led to two tokens. Where `none_lost`, each token on record that was not withheld was received as well. Gives the
    /// numbers.
    pub(crate) fn check_records(&self, group: &Group, none_lost: bool) -> String {
        let mut issued: HashMap<String, (String, usize)> = HashMap::new();
        let mut withheld = BTreeSet::new();
        let mut uses: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut records_of = Vec::new();
        for folder in &group.folders {
            let records = records(&folder.path().join("state/log"));
            records_of.push(records.len());
            for record in records {
                withheld.extend(record["withheld"].as_str().map(str::to_owned));
                let Some(digest) = record["issued"]["token"].as_str() else { continue };
                let jti = record["issued"]["jti"].as_str().unwrap().to_owned();
                if let Some(used) = record["used"]["token_id"].as_str() {
                    uses.entry(used.to_owned()).or_default().push(jti.clone());
                }
                issued.entry(digest.to_owned()).or_insert((jti, 0)).1 += 1;
            }
        }
        for digest in &self.known.tokens {
            let (jti, times) = issued.get(digest).unwrap_or_else(|| panic!("{digest}: no record"));
            assert_eq!(*times, 1, "{digest}");
            assert!(!withheld.contains(jti), "{digest} was withheld, and received");
        }
        let received: BTreeSet<_> = self.known.tokens.iter().collect();
        assert_eq!(received.len(), self.known.tokens.len(), "a token was received twice");
        let lost: Vec<_> = issued
            .iter()
            .filter(|(digest, (jti, _))| !withheld.contains(jti) && !received.contains(digest))
            .collect();
        assert!(!none_lost || lost.is_empty(), "on record, and not received: {lost:?}");
        for (used, jtis) in &uses {
            let left: Vec<_> = jtis.iter().filter(|jti| !withheld.contains(*jti)).collect();
            assert!(left.len() <= 1, "{used} led to {left:?}");
        }
        format!(
            "{} tokens received, each on record of {} that were signed, {} of them withheld; {} runs ended, {} \
             single-use tokens; records by replica: {records_of:?}",
            self.known.tokens.len(),
            issued.len(),
            withheld.len(),
            self.known.ended.len(),
            self.known.used.len(),
        )
    }
}
