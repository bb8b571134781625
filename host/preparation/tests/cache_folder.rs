//! A cache on disk, and what may have become of its files.
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, SystemTime};

use countersign::{
    Binding, BindingConfig, Cache, CacheEntry, Digest, Engine, EngineConfig, Limits, Mode, Policy,
    Prepared, Scope, Settings,
};
use countersign_policy_artifacts::SAME_WORKSPACE;
use countersign_preparation::{CacheFolder, Pruned};
use tempfile::TempDir;

const BOUND: u64 = 64 << 20;

/// A cache in a folder, its secret beside it.
fn open(at: &TempDir, most_bytes: u64) -> CacheFolder {
    CacheFolder::open(&at.path().join("cache"), &at.path().join("secret"), most_bytes).unwrap()
}

/// Prepares one binding on an engine of its own.
fn prepare(cache: CacheFolder) -> Prepared {
    let config = EngineConfig { cache: Some(Arc::new(cache)), ..EngineConfig::default() };
    let engine = Engine::with(config).unwrap();
    let policy = Policy::load(&engine, SAME_WORKSPACE, &Limits::DEFAULT).unwrap();
    let config = BindingConfig {
        name: "one".parse().unwrap(),
        settings: Settings::from_json(r#"{"also": ["team-a"]}"#).unwrap(),
        scope: Scope::All,
        mode: Mode::Enforce,
        may_permit: true,
        limits: Limits::DEFAULT,
        claims: vec![],
    };
    Binding::prepare(Arc::new(policy), config).unwrap().prepared().unwrap().clone()
}

/// The files of entries, in order.
fn files(at: &TempDir) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(at.path().join("cache")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files
}

/// An entry that is written anew is another file.
#[cfg(unix)]
fn identity(file: &PathBuf) -> u64 {
    std::os::unix::fs::MetadataExt::ino(&fs::metadata(file).unwrap())
}

#[cfg(not(unix))]
fn identity(file: &PathBuf) -> SystemTime {
    fs::metadata(file).unwrap().created().unwrap()
}

fn key(n: u8) -> Digest {
    Digest::of(&[n])
}

/// An entry that is never run.
#[expect(unsafe_code, reason = "these bytes are compared and no more")]
fn entry(bytes: &[u8]) -> CacheEntry {
    // SAFETY: no engine takes it.
    unsafe { CacheEntry::from_bytes(bytes.to_vec()) }
}

fn get(cache: &CacheFolder, key: &Digest) -> Option<Vec<u8>> {
    cache.get(key).map(|entry| entry.as_bytes().to_vec())
}

#[test]
fn what_one_process_prepared_another_takes() {
    let at = TempDir::new().unwrap();
    let first = prepare(open(&at, BOUND));
    // Taken from the cache, an entry is not written: only the time of its use changes.
    let written = |at: &TempDir| -> Vec<_> { files(at).iter().map(identity).collect() };
    let before = written(&at);
    assert_eq!(before.len(), 2, "the policy, and it with its settings");
    assert_eq!(prepare(open(&at, BOUND)), first);
    assert_eq!(written(&at), before);

    let mut of: Vec<_> =
        open(&at, BOUND).entries().unwrap().into_iter().map(|kept| kept.of.unwrap()).collect();
    of.sort_by_key(|of| of.settings);
    assert!(of.iter().all(|of| of.component == Digest::of(SAME_WORKSPACE) && of.optimized));
    let settings = Settings::from_json(r#"{"also": ["team-a"]}"#).unwrap().digest();
    assert_eq!((of[0].settings, of[1].settings), (None, Some(settings)));
}

#[test]
fn what_was_changed_is_prepared_again() {
    let at = TempDir::new().unwrap();
    let first = prepare(open(&at, BOUND));
    let good: Vec<_> = files(&at).iter().map(|file| fs::read(file).unwrap()).collect();
    let edit = |change: &dyn Fn(&mut Vec<u8>)| {
        for (file, good) in files(&at).iter().zip(&good) {
            let mut bytes = good.clone();
            change(&mut bytes);
            fs::write(file, bytes).unwrap();
        }
    };
    let all = |usable: bool| {
        open(&at, BOUND).entries().unwrap().iter().all(|kept| kept.of.is_some() == usable)
    };
    let flip = |at: fn(usize) -> usize| {
        move |bytes: &mut Vec<u8>| {
            let at = at(bytes.len());
            bytes[at] ^= 1;
        }
    };
    type Change<'c> = &'c dyn Fn(&mut Vec<u8>);
    let changes: [(&str, Change<'_>); 8] = [
        ("the first byte", &flip(|_| 0)),
        ("the heading", &flip(|_| 40)),
        ("the code", &flip(|length| length / 2)),
        ("the seal", &flip(|length| length - 1)),
        ("cut", &|bytes| bytes.truncate(bytes.len() - 1)),
        ("cut within the seal", &|bytes| bytes.truncate(31)),
        ("empty", &Vec::clear),
        ("longer", &|bytes| bytes.push(0)),
    ];
    for (name, change) in changes {
        edit(change);
        assert!(all(false), "{name}");
        assert_eq!(prepare(open(&at, BOUND)), first, "{name}");
        assert!(all(true), "{name}: written anew");
    }

    // Each in the other's place: both were sealed here, but not under this key.
    let [one, other] = &files(&at)[..] else { unreachable!() };
    fs::rename(one, at.path().join("aside")).unwrap();
    fs::rename(other, one).unwrap();
    fs::rename(at.path().join("aside"), other).unwrap();
    assert!(all(false));
    assert_eq!(prepare(open(&at, BOUND)), first);
    assert!(all(true), "written anew");

    // Sealed by somebody who has another secret.
    let elsewhere = TempDir::new().unwrap();
    prepare(open(&elsewhere, BOUND));
    for (file, foreign) in files(&at).iter().zip(files(&elsewhere)) {
        assert_eq!(file.file_name(), foreign.file_name());
        fs::copy(foreign, file).unwrap();
    }
    assert!(all(false));
    assert_eq!(prepare(open(&at, BOUND)), first);
    assert!(all(true), "written anew");
}

#[test]
#[cfg(unix)]
fn only_regular_files_are_read() {
    let at = TempDir::new().unwrap();
    let cache = open(&at, BOUND);
    cache.put(&key(1), &entry(b"one"));
    let [file] = &files(&at)[..] else { unreachable!() };

    let real = at.path().join("real");
    fs::rename(file, &real).unwrap();
    std::os::unix::fs::symlink(&real, file).unwrap();
    assert_eq!(get(&cache, &key(1)), None, "a link to what was sealed");

    fs::remove_file(file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(file).status().unwrap();
    assert!(made.success());
    assert_eq!(get(&cache, &key(1)), None, "a pipe, which nobody writes to");

    fs::remove_file(file).unwrap();
    fs::create_dir(file).unwrap();
    assert_eq!(get(&cache, &key(1)), None, "a folder");
    cache.put(&key(1), &entry(b"one"));
    assert_eq!(get(&cache, &key(1)), None, "which stays: a cache is never an error");
}

#[test]
fn two_at_once_prepare_one_binding() {
    let at = TempDir::new().unwrap();
    let prepared: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| prepare(open(&at, BOUND)))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(prepared.iter().all(|one| *one == prepared[0]));
    let kept = open(&at, BOUND).entries().unwrap();
    assert_eq!(kept.len(), 2);
    // They had one secret, though each would have made its own.
    assert!(kept.iter().all(|kept| kept.of.is_some()));
}

#[test]
fn what_was_not_used_for_longest_goes_first() {
    let at = TempDir::new().unwrap();
    let cache = open(&at, 10_000);
    let age = |n: u8, seconds: u64| {
        let hex = key(n).to_string();
        let name = format!("{}.entry", hex.trim_start_matches("sha256:"));
        let file =
            fs::File::options().write(true).open(at.path().join("cache").join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    };
    for n in 0..8 {
        cache.put(&key(n), &entry(&[n; 1_000]));
        age(n, 1_000 - u64::from(n));
    }
    // The oldest is used once more.
    assert!(get(&cache, &key(0)).is_some());
    for n in 8..12 {
        cache.put(&key(n), &entry(&[n; 1_000]));
    }
    let total: u64 = cache.entries().unwrap().iter().map(|kept| kept.bytes).sum();
    assert!((1..=10_000).contains(&total), "{total}");
    assert!(get(&cache, &key(0)).is_some(), "used");
    assert!(get(&cache, &key(1)).is_none(), "not used for longest");
    assert!(get(&cache, &key(11)).is_some(), "the last one");

    // What is larger than all of it is not kept.
    cache.put(&key(20), &entry(&[0; 10_001]));
    assert!(get(&cache, &key(20)).is_none());
}

#[test]
fn pruning_removes_what_it_is_told_to() {
    let at = TempDir::new().unwrap();
    let cache = open(&at, BOUND);
    for n in 0..4 {
        cache.put(&key(n), &entry(&[n; 1_000]));
    }
    let one = files(&at)[0].clone();
    fs::write(one, "damaged").unwrap();
    let pruned = cache.prune(BOUND, |kept| kept.bytes == 7).unwrap();
    assert_eq!(pruned, Pruned { removed: 1, removed_bytes: 7, left: 3, left_bytes: 3 * 1_032 });
    let pruned = cache.prune(2_000, |_| false).unwrap();
    assert_eq!((pruned.removed, pruned.left), (2, 1));
    let pruned = cache.prune(0, |_| false).unwrap();
    assert_eq!((pruned.removed, pruned.left), (1, 0));
    assert_eq!(files(&at).len(), 0);
}

#[test]
fn what_somebody_left_in_the_making_is_removed() {
    let at = TempDir::new().unwrap();
    let cache = open(&at, BOUND);
    let left = at.path().join("cache").join(".new-abc");
    let file = fs::File::create(&left).unwrap();
    cache.put(&key(1), &entry(b"one"));
    assert!(left.exists(), "somebody may be at it");
    file.set_modified(SystemTime::now() - Duration::from_secs(7_200)).unwrap();
    open(&at, BOUND).put(&key(1), &entry(b"one"));
    assert!(!left.exists());
}

#[test]
#[cfg(unix)]
fn a_secret_that_others_could_know_is_not_taken() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let at = TempDir::new().unwrap();
    open(&at, BOUND);
    let secret = at.path().join("secret");
    assert_eq!(fs::metadata(&secret).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(at.path().join("cache")).unwrap().mode() & 0o777, 0o700);
    let problem = |secret: &Path| {
        CacheFolder::open(&at.path().join("cache"), secret, BOUND).unwrap_err().to_string()
    };
    let of = |text: &str| format!("{}: {text}", secret.display());

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    assert_eq!(problem(&secret), of("others can read or write it; `chmod 600`, or remove it"));
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&secret, "short").unwrap();
    assert_eq!(problem(&secret), of("not 32 bytes; remove it, and another is made"));
    fs::remove_file(&secret).unwrap();
    fs::create_dir(&secret).unwrap();
    assert_eq!(problem(&secret), of("not a regular file"));

    let within = at.path().join("cache").join("secret");
    assert_eq!(
        problem(&within),
        format!(
            "{}: in the cache's folder; whoever can write to that must not be able to read it",
            within.display()
        )
    );
}
