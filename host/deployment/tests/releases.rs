//! Releases on disk: a crash or a full disk at any step leaves one state, and it is the one before or the one after.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::{Digest, PolicySet};
use countersign_deployment::{
    ManifestBundle, NewRelease, PromotionGround, ReleaseDisk, ReleaseError, ReleaseState,
    ReleaseStore, ServiceNote, SystemDisk,
};
use proptest::prelude::*;
use support::engine;
use tempfile::TempDir;

/// A disk that takes so many operations, and then has neither room nor power: a file that is being written stays in part.
struct EndingDisk(Arc<AtomicUsize>);

impl EndingDisk {
    fn step(&self) -> io::Result<()> {
        let left =
            self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(drop).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
    }
}

impl ReleaseDisk for EndingDisk {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = self.step() {
            fs::write(path, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        SystemDisk.write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step()?;
        SystemDisk.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step()?;
        SystemDisk.sync_folder(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.step()?;
        SystemDisk.remove(path)
    }
}

/// Policy sets that differ, and the manifests that they are of.
struct Sets {
    _folder: TempDir,
    sets: Vec<(ManifestBundle, PolicySet)>,
}

impl Sets {
    fn new(number: usize) -> Self {
        let folder = TempDir::new().unwrap();
        let (name, component) = countersign_policy_artifacts::POLICIES
            .iter()
            .find(|(name, _)| *name == "ttl-ceiling")
            .unwrap();
        fs::write(folder.path().join(format!("{name}.wasm")), component).unwrap();
        let sets = (0..number).map(|number| {
            let path = folder.path().join("countersign.toml");
            let text = format!(
                "[[binding]]\nname = \"ttl\"\npolicy = \"ttl-ceiling.wasm\"\nscope = \"all\"\n\
                 limits = {{ prepare-ms = 120_000, wall-clock-ms = 10_000 }}\n\
                 settings = {{ apply = {} }}\n",
                900 + number
            );
            fs::write(&path, text).unwrap();
            let bundle = ManifestBundle::read(&path).unwrap();
            let policies = bundle.prepare(engine()).unwrap();
            (bundle, policies)
        });
        Self { sets: sets.collect(), _folder: folder }
    }

    fn new_release(&self, at: usize) -> NewRelease<'_> {
        let (bundle, policies) = &self.sets[at];
        NewRelease { bundle, policies, cases: BTreeMap::new() }
    }

    fn digest(&self, at: usize) -> Digest {
        self.sets[at].1.digest()
    }
}

fn ground() -> PromotionGround {
    PromotionGround { evidence: None, reason: Some("a test".to_owned()) }
}

/// One operation on releases.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Stage(usize),
    Adopt(usize),
    Promote(usize),
    Rollback,
}

impl Operation {
    fn run(self, store: &ReleaseStore, sets: &Sets) -> Result<(), ReleaseError> {
        match self {
            Self::Stage(at) => store.stage(&sets.new_release(at), 1).map(drop),
            Self::Adopt(at) => store.adopt(&sets.new_release(at), 2).map(drop),
            Self::Promote(at) => {
                let from = store.state()?.active.ok_or(ReleaseError::NoActive)?;
                store.promote(sets.digest(at), from, ground(), 3).map(drop)
            }
            Self::Rollback => store.rollback(None, None, 4).map(drop),
        }
    }
}

/// The state, and that the releases which it names are whole.
fn whole_state(store: &ReleaseStore) -> ReleaseState {
    let state = store.state().unwrap();
    for release in state.active.iter().chain(&state.before).chain(&state.candidate) {
        store.bundle(&store.release(*release).unwrap()).unwrap();
    }
    state
}

#[test]
fn a_stop_at_any_operation_of_the_disk_leaves_the_state_before_or_after() {
    let sets = Sets::new(3);
    let story = [
        Operation::Stage(1),
        Operation::Adopt(0),
        Operation::Promote(1),
        Operation::Stage(2),
        Operation::Promote(2),
        Operation::Rollback,
        Operation::Rollback,
    ];
    let mut stops = 0;
    for length in 0..story.len() {
        for room in 0.. {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("releases");
            let store = ReleaseStore::on(Box::new(SystemDisk), &path);
            story[..length].iter().for_each(|before| before.run(&store, &sets).unwrap());
            let before = whole_state(&store);
            let ending = EndingDisk(Arc::new(AtomicUsize::new(room)));
            let stopped = story[length].run(&ReleaseStore::on(Box::new(ending), &path), &sets);
            let after = whole_state(&store);
            let mut expected = before.clone();
            match store.steps(before.step + 1).unwrap().as_slice() {
                [] => assert!(stopped.is_err(), "{length} {room}"),
                [step] => expected.add(step).unwrap(),
                more => panic!("{length} {room}: {more:?}"),
            }
            assert_eq!(after, expected, "{length} {room}");
            // An active release stays one, and is never one that was not staged.
            assert!(after.active.is_some() || before.active.is_none());
            if stopped.is_ok() {
                break;
            }
            stops += 1;
            // The same again succeeds: nothing that was left is in the way.
            if after == before {
                story[length].run(&store, &sets).unwrap();
            }
            whole_state(&store);
            let left = fs::read_dir(path.join("steps"))
                .unwrap()
                .chain(fs::read_dir(path.join("files")).unwrap());
            for entry in left {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.starts_with('.') || story[length].is_step(), "{name} is left");
            }
        }
    }
    assert!(stops > 30, "{stops}");
}

