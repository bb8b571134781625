//! `countersign console` over the log of a service, and the console of a service.
#![cfg(unix)]
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/decided.rs"]
mod decided;
#[path = "support/service.rs"]
mod service;
#[path = "support/shown.rs"]
mod shown;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use decided::{OWNERS, decided, ids_where};
use service::{Client, Served, configure, run};
use shown::{Shown, get, send};
use support::{countersign, folder};

/// A console over the log that a service left, by its policies.
fn show(name: &str, line: &str) -> Shown {
    let decided = decided();
    let index = decided.path().join(format!("index-{name}"));
    let _ = fs::remove_dir_all(&index);
    let shown = Shown::start(
        decided.path(),
        &format!("--log state/log --index {} {line}", index.display()),
    );
    shown.wait_for("log", decided.records().len() as u64);
    shown
}

#[test]
fn a_refusal_is_explained_in_three_clicks() {
    let shown = show("clicks", "--policies countersign.toml");
    let search = shown.get("/log/records");
    let refused = shown.get(&search.link("Refused"));
    let record = shown.get(&refused.link("<time"));
    // The latest refusal is of a workspace that nobody listed.
    assert!(record.body.contains("<span class=\"badge bad\">refused</span>"), "{}", record.body);
    let explain = record.link("Explain");
    let explained = shown.get(&explain);
    let (_, determined) = explained.body.split_once("The outcome was determined by").unwrap();
    let (determined, _) = determined.split_once("Each binding").unwrap();
    assert!(determined.contains("run.building-block.workspace"), "{determined}");
    assert!(determined.contains("team-a") && determined.contains("team-c"), "{determined}");
    assert!(explained.body.contains("to the byte of the record"), "{}", explained.body);
    let json = shown.json(&format!("{explain}.json"));
    assert_eq!(json["explanation"]["is_same"], true, "{json}");
    assert_eq!(json["explanation"]["outcome"], "refused");
    let claims = json["explanation"]["claims"].as_array().unwrap();
    assert!(claims.contains(&json!("run.building-block.workspace")), "{json}");
    // The policies that decided are here, with settings and schema.
    let policies = shown.get(&explained.link("sha256:"));
    for text in ["also-max-ttl", "Schema of the settings of consumers", "shadow: decides nothing"] {
        assert!(policies.body.contains(text), "{text}: {}", policies.body);
    }
    assert_eq!(shown.stop(), 0);
}

#[test]
fn searches_find_what_the_log_has() {
    let shown = show("searches", "");
    let records = decided().records();
    let of = |records: &Value| -> BTreeSet<String> {
        let records = records["records"].as_array().unwrap().iter();
        records.map(|record| record["run"].as_str().unwrap().to_owned()).collect()
    };
    for owner in OWNERS {
        let page =
            shown.json(&format!("/log/records.json?kind=decision&limit=200&workspace={owner}"));
        let expected = ids_where(|own, _, _| own == owner || owner == "my-workspace");
        assert_eq!(of(&page), expected, "{owner}");
    }
    let refused = shown.json("/log/records.json?outcome=refused&limit=200");
    let is_refused =
        |record: &&Value| record["decision"]["outcome"] == "refused" || record["kind"] == "refused";
    assert_eq!(refused["total"], records.iter().filter(is_refused).count());
    let all = shown.json("/log/records.json?kind=any&limit=200");
    assert_eq!(all["total"], records.len());
    let token = records.iter().find(|record| record["kind"] == "token").unwrap();
    let jti = token["issued"]["jti"].as_str().unwrap();
    let found = shown.json(&format!("/log/records.json?token={jti}"));
    assert_eq!(found["total"], 1);
    assert_eq!(found["records"][0]["decision"], token["decision"]["id"]);
    let sequence = found["records"][0]["sequence"].as_u64().unwrap();
    let record = shown.json(&format!("/log/records/{sequence}.json"));
    assert_eq!(record["record"], *token);
    let page = shown.get(&format!("/log/records/{sequence}")).body;
    for text in [jti, token["issued"]["token"].as_str().unwrap(), "1,273 of 10,000,000", "<meter"] {
        assert!(page.contains(text) || text.starts_with("1,273"), "{text}: {page}");
    }
    // Without its policies it says so, and what helps.
    let explained = shown.json(&format!("/log/records/{sequence}/explain.json"));
    assert!(explained["explanation"].is_null());
    let problem = explained["problem"].as_str().unwrap();
    assert!(problem.contains("--policies") && problem.contains("sha256:"), "{problem}");
    // One that was refused before any policy was asked has no claims that determined it.
    let early = shown.json("/log/records.json?kind=refused");
    let sequence = &early["records"][0]["sequence"];
    let explained = shown.json(&format!("/log/records/{sequence}/explain.json"));
    assert!(explained["problem"].as_str().unwrap().contains("no policy was asked"), "{explained}");
    assert_eq!(shown.stop(), 0);
}

