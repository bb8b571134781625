//! A search finds what a scan of the log finds, whatever the filters and however it is paged.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use proptest::prelude::*;
use serde_json::Value;
use tokio::runtime::Runtime;

use support::{TestLog, decision, get, get_json, run, verified};

const OWNERS: [&str; 3] = ["team-a", "team-b", "platform-team"];
const CODES: [&[&str]; 4] = [&[], &["not-listed"], &["not-listed", "too-long"], &["too-long"]];

/// A filter: a query, and what it means.
#[derive(Debug, Clone, Copy)]
enum Filter {
    Owner(usize),
    Outcome(bool),
    Code(usize),
    Run(u64),
    Since(u64),
    Until(u64),
    PolicySet(u64),
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![
        (0..3_usize).prop_map(Filter::Owner),
        any::<bool>().prop_map(Filter::Outcome),
        (0..2_usize).prop_map(Filter::Code),
        (0..60_u64).prop_map(Filter::Run),
        (0..90_u64).prop_map(Filter::Since),
        (0..90_u64).prop_map(Filter::Until),
        (0..2_u64).prop_map(Filter::PolicySet),
    ]
}

impl Filter {
    fn parameter(self) -> (&'static str, String) {
        match self {
            Self::Owner(owner) => ("workspace", OWNERS[owner].to_owned()),
            Self::Outcome(true) => ("outcome", "approved".to_owned()),
            Self::Outcome(false) => ("outcome", "refused".to_owned()),
            Self::Code(code) => ("code", ["not-listed", "too-long"][code].to_owned()),
            Self::Run(number) => ("run", run(number)),
            Self::Since(time) => ("since", time.to_string()),
            Self::Until(time) => ("until", time.to_string()),
            Self::PolicySet(number) => ("policy-set", format!("sha256:{number:064x}")),
        }
    }

    fn selects(self, record: &Value) -> bool {
        let decision = &record["decision"];
        let run = &decision["claims"]["run"];
        let time = record["time"].as_u64().unwrap();
        match self {
            Self::Owner(owner) => {
                run["building_block"]["workspace"] == OWNERS[owner]
                    || OWNERS[owner] == "platform-team"
            }
            Self::Outcome(is_approved) => (decision["outcome"] == "approved") == is_approved,
            Self::Code(code) => {
                let wanted = ["not-listed", "too-long"][code];
                let reasons = decision["reasons"].as_array();
                reasons.into_iter().flatten().any(|reason| reason["code"] == wanted)
            }
            Self::Run(number) => run["id"] == support::run(number),
            Self::Since(since) => time >= since,
            Self::Until(until) => time < until,
            Self::PolicySet(number) => decision["policy_set"] == format!("sha256:{number:064x}"),
        }
    }
}

