//! `countersign runs watch` between an API server of the test's own and a service.
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

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use service::{RUNNER, Served, configure, run};
use support::{command, countersign, folder};

const A: &str = "aaaaaaaa-0000-4000-8000-000000000000";
const B: &str = "bbbbbbbb-0000-4000-8000-000000000000";
const C: &str = "cccccccc-0000-4000-8000-000000000000";
const D: &str = "dddddddd-0000-4000-8000-000000000000";

/// The role that the documentation gives the watcher.
const ROLE: &str = include_str!("../../../deploy/kubernetes/runs-watch.yaml");

/// The next answer of an API server.
enum Reply {
    Status(u16),
    Body(Value),
    /// Events of a watch, which ends then.
    Events(Vec<Value>),
}

/// An API server that answers what it is told to, in its order, and allows what the role allows. When it has nothing left, a
/// watch waits for the end of the test.
struct ApiServer {
    address: SocketAddr,
    replies: Arc<Mutex<VecDeque<Reply>>>,
    /// The query and the bearer token of each request.
    requests: Arc<Mutex<Vec<(String, String)>>>,
}

impl ApiServer {
    fn start(replies: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let replies = Arc::new(Mutex::new(VecDeque::from(replies)));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (of_replies, of_requests) = (Arc::clone(&replies), Arc::clone(&requests));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (replies, requests) = (Arc::clone(&of_replies), Arc::clone(&of_requests));
                thread::spawn(move || answer(stream.unwrap(), &replies, &requests));
            }
        });
        Self { address, replies, requests }
    }

    fn requests(&self) -> Vec<(String, String)> {
        self.requests.lock().unwrap().clone()
    }
}

/// Tells if the role has this line.
fn role_has(line: &str) -> bool {
    ROLE.lines().any(|of_role| of_role.trim() == line)
}

fn answer(
    mut stream: TcpStream,
    replies: &Mutex<VecDeque<Reply>>,
    requests: &Mutex<Vec<(String, String)>>,
) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut token = String::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        if let Some((name, value)) = line.split_once(": ")
            && name.eq_ignore_ascii_case("authorization")
        {
            token = value.trim_start_matches("Bearer ").to_owned();
        }
    }
    let target = first.split(' ').nth(1).unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let verb = if query.contains("watch=1") { "watch" } else { "list" };
    let is_allowed = first.starts_with("GET ")
        && path == "/apis/batch/v1/namespaces/demo/jobs"
        && role_has("- apiGroups: [\"batch\"]")
        && role_has("resources: [\"jobs\"]")
        && role_has("verbs: [\"list\", \"watch\"]");
    requests.lock().unwrap().push((query.to_owned(), token));
    let reply =
        if is_allowed { replies.lock().unwrap().pop_front() } else { Some(Reply::Status(403)) };
    let (status, body, waits) = match reply {
        None if verb == "watch" => (200, String::new(), true),
        None => (500, json!({"message": "nothing left"}).to_string(), false),
        Some(Reply::Status(status)) => {
            (status, json!({"code": status, "message": "as told"}).to_string(), false)
        }
        Some(Reply::Body(body)) => (200, body.to_string(), false),
        Some(Reply::Events(events)) => {
            let lines = events.iter().map(|event| format!("{event}\n"));
            (200, lines.collect::<String>(), false)
        }
    };
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body.as_bytes());
    if waits {
        // Until the watcher goes.
        while lines.next().is_some() {}
    }
}

/// A Job of a run.
fn job(run_id: &str, version: &str) -> Value {
    let mut object = run();
    object["metadata"]["uuid"] = run_id.into();
    object["spec"].as_object_mut().unwrap().remove("runToken");
    json!({
        "metadata": {
            "name": format!("runner-{run_id}"), "namespace": "demo", "resourceVersion": version,
            "labels": {"countersign/run": run_id},
            "annotations": {"countersign/runner": RUNNER, "countersign/run-object": object.to_string()},
        },
        "spec": {"template": {}}, "status": {"active": 1},
    })
}

fn ended(run_id: &str, version: &str, condition: &str) -> Value {
    let mut job = job(run_id, version);
    job["status"] = json!({"conditions": [
        {"type": "Suspended", "status": "False"}, {"type": condition, "status": "True"}]});
    job
}

fn list(jobs: &[Value], version: &str, next: &str) -> Reply {
    Reply::Body(
        json!({"kind": "JobList", "metadata": {"resourceVersion": version, "continue": next},
        "items": jobs}),
    )
}

fn event(kind: &str, object: &Value) -> Value {
    json!({"type": kind, "object": object})
}

