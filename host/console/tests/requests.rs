//! Requests that are refused, and texts that are shown as data.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use countersign_console::{
    Console, ConsoleConfig, KnownPolicies, LogName, LogSource, PolicySource,
};
use countersign_decision_log::{Folder, Log};
use hyper::Request;
use serde_json::{Value, json};

use support::{Answer, TestLog, ask, decision, get, get_json, verified};

/// Texts that would do something if they were taken for more than text.
const HOSTILE: [&str; 10] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; &#x3c;",
    "\u{202e}gnp.exe \u{2066}",
    "\u{1b}[31mred\u{7}\r\nSet-Cookie: a=b",
    "\u{fffe}\u{ffff}\u{1d173}\u{2800}\u{200b}",
    "</td></tr></table></main><!--",
];

/// Every page of a log, of which record 1 is a decision.
const PAGES: [&str; 12] = [
    "/log/records",
    "/log/records?outcome=refused",
    "/log/records?kind=any",
    "/log/records/1",
    "/log/records/1/explain",
    "/log/refusals",
    "/log/releases",
    "/log/reports",
    "/log/policies",
    "/log/keys",
    "/log/records/2",
    "/log/reports/one",
];

fn hostile_log() -> TestLog {
    let mut records = Vec::new();
    let mut all = decision(0, 10, HOSTILE[0], &HOSTILE);
    for (place, text) in HOSTILE.into_iter().enumerate() {
        let reason = &mut all["decision"]["reasons"][place];
        (reason["message"], reason["binding"]) = (json!(text), json!(text));
    }
    all["requester"] = json!({"control_plane": {"name": HOSTILE.concat()}});
    all["decision"]["trace"][0]["binding"] = json!(HOSTILE[1]);
    all["decision"]["trace"][0]["verdict"] =
        json!({"deny": [{"code": HOSTILE[0], "message": HOSTILE.concat()}]});
    all["decision"]["trace"][0]["policy"]["name"] = json!(HOSTILE[2]);
    all["decision"]["claims"]["run"]["id"] = json!(HOSTILE.concat());
    all["decision"]["policy_set"] = json!(HOSTILE[1]);
    records.push(all);
    records.push(json!({
        "version": 1, "kind": HOSTILE[0], "time": 11, HOSTILE[1]: HOSTILE[2], "other": {HOSTILE[3]: [HOSTILE[4]]},
    }));
    records.push(json!({
        "version": 1, "kind": "release", "time": 12, "step": 1, "action": HOSTILE[0], "at": 12, "release": HOSTILE[1],
        "from": HOSTILE[2], "reason": HOSTILE.concat(),
        "evidence": {"digest": HOSTILE[3], "last": 1, "hash": "", "compared": 1, "classes": {HOSTILE[0]: 3}, "faults": 1},
    }));
    records.push(json!({
        "version": 1, "kind": "candidate", "time": 13, "release": HOSTILE[1], "policy_set": HOSTILE[2], "of": HOSTILE[3],
        "run": HOSTILE[4], "class": HOSTILE[0], "fault": false, "before": HOSTILE[5], "after": HOSTILE[6],
        "causes": [{"kind": HOSTILE[0], "binding": HOSTILE[1], "code": HOSTILE[2]}],
    }));
    TestLog::of(&records)
}

