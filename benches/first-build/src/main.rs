//! The first ten minutes of a newcomer, measured: `make demo` from nothing, `make test` after it, and the installation of
//! the program, each in a target folder that does not exist. Writes tables in Markdown.
//!
//! The folder of the repository is the argument. Everything else on the machine should rest meanwhile.
#![expect(clippy::expect_used, clippy::print_stdout, reason = "a bench")]

#[path = "../../src/machine.rs"]
#[allow(unreachable_pub, reason = "public in the library of the benches")]
mod machine;

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use self::machine::{compiler, machine};

/// The parts of the program, each with its reason and the crates that belong to it by the beginnings of their names.
/// A crate belongs to the first part that has it; what no part has is in the last row.
const PARTS: [(&str, &str, &[&str]); 10] = [
    (
        "Wasmtime and Cranelift",
        "compile and run policies",
        &[
            "wasmtime",
            "cranelift",
            "regalloc2",
            "pulley",
            "object",
            "gimli",
            "addr2line",
            "postcard",
        ],
    ),
    (
        "WebAssembly tools",
        "read, check and encode components",
        &["wasmparser", "wasm-", "wasmprinter", "wast", "wat", "wit-"],
    ),
    (
        "AWS-LC and certificates",
        "sign, verify, TLS",
        &[
            "aws-lc",
            "rustls",
            "x509",
            "webpki",
            "jsonwebtoken",
            "ring",
            "untrusted",
            "asn1",
            "der-parser",
        ],
    ),
    ("SQLite", "runs of the service", &["libsqlite3", "sqlx", "hashlink", "flume"]),
    (
        "HTTP",
        "the service, and the keys of trusted issuers",
        &[
            "hyper", "axum", "reqwest", "tokio", "http", "h2", "tower", "mio", "socket2", "url",
            "idna", "icu", "quinn",
        ],
    ),
    ("HCL and CEL", "read trust policies", &["hcl", "cel", "antlr", "winnow", "pratt", "nom"]),
    ("JSON Schema", "check settings", &["boon", "schemars", "fluent-uri", "regex", "aho"]),
    (
        "macros and serialisation",
        "derive code",
        &[
            "syn",
            "quote",
            "proc-macro",
            "serde",
            "thiserror",
            "clap",
            "toml",
            "displaydoc",
            "zerocopy",
        ],
    ),
    (
        "the policies",
        "what the demo decides by, compiled to WebAssembly",
        &["countersign-policy-artifacts"],
    ),
    ("Countersign", "", &["countersign"]),
];

fn main() {
    let root = PathBuf::from(std::env::args().nth(1).expect("the folder of the repository"));
    let target = root.join("target/first");
    let _ = fs::remove_dir_all(&target);
    println!("{} {}.\n", machine(), compiler());
    println!("| from nothing | wall time | processor time | target |");
    println!("|---|---|---|---|");
    let demo = measured(&root, &target, "make", &["demo", "CARGO_FLAGS=--locked --timings"]);
    row("`make demo`", &demo, 5);
    let units = units(&target.join("cargo-timings"));
    let debug = size(&target.join("debug/countersign"));
    row("`make test` after it", &measured(&root, &target, "make", &["test"]), 12);
    let installed = target.join("installed");
    let at = installed.to_str().expect("a path in UTF-8");
    let install = ["install", "--locked", "--path", "host/cli", "--root", at];
    let install = measured(&root, &target.join("install"), "cargo", &install);
    row("`cargo install --path host/cli`", &install, 8);
    let program = installed.join("bin/countersign");
    println!("\n| what | size |\n|---|---|");
    println!("| program, installed | {} |", mebibytes(size(&program)));
    println!("| program of the demo, unoptimised | {} |", mebibytes(debug));
    for engine in files(&target.join("lib"), "wasm") {
        let name = engine.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        println!("| engine of {name} | {} |", mebibytes(size(&engine)));
    }
    println!("\n{} units are built for `make demo`.\n", units.len());
    println!("| seconds of units | for | why |\n|---|---|---|");
    for (part, why, seconds) in by_part(&units) {
        println!("| {seconds:.0} | {part} | {why} |");
    }
    println!("\n{}", start(&root, &program));
}

/// The time that a command took.
struct Took {
    wall: Duration,
    /// Of the command and all that it started, on all processors.
    processor: Duration,
}