/// The watcher, and what it says.
struct Watcher {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Watcher {
    fn start(folder: &std::path::Path, service: SocketAddr, cluster: SocketAddr) -> Self {
        let line = format!(
            "runs watch --url http://{service} --api-key-file key --namespace demo --format json \
             --cluster http://{cluster} --cluster-token-file token"
        );
        let mut child = command(folder)
            .args(line.split_whitespace())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap());
            }
        });
        Self { child, lines }
    }

    /// The next line: its event and its run.
    fn next(&self) -> (String, String) {
        let line = self.lines.recv_timeout(Duration::from_secs(60)).unwrap();
        let text = |name: &str| line[name].as_str().unwrap().to_owned();
        (text("event"), text("run"))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn runs_follow_their_jobs_through_breaks_and_lost_changes() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    fs::write(folder.path().join("key"), &api_key).unwrap();
    fs::write(folder.path().join("token"), "first\n").unwrap();
    let served = Served::start(folder.path());
    let mut other = job(C, "31");
    other["metadata"]["annotations"]["countersign/run-object"] =
        job(D, "31")["metadata"]["annotations"]["countersign/run-object"].clone();
    let cluster = ApiServer::start(vec![
        // Two pages.
        list(&[job(A, "5")], "", "more"),
        list(&[], "10", ""),
        Reply::Events(vec![
            event("ADDED", &job(B, "11")),
            event("MODIFIED", &job(B, "12")),
            event("BOOKMARK", &json!({"kind": "Job", "metadata": {"resourceVersion": "20"}})),
        ]),
        // From there on, until the changes are gone.
        Reply::Events(vec![event(
            "ERROR",
            &json!({"kind": "Status", "code": 410, "message": "too old"}),
        )]),
        // Meanwhile one has ended, and one is gone.
        list(&[ended(A, "25", "Complete")], "30", ""),
        Reply::Events(vec![
            // The object is of another run.
            event("ADDED", &other),
            event("ADDED", &job(D, "32")),
            event("DELETED", &job(D, "33")),
        ]),
        Reply::Status(410),
        Reply::Status(500),
        list(&[ended(A, "25", "Complete"), ended(B, "40", "Failed")], "50", ""),
    ]);
    let watcher = Watcher::start(folder.path(), served.address, cluster.address);
    let line = |event: &str, run: &str| (event.to_owned(), run.to_owned());
    assert_eq!(watcher.next(), line("registered", A));
    fs::write(folder.path().join("token"), "second\n").unwrap();
    assert_eq!(watcher.next(), line("registered", B));
    // Runs whose Jobs are gone end first.
    assert_eq!(watcher.next(), line("finished", B));
    assert_eq!(watcher.next(), line("finished", A));
    assert_eq!(watcher.next(), line("refused", C));
    assert_eq!(watcher.next(), line("registered", D));
    assert_eq!(watcher.next(), line("finished", D));

    let state = |run: &str| {
        let url = format!("--url http://{} --api-key-file key", served.address);
        let ran = countersign(folder.path(), &format!("runs show {url} {run} --format json"));
        serde_json::from_str::<Value>(&ran.stdout).ok().map(|run| run["state"].clone())
    };
    for run in [A, B, D] {
        assert_eq!(state(run), Some("finished".into()), "{run}");
    }
    assert_eq!(state(C), None);
    // It goes on after failures, and is silent about what it has done.
    for _ in 0..600 {
        if cluster.replies.lock().unwrap().is_empty() && cluster.requests().len() >= 10 {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let requests = cluster.requests();
    let queries: Vec<_> = requests.iter().map(|(query, _)| query.as_str()).collect();
    assert!(
        queries.iter().all(|query| query.contains("labelSelector=countersign%2Frun")),
        "{queries:?}"
    );
    assert!(queries[1].contains("continue=more"), "{queries:?}");
    for (at, version) in [(2, "10"), (3, "20"), (5, "30"), (6, "33"), (9, "50")] {
        let query = queries[at];
        assert!(query.contains("watch=1") && query.contains("allowWatchBookmarks=true"), "{query}");
        assert!(query.contains(&format!("resourceVersion={version}&")), "{at}: {query}");
    }
    assert_eq!((requests[0].1.as_str(), requests.last().unwrap().1.as_str()), ("first", "second"));
    assert!(watcher.lines.try_recv().is_err());
    drop(watcher);
    assert_eq!(served.stop(), 0);
}

#[test]
fn a_cluster_that_denies_the_list_ends_it_with_what_helps() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    fs::write(folder.path().join("key"), &api_key).unwrap();
    fs::write(folder.path().join("token"), "first\n").unwrap();
    let cluster = ApiServer::start(vec![Reply::Status(403)]);
    let watch = |more: &str| {
        let line = format!(
            "runs watch --url http://127.0.0.1:1 --api-key-file key --cluster-token-file token {more}"
        );
        countersign(folder.path(), &line)
    };
    for (more, problem) in [
        (format!("--namespace demo --cluster http://{}", cluster.address), "docs/kubernetes.md"),
        ("--namespace demo --cluster http://192.0.2.1".to_owned(), "expected https"),
        ("--namespace a/b --cluster http://127.0.0.1:1".to_owned(), "--namespace"),
        (
            "--namespace demo --cluster https://127.0.0.1:1 --cluster-ca-file none".to_owned(),
            "none",
        ),
    ] {
        let ran = watch(&more);
        assert!(ran.status == 1 && ran.stderr.contains(problem), "{more}: {}", ran.stderr);
    }
}
