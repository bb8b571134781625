//! Releases on disk: a crash or a full disk at any step leaves one state, and it is the one before or the one after.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "tests"
)]

#[path = "support/release_sets.rs"]
mod release_sets;
mod support;

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use countersign::Digest;
use countersign_deployment::{ReleaseError, ReleaseState, ReleaseStore, ServiceNote, SystemDisk};
use proptest::prelude::*;
use release_sets::{EndingDisk, Operation, Sets, ground, whole_state};
use support::engine;
use tempfile::TempDir;

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