/// Checks that a page has nothing in it that a text of a record could have brought along.
#[track_caller]
fn check_inert(target: &str, page: &str) {
    for raw in [
        "<script",
        "<img",
        "onerror=alert(1)>",
        "' onmouseover='",
        "<!--",
        "<td></td></tr></table></main><",
    ] {
        assert!(!page.contains(raw), "{target} has {raw}");
    }
    let misleads = |c: char| {
        (c.is_control() && c != '\n')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}' | '\u{fffe}' | '\u{ffff}')
    };
    assert!(!page.contains(misleads), "{target}: {:?}", page.find(misleads).map(|at| &page[at..]));
    // Only attributes that templates have, and no style or handler among them.
    for attribute in [" style=", " onload=", " onclick=", "href=\"javascript", "src=\"javascript"] {
        assert!(!page.contains(attribute), "{target} has {attribute}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_are_data_on_every_page() {
    let log = hostile_log();
    let reports = log.folder.path().join("reports");
    std::fs::create_dir(&reports).unwrap();
    let report = json!({
        "candidate": HOSTILE[0], "classes": {HOSTILE[1]: 2}, "compared": 2, "faults": 0, "read": 2, "damage": HOSTILE.concat(),
        "evidence": {"digest": HOSTILE[2]}, "causes": [{"class": HOSTILE[0], "binding": HOSTILE[1], "code": HOSTILE[2]}],
        "changes": [{"class": HOSTILE[0], "record": 1, "time": 1, "run": HOSTILE[4], "owning_workspace": HOSTILE[5],
            "definition": HOSTILE[6], "before": {"approved": {"ttl_seconds": 5}},
            "after": {"refused": {"reasons": [{"code": HOSTILE[7], "message": HOSTILE[8]}]}},
            "causes": [{"class": HOSTILE[0], "binding": HOSTILE[1], "code": HOSTILE[2]}]}],
    });
    std::fs::write(reports.join("one.json"), report.to_string()).unwrap();
    std::fs::write(reports.join("<b>.json"), "{}").unwrap();
    std::fs::write(reports.join("two.json"), "[").unwrap();
    let console = log.open_with(Some(reports), &log.index()).await;
    verified(&console, 4).await;
    for target in PAGES {
        let page = get(&console, target).await;
        assert_eq!(page.status, 200, "{target}: {}", page.body);
        check_inert(target, &page.body);
        check_headers(target, &page);
        assert!(page.body.contains("Verified to checkpoint 4"), "{target}");
        let ended = |end: &str| match target.split_once('?') {
            Some((path, query)) => format!("{path}.{end}?{query}"),
            None => format!("{target}.{end}"),
        };
        let json = get(&console, &ended("json")).await;
        let _: Value = serde_json::from_str(&json.body).unwrap();
        assert_eq!(json.headers["content-type"], "application/json");
        let lines = get(&console, &ended("ndjson")).await;
        assert_eq!(lines.headers["content-type"], "application/x-ndjson");
        assert!(lines.body.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }
    // In JSON a text is what it is in the record, to the byte.
    let record = get_json(&console, "/log/records/1.json").await;
    let messages = record["record"]["decision"]["reasons"].as_array().unwrap();
    let messages: Vec<_> =
        messages.iter().map(|reason| reason["message"].as_str().unwrap()).collect();
    assert_eq!(messages, HOSTILE);
    // A link made of such a text finds what it is of.
    let encoded: String = form_urlencoded::byte_serialize(HOSTILE[1].as_bytes()).collect();
    let found = get_json(&console, &format!("/log/records.json?binding={encoded}")).await;
    assert_eq!(found["total"], 1);
    let page = get(&console, &format!("/log/records?binding={encoded}&code={encoded}")).await;
    check_inert("a search for it", &page.body);
    let problem = get(&console, &format!("/log/records?{encoded}=1")).await;
    assert_eq!(problem.status, 400);
    check_inert("a problem with it", &problem.body);
    console.close().await;
}

#[track_caller]
fn check_headers(target: &str, answer: &Answer) {
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("x-frame-options", "DENY"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        assert_eq!(answer.headers[name], value, "{target}");
    }
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with(
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ));
    assert!(!answer.headers.contains_key("set-cookie"), "{target}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_request_for_a_page_is_refused() {
    let log = TestLog::of(&[decision(1, 1, "team-a", &[])]);
    std::fs::write(log.folder.path().join("secret.json"), r#"{"evidence":{"digest":"x"}}"#)
        .unwrap();
    let reports = log.folder.path().join("reports");
    std::fs::create_dir(&reports).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/zero", reports.join("zero.json")).unwrap();
    let console = log.open_with(Some(reports), &log.index()).await;
    verified(&console, 1).await;
    for (target, expected) in [
        ("/log/records?limit=201", 400),
        ("/log/records?limit=999999999999", 400),
        ("/log/records?before=-1", 400),
        ("/log/records?before=1&after=1", 400),
        ("/log/records?since=yesterday", 400),
        ("/log/records?outcome=", 200),
        ("/log/records?outcome=x", 400),
        ("/log/records?run=a&run=b", 400),
        ("/log/records?%72un=a&run=b", 400),
        ("/log/records?nothing=1", 400),
        ("/log/records/1?x=1", 400),
        ("/log/records/0", 404),
        ("/log/records/01", 404),
        ("/log/records/+1", 404),
        ("/log/records/2", 404),
        ("/log/records/18446744073709551616", 404),
        ("/log/records/1/", 404),
        ("/log/records/1/explain/more", 404),
        ("/log//records", 404),
        ("//log/records", 404),
        ("/log/../log/records", 404),
        ("/log/%72ecords", 404),
        ("/log/records%2f1", 404),
        ("/log/records/1%00", 404),
        ("/log/reports/..%2fsecret", 404),
        ("/log/reports/../secret", 404),
        ("/log/reports/..", 404),
        ("/log/reports/secret", 404),
        ("/log/reports/zero", 404),
        ("/log/policies/sha256:0", 404),
        ("/log/policies/etc", 404),
        ("/log/releases/sha256:0", 404),
        ("/log/keys?before=x", 400),
        ("/log/refusals?since=5&until=5", 400),
        ("/LOG/records", 404),
        ("/other/records", 404),
        ("/style.css?v=1", 200),
        ("/style.css.json", 200),
        ("/log/records.xml", 404),
        ("/favicon.ico", 404),
        ("/log", 303),
        ("/", 303),
    ] {
        let answer = get(&console, target).await;
        assert_eq!(answer.status, expected, "{target}: {}", answer.body);
        check_headers(target, &answer);
    }
    let long = format!("/log/records?run={}", "a".repeat(5000));
    assert_eq!(get(&console, &long).await.status, 400);
    let request = |method: &str| Request::builder().method(method).uri("/log/records");
    let local = |method: &str| request(method).header("host", "127.0.0.1:9");
    for (what, request, expected) in [
        ("a post", local("POST"), 405),
        ("a deletion", local("DELETE"), 405),
        ("a preflight", local("OPTIONS"), 405),
        ("another method", local("X"), 405),
        ("a head", local("HEAD"), 200),
        ("a body", local("GET").header("content-length", "5"), 413),
        ("an empty body", local("GET").header("content-length", "0"), 200),
        ("chunks", local("GET").header("transfer-encoding", "chunked"), 413),
        ("no host", request("GET"), 400),
        ("two hosts", local("GET").header("host", "localhost"), 400),
        ("another host", request("GET").header("host", "rebound.example.com"), 421),
        ("another host that ends so", request("GET").header("host", "localhost.example.com"), 421),
        ("another host with a user", request("GET").header("host", "localhost@example.com"), 421),
        ("an address of a network", request("GET").header("host", "192.0.2.1"), 421),
        ("a host of no text", request("GET").header("host", "localhost:80:80"), 421),
        ("this host in capitals", request("GET").header("host", "LocalHost:8090"), 200),
        ("this host of IPv6", request("GET").header("host", "[::1]:8090"), 200),
        (
            "another target",
            Request::get("http://example.com/log/records").header("host", "localhost"),
            421,
        ),
        ("another origin", local("GET").header("origin", "https://example.com"), 403),
        ("no origin", local("GET").header("origin", "null"), 403),
        ("this origin", local("GET").header("origin", "http://localhost:8090"), 200),
        (
            "an embedding",
            local("GET")
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-dest", "image")
                .header("sec-fetch-mode", "no-cors"),
            403,
        ),
        (
            "a frame",
            local("GET")
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-dest", "iframe")
                .header("sec-fetch-mode", "navigate"),
            403,
        ),
        (
            "a page of another port",
            local("GET")
                .header("sec-fetch-site", "same-site")
                .header("sec-fetch-dest", "empty")
                .header("sec-fetch-mode", "cors"),
            403,
        ),
        ("another site alone", local("GET").header("sec-fetch-site", "cross-site"), 403),
        (
            "another site and no destination",
            local("GET")
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-mode", "navigate"),
            403,
        ),
        (
            "another site and no mode",
            local("GET")
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-dest", "document"),
            403,
        ),
        ("this site alone", local("GET").header("sec-fetch-site", "same-origin"), 200),
        (
            "a link from elsewhere",
            local("GET")
                .header("sec-fetch-site", "cross-site")
                .header("sec-fetch-dest", "document")
                .header("sec-fetch-mode", "navigate"),
            200,
        ),
    ] {
        let answer = ask(&console, request).await;
        assert_eq!(answer.status, expected, "{what}: {}", answer.body);
        check_headers(what, &answer);
        if expected == 405 {
            assert_eq!(answer.headers["allow"], "GET, HEAD");
        }
        if what == "a head" {
            assert!(answer.body.is_empty() && answer.headers["content-length"] != "0");
        }
    }
    // A problem has the form that was asked for.
    let problem = get_problem(&console, "/log/records.json?limit=0").await;
    assert_eq!(
        problem,
        json!({"error": "invalid_request", "error_description": "`limit`: expected 1 to 200"})
    );
    console.close().await;
}

async fn get_problem(console: &countersign_console::Console, target: &str) -> Value {
    serde_json::from_str(&get(console, target).await.body).unwrap()
}

/// Policies that take as long to find as the test says, and count how many are looked for at a time.
#[derive(Default)]
struct Slow {
    running: AtomicUsize,
    most: AtomicUsize,
    is_open: AtomicBool,
}

impl PolicySource for Slow {
    fn known(&self) -> Vec<(countersign::Digest, String)> {
        Vec::new()
    }

    fn find(&self, _: countersign::Digest) -> Result<Option<Arc<KnownPolicies>>, String> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        while !self.is_open.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.running.fetch_sub(1, Ordering::SeqCst);
        Ok(None)
    }
}

/// An explanation takes a processor until it is made, also where nobody waits for it any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_given_up_makes_no_room_for_another_explanation() {
    let log = TestLog::new();
    let records = concat!(env!("CARGO_MANIFEST_DIR"), "/../replay/tests/records/0.1.ndjson");
    let records = std::fs::read_to_string(records).unwrap();
    let record = records.lines().find(|line| line.contains("\"outcome\":\"approved\"")).unwrap();
    {
        let disk = Folder::open(&log.path()).unwrap();
        let (mut log, _) = Log::open(disk, support::CONFIG, Box::new(support::Key)).unwrap();
        log.append(&[record.as_bytes().to_vec()], 1).unwrap();
        log.checkpoint(1).unwrap();
    }
    let slow = Arc::new(Slow::default());
    let console = Console::open(ConsoleConfig {
        logs: vec![LogSource {
            name: LogName::parse("log").unwrap(),
            folder: log.path(),
            key: Arc::new(support::Key),
            index: log.index(),
        }],
        policies: Arc::clone(&slow) as Arc<dyn PolicySource>,
        reports: None,
        base: "",
        hosts: None,
    });
    let console = console.await.unwrap();
    verified(&console, 1).await;
    let explain = || {
        let console = Arc::clone(&console);
        tokio::spawn(async move { get(&console, "/log/records/1/explain").await })
    };
    let first = explain();
    while slow.running.load(Ordering::SeqCst) == 0 {
        assert!(!first.is_finished());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let second = explain();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let at_once = slow.most.load(Ordering::SeqCst);
    slow.is_open.store(true, Ordering::SeqCst);
    let second = second.await.unwrap();
    assert!(second.body.contains("is not available"), "{}", second.body);
    assert_eq!((at_once, slow.most.load(Ordering::SeqCst)), (1, 1));
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_follows_what_is_accepted() {
    let log = TestLog::of(&[decision(1, 1, "team-a", &[])]);
    let console = log.open().await;
    verified(&console, 1).await;
    for (accept, expected) in [
        (
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "text/html; charset=utf-8",
        ),
        ("application/json", "application/json"),
        ("APPLICATION/JSON; q=1", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("*/*", "text/html; charset=utf-8"),
        ("image/png", "text/html; charset=utf-8"),
    ] {
        let request =
            Request::get("/log/records").header("host", "localhost").header("accept", accept);
        assert_eq!(ask(&console, request).await.headers["content-type"], expected, "{accept}");
    }
    console.close().await;
}
