//! The impact of a change on a million recorded decisions.
//!
//! The bench makes its log: `DECISIONS` records (1,000,000), in the folder `IMPACT_LOG` for the loops of other engines
//! (`benches/peers`), or in one that is removed at the end. Everything that is measured is a process of its own, so that its
//! memory is its own; a tenth of the records is compared as well, since memory that grows with a log would show there. Fails if a decision is not in the class that it belongs to, or if recorded
//! verdicts do not stand for evaluations.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a bench"
)]

mod log;

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::Instant;

use countersign::PolicySet;
use countersign_benches::{compiler, five_policies, machine, set_of};
use countersign_decision_log::VerifiedReader;
use countersign_replay::{
    Change, Class, Filter, ImpactObserver, ImpactOptions, NotReplayable, Sampling, impact,
};
use serde_json::{Value, json};

use self::log::Key;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|text| text != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["make", folder, decisions] => log::make(Path::new(folder), number(decisions)),
        ["impact", folder, changed] => println!("{}", measure(Path::new(folder), number(changed))),
        [] => compare(),
        _ => panic!("unexpected arguments: {arguments:?}"),
    }
    ExitCode::SUCCESS
}

fn number(text: &str) -> usize {
    text.parse().expect("a number")
}

/// Measures everything, and prints the table.
fn compare() {
    let decisions = env::var("DECISIONS").map_or(1_000_000, |text| number(&text));
    let temporary = tempfile::tempdir().expect("a folder");
    let kept = env::var_os("IMPACT_LOG").map(PathBuf::from);
    let log = |folder: &Path, decisions: usize| {
        let path = folder.to_str().expect("a path in UTF-8").to_owned();
        output(&["make", &path, &decisions.to_string()]);
        path
    };
    eprintln!("making a log of {decisions} decisions");
    let all = log(&kept.unwrap_or_else(|| temporary.path().join("all")), decisions);
    let tenth = log(&temporary.path().join("tenth"), decisions / 10);
    println!("{}", machine());
    println!("{} Five bindings, {decisions} decisions.\n", compiler());
    println!(
        "| what | time | a decision | peak memory | peak for a tenth | target |\n|---|---|---|---|---|---|"
    );
    for (what, changed, seconds) in [
        ("impact, one of five bindings changed", "1", 15.0),
        ("impact, all five changed", "5", 45.0),
        ("impact, none changed", "0", f64::INFINITY),
    ] {
        eprintln!("{what}");
        let (whole, part) =
            (result(&["impact", &all, changed]), result(&["impact", &tenth, changed]));
        let scaled = seconds * decisions as f64 / 1e6;
        let target = match seconds.is_finite() {
            true => verdict(whole.seconds <= scaled, &format!("≤ {scaled:.1} s")),
            false => String::new(),
        };
        row(what, &whole, Some(&part), decisions, &target);
    }
}

/// The result of a process.
struct Measured {
    seconds: f64,
    peak_kib: u64,
}

fn row(what: &str, of: &Measured, tenth: Option<&Measured>, decisions: usize, target: &str) {
    let mebibytes = |kib: u64| format!("{:.0} MiB", kib as f64 / 1024.0);
    let tenth = tenth.map_or_else(String::new, |tenth| mebibytes(tenth.peak_kib));
    println!(
        "| {what} | {:.2} s | {:.2} µs | {} | {tenth} | {target} |",
        of.seconds,
        of.seconds * 1e6 / decisions as f64,
        mebibytes(of.peak_kib)
    );
}

fn verdict(met: bool, target: &str) -> String {
    format!("{target}: {}", if met { "met" } else { "**missed**" })
}

fn result(arguments: &[&str]) -> Measured {
    let result: Value = serde_json::from_str(&output(arguments)).expect("JSON");
    Measured {
        seconds: result["seconds"].as_f64().expect("seconds"),
        peak_kib: result["peak_kib"].as_u64().expect("a peak"),
    }
}

/// Runs this program with other arguments, and gives its output.
fn output(arguments: &[&str]) -> String {
    let mut command = Command::new(env::current_exe().expect("a path"));
    let output = command.args(arguments).stderr(Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

/// The five policies, of which so many have other settings that change no outcome: every decision is to be the same.
fn candidate(changed: usize) -> PolicySet {
    let mut stack = five_policies();
    for (_, settings) in stack.iter_mut().take(changed) {
        // A workspace, an audience or a ceiling that no request has.
        match settings.as_object_mut().expect("an object") {
            same if same.contains_key("also") => push(same, "also", json!("nobody")),
            // As many as before: the message of a refusal says how many there are.
            allowed if allowed.contains_key("workspaces") => {
                let workspaces = allowed.get_mut("workspaces").and_then(Value::as_array_mut);
                let list = workspaces.expect("a list");
                let nobody = list.iter_mut().find(|name| **name == "team-0");
                *nobody.expect("a workspace that no request has") = json!("nobody");
            }
            ceilings if ceilings.contains_key("destroy") => {
                drop(ceilings.insert("destroy".into(), json!(3599)))
            }
            by if by.contains_key("implementations") => {
                let implementations = by.get_mut("implementations").and_then(Value::as_object_mut);
                push(implementations.expect("a table"), "terraform", json!("nobody"));
            }
            triggers => {
                let behaviors = triggers.get_mut("behaviors").and_then(Value::as_object_mut);
                push(behaviors.expect("a table"), "destroy", json!("api-key"));
            }
        }
    }
    set_of(&stack)
}

fn push(object: &mut serde_json::Map<String, Value>, key: &str, value: Value) {
    object.get_mut(key).and_then(Value::as_array_mut).expect("a list").push(value);
}

/// Times the impact of a candidate with so many changed bindings.
fn measure(folder: &Path, changed: usize) -> Value {
    let candidate = candidate(changed);
    let workers = workers();
    let sampling = Sampling::OneIn(100);
    let options =
        ImpactOptions { filter: Filter::default(), sampling, workers, with_verdicts: false };
    let mut reader = VerifiedReader::open(folder, &Key).expect("a log");
    let begin = Instant::now();
    let report = impact(&mut reader, None, &candidate, &options, &mut Nothing);
    let seconds = begin.elapsed().as_secs_f64();
    let summary = &report.summary;
    assert!(report.ended.is_none(), "{:?}", report.ended);
    assert_eq!(summary.sample.differ, 0, "{:?}", report.mismatches);
    let same = summary.classes.of(Class::Same) + summary.classes.of(Class::Fuel);
    assert_eq!((same, summary.not_replayable()), (summary.read, 0), "{summary:?}");
    assert_eq!(summary.evaluated, changed as u64 * summary.read);
    json!({"seconds": seconds, "peak_kib": peak()})
}

/// Is told of nothing, since nothing differs.
struct Nothing;

impl ImpactObserver for Nothing {
    fn change(&mut self, change: Change) -> bool {
        panic!("{change:?}");
    }

    fn not_replayable(&mut self, not: NotReplayable) -> bool {
        panic!("{not:?}");
    }

    fn progress(&mut self, _: u64) {}
}

fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The peak of this process's resident memory, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
}