impl Operation {
    /// True where no file is kept, and so none removed that a crash has left.
    fn is_step(self) -> bool {
        matches!(self, Self::Promote(_) | Self::Rollback)
    }
}

#[test]
fn what_was_changed_on_disk_is_found_and_staging_mends_it() {
    let sets = Sets::new(2);
    let folder = TempDir::new().unwrap();
    let store = ReleaseStore::in_state(folder.path());
    Operation::Adopt(0).run(&store, &sets).unwrap();
    Operation::Stage(1).run(&store, &sets).unwrap();
    let release = store.release(sets.digest(1)).unwrap();
    let hex = release.manifest.to_string().replace("sha256:", "");
    let file = folder.path().join("releases/files").join(hex);
    fs::write(&file, "[[binding]]").unwrap();
    let error = store.prepare(sets.digest(1), engine()).unwrap_err();
    assert!(error.to_string().contains("its digest is sha256:"), "{error}");
    Operation::Stage(1).run(&store, &sets).unwrap();
    assert_eq!(store.prepare(sets.digest(1), engine()).unwrap().digest(), sets.digest(1));

    // A step that is missing or changed: no guess at what decides.
    let steps = folder.path().join("releases/steps");
    let first = steps.join("00000000000000000001.json");
    let text = fs::read_to_string(&first).unwrap();
    fs::write(&first, text.replace("adopted", "promoted")).unwrap();
    let error = store.state().unwrap_err();
    assert!(error.to_string().contains("does not follow"), "{error}");
    fs::remove_file(&first).unwrap();
    assert!(store.state().is_err());
    assert!(matches!(store.rollback(None, None, 1), Err(ReleaseError::File(_))));
}

#[test]
fn releases_are_found_by_the_beginning_of_their_digest() {
    let sets = Sets::new(2);
    let folder = TempDir::new().unwrap();
    let store = ReleaseStore::in_state(folder.path());
    assert_eq!(store.state().unwrap(), ReleaseState::default());
    assert_eq!(store.note().unwrap(), ServiceNote::default());
    assert!(!folder.path().join("releases").exists(), "looking makes nothing");
    Operation::Stage(0).run(&store, &sets).unwrap();
    Operation::Stage(1).run(&store, &sets).unwrap();
    let digest = sets.digest(0);
    let text = digest.to_string();
    assert_eq!(store.find(&text).unwrap(), digest);
    assert_eq!(store.find(&text["sha256:".len()..19]).unwrap(), digest);
    for unknown in ["", "abc", "sha256:", "../steps", "not-a-digest"] {
        assert!(matches!(store.find(unknown), Err(ReleaseError::Unknown(_))), "{unknown}");
    }
    assert_eq!(store.releases().unwrap().len(), 2);
    let error = store.promote(digest, sets.digest(1), ground(), 1).unwrap_err();
    assert!(matches!(error, ReleaseError::Overtaken), "{error}");
    assert!(matches!(store.rollback(None, None, 1), Err(ReleaseError::NoActive)));
}

#[test]
fn a_service_that_runs_is_seen() {
    let folder = TempDir::new().unwrap();
    let store = ReleaseStore::in_state(folder.path());
    assert!(!store.is_served().unwrap());
    let hold = store.hold().unwrap();
    assert!(store.is_served().unwrap());
    drop(hold);
    assert!(!store.is_served().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is asked for in whatever order, also by two at a time: once a release is active, one always is.
    #[test]
    fn once_a_release_is_active_one_always_is(
        operations in prop::collection::vec((0..4_u8, 0..3_usize), 1..12)
    ) {
        static SETS: std::sync::OnceLock<Sets> = std::sync::OnceLock::new();
        let sets = SETS.get_or_init(|| Sets::new(3));
        let folder = TempDir::new().unwrap();
        let store = ReleaseStore::in_state(folder.path());
        let mut active: Option<Digest> = None;
        let mut before: Vec<Digest> = Vec::new();
        for (kind, at) in operations {
            let operation = match kind {
                0 => Operation::Stage(at),
                1 => Operation::Adopt(at),
                2 => Operation::Promote(at),
                _ => Operation::Rollback,
            };
            let done = operation.run(&store, sets);
            // The model: what the words say.
            match (operation, done.is_ok()) {
                (Operation::Adopt(at), true) => {
                    prop_assert!(active.is_none());
                    active = Some(sets.digest(at));
                }
                (Operation::Promote(at), true) => {
                    prop_assert_ne!(active, Some(sets.digest(at)));
                    before.push(active.unwrap());
                    active = Some(sets.digest(at));
                }
                (Operation::Rollback, true) => active = Some(before.pop().unwrap()),
                (Operation::Rollback, false) => prop_assert!(before.is_empty()),
                _ => {}
            }
            let state = whole_state(&store);
            prop_assert_eq!(state.active, active);
            prop_assert_eq!(&state.before, &before);
            prop_assert!(state.candidate.is_none() || state.candidate != state.active);
        }
    }
}
