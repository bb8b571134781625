//! Prints the table of `make bench` from criterion's files: no figure in it is typed.

#![allow(clippy::print_stdout, reason = "what it is for")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use countersign_peers::{IDLE_BINDING, figures};
use serde_json::Value;

/// Medians in nanoseconds, by group and function.
struct Medians(HashMap<(String, String), f64>);

type Engines = &'static [(&'static str, Option<f64>)];

/// Groups of the same rules in several engines, with the maximum ratio of Countersign's time to each engine's.
const RULES: [(&str, Engines); 4] = [
    ("own workspace, yes or no", ENGINES),
    (
        "same-workspace",
        &[
            ("regorus", Some(0.8)),
            ("regorus, input made of the claims", None),
            ("cedar-policy", Some(0.4)),
            ("cedar-policy, request made before", None),
            ("cel", None),
            ("plain Rust", None),
        ],
    ),
    ("allowed-consumers of 10,000", ENGINES),
    ("five policies", ENGINES),
];

const ENGINES: Engines = &[
    ("regorus", None),
    ("regorus, input made of the claims", None),
    ("cedar-policy", None),
    ("cedar-policy, request made before", None),
    ("cel", None),
    ("plain Rust", None),
];

/// Functions that are not a peer's whole decision.
const BUILT_BEFORE: &str = "cedar-policy, request made before";

const US: &str = "Countersign";

fn main() {
    let home = figures();
    let medians = Medians::read(&home);
    println!("{}", countersign_benches::machine());
    println!("{} {}.", versions(), countersign_benches::compiler());
    println!();
    println!("| what | median | Countersign's time ÷ this one's, or as said | target |");
    println!("|---|---|---|---|");
    for (group, engines) in RULES {
        let ours = medians.get(group, US);
        row(&format!("**{group}**: {US}"), &time(ours), "", None);
        for (engine, most) in engines {
            let theirs = medians.get(group, engine);
            let ratio = format!("{:.2}", ours / theirs);
            row(
                &format!("{group}: {engine}"),
                &time(theirs),
                &ratio,
                most.map(|m| (ours / theirs, m)),
            );
        }
    }
    let same = medians.get("same-workspace", US);
    let list = medians.get("allowed-consumers of 10,000", US);
    let best = ENGINES
        .iter()
        .filter(|(engine, _)| !["plain Rust", BUILT_BEFORE].contains(engine))
        .map(|(engine, _)| medians.get("allowed-consumers of 10,000", engine))
        .fold(f64::INFINITY, f64::min);
    let of = |ratio: f64, of: &str| format!("{ratio:.2} × {of}");
    row(
        "10,000 entries",
        &time(list),
        &of(list / same, "same-workspace"),
        Some((list / same, 1.5)),
    );
    row("10,000 entries", &time(list), &of(list / best, "the best peer"), Some((list / best, 0.5)));
    let five = medians.get("five policies", US);
    row("five policies", &time(five), &of(five / same, "same-workspace"), Some((five / same, 5.0)));
    let three = medians.get("scopes", "three bindings");
    row("three bindings", &time(three), "", None);
    let many = medians.get("scopes", "three of 100,000 bindings");
    let ratio = many / three;
    row("three of 100,000 bindings", &time(many), &of(ratio, "three alone"), Some((ratio, 1.1)));

    // Each of two threads does the work of one alone, so the gain is twice the ratio of the times.
    let gain = |what: &str| {
        let one = medians.get("threads", &format!("{what}, one thread"));
        2.0 * one / medians.get("threads", &format!("{what}, two threads"))
    };
    let (ours, plain) = (gain("same-workspace"), gain("plain computation"));
    let two = time(medians.get("threads", "same-workspace, two threads"));
    row("two threads, each", &two, &format!("{ours:.2} × one thread's throughput"), None);
    let two = time(medians.get("threads", "plain computation, two threads"));
    row("plain computation, two threads", &two, &format!("{plain:.2} × one thread's"), None);
    let ratio = ours / plain;
    let met = if ratio >= 0.9 { "≥ 0.9: met" } else { "≥ 0.9: **missed**" };
    println!("| two threads | | {ratio:.2} × the plain gain | {met} |");

    let rsa = medians.get("signature", "RS256");
    row("signature, RS256 (2048 bits)", &time(rsa), "", None);
    row("signature, ES256", &time(medians.get("signature", "ES256")), "", None);
    let ratio = three / rsa;
    row("three bindings", &time(three), &of(ratio, "RS256"), Some((ratio, 0.05)));
    for name in ["run parsed", "run parsed and decided on", "record written"] {
        row(name, &time(medians.get("end to end", name)), "", None);
    }
    let cold = medians.get("cold start", "a binding of 1,000 from the cache");
    row("cold start, each binding of 1,000", &time(cold), "", Some((cold / 1e6, 1.0)));
    let idle: f64 = fs::read_to_string(home.join(IDLE_BINDING))
        .ok()
        .and_then(|text| text.parse().ok())
        .expect("run the bench `cold` first");
    let kib = idle / 1024.0;
    row("memory of an idle binding", &format!("{kib:.0} KiB"), "", Some((kib, 300.0)));
}

/// Formats a row. A ratio with a maximum says whether it is met.
fn row(what: &str, median: &str, ratio: &str, target: Option<(f64, f64)>) {
    let target = target.map_or(String::new(), |(found, most)| {
        format!("≤ {most}: {}", if found <= most { "met" } else { "**missed**" })
    });
    println!("| {what} | {median} | {ratio} | {target} |");
}

fn time(nanoseconds: f64) -> String {
    if nanoseconds < 1e3 {
        format!("{nanoseconds:.0} ns")
    } else if nanoseconds < 1e6 {
        format!("{:.2} µs", nanoseconds / 1e3)
    } else {
        format!("{:.2} ms", nanoseconds / 1e6)
    }
}

impl Medians {
    /// Reads criterion's files of the last run.
    fn read(home: &Path) -> Self {
        let mut medians = HashMap::new();
        let mut folders = vec![home.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).expect("run the benches first").flatten() {
                let path = entry.path();
                if path.is_dir() {
                    folders.push(path);
                }
            }
            if folder.file_name().is_some_and(|name| name == "new") {
                let read = |file: &str| -> Value {
                    let text = fs::read_to_string(folder.join(file)).expect("criterion's file");
                    serde_json::from_str(&text).expect("JSON")
                };
                let (about, estimates) = (read("benchmark.json"), read("estimates.json"));
                let name = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
                let median = estimates["median"]["point_estimate"].as_f64().expect("a median");
                medians.insert((name("group_id"), name("function_id")), median);
            }
        }
        Self(medians)
    }

    fn get(&self, group: &str, function: &str) -> f64 {
        let key = (group.to_owned(), function.to_owned());
        *self.0.get(&key).unwrap_or_else(|| panic!("no figure of `{group}`, `{function}`"))
    }
}

/// Reads the peers' versions from the lock file.
fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).expect(name);
        format!("{name} {}", rest.split('"').next().unwrap_or_default())
    };
    format!("{}.", ["regorus", "cedar-policy", "cel", "criterion"].map(version).join(", "))
}
