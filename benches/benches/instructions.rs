//! The instructions of a decision, counted by callgrind: nearly the same on a busy machine and an idle one.
//!
//! Fails if a count exceeds the recorded one by more than five per cent, since two runs differ by up to two; records with
//! `UPDATE=1`. The kernel's instructions are not counted, and the counts depend on the compiler.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use countersign::{Outcome, PolicySet};
use countersign_benches::{claims, compiler, example, same_workspace};
use serde_json::{Value, json};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/figures/instructions.json");

/// The number of uncounted decisions before: everything that happens once has happened by then.
const EVALUATIONS: u64 = 200;

/// The maximum excess over the recorded count.
const MAX_RATIO: f64 = 1.05;

/// The counted function; callgrind starts and stops with it.
const COUNTED: &str = "countersign_instructions_counted";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    match arguments.iter().position(|argument| argument == "--evaluate") {
        Some(place) => {
            evaluate(arguments.get(place + 1).expect("a case"));
            ExitCode::SUCCESS
        }
        None => check(),
    }
}

/// A name, and the policy set.
type Case = (&'static str, fn() -> PolicySet);

fn cases() -> [Case; 2] {
    [("same-workspace", same_workspace), ("the example's four policies", example)]
}

/// Runs in a process of its own, under callgrind.
fn evaluate(name: &str) {
    let (_, set) = cases().into_iter().find(|(case, _)| *case == name).expect("a case");
    let set = set();
    for _ in 0..EVALUATIONS {
        assert!(matches!(set.evaluate(claims()).outcome(), Outcome::Approved(_)));
    }
    for _ in 0..EVALUATIONS {
        let claims = claims();
        countersign_instructions_counted(&set, claims);
    }
}

/// A function of its own, so that callgrind finds it by name.
#[unsafe(no_mangle)]
#[inline(never)]
#[expect(unsafe_code, reason = "a name that nothing else has")]
extern "Rust" fn countersign_instructions_counted(set: &PolicySet, claims: countersign::Claims) {
    assert!(matches!(set.evaluate(claims).outcome(), Outcome::Approved(_)));
}

fn check() -> ExitCode {
    let counts: BTreeMap<_, _> = cases().map(|(name, _)| (name, count(name))).into();
    let compiler = compiler();
    if env::var_os("UPDATE").is_some() {
        let recorded = json!({"compiler": compiler, "instructions": counts});
        let text = serde_json::to_string_pretty(&recorded).expect("JSON");
        fs::write(RECORDED, text + "\n").expect("written");
    }
    let recorded = fs::read_to_string(RECORDED).expect("record it first: UPDATE=1");
    let recorded: Value = serde_json::from_str(&recorded).expect("JSON");
    let by = recorded.pointer("/compiler").and_then(Value::as_str).unwrap_or_default();
    let mut fine = true;
    for (name, count) in counts {
        let before = recorded.pointer("/instructions").and_then(|counts| counts.get(name));
        let before = before.and_then(Value::as_u64).expect("a count of this case");
        let ratio = count as f64 / before as f64;
        let verdict = match ratio {
            ratio if ratio > MAX_RATIO => "SLOWER",
            ratio if ratio < 1.0 / MAX_RATIO => "faster; record it with UPDATE=1",
            _ => "the same",
        };
        fine &= ratio <= MAX_RATIO;
        println!("{name}: {count} instructions, recorded {before} ({ratio:.3}): {verdict}");
    }
    if by != compiler {
        println!("recorded with {by}, counted with {compiler}: they need not agree");
    }
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Counts the instructions of one decision.
fn count(name: &str) -> u64 {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("callgrind");
    let status = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--quiet"])
        // Callgrind must know that code is generated at run time.
        .arg("--smc-check=all-non-file")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().expect("a path"))
        .args(["--evaluate", name])
        .status()
        .expect("valgrind; it is a package of that name");
    assert!(status.success(), "{name}: {status}");
    total(&out) / EVALUATIONS
}

/// The sum that callgrind writes.
fn total(out: &Path) -> u64 {
    let text = fs::read_to_string(out).expect("callgrind's file");
    let line = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("a sum");
    line.trim().parse().expect("a number")
}
