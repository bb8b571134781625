//! `countersign runs` against a service.
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

use std::fs;

use serde_json::{Value, json};
use service::{RUN_ID, RUNNER, Served, configure, run};
use support::{countersign, folder};

#[test]
fn runs_are_listed_shown_and_finished_from_the_command_line() {
    let folder = folder();
    let api_key = configure(folder.path(), "");
    fs::write(folder.path().join("key"), format!("{api_key}\n")).unwrap();
    let served = Served::start(folder.path());
    let ids: Vec<_> =
        (1..=3).map(|number| format!("{number:08x}-0000-4000-8000-000000000000")).collect();
    for id in &ids {
        let mut run = run();
        run["metadata"]["uuid"] = json!(id);
        assert_eq!(served.register(&api_key, &run).status, 201);
    }
    let runs = |line: &str| {
        let (command, rest) = line.split_once(' ').unwrap_or((line, ""));
        let url = format!("--url http://{} --api-key-file key", served.address);
        countersign(folder.path(), &format!("runs {command} {url} {rest}"))
    };
    let json = |line: &str| -> Value {
        let ran = runs(&format!("{line} --format json"));
        assert_eq!(ran.status, 0, "{line}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    let listed = |line: &str| -> Vec<String> {
        let runs = json(line)["runs"].as_array().unwrap().clone();
        runs.iter().map(|run| run["run"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(listed("list"), ids);
    assert_eq!(listed(&format!("list --runner {RUNNER} --live --after {}", ids[0])), ids[1..]);
    let first = json("list --limit 2");
    assert_eq!((first["runs"].as_array().unwrap().len(), &first["next"]), (2, &json!(ids[1])));
    assert_eq!(json("list")["next"], json!(null));
    let lines = runs("list --limit 2");
    assert_eq!(lines.stdout.lines().count(), 2);
    assert!(lines.stderr.contains(&format!("--after {}", ids[1])), "{}", lines.stderr);
    assert!(lines.stdout.starts_with(&format!("{} live until ", ids[0])), "{}", lines.stdout);

    assert_eq!(json(&format!("finish {}", ids[0])), json!({ "run": ids[0] }));
    let shown = json(&format!("show {}", ids[0]));
    assert_eq!((&shown["state"], &shown["runner"]), (&json!("finished"), &json!(RUNNER)));
    let of_runner = format!("finish --runner {RUNNER}");
    assert_eq!(json(&of_runner), json!({ "runner": RUNNER, "finished": 2 }));
    assert_eq!(json(&of_runner)["finished"], 0);
    assert!(listed("list --live").is_empty());

    let absent = format!("show {RUN_ID}");
    for (line, says) in [
        (absent.as_str(), "the service responded 404: there is no such run"),
        ("finish", "required"),
        ("list --limit 0", "0 is not in"),
        ("list --runner x", "runner"),
        ("list --ca-file none", "none"),
    ] {
        let ran = runs(line);
        assert!(ran.status == 1 && ran.stderr.contains(says), "{line}: {}", ran.stderr);
    }
    for (key, says) in [
        ("csk_unknown", "the service responded 401: the API key is unknown"),
        ("two\nlines", "expected one line of ASCII"),
    ] {
        fs::write(folder.path().join("key"), key).unwrap();
        let ran = runs("list");
        assert!(ran.status == 1 && ran.stderr.contains(says), "{}", ran.stderr);
        assert!(!ran.stderr.contains(key));
    }
    let plain = "runs list --url http://oidc.example.com --api-key-file key";
    let ran = countersign(folder.path(), plain);
    assert!(ran.status == 1 && ran.stderr.contains("expected https"), "{}", ran.stderr);
    assert_eq!(served.stop(), 0);
}
