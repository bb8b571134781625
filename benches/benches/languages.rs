//! A policy in each language, created by `countersign policy new`: the size of its component, the time from nothing to a
//! green test and from an edit to an answer, and the time of an evaluation in a fresh instance.
//!
//! From nothing is with an empty cache, and with the tools installed of the languages that need any; an edit is a comment at
//! the end of the source, and its answer that of `policy build` and `policy test`.
//!
//! Needs PyPI, and `countersign` in its release build: `make bench-languages`. Fails if a policy does not
//! build, or one of its cases does not pass.
#![expect(clippy::expect_used, clippy::print_stdout, clippy::print_stderr, reason = "a bench")]

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use countersign_benches::{compiler, machine};
use serde_json::Value;

/// The arguments of `--lang`, the names, the source files, and how a comment begins.
const LANGUAGES: [(&str, &str, &str, &str); 8] = [
    ("rust", "Rust", "src/lib.rs", "//"),
    ("rego", "Rego", "policy.rego", "#"),
    ("cedar", "Cedar", "policies.cedar", "//"),
    ("cel", "CEL", "policy.cel.yaml", "#"),
    ("javascript", "JavaScript", "policy.js", "//"),
    ("typescript", "TypeScript", "policy.ts", "//"),
    ("python", "Python", "policy.py", "#"),
    ("python --runtime cpython", "Python, by CPython", "policy.py", "#"),
];

fn main() -> ExitCode {
    let Some(program) = env::var_os("COUNTERSIGN").map(PathBuf::from) else {
        eprintln!("error: COUNTERSIGN is not set: run `make bench-languages`");
        return ExitCode::FAILURE;
    };
    let program = program.canonicalize().expect("the program");
    let folder = tempfile::tempdir().expect("a folder");
    let place = Place { program: &program, parent: folder.path() };
    println!("{}, {}.\n", machine().trim_end_matches('.'), compiler());
    println!(
        "| policy in | component | from nothing to a green test | from an edit to an answer | evaluation, median | ÷ Rust's \
         | fuel | memory |\n|---|---|---|---|---|---|---|---|"
    );
    let mut rust = None;
    for (language, name, source, comment) in LANGUAGES {
        let row = measure(place, language, source, comment);
        let times = row.microseconds / *rust.get_or_insert(row.microseconds);
        println!(
            "| {name} | {:.2} MB | {:.1} s | {:.2} s | {:.1} µs | {times:.0} | {} | {:.2} MiB |",
            row.bytes / 1e6,
            row.from_nothing.as_secs_f64(),
            row.from_edit.as_secs_f64(),
            row.microseconds,
            row.fuel,
            row.memory / f64::from(1 << 20),
        );
    }
    ExitCode::SUCCESS
}

/// The program, and the folder of all policies and of its cache.
#[derive(Clone, Copy)]
struct Place<'p> {
    program: &'p Path,
    parent: &'p Path,
}

struct Row {
    bytes: f64,
    from_nothing: Duration,
    from_edit: Duration,
    microseconds: f64,
    fuel: u64,
    memory: f64,
}

fn measure(place: Place<'_>, language: &str, source: &str, comment: &str) -> Row {
    let parent = place.parent;
    eprintln!("{language} …");
    // The cache is in the folder of all of them, and empty for each.
    let _ = fs::remove_dir_all(parent.join("cache"));
    let name = language.rsplit(' ').next().unwrap_or(language);
    let mut new = vec!["policy", "new", name, "--lang"];
    new.extend(language.split(' '));
    let folder = parent.join(name);
    let tested = || {
        run(place, &folder, &["policy", "build", "--install"]);
        run(place, &folder, &["policy", "test"]);
    };
    let begin = Instant::now();
    run(place, parent, &new);
    tested();
    let from_nothing = begin.elapsed();
    let edited = OpenOptions::new().append(true).open(folder.join(source));
    writeln!(edited.expect("the source"), "{comment} edited").expect("the source");
    let begin = Instant::now();
    tested();
    let from_edit = begin.elapsed();
    let measured = run(place, &folder, &["policy", "bench", "--format", "json"]);
    let measured: Value = serde_json::from_str(&measured).expect("JSON");
    // The first case of every language: the owning workspace is the definition's.
    let case = measured.pointer("/cases/0").expect("a case");
    let number = |pointer: &str, value: &Value| {
        value.pointer(pointer).and_then(Value::as_f64).expect("a number")
    };
    Row {
        bytes: number("/component_bytes", &measured),
        from_nothing,
        from_edit,
        microseconds: number("/nanoseconds", case) / 1000.0,
        fuel: case.pointer("/fuel").and_then(Value::as_u64).expect("fuel"),
        memory: number("/memory_bytes", case),
    }
}

fn run(place: Place<'_>, folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(place.program);
    command.env("XDG_CACHE_HOME", place.parent.join("cache"));
    command.env("XDG_STATE_HOME", place.parent.join("state"));
    let output = command.current_dir(folder).args(arguments).stderr(Stdio::inherit()).output();
    let output = output.expect("the program runs");
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).expect("text")
}
