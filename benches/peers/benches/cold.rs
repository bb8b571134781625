//! From what was kept in a cache to a policy set that decides; and what it holds in memory.
//!
//! A process of its own, so that nothing else has been held before.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use countersign::{Binding, Engine, EngineConfig, Limits, Outcome, Policy, PolicySet, Scope};
use countersign_benches::claims;
use countersign_peers::{IDLE_BINDING, config, figures};
use countersign_policy_artifacts::SAME_WORKSPACE;
use countersign_preparation::CacheFolder;
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;
use tempfile::TempDir;

const BINDINGS: usize = 1_000;

/// A thousand bindings of one policy, each with settings of its own.
fn start(cache: &TempDir) -> PolicySet {
    let folder = cache.path();
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
    let prepared = start(&cache);
    let written = entries(&cache.path().join("cache"));
    assert_eq!(written.len(), BINDINGS + 1, "one entry of each binding, and the policy's");
    drop(prepared);

    let before = resident_bytes();
    let set = start(&cache);
    let held = resident_bytes().saturating_sub(before) / BINDINGS as u64;
    assert!(matches!(set.evaluate(claims()).outcome(), Outcome::Approved(_)));
    assert_eq!(set.bindings().len(), BINDINGS);
    drop(set);
    // Beside criterion's own figures.
    let figures = figures();
    fs::create_dir_all(&figures).expect("a folder");
    fs::write(figures.join(IDLE_BINDING), held.to_string()).expect("a file");

    let mut group = c.benchmark_group("cold start");
    group.sample_size(10).bench_function("a binding of 1,000 from the cache", |b| {
        b.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    let begin = Instant::now();
                    let set = start(&cache);
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

/// The entries and when each was made: one that is prepared again is another file.
fn entries(folder: &Path) -> Vec<(std::ffi::OsString, std::time::SystemTime)> {
    let mut entries: Vec<_> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            let entry = entry.expect("an entry");
            let made = entry.metadata().and_then(|metadata| metadata.created());
            (entry.file_name(), made.expect("a time"))
        })
        .collect();
    entries.sort();
    entries
}

/// Resident memory of this process.
fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse().expect("a number");
    kib << 10
}

criterion_group!(benches, cold_start);
criterion_main!(benches);