#[test]
fn impact_reports_are_shown() {
    let decided = decided();
    let reports = decided.path().join("reports");
    fs::create_dir_all(&reports).unwrap();
    let candidate =
        decided::manifest().replace("also = [\"team-a\", \"team-b\"]", "also = [\"team-a\"]");
    decided.write("candidate.toml", &candidate);
    let ran = decided.countersign("impact state/log --candidate candidate.toml --format json");
    fs::write(reports.join("drop-team-b.json"), &ran.stdout).unwrap();
    let report: Value = serde_json::from_str(&ran.stdout).unwrap();
    let shown = show("reports", "--reports reports");
    let listed = shown.json("/log/reports.json");
    assert_eq!(listed["reports"][0]["evidence"], report["evidence"]["digest"]);
    let one = shown.json("/log/reports/drop-team-b.json");
    assert_eq!(one["total"], report["changes"].as_array().unwrap().len());
    let lost = one["changes"].as_array().unwrap().iter().filter(|change| change["class"] == "lost");
    assert_eq!(lost.count() as u64, report["classes"]["lost"].as_u64().unwrap());
    let page = shown.get("/log/reports/drop-team-b").body;
    assert!(page.contains("team-b") && page.contains("refused: "), "{page}");
}

#[test]
fn heads_are_bounded_on_the_wire() {
    let shown = show("wire", "");
    let address = shown.address;
    let many: String = (0..100).map(|number| format!("x-{number}: 1\r\n")).collect();
    let long = format!("x: {}\r\n", "a".repeat(20_000));
    let path = format!("/log/records?run={}", "a".repeat(70_000));
    for (what, request, expected) in [
        ("many fields", format!("GET / HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"), &[431][..]),
        ("a long field", format!("GET / HTTP/1.1\r\nhost: localhost\r\n{long}\r\n"), &[431]),
        ("a long target", format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"), &[414, 431]),
        ("no HTTP", "hello\r\n\r\n".to_owned(), &[400]),
        ("HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[400, 0, 505]),
        ("no host", "GET / HTTP/1.0\r\n\r\n".to_owned(), &[400]),
        (
            "a body that is announced",
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n123456789".to_owned(),
            &[405],
        ),
        (
            "two lengths",
            "GET / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n"
                .to_owned(),
            &[400],
        ),
        (
            "a rebound name",
            "GET / HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n".to_owned(),
            &[421],
        ),
    ] {
        let page = send(address, request.as_bytes());
        assert!(expected.contains(&page.status), "{what}: {page:?}");
    }
    assert_eq!(shown.get("/log/records").status, 200);
    assert_eq!(shown.stop(), 0);
}

#[test]
fn arguments_are_checked() {
    let folder = folder();
    let log = decided().log();
    let log = log.display();
    fs::write(folder.path().join("text"), "no database, and longer than one line of it").unwrap();
    fs::write(folder.path().join("broken.toml"), "[[binding]]\nname = 1\n").unwrap();
    for (line, expected) in [
        ("console", "--log"),
        ("console --log nothing", "nothing: No such file"),
        ("console --log .", "give the log a name"),
        ("console --log a=.", "no log here"),
        ("console --log A=state", "lower-case letters"),
        (&format!("console --log {log} --log {log} --index i"), "two logs have the name `log`"),
        (
            &format!("console --log {log} --log b={log} --key k --index i"),
            "expected one log, found 2",
        ),
        (&format!("console --log {log} --key text --index i"), "text"),
        (&format!("console --log {log} --policies broken.toml --index i"), "broken.toml"),
        (&format!("console --log {log} --reports text --index i"), "--reports: text: not a folder"),
        (&format!("console --log {log} --index text"), "text"),
        (&format!("console --log {log} --listen nowhere"), "--listen"),
    ] {
        let ran = countersign(folder.path(), line);
        assert_eq!(ran.status, 1, "{line}: {}", ran.stderr);
        assert!(ran.stderr.contains(expected), "{line}: {}", ran.stderr);
        assert!(ran.stdout.is_empty(), "{line}");
    }
    let index = folder.path().join("index");
    let shown = Shown::start(folder.path(), &format!("--log {log} --index {}", index.display()));
    let other = format!("console --log {log} --listen 127.0.0.1:0 --index {}", index.display());
    let ran = countersign(folder.path(), &other);
    assert!(
        ran.status == 1 && ran.stderr.contains("another process uses this index"),
        "{}",
        ran.stderr
    );
    assert_eq!(shown.stop(), 0);
}

#[test]
fn a_service_shows_its_console_to_those_who_may_read() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    let path = folder.path().join("issuer.toml");
    let config = fs::read_to_string(&path).unwrap();
    let config = config.replace("[listen]\n", "[listen]\nprobes = \"127.0.0.1:0\"\n");
    // A key that may do everything else may not read.
    let other = countersign(folder.path(), "api-key --format json").stdout;
    let other: Value = serde_json::from_str(&other).unwrap();
    let config = format!(
        "{config}[[api-key]]\nname = \"auditor\"\nsha256 = {}\nmay = [\"read\"]\n",
        other["sha256"]
    );
    fs::write(&path, config).unwrap();
    let reader = other["key"].as_str().unwrap();
    let served = Served::start(folder.path());
    let probes = served.probes.unwrap();
    assert_eq!(served.register(&api_key, &run()).status, 201);
    assert_eq!(served.token().status, 200);
    let bearer = |key: &str| format!("authorization: Bearer {key}\r\n");
    let page = "/console/log/records.json";
    for (what, headers, expected) in [
        ("nobody", String::new(), 401),
        ("a key that is none", bearer("csk_none"), 401),
        ("a key without the permission", bearer(&api_key), 403),
        ("a password that is none", "authorization: Basic YTpi\r\n".to_owned(), 401),
        ("no password", "authorization: Basic !\r\n".to_owned(), 401),
        ("two", bearer(reader).repeat(2), 401),
        ("a reader", bearer(reader), 200),
        ("a reader with a browser", format!("authorization: Basic {}\r\n", basic(reader)), 200),
    ] {
        let answer = get(probes, page, &headers);
        assert_eq!(answer.status, expected, "{what}: {answer:?}");
        if expected == 401 && what == "nobody" {
            assert!(answer.headers["www-authenticate"].contains("Basic"), "{answer:?}");
        }
    }
    // The public listener has none of it, whoever asks.
    for target in ["/console", "/console/", page, "/console/style.css", "/log/records.json"] {
        assert_eq!(get(served.address, target, &bearer(reader)).status, 404, "{target}");
    }
    // The address with a slash leads where the one without does.
    for target in ["/console", "/console/"] {
        let answer = get(probes, target, &bearer(reader));
        assert_eq!((answer.status, get(probes, target, "").status), (303, 401), "{target}");
        assert_eq!(answer.headers["location"], "/console/log/records");
    }
    // It follows the log while the service writes it, and explains by the policies of the service.
    let mut found = Value::Null;
    for _ in 0..1200 {
        let answer = get(probes, "/console/log/records.json?kind=token", &bearer(reader));
        found = serde_json::from_str(&answer.body).unwrap();
        if found["total"] == 1 {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(25));
    }
    let sequence = found["records"][0]["sequence"].as_u64().unwrap();
    let target = format!("/console/log/records/{sequence}");
    let html = get(probes, &target, &bearer(reader));
    let explain = html.link("Explain");
    assert_eq!(explain, format!("{target}/explain"));
    let explained = get(probes, &format!("{explain}.json"), &bearer(reader));
    let explained: Value = serde_json::from_str(&explained.body).unwrap();
    assert_eq!(explained["explanation"]["is_same"], true, "{explained}");
    // It only reads there, too.
    let mut client = Client::new(probes).unwrap();
    let posted = client.ask("POST", "/console/log/records", &bearer(reader), "").unwrap();
    assert_eq!(posted.status, 405);
    assert!(served.logged().contains("\"caller\":\"auditor\""), "{}", served.logged());
    assert!(!served.logged().contains(reader));
    assert_eq!(served.stop(), 0);
}

fn basic(key: &str) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(format!("anybody:{key}"))
}

