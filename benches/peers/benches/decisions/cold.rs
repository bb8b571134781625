//! The time from a filled cache to a policy set that decides, and its memory.
//!
//! Another process fills the cache, so that the one that is measured starts with nothing in memory.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use countersign::{Binding, Engine, EngineConfig, Limits, Outcome, Policy, PolicySet, Scope};
use countersign_benches::spread::median;
use countersign_benches::{claims, config};
use countersign_compiler_worker::CacheFolder;
use countersign_policy_artifacts::SAME_WORKSPACE;
use serde_json::{Value, json};

const BINDINGS: usize = 1_000;

/// The number of starts in a run.
const STARTS: usize = 3;

/// Prepares everything, so that it is in the cache.
pub(crate) fn fill(folder: &Path) {
    let _set = start(folder);
    let written = entries(&folder.join("cache"));
    assert_eq!(written.len(), BINDINGS + 1, "one entry of each binding, and the policy's");
}

/// Measures starts from the cache: nanoseconds and bytes, of one binding.
pub(crate) fn measure(folder: &Path) -> Value {
    let written = entries(&folder.join("cache"));
    let before = resident_bytes();
    let mut held = 0;
    let times = (0..STARTS).map(|number| {
        let begin = Instant::now();
        let set = start(folder);
        let taken = begin.elapsed().as_nanos() as f64 / BINDINGS as f64;
        if number == 0 {
            held = resident_bytes().saturating_sub(before) / BINDINGS as u64;
            assert!(matches!(set.evaluate(claims()).outcome(), Outcome::Approved(_)));
            assert_eq!(set.bindings().len(), BINDINGS);
        }
        taken
    });
    let nanoseconds = median(times.collect());
    assert_eq!(entries(&folder.join("cache")), written, "everything came from the cache");
    json!({"nanoseconds": nanoseconds, "bytes": held})
}

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
