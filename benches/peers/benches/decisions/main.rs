//! The cost of a decision, compared with other engines and with signatures; cold start and memory.
//!
//! Each of several runs is a process of its own, in which everything that is compared is timed in turn, round by round. The
//! table has the median of the runs and their extremes, and the bench fails if a ratio is worse than recorded.

mod cold;
mod measure;
mod runs;
mod table;

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use countersign_benches::{processors, record, runs};
use serde_json::Value;

use self::runs::{Run, Runs};

const RECORDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../figures/decisions.json");

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|text| text != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["fill", folder] => cold::fill(Path::new(folder)),
        ["cold", folder] => println!("{}", cold::measure(Path::new(folder))),
        ["decisions"] => println!("{}", measure::measure()),
        [] => return compare(runs()),
        _ => panic!("unexpected arguments: {arguments:?}"),
    }
    ExitCode::SUCCESS
}

fn compare(runs: usize) -> ExitCode {
    let cache = tempfile::tempdir().expect("a folder");
    let cache = cache.path().to_str().expect("a path in UTF-8");
    output(&["fill", cache]);
    let run = |number| {
        eprintln!("run {} of {runs}", number + 1);
        let read = |text: String| serde_json::from_str::<Value>(&text).expect("JSON");
        Run { decisions: read(output(&["decisions"])), cold: read(output(&["cold", cache])) }
    };
    let runs = Runs((0..runs).map(run).collect());
    let ratios = table::print(&runs);
    let holds = record::holds(Path::new(RECORDED), &processors(), &ratios).expect("a record");
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs this program with other arguments, and gives its output.
fn output(arguments: &[&str]) -> String {
    let mut command = Command::new(env::current_exe().expect("a path"));
    let output = command.args(arguments).stderr(Stdio::inherit()).output().expect("a process");
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}
