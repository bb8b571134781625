//! The console over a million records: its index, and its pages.
//!
//! The bench makes its log: `DECISIONS` records (1,000,000) of five policies. Pages are asked for without a connection, each
//! one many times; the table has the median and the slowest. Fails where a target is missed, or a page does not find what it
//! is for.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench"
)]

#[path = "../impact/log.rs"]
mod log;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign_benches::{compiler, machine};
use countersign_console::{Console, ConsoleConfig, LogName, LogSource, NoPolicies};
use http_body_util::BodyExt;
use hyper::Request;
use serde_json::Value;

use self::log::Key;

/// The times that each page is asked for.
const TIMES: usize = 100;

/// The targets, for a million records.
const MAX_PAGE: Duration = Duration::from_millis(50);
const MAX_INDEX_SECONDS: f64 = 60.0;

/// The pages: what each is, its path, and a member that its JSON has; `None` for a search that finds nothing.
const PAGES: [(&str, &str, Option<&str>); 12] = [
    ("the latest decisions", "/log/records", Some("/records/0")),
    ("refused", "/log/records?outcome=refused", Some("/records/0")),
    ("of a workspace", "/log/records?workspace=team-7", Some("/records/0")),
    (
        "refused, of a workspace, by a code",
        "/log/records?outcome=refused&workspace=team-7&code=foreign-workspace",
        Some("/records/0"),
    ),
    (
        "of a run, the first one",
        "/log/records?run=00000000-0000-4000-8000-000000000000",
        Some("/records/0"),
    ),
    (
        "of a request",
        "/log/records?request=0b5a3b2e-7a4e-4d55-9a5c-0000000003e7",
        Some("/records/0"),
    ),
    (
        "of an hour in the middle",
        "/log/records?since=1790002000&until=1790005600",
        Some("/records/0"),
    ),
    (
        "two filters that exclude each other",
        "/log/records?outcome=approved&code=foreign-workspace",
        None,
    ),
    ("a page in the middle", "/log/records?before=500000&limit=200", Some("/records/0")),
    ("a decision", "/log/records/123456", Some("/record/decision")),
    ("refusals over time", "/log/refusals", Some("/codes/0")),
    ("policy sets", "/log/policies", Some("/policy_sets/0")),
];

fn main() -> ExitCode {
    let decisions: usize =
        env::var("DECISIONS").map_or(1_000_000, |text| text.parse().expect("a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("log");
    eprintln!("making a log of {decisions} decisions");
    log::make(&path, decisions);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let met = runtime.expect("threads").block_on(measure(&path, decisions as u64));
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(log: &Path, decisions: u64) -> bool {
    let index = log.with_file_name("log.console.db");
    eprintln!("building the index");
    let (console, built) = open(log, &index, decisions).await;
    console.close().await;
    let bytes = std::fs::metadata(&index).expect("an index").len();
    eprintln!("verifying again");
    let (console, again) = open(log, &index, decisions).await;
    println!("{}", machine());
    println!("{} {decisions} records.\n", compiler());
    println!("| what | median | slowest | target |\n|---|---|---|---|");
    let scaled = MAX_INDEX_SECONDS * decisions as f64 / 1e6;
    let mut met = built.as_secs_f64() <= scaled;
    println!(
        "| verifying the log and building the index ({} MB) | {:.1} s | | {} |",
        bytes / 1_000_000,
        built.as_secs_f64(),
        verdict(met, &format!("≤ {scaled:.0} s"))
    );
    println!("| verifying the log again, with the index | {:.1} s | | |", again.as_secs_f64());
    for (what, target, member) in PAGES {
        eprintln!("{what}");
        let json = match target.split_once('?') {
            Some((path, query)) => format!("{path}.json?{query}"),
            None => format!("{target}.json"),
        };
        let found: Value = serde_json::from_str(&get(&console, &json).await).expect("JSON");
        if decisions >= 1_000_000 {
            let is_found = match member {
                Some(member) => found.pointer(member).is_some(),
                None => found["records"].as_array().is_some_and(Vec::is_empty),
            };
            assert!(is_found, "{what}: {found}");
        }
        let mut times = Vec::new();
        for _ in 0..TIMES {
            let start = Instant::now();
            get(&console, target).await;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        let (median, slowest) = (times[TIMES / 2], times[TIMES - 1]);
        let is_met = median <= MAX_PAGE;
        met &= is_met;
        println!(
            "| {what} | {:.2} ms | {:.2} ms | {} |",
            median.as_secs_f64() * 1e3,
            slowest.as_secs_f64() * 1e3,
            verdict(is_met, "≤ 50 ms")
        );
    }
    console.close().await;
    met
}

/// Opens the console, and waits until it shows the whole log.
async fn open(log: &Path, index: &Path, decisions: u64) -> (Arc<Console>, Duration) {
    let start = Instant::now();
    let source = LogSource {
        name: LogName::parse("log").expect("a name"),
        folder: log.to_owned(),
        key: Arc::new(Key),
        index: index.to_owned(),
    };
    let config = ConsoleConfig {
        logs: vec![source],
        policies: Arc::new(NoPolicies),
        reports: None,
        base: "",
        hosts: None,
    };
    let console = Console::open(config).await.expect("a console");
    loop {
        let home: Value = serde_json::from_str(&get(&console, "/.json").await).expect("JSON");
        let state = &home["logs"][0];
        assert!(state["damage"].is_null(), "{state}");
        if state["verifying"].is_null() && state["last"].as_u64() >= Some(decisions) {
            return (console, start.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn get(console: &Console, target: &str) -> String {
    let head = Request::get(target).body(()).expect("a request").into_parts().0;
    let response = console.respond(&head).await;
    assert!(response.status().is_success(), "{target}: {}", response.status());
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

fn verdict(met: bool, target: &str) -> String {
    format!("{target}: {}", if met { "met" } else { "**missed**" })
}
