//! A policy in each language, created by `countersign policy new`: the size of its component, the time to build it, and
//! the time of an evaluation in a fresh instance.
//!
//! Needs PyPI, and `countersign` in its release build: `make bench-languages`. Fails if a policy does not
//! build, or one of its cases does not pass.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench")]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use countersign_benches::{compiler, machine};
use serde_json::Value;

/// The arguments of `--lang`, and the names.
const LANGUAGES: [(&str, &str); 8] = [
    ("rust", "Rust"),
    ("rego", "Rego"),
    ("cedar", "Cedar"),
    ("cel", "CEL"),
    ("javascript", "JavaScript"),
    ("typescript", "TypeScript"),
    ("python", "Python"),
    ("python --runtime cpython", "Python, by CPython"),
];

fn main() -> ExitCode {
    let Some(program) = env::var_os("COUNTERSIGN").map(PathBuf::from) else {
        eprintln!("error: COUNTERSIGN is not set: run `make bench-languages`");
        return ExitCode::FAILURE;
    };
    let program = program.canonicalize().expect("the program");
    let folder = tempfile::tempdir().expect("a folder");
    println!("{}, {}.\n", machine().trim_end_matches('.'), compiler());
    println!(
        "| policy in | component | built again in | evaluation, median | ÷ Rust's | fuel | memory |\n|---|---|---|---|---|---|---|"
    );
    let mut rust = None;
    for (language, name) in LANGUAGES {
        let row = measure(&program, folder.path(), language);
        let times = row.microseconds / *rust.get_or_insert(row.microseconds);
        println!(
            "| {name} | {:.2} MB | {} s | {:.1} µs | {times:.0} | {} | {:.2} MiB |",
            row.bytes / 1e6,
            row.seconds,
            row.microseconds,
            row.fuel,
            row.memory / f64::from(1 << 20),
        );
    }
    ExitCode::SUCCESS
}

struct Row {
    bytes: f64,
    /// The time to build the component, with its tools installed.
    seconds: u64,
    microseconds: f64,
    fuel: u64,
    memory: f64,
}

fn measure(program: &Path, parent: &Path, language: &str) -> Row {
    eprintln!("{language} …");
    let name = language.rsplit(' ').next().unwrap_or(language);
    let mut new = vec!["policy", "new", name, "--lang"];
    new.extend(language.split(' '));
    run(program, parent, &new);
    let folder = parent.join(name);
    run(program, &folder, &["policy", "build", "--install"]);
    let begin = Instant::now();
    run(program, &folder, &["policy", "build"]);
    let seconds = begin.elapsed().as_secs();
    run(program, &folder, &["policy", "test"]);
    let measured = run(program, &folder, &["policy", "bench", "--format", "json"]);
    let measured: Value = serde_json::from_str(&measured).expect("JSON");
    // The first case of every language: the owning workspace is the definition's.
    let case = measured.pointer("/cases/0").expect("a case");
    let number = |pointer: &str, value: &Value| {
        value.pointer(pointer).and_then(Value::as_f64).expect("a number")
    };
    Row {
        bytes: number("/component_bytes", &measured),
        seconds,
        microseconds: number("/nanoseconds", case) / 1000.0,
        fuel: case.pointer("/fuel").and_then(Value::as_u64).expect("fuel"),
        memory: number("/memory_bytes", case),
    }
}

fn run(program: &Path, folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    let output = command.current_dir(folder).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}
