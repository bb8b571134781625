//! The time from a filled cache to a policy set that decides, and its memory.
//!
//! Another process fills the cache, so that this one starts with nothing in memory.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use countersign::{Binding, Engine, EngineConfig, Limits, Outcome, Policy, PolicySet, Scope};
use countersign_benches::claims;
use countersign_peers::{IDLE_BINDING, config, figures};
use countersign_policy_artifacts::SAME_WORKSPACE;
use countersign_compiler_worker::CacheFolder;
use criterion::{Criterion, criterion_group};
use serde_json::json;
use tempfile::TempDir;

const BINDINGS: usize = 1_000;

/// The argument that makes this program fill a cache and exit.
const FILL: &str = "--fill";

/// A thousand bindings of one policy, each with settings of its own.
fn start(folder: &Path) -> PolicySet {
    let cache = CacheFolder::open(&folder.join("cache"), &folder.join("secret"), 1 << 30);
    let cache = Some(Arc::new(cache.expect("a cache")) as _);
    let engine = Engine::with(EngineConfig { cache, ..EngineConfig::default() });
    let engine = engine.expect("an engine");
    let policy = Policy::load(&engine, SAME_WORKSPACE, &Limits::DEFAULT).expect("a policy");
    let policy = Arc::new(policy);
    let bindings = (0..BINDINGS).map(|index| {
        let settings = json!({"also": [format!("team-{index}")]});
        let config = config(index, &settings, Scope::All);
        Binding::prepare(Arc::clone(&policy), config).expect("a binding")
    });
    PolicySet::new(bindings.collect()).expect("a set")
}

fn cold_start(c: &mut Criterion) {
    let cache = TempDir::new().expect("a folder");
    let filled = Command::new(env::current_exe().expect("a path"))
        .args([FILL, cache.path().to_str().expect("a path in UTF-8")])
        .status();
    assert!(filled.expect("a process").success());
    let written = entries(&cache.path().join("cache"));
    assert_eq!(written.len(), BINDINGS + 1, "one entry of each binding, and the policy's");

    let before = resident_bytes();
    let set = start(cache.path());
    let held = resident_bytes().saturating_sub(before) / BINDINGS as u64;
    assert!(matches!(set.evaluate(claims()).outcome(), Outcome::Approved(_)));
    assert_eq!(set.bindings().len(), BINDINGS);
    drop(set);
    // Written beside criterion's own figures.
    let figures = figures();
    fs::create_dir_all(&figures).expect("a folder");
    fs::write(figures.join(IDLE_BINDING), held.to_string()).expect("a file");

    let mut group = c.benchmark_group("cold start");
    group.sample_size(10).bench_function("a binding of 1,000 from the cache", |b| {
        b.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    let begin = Instant::now();
                    let set = start(cache.path());
                    let taken = begin.elapsed();
                    drop(set);
                    taken / u32::try_from(BINDINGS).expect("a thousand")
                })
                .sum()
        });
    });
    group.finish();
    assert_eq!(entries(&cache.path().join("cache")), written, "everything came from the cache");
}

/// Identifies the entries by their files: one that is prepared again is another file.
fn entries(folder: &Path) -> Vec<(std::ffi::OsString, u64)> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let inode = entry.metadata().expect("an entry").ino();
            (entry.file_name(), inode)
        })
        .collect();
    entries.sort();
    entries
}

/// The resident set size of this process.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib << 10
}

criterion_group!(benches, cold_start);

fn main() {
    let mut arguments = env::args().skip(1);
    if arguments.next().as_deref() == Some(FILL) {
        let _set = start(Path::new(&arguments.next().expect("a folder")));
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
