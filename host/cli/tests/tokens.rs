//! `countersign token` keeps a job's token fresh, and removes it when the run may have none.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/platform.rs"]
mod platform;
#[path = "support/service.rs"]
mod service;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use platform::{AWS, DEFINITION, MANIFEST, Platform};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use support::command;

const NO_MIGRATIONS: &str = "{\"version\": 1, \"migrations\": []}\n";

/// Refreshes the token of a run in the file `token`.
struct Keeper(Child);

impl Drop for Keeper {
    fn drop(&mut self) {
        // The process may have exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Keeper {
    fn start(platform: &Platform, run: &str, more: &str) -> Self {
        let line = format!(
            "token --url {} --ca-file authority.pem --run {run} --run-token-file {run}.run-token --audience {AWS} \
             --write token {more}",
            platform.url()
        );
        let child = command(platform.folder.path())
            .args(line.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// The exit code and the output.
    fn ended(mut self) -> (i32, String) {
        let status = self.0.wait().unwrap().code().unwrap();
        let mut said = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, said)
    }
}

/// Waits for a token in the file that differs from the earlier ones.
fn next(platform: &Platform, before: &BTreeSet<String>) -> String {
    for _ in 0..600 {
        if let Ok(token) = fs::read_to_string(platform.path("token")) {
            assert_eq!(token.split('.').count(), 3, "half a token: {token}");
            if !before.contains(&token) {
                return token;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("no further token");
}

async fn finish(platform: &Platform, run: &str) {
    let request = platform.client.post(format!("{}/v1/runs/{run}/finish", platform.url()));
    assert!(request.bearer_auth(&platform.api_key).send().await.unwrap().status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_kept_fresh_until_the_run_ends() {
    let platform = Platform::start(MANIFEST, NO_MIGRATIONS, "").await;
    let run = platform.register(DEFINITION, "team-a").await;
    let keeper = Keeper::start(&platform, &run, "--ttl 2");
    let mut tokens = BTreeSet::new();
    for _ in 0..3 {
        tokens.insert(next(&platform, &tokens));
    }
    let mode = fs::metadata(platform.path("token")).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o600);
    finish(&platform, &run).await;
    assert_eq!(keeper.ended(), (0, "the run has ended\n".to_owned()));
    assert!(!platform.path("token").exists());
    // Each token has its own decision, and they are spread over time.
    let shown = platform.countersign("log show state/log --format json");
    let records = shown.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let tokens: Vec<_> = records.filter(|line| line["record"]["kind"] == "token").collect();
    let of = |pointer: &str| -> BTreeSet<String> {
        tokens.iter().map(|line| line.pointer(pointer).unwrap().to_string()).collect()
    };
    assert!(tokens.len() >= 3, "{}", shown.stdout);
    assert_eq!(of("/record/issued/jti").len(), tokens.len());
    assert_eq!(of("/record/decision/id").len(), tokens.len());
    assert!(platform.folder.path().read_dir().unwrap().all(|entry| {
        !entry.unwrap().file_name().to_string_lossy().starts_with(".countersign-")
    }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_leaves_no_token() {
    let platform = Platform::start(MANIFEST, NO_MIGRATIONS, "").await;
    let run = platform.register(DEFINITION, "team-a").await;
    let keeper = Keeper::start(&platform, &run, "--ttl 2");
    next(&platform, &BTreeSet::new());
    // The platform team takes the consumer off its list.
    let seen = platform.served.logged().len();
    let manifest = platform.path("countersign.toml");
    fs::write(&manifest, MANIFEST.replace("also = [\"team-a\"]", "also = []")).unwrap();
    platform.served.wait_for("reloaded policies", seen);
    let (status, said) = keeper.ended();
    assert_eq!(status, 2, "{said}");
    assert!(said.contains("refused ") && said.contains("decision sha256:"), "{said}");
    assert!(!platform.path("token").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn it_waits_for_the_service_as_long_as_the_token_is_good() {
    let platform = Platform::start(MANIFEST, NO_MIGRATIONS, "").await;
    let run = platform.register(DEFINITION, "team-a").await;
    let keeper = Keeper::start(&platform, &run, "--ttl 6");
    next(&platform, &BTreeSet::new());
    platform.served.signal(Signal::TERM);
    let (status, said) = keeper.ended();
    assert_eq!(status, 1, "{said}");
    assert!(
        said.contains("retrying in") && said.contains("no token before the deadline"),
        "{said}"
    );
    assert!(!platform.path("token").exists(), "it has expired");
}

/// A long `Retry-After` is cut at the deadline, where the last attempt is.
#[test]
fn it_asks_once_more_at_the_end_of_its_time() {
    let folder = support::folder();
    fs::write(folder.path().join("run-token"), "a-run-token-with-many-bits").unwrap();
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", service.local_addr().unwrap());
    let answers = thread::spawn(move || {
        let token = "{\"access_token\":\"a.b.c\",\"expires_in\":9}";
        for (head, body) in [
            ("503 Service Unavailable\r\nretry-after: 30", "{}"),
            ("200 OK\r\ncontent-type: application/json", token),
        ] {
            let (mut stream, _) = service.accept().unwrap();
            let mut seen = Vec::new();
            while !seen.ends_with(b"with-many-bits") {
                let mut chunk = [0; 4096];
                let read = stream.read(&mut chunk).unwrap();
                seen.extend_from_slice(&chunk[..read]);
            }
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    let line = format!(
        "token --url {url} --run {} --audience {AWS} --run-token-file run-token --wait 2",
        service::RUN_ID
    );
    let ran = support::countersign(folder.path(), &line);
    assert_eq!((ran.status, ran.stdout.as_str()), (0, "a.b.c\n"), "{}", ran.stderr);
    answers.join().unwrap();
}

/// Whatever the service answers, the token that a job has is its until it has expired; only the end of the run and a
/// refusal of the policies take it away.
#[test]
fn a_token_that_is_good_stays_whatever_the_service_answers() {
    const TOKEN: &str = "{\"access_token\":\"a.b.c\",\"expires_in\":10}";
    let refusal = |code: &str, source: &str| {
        let reason = format!("{{\"code\":\"{code}\",\"message\":\"m\",\"source\":\"{source}\"}}");
        ("403 Forbidden", format!("{{\"error\":\"access_denied\",\"reasons\":[{reason}]}}"))
    };
    let error = |error: &str| format!("{{\"error\":\"{error}\",\"error_description\":\"d\"}}");
    let (ok, bad) = ("200 OK", "400 Bad Request");
    let staying = [
        (bad, error("invalid_request")),
        (bad, error("invalid_target")),
        ("401 Unauthorized", error("invalid_token")),
        ("403 Forbidden", error("insufficient_scope")),
        ("404 Not Found", "<html>".to_owned()),
        ("301 Moved Permanently", String::new()),
        ("500 Internal Server Error", String::new()),
        ("503 Service Unavailable", error("temporarily_unavailable")),
        (ok, "{}".to_owned()),
        refusal("deadline", "host"),
    ];
    let ending = [(refusal("run-finished", "host"), 0), (refusal("denied", "policy"), 2)];
    // Each has a service of its own, since a token is refreshed after seconds only.
    let cases: Vec<_> = staying
        .into_iter()
        .zip(ending.into_iter().cycle())
        .map(|((status, body), (ending, exit))| {
            thread::spawn(move || {
                let (what, first) = (format!("{status} {body}"), (ok, TOKEN.to_owned()));
                let (seen, ended) = answered(&[first, (status, body), ending]);
                assert_eq!(
                    seen,
                    [None, Some("a.b.c".to_owned()), Some("a.b.c".to_owned())],
                    "{what}"
                );
                assert_eq!(ended.0, exit, "{what}: {}", ended.1);
                assert!(ended.1.contains("retrying in "), "{what}: {}", ended.1);
            })
        })
        .collect();
    for case in cases {
        case.join().unwrap();
    }
    // Without a token there is nothing to keep.
    let (_, ended) = answered(&[(bad, error("invalid_request"))]);
    assert_eq!(ended.0, 1, "{}", ended.1);
    assert!(ended.1.contains("the service responded 400: d"), "{}", ended.1);
}

/// Answers the requests of a keeper. Returns the token in its file at each, and its exit code and output; the file must
/// be gone in the end.
fn answered(answers: &[(&str, String)]) -> (Vec<Option<String>>, (i32, String)) {
    let folder = support::folder();
    let file = folder.path().join("token");
    fs::write(folder.path().join("identity"), "an-identity-with-many-bits").unwrap();
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", service.local_addr().unwrap());
    let line = format!(
        "token --url {url} --run {} --audience {AWS} --identity-file identity --write token",
        service::RUN_ID
    );
    let child = command(folder.path())
        .args(line.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (keeper, mut seen) = (Keeper(child), Vec::new());
    for (head, body) in answers {
        let (mut stream, _) = service.accept().unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"with-many-bits") {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).unwrap();
            request.extend_from_slice(&chunk[..read]);
        }
        seen.push(fs::read_to_string(&file).ok());
        let head =
            format!("HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {}", body.len());
        stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).unwrap();
    }
    let ended = keeper.ended();
    assert!(!file.exists());
    (seen, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_when_told_to() {
    let platform = Platform::start(MANIFEST, NO_MIGRATIONS, "").await;
    let run = platform.register(DEFINITION, "team-a").await;
    let keeper = Keeper::start(&platform, &run, "");
    next(&platform, &BTreeSet::new());
    let id = Pid::from_raw(i32::try_from(keeper.0.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    assert_eq!(keeper.ended(), (0, String::new()));
    assert!(!platform.path("token").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_right_ends_at_once() {
    let platform = Platform::start(MANIFEST, NO_MIGRATIONS, "").await;
    let run = platform.register(DEFINITION, "team-a").await;
    let url = platform.url();
    let with = |more: &str| {
        format!("token --run {run} --audience {AWS} --run-token-file {run}.run-token {more}")
    };
    fs::write(platform.path("other"), "another-run-token-with-many-bits").unwrap();
    for (line, says) in [
        (with("--url http://oidc.example.com --once"), "expected https"),
        (with("--url http://127.0.0.1.example.com --once"), "expected https"),
        (with("--url http://localhost:x@example.com --once"), "expected https"),
        (with("--url https://user@example.com --once"), "expected no user"),
        (
            with(&format!("--url {url} --write absent/token --once")),
            "the folder absent does not exist",
        ),
        (with(&format!("--url {url} --wait 1 --once")), "no token before the deadline"),
        (with(&format!("--url {url} --ca-file authority.pem --ttl 999999 --once")), "ttl_seconds"),
        (
            format!(
                "token --url {url} --ca-file authority.pem --run {run} --audience {AWS} --run-token-file other --once"
            ),
            "not for this run",
        ),
        (with(&format!("--url {url} --ca-file run.json --once")), "--ca-file"),
        (format!("token --url {url} --run {run} --audience {AWS} --once"), "--run-token-file"),
    ] {
        let ran = platform.countersign(&line);
        assert_eq!(ran.status, 1, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{line}: {}", ran.stderr);
        assert!(!ran.stderr.contains("with-many-bits"), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
    // Without a file, it goes to stdout, once.
    let ran = platform.countersign(&with(&format!("--url {url} --ca-file authority.pem")));
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(ran.stdout.trim().split('.').count(), 3);
}

/// Refreshes at 80% of a token's lifetime, neither at once nor after it.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_is_fetched_when_most_of_a_life_is_over() {
    let platform = Platform::start(MANIFEST, NO_MIGRATIONS, "").await;
    let run = platform.register(DEFINITION, "team-a").await;
    let _keeper = Keeper::start(&platform, &run, "--ttl 10");
    let mut tokens = BTreeSet::new();
    let mut issued = Vec::new();
    for _ in 0..2 {
        let token = next(&platform, &tokens);
        let claims = jsonwebtoken::dangerous::insecure_decode::<Value>(&token).unwrap().claims;
        issued.push(claims["iat"].as_u64().unwrap());
        tokens.insert(token);
    }
    // Times are whole seconds, and the machine may be busy.
    assert!((7..10).contains(&(issued[1] - issued[0])), "{issued:?}");
}

/// A file that another process wrote stays.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_did_not_write_it_does_not_remove() {
    let platform = Platform::start(MANIFEST, NO_MIGRATIONS, "").await;
    let run = platform.register(DEFINITION, "team-a").await;
    fs::write(platform.path("token"), "another's").unwrap();
    let line = format!(
        "token --url {} --run {run} --audience {AWS} --run-token-file absent --write token",
        platform.url()
    );
    assert_eq!(platform.countersign(&line).status, 1);
    assert_eq!(fs::read_to_string(platform.path("token")).unwrap(), "another's");
}