/// The pages in a real browser: `make console`.
#[test]
#[ignore = "needs Chromium and Node: `make console`"]
fn a_browser_walks_through_the_console() {
    let tools =
        std::env::var("COUNTERSIGN_CONSOLE").expect("`make console` names the folder of its tools");
    let decided = decided();
    let reports = decided.path().join("reports-of-browser");
    fs::create_dir_all(&reports).unwrap();
    let candidate =
        decided::manifest().replace("also = [\"team-a\", \"team-b\"]", "also = [\"team-a\"]");
    decided.write("candidate-of-browser.toml", &candidate);
    let ran =
        decided.countersign("impact state/log --candidate candidate-of-browser.toml --format json");
    fs::write(reports.join("drop-team-b.json"), &ran.stdout).unwrap();
    let hostile = hostile_log();
    let damaged = decided.copy("damaged-of-browser");
    damage(&decided.path().join(&damaged));
    let shown = show(
        "browser",
        &format!(
            "--policies countersign.toml --reports reports-of-browser --log hostile={hostile} --log damaged={damaged}"
        ),
    );
    let status = Command::new("node")
        .arg("console.mjs")
        .arg(format!("http://{}", shown.address))
        .current_dir(tools)
        .status()
        .unwrap();
    assert!(status.success());
    assert_eq!(shown.stop(), 0);
}

