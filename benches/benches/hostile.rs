//! What hostile policies cost: time and memory of each case, and whether anything is left behind.
//!
//! Every case runs in a process of its own: a policy set is made that answers an honest request, then
//! the component is loaded, bound and evaluated, and the honest request is asked again. Fails when a
//! case ends with another code than it must, or is over a bound.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench")]

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, io};

use countersign::{Engine, Limits};
use countersign_benches::{alone, claims, machine, same_workspace_on};
use countersign_hostile_policies::{Case, cases};

const MOST_TIME: Duration = Duration::from_millis(250);
const MOST_GROWTH: u64 = 64 << 20;

/// How often everything is repeated to see whether something is left behind.
const REPETITIONS: u32 = 10_000;
const MOST_LEFT: u64 = 8 << 20;

/// Cases that must be refused before they cost anything.
const QUICK: [&str; 2] = ["21 doublings", "100,000 empty functions"];
const MOST_QUICK_TIME: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let done = match arguments.get(1).map(String::as_str) {
        Some("case") => arguments.get(2).and_then(|n| n.parse().ok()).map(one),
        Some("leaks") => Some(leaks()),
        _ => Some(all()),
    };
    if done == Some(true) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs every case in a process of its own, then looks for leaks in another.
fn all() -> bool {
    println!("{}\n", machine());
    println!("| row | case | ends with | ms | MiB more |\n|---|---|---|---|---|");
    let program = env::current_exe().expect("a path of its own");
    let run = |arguments: &[&str]| {
        // One arena: what several threads leave in theirs for later is not lost, but looks it.
        let status = Command::new(&program).args(arguments).env("MALLOC_ARENA_MAX", "1").status();
        status.expect("a child process").success()
    };
    let cases = cases();
    let is_a_case = |name: &&str| cases.iter().any(|case| case.name == **name);
    let mut fine = QUICK.iter().all(is_a_case);
    for index in 0..cases.len() {
        fine &= run(&["case", &index.to_string()]);
    }
    fine & run(&["leaks"])
}

/// One case: prints its line.
fn one(index: usize) -> bool {
    let Some(case) = cases().into_iter().nth(index) else { return false };
    let engine = Engine::new().expect("an engine");
    let honest = same_workspace_on(&engine);
    let before = honest.evaluate(claims()).id();

    let resident = reset_peak();
    let begun = Instant::now();
    let end = end_of(&engine, &case, &Limits::DEFAULT);
    let taken = begun.elapsed();
    let growth = status("VmHWM").saturating_sub(resident);

    let honest_as_before = honest.evaluate(claims()).id() == before;
    let most = if QUICK.contains(&case.name.as_str()) { MOST_QUICK_TIME } else { MOST_TIME };
    let fine = honest_as_before && end == case.code && taken <= most && growth <= MOST_GROWTH;
    println!(
        "| {} | {} | `{end}` | {:.1} | {:.1} |{}",
        case.row,
        case.name,
        taken.as_secs_f64() * 1000.0,
        mebibytes(growth),
        if fine { "" } else { " **not as it must be** |" }
    );
    fine
}

/// Everything many times over in one process.
fn leaks() -> bool {
    let engine = Engine::new().expect("an engine");
    let honest = same_workspace_on(&engine);
    let before = honest.evaluate(claims()).id();
    // Little fuel, so that each repetition is short; what is held and given back is the same.
    let limits = Limits { fuel: 100_000, configure_fuel: 100_000, ..Limits::DEFAULT };
    let (mut sets, mut refused) = (Vec::new(), Vec::new());
    for case in cases() {
        match alone(&engine, &case.component, &limits) {
            Ok(set) => sets.push(set),
            Err(_) => refused.push(case.component),
        }
    }
    let mut left = Vec::new();
    let mut repeat = |what: &str, count: usize, once: &dyn Fn(usize)| {
        let mut after_warming_up = 0;
        for n in 0..REPETITIONS {
            for index in 0..count {
                once(index + n as usize * count);
            }
            if n == REPETITIONS / 10 {
                after_warming_up = status("VmRSS");
            }
        }
        let more = status("VmRSS").saturating_sub(after_warming_up);
        println!("\n{what}: {REPETITIONS} times, {:.1} MiB left behind", mebibytes(more));
        left.push(more);
    };
    repeat(&format!("{} policies evaluated", sets.len()), sets.len(), &|n| {
        if let Some(set) = sets.get(n % sets.len()) {
            drop(set.evaluate(claims()));
        }
    });
    repeat(&format!("one of {} components refused", refused.len()), 1, &|n| {
        if let Some(component) = refused.get(n % refused.len()) {
            assert!(alone(&engine, component, &limits).is_err(), "it was refused before");
        }
    });
    honest.evaluate(claims()).id() == before && left.iter().all(|more| *more <= MOST_LEFT)
}

/// Loads, binds and evaluates: the code of where that ends, as the cases have it.
fn end_of(engine: &Engine, case: &Case, limits: &Limits) -> String {
    match alone(engine, &case.component, limits) {
        Ok(set) => {
            let decision = set.evaluate(claims());
            let end = decision.trace().first().map(|trace| match &trace.result {
                Ok(countersign::Verdict::Abstain) => "abstain",
                Ok(countersign::Verdict::Permit(_)) => "permit",
                Ok(countersign::Verdict::Restrict(_)) => "restrict",
                Ok(countersign::Verdict::Deny(_)) => "deny",
                Err(fault) => fault.code(),
            });
            end.unwrap_or("no trace").to_owned()
        }
        Err(code) => code.to_owned(),
    }
}

/// Sets the peak to what is resident now, and gives that in bytes.
fn reset_peak() -> u64 {
    // Where this is not allowed the peak includes the start, and growth seems smaller: say so.
    let reset: io::Result<()> = fs::write("/proc/self/clear_refs", "5");
    reset.expect("Linux, with a peak that can be reset");
    status("VmRSS")
}

/// A line of `/proc/self/status`, in bytes.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the line");
    let number: String = line.chars().filter(char::is_ascii_digit).collect();
    number.parse::<u64>().expect("a number") << 10
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
