//! The metrics of a service to which nothing has happened yet, and their page.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use support::{OTHER_RUNNER, Running, SHARED_RUNNER, folder, run};

const PAGE: &str = include_str!("../../../docs/issuer.md");

async fn scrape(service: &Running) -> String {
    let metrics = service.client.get(service.url("/metrics")).bearer_auth(&service.api_key);
    metrics.send().await.unwrap().text().await.unwrap()
}

/// The name and labels of each series, without values, buckets, and labels that differ by build.
fn series(text: &str) -> BTreeSet<String> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    let names = lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned());
    names
        .map(|name| {
            let same = ["digest", "version", "wasmtime"];
            same.iter().fold(name, |name, label| {
                let Some((before, rest)) = name.split_once(&format!("{label}=\"")) else {
                    return name;
                };
                let (_, after) = rest.split_once('"').unwrap();
                format!("{before}{label}=\"…\"{after}")
            })
        })
        .collect()
}

/// An alert on a series that is not there yet never fires.
#[tokio::test(flavor = "multi_thread")]
async fn series_exist_before_their_first_event() {
    let folder = folder();
    let service = Running::start(folder.path()).await;
    let first = scrape(&service).await;
    let found: String = series(&first).into_iter().map(|name| name + "\n").collect();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/metrics.txt");
    if std::env::var_os("UPDATE").is_some_and(|update| update == "1") {
        std::fs::write(&golden, &found).unwrap();
    }
    assert_eq!(found, std::fs::read_to_string(&golden).unwrap());

    let value = |text: &str, name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}")).parse().unwrap()
    };
    assert_eq!(value(&first, "process_start_time_seconds"), service.now() as f64);
    for name in ["process_open_fds", "process_max_fds", "process_resident_memory_bytes"] {
        assert!(value(&first, name) > 0.0, "{name}");
    }
    assert_eq!(value(&first, "countersign_reloads_total{result=\"failed\"}"), 0.0);

    // The page has every name, with its labels, and no other.
    let text = scrape(&service).await;
    let mut names: BTreeSet<String> = BTreeSet::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE ")) {
        names.insert(line.split(' ').next().unwrap().to_owned());
    }
    let (_, table) = PAGE.split_once("| metric | meaning | alert on |\n|---|---|---|\n").unwrap();
    let rows: Vec<_> = table.lines().take_while(|line| line.starts_with("| `")).collect();
    let mut documented = BTreeSet::new();
    for row in rows {
        let documents = row.split('`').nth(1).unwrap();
        let (name, labels) = match documents.split_once('{') {
            None => (documents, Vec::new()),
            Some((name, labels)) => {
                (name, labels.trim_end_matches('}').split(", ").collect::<Vec<_>>())
            }
        };
        if name.starts_with("countersign_trusted_issuer_") {
            // This service has no trusted issuer whose keys change; they are tested with those that have.
            continue;
        }
        documented.insert(name.to_owned());
        let of = |line: &&str| {
            let rest = line.strip_prefix(name).unwrap_or_default();
            let rest = rest.strip_prefix("_count").unwrap_or(rest);
            rest.starts_with('{') || (labels.is_empty() && rest.starts_with(' '))
        };
        let line = text.lines().find(of).unwrap_or_else(|| panic!("{name}"));
        let label = |pair: &str| pair.split('=').next().unwrap_or_default().to_owned();
        let found: BTreeSet<String> = line
            .split_once('{')
            .map(|(_, rest)| rest.split_once("} ").unwrap().0)
            .into_iter()
            .flat_map(|pairs| pairs.split("\",").map(label).collect::<Vec<_>>())
            .collect();
        assert_eq!(found, labels.iter().map(|label| (*label).to_owned()).collect(), "{name}");
    }
    assert_eq!(documented, names);
    service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_and_rates_are_counted() {
    let folder = folder();
    let config =
        "[limits]\nrunner-per-second = 1\nrunner-burst = 2\nrun-per-second = 1\nrun-burst = 1\n";
    let setup = support::Setup { config: config.to_owned(), ..support::Setup::default() };
    let service = Running::with(folder.path(), setup).await;
    service.register(&run(), SHARED_RUNNER).await;
    let mut exceeded = 0;
    while exceeded == 0 {
        let status = service.by_run_token(support::RUN, support::AWS).await.status();
        exceeded += usize::from(status == reqwest::StatusCode::TOO_MANY_REQUESTS);
    }
    let mut stranger = support::run_of(OTHER_RUNNER, "team-b", OTHER_RUNNER);
    stranger["spec"]["buildingBlock"]["spec"]["workspaceIdentifier"] = "team-z".into();
    service.register(&stranger, OTHER_RUNNER).await;
    service.by_run_token(OTHER_RUNNER, support::AWS).await;
    let ended = "aaaaaaaa-aaaa-4aaa-8aaa-aaaaaaaaaaaa";
    service.register(&support::run_of(ended, "team-b", OTHER_RUNNER), OTHER_RUNNER).await;
    service.finish(ended).await;
    service.by_run_token(ended, support::AWS).await;
    let text = scrape(&service).await;
    for line in [
        "countersign_rate_limited_total{limit=\"run\"} 1",
        "countersign_rate_limited_total{limit=\"runner\"} 0",
        "countersign_refusals_total{code=\"policy\"} 1",
        "countersign_refusals_total{code=\"run-finished\"} 1",
        "countersign_decisions_total{kind=\"token\",outcome=\"refused\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    // What it has counted has no series that was not there before.
    let golden = include_str!("data/metrics.txt");
    for name in series(&text) {
        let at_first = golden.lines().any(|line| line == name);
        assert!(at_first || name.starts_with("countersign_http_request"), "{name}");
    }
    service.stop().await;
}
