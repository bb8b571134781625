//! The table of `make bench`: no figure in it is typed.

use countersign_benches::record::Ratio;
use countersign_benches::spread::{Spread, time};

use crate::runs::{ALONE, Runs, US};

const MADE_BEFORE: &str = "cedar-policy, request made before";
const PLAIN: &str = "plain Rust";

/// The peers.
const ENGINES: [&str; 6] =
    ["regorus", "regorus, input made of the claims", "cedar-policy", MADE_BEFORE, "cel", PLAIN];

/// Those of the peers that make a whole decision, from the claims, in an engine.
const WHOLE: [&str; 4] = ["regorus", "regorus, input made of the claims", "cedar-policy", "cel"];

/// Groups of the same rules in several engines.
const GROUPS: [&str; 4] =
    ["own workspace, yes or no", "same-workspace", "allowed-consumers of 10,000", "five policies"];

/// The maximum ratio of Countersign's time to a peer's, by group and peer.
const PEER_TARGETS: [(&str, &str, f64); 3] = [
    ("same-workspace", "regorus", 0.8),
    ("same-workspace", "cedar-policy", 0.45),
    ("five policies", "cedar-policy", 0.9),
];

/// Ratios of Countersign's own times, with their maximum.
const OWN: [(&str, &str, Option<f64>); 6] = [
    ("allowed-consumers of three", "same-workspace", None),
    ("allowed-consumers of 10,000", "same-workspace", Some(1.15)),
    ("allowed-consumers of 10,000", "allowed-consumers of three", None),
    ("five policies", "same-workspace", Some(5.0)),
    ("three of 100,000 bindings", "three bindings", Some(1.1)),
    ("three bindings", "RS256", Some(0.05)),
];

/// Prints the table, and gives the ratios to compare with the record.
pub(crate) fn print(runs: &Runs) -> Vec<Ratio> {
    let mut ratios = Vec::new();
    println!("{}", countersign_benches::machine());
    println!("{} {}.", versions(), countersign_benches::compiler());
    println!("Medians of {} runs; of ratios also the extremes.", runs.0.len());
    println!();
    println!("| what | time | Countersign's time ÷ this one's, or as said | target |");
    println!("|---|---|---|---|");
    for group in GROUPS {
        row(&format!("**{group}**: {US}"), runs.time(group, US), "", None);
        for engine in ENGINES {
            let ratio = runs.ratio(group, US, engine);
            let max = PEER_TARGETS.iter().find(|(of, to, _)| (*of, *to) == (group, engine));
            let max = max.map(|(.., max)| (ratio, *max));
            row(&format!("{group}: {engine}"), runs.time(group, engine), &ratio.to_string(), max);
            if WHOLE.contains(&engine) {
                ratios.push(Ratio::lower(format!("{group} ÷ {engine}"), ratio));
            }
        }
    }
    for subject in ["same-workspace", "RS256", "ES256"] {
        let what =
            if subject == "same-workspace" { subject } else { &format!("signature, {subject}") };
        row(what, runs.time(ALONE, subject), "", None);
    }
    for (subject, other, max) in OWN {
        let ratio = runs.ratio(ALONE, subject, other);
        let text = format!("{ratio} × {other}");
        row(subject, runs.time(ALONE, subject), &text, max.map(|max| (ratio, max)));
        ratios.push(Ratio::lower(format!("{subject} ÷ {other}"), ratio));
    }
    let list = "allowed-consumers of 10,000";
    let ratio = runs.ratio_to_best(list, US, &WHOLE);
    row(list, runs.time(list, US), &format!("{ratio} × the best peer"), Some((ratio, 1.0)));
    for subject in ["run parsed", "run parsed and decided on", "record written"] {
        row(subject, runs.time(ALONE, subject), "", None);
    }
    let cold = runs.cold("nanoseconds");
    let max = Spread::of([cold.median / 1e6]);
    row("cold start, each binding of 1,000", cold, "", Some((max, 1.0)));
    let kib = Spread::of([runs.cold("bytes").median / 1024.0]);
    println!("| memory of an idle binding | {:.0} KiB | | {} |", kib.median, target(kib, 300.0));
    ratios
}

/// Prints a row. A figure with a maximum says whether it is met.
fn row(what: &str, taken: Spread, ratio: &str, max: Option<(Spread, f64)>) {
    let target = max.map_or(String::new(), |(found, max)| target(found, max));
    println!("| {what} | {} | {ratio} | {target} |", time(taken.median));
}

fn target(found: Spread, max: f64) -> String {
    format!("≤ {max}: {}", if found.median <= max { "met" } else { "**missed**" })
}

/// Reads the peers' versions from the lock file.
fn versions() -> String {
    let lock = include_str!("../../Cargo.lock");
    let version = |name: &str| {
        let (_, rest) = lock.split_once(&format!("name = \"{name}\"\nversion = \"")).expect(name);
        format!("{name} {}", rest.split('"').next().unwrap_or_default())
    };
    format!("{}.", ["regorus", "cedar-policy", "cel"].map(version).join(", "))
}