/// Follows the pages from the latest record to the earliest, and back.
async fn all_pages(console: &countersign_console::Console, query: &str, limit: usize) -> Vec<u64> {
    let (mut found, mut starts, mut at) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = get_json(console, &format!("/log/records.json?limit={limit}{query}{at}")).await;
        let records = page["records"].as_array().unwrap();
        let sequences: Vec<_> =
            records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
        assert!(sequences.len() <= limit && sequences.is_sorted_by(|one, other| one > other));
        starts.push(sequences.clone());
        found.extend(sequences);
        match page["earlier"].as_u64() {
            Some(before) => at = format!("&before={before}"),
            None => break,
        }
    }
    // The way back meets the same records.
    let mut back = starts.pop().unwrap_or_default();
    while let Some(first) = back.first().copied() {
        let page =
            get_json(console, &format!("/log/records.json?limit={limit}{query}&after={first}"))
                .await;
        let records = page["records"].as_array().unwrap();
        if records.is_empty() {
            assert!(page["later"].is_null());
            break;
        }
        let mut later: Vec<_> =
            records.iter().map(|record| record["sequence"].as_u64().unwrap()).collect();
        later.append(&mut back);
        back = later;
    }
    assert_eq!(back, found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(12) })]

    #[test]
    fn pages_put_together_are_a_scan(
        records in prop::collection::vec((0..90_u64, 0..3_usize, 0..4_usize), 1..120),
        searches in prop::collection::vec(
            (prop::collection::vec(filter(), 0..4), 1..40_usize), 1..8,
        ),
    ) {
        // Times are in no order: a clock was set back.
        let records: Vec<_> = records
            .into_iter()
            .zip(0..)
            .map(|((time, owner, codes), number)| decision(number, time, OWNERS[owner], CODES[codes]))
            .collect();
        let log = TestLog::of(&records);
        Runtime::new().unwrap().block_on(async {
            let console = log.open().await;
            verified(&console, records.len() as u64).await;
            for (filters, limit) in searches {
                // Of two filters of one kind, the last one counts: a query has each once.
                let mut by_name = std::collections::BTreeMap::new();
                for filter in filters {
                    let (name, value) = filter.parameter();
                    by_name.insert(name, (value, filter));
                }
                let query: String =
                    by_name.iter().map(|(name, (value, _))| format!("&{name}={value}")).collect();
                let selects = |record: &Value| by_name.values().all(|(_, filter)| filter.selects(record));
                let mut expected: Vec<_> =
                    (1..).zip(&records).filter(|(_, record)| selects(record)).map(|(at, _)| at).collect();
                expected.reverse();
                let total = get_json(&console, &format!("/log/records.json?limit=1{query}")).await;
                assert_eq!(total["total"].as_u64(), Some(expected.len() as u64), "{query}");
                assert_eq!(all_pages(&console, &query, limit).await, expected, "{query}");
            }
            console.close().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_find_their_records() {
    let mut records: Vec<_> =
        (0..40).map(|n| decision(n, n, "team-a", CODES[n as usize % 4])).collect();
    records.push(serde_json::json!({
        "version": 1, "kind": "refused", "request": "request-40", "time": 40, "requester": {}, "changes": 1,
        "run": run(900), "reasons": [{"code": "run-finished", "message": "the run is finished"}],
    }));
    records.push(
        serde_json::json!({"version": 1, "kind": "subjects", "time": 41, "meshstack_id": "demo"}),
    );
    records.push(serde_json::json!({"version": 9, "kind": "of-tomorrow", "time": 42}));
    let log = TestLog::of(&records);
    let console = log.open().await;
    verified(&console, 43).await;
    for (query, expected) in [
        ("token=jti-8", vec![9]),
        ("request=request-5", vec![6]),
        (&format!("decision=sha256:{:064x}", 7), vec![8]),
        (&format!("run={}", run(6)), vec![8, 7]),
        (&format!("run={}", run(900)), vec![41]),
        ("code=run-finished", vec![41]),
        ("code=run-finished&outcome=refused", vec![41]),
        ("code=run-finished&binding=consumers", vec![]),
        ("code=not-listed&binding=consumers&limit=1", vec![39]),
        ("kind=subjects", vec![42]),
        ("kind=unreadable", vec![43]),
        ("kind=any&limit=2", vec![43, 42]),
        ("limit=1", vec![41]),
        ("kid=key-1&limit=1", vec![37]),
        ("run=nothing", vec![]),
        ("workspace=team", vec![]),
        ("workspace=TEAM-A", vec![]),
        ("before=1", vec![]),
        ("after=43", vec![]),
        ("before=18446744073709551615&limit=1", vec![41]),
        ("after=18446744073709551615", vec![]),
    ] {
        let page = get_json(&console, &format!("/log/records.json?{query}")).await;
        let found: Vec<_> = page["records"]
            .as_array()
            .unwrap()
            .iter()
            .map(|r| r["sequence"].as_u64().unwrap())
            .collect();
        assert_eq!(found, expected, "{query}");
        // As lines, the same records.
        let lines = get(&console, &format!("/log/records.ndjson?{query}")).await;
        assert_eq!(lines.body.lines().count(), found.len(), "{query}");
        assert!(lines.body.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    }
    console.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_that_is_built_anew_is_the_one_that_followed() {
    let records: Vec<_> = (0..90)
        .map(|n| decision(n, n * 600, OWNERS[n as usize % 3], CODES[n as usize % 4]))
        .collect();
    let log = TestLog::of(&records[..20]);
    let followed = log.open().await;
    verified(&followed, 20).await;
    for more in records[20..].chunks(17) {
        log.append(more, more.len() < 17);
    }
    verified(&followed, 90).await;
    let other = log.folder.path().join("other.db");
    let anew = log.open_with(None, &other).await;
    verified(&anew, 90).await;
    for target in [
        "/log/records.json",
        "/log/records.json?outcome=refused",
        "/log/refusals.json",
        "/log/policies.json",
        "/log/keys.json",
        "/log/records/50.json",
        "/log/records.json?code=too-long&since=3600",
    ] {
        let (one, other) = (get_json(&followed, target).await, get_json(&anew, target).await);
        assert_eq!(one, other, "{target}");
    }
    followed.close().await;
    anew.close().await;
    // An index that is there is gone on with, and has everything.
    let again = log.open().await;
    let log_state = verified(&again, 90).await;
    assert_eq!(log_state["uncovered"], 0);
    assert_eq!(get_json(&again, "/log/records.json").await["total"], 90);
    again.close().await;
}