/// Runs a command in the repository, with a target folder.
fn measured(root: &Path, target: &Path, program: &str, arguments: &[&str]) -> Took {
    let (begin, before) = (Instant::now(), processor_time());
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root)
        .env("CARGO_TARGET_DIR", target)
        // Standard output is for the tables.
        .stdout(Stdio::from(std::io::stderr().as_fd().try_clone_to_owned().expect("a descriptor")))
        .status();
    assert!(status.expect("a command").success(), "{program} {arguments:?}");
    Took { wall: begin.elapsed(), processor: processor_time() - before }
}

/// Processor time of the commands that have ended, from `/proc`: user and system, in hundredths of a second.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
    let ticks = |field: usize| -> u64 {
        fields.split(' ').nth(field).and_then(|ticks| ticks.parse().ok()).expect("a number")
    };
    // `cutime` and `cstime`.
    Duration::from_millis(10 * (ticks(13) + ticks(14)))
}

fn row(what: &str, took: &Took, minutes: u64) {
    let met = if took.wall <= Duration::from_secs(60 * minutes) { "met" } else { "**missed**" };
    let [wall, processor] = [took.wall, took.processor]
        .map(|time| format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60));
    println!("| {what} | {wall} | {processor} | ≤ {minutes} min: {met} |");
}

/// The names and seconds of the units of the first report in a folder.
fn units(reports: &Path) -> Vec<(String, f64)> {
    let first = files(reports, "html")
        .into_iter()
        .filter(|path| !path.ends_with("cargo-timing.html"))
        .min()
        .expect("a report of `cargo build --timings`");
    let text = fs::read_to_string(first).expect("a report");
    let (_, rest) = text.split_once("const UNIT_DATA = ").expect("its data");
    let (data, _) = rest.split_once("];").expect("an array");
    let data: Vec<Value> = serde_json::from_str(&format!("{data}]")).expect("JSON");
    let unit = |unit: &Value| {
        (
            unit["name"].as_str().unwrap_or_default().to_owned(),
            unit["duration"].as_f64().unwrap_or(0.0),
        )
    };
    data.iter().map(unit).collect()
}

fn by_part(units: &[(String, f64)]) -> Vec<(&'static str, &'static str, f64)> {
    let mut parts: Vec<_> = PARTS.iter().map(|(part, why, _)| (*part, *why, 0.0)).collect();
    parts.push(("everything else", "", 0.0));
    for (name, seconds) in units {
        let has = |(_, _, names): &(_, _, &[&str])| names.iter().any(|of| name.starts_with(of));
        let place = PARTS.iter().position(has).unwrap_or(PARTS.len());
        if let Some(part) = parts.get_mut(place) {
            part.2 += seconds;
        }
    }
    parts.sort_by(|(_, _, one), (_, _, other)| other.total_cmp(one));
    parts
}

/// The start of `evaluate` from a warm cache, as a sentence.
fn start(root: &Path, program: &Path) -> String {
    let cache = root.join("target/first/cache");
    let at = |folder: &str| cache.join(folder).to_str().expect("a path in UTF-8").to_owned();
    let policies = root.join("target/first/policies");
    let artifacts = ["run", "--locked", "--quiet", "--bin", "countersign-policy-artifacts", "--"];
    let written = Command::new("cargo")
        .args(artifacts)
        .arg(&policies)
        .current_dir(root)
        .env("CARGO_TARGET_DIR", root.join("target/first"))
        .status();
    assert!(written.expect("cargo").success());
    let manifest = fs::read_to_string(root.join("examples/countersign.toml")).expect("a manifest");
    let beside = root.join("target/first/countersign.toml");
    fs::write(&beside, manifest.replace("../target/policies/", "policies/")).expect("a file");
    let evaluate = || {
        let begin = Instant::now();
        let output = Command::new(program)
            .args(["evaluate", "--policies"])
            .arg(&beside)
            .args(["--audience", "aws-workload-identity-provider:demo", "--ttl", "900", "--run"])
            .arg(root.join("examples/run.json"))
            .args(["--cache", &at("cache"), "--cache-secret", &at("secret")])
            .output()
            .expect("the program");
        let taken = begin.elapsed();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        taken
    };
    evaluate();
    let mut times: Vec<_> = (0..21).map(|_| evaluate()).collect();
    times.sort();
    let [least, median] = [0, 10].map(|place| times.get(place).copied().unwrap_or_default());
    let met = if median <= Duration::from_millis(30) { "met" } else { "**missed**" };
    format!(
        "`countersign evaluate` with four policies from a warm cache, start to exit: {:.1} ms in the median of 21, \
         {:.1} ms at least (≤ 30 ms: {met}).",
        median.as_secs_f64() * 1e3,
        least.as_secs_f64() * 1e3
    )
}

/// The files with an extension in a folder and all below it.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|of| of == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