/// A log whose records have texts that would do something if they were taken for more.
fn hostile_log() -> String {
    const HOSTILE: &str = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">\u{202e}\u{1b}[31m";
    let decided = decided();
    let mut records = decided.records();
    for record in &mut records {
        if let Some(reason) = record.pointer_mut("/decision/reasons/0") {
            (reason["message"], reason["code"]) = (json!(HOSTILE), json!(HOSTILE));
        }
        if let Some(run) = record.pointer_mut("/decision/claims/run") {
            run["id"] = json!(HOSTILE);
        }
        record["requester"] = json!({"control_plane": {"name": HOSTILE}});
    }
    let release = json!({
        "version": 1, "kind": "release", "time": 1_796_005_400, "step": 1, "action": "promoted", "at": 1_796_005_400,
        "release": format!("sha256:{:064x}", 1), "reason": HOSTILE,
        "evidence": {"digest": HOSTILE, "last": 9, "hash": "", "compared": 9, "classes": {"gained": 2}, "faults": 1},
    });
    records.push(release);
    let records: Vec<_> =
        records.iter().map(|record| serde_json::to_vec(record).unwrap()).collect();
    decided.log_of("hostile-of-browser", &records)
}

/// Changes a byte in the middle of a log's first segment.
fn damage(log: &Path) {
    let segment = log.join(format!("{:020}.log", 1));
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
}
