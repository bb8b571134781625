//! Releases that replicas share: whatever fails at any moment, the database has a step or has not, and each folder follows it.
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

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use countersign::Digest;
use countersign_deployment::{
    ReleaseDatabase, ReleaseError, ReleaseState, ReleaseStore, SystemDisk,
};
use countersign_issuer::{NewSharedStep, ReplicaEntry, SharedStep, StoreError};
use release_sets::{EndingDisk, Operation, Sets, ground, take_one, whole_state};
use support::engine;
use tempfile::TempDir;

const STORY: [Operation; 5] = [
    Operation::Stage(1),
    Operation::Adopt(0),
    Operation::Promote(1),
    Operation::Stage(2),
    Operation::Rollback,
];

/// The tables.
#[derive(Debug, Clone, Default, PartialEq)]
struct Tables {
    steps: Vec<(u64, String)>,
    sets: BTreeMap<Digest, Digest>,
    files: BTreeMap<Digest, Vec<u8>>,
}

type Before = Box<dyn FnOnce() + Send>;

/// A database that takes so many operations and then does not answer: what it was told last was done, or not.
#[derive(Clone)]
struct Database {
    tables: Arc<Mutex<Tables>>,
    left: Arc<AtomicUsize>,
    does_the_last: bool,
    /// Done before a step is added: somebody else is faster.
    before: Arc<Mutex<Option<Before>>>,
}

impl Database {
    fn new() -> Self {
        let left = Arc::new(AtomicUsize::new(usize::MAX));
        Self { tables: Arc::default(), left, does_the_last: false, before: Arc::default() }
    }

    /// The same tables, by a connection that ends.
    fn ending(&self, left: &Arc<AtomicUsize>, does_the_last: bool) -> Self {
        Self { left: Arc::clone(left), does_the_last, before: Arc::default(), ..self.clone() }
    }

    fn asked<T>(&self, operation: impl FnOnce(&mut Tables) -> T) -> Result<T, StoreError> {
        let is_there = take_one(&self.left).is_ok();
        let mut tables = self.tables.lock().unwrap();
        match is_there {
            true => Ok(operation(&mut tables)),
            false => {
                if self.does_the_last {
                    drop(operation(&mut tables));
                }
                Err(StoreError::Slow)
            }
        }
    }

    fn store(&self, folder: &Path) -> ReleaseStore {
        ReleaseStore::shared(Box::new(SystemDisk), folder, Box::new(self.clone()))
    }

    fn tables(&self) -> Tables {
        self.tables.lock().unwrap().clone()
    }

    fn change(&self, change: impl FnOnce(&mut Tables)) {
        change(&mut self.tables.lock().unwrap());
    }
}

impl ReleaseDatabase for Database {
    fn place(&self) -> String {
        "postgres://a@database/b".to_owned()
    }

    fn steps(&self, from: u64) -> Result<Vec<SharedStep>, StoreError> {
        self.asked(|tables| {
            let steps = tables.steps.iter().filter(|(number, _)| *number >= from).take(2);
            steps.map(|(number, text)| SharedStep { number: *number, text: text.clone() }).collect()
        })
    }

    fn add_steps(&self, steps: &[NewSharedStep]) -> Result<bool, StoreError> {
        let before = self.before.lock().unwrap().take();
        if let Some(before) = before {
            before();
        }
        self.asked(|tables| {
            let next = tables.steps.len() as u64 + 1;
            if steps.iter().zip(next..).any(|(step, next)| step.number != next) {
                return false;
            }
            // As the database has it: what a step names is there.
            assert!(steps.iter().all(|step| tables.sets.contains_key(&step.release)));
            tables.steps.extend(steps.iter().map(|step| (step.number, step.text.clone())));
            true
        })
    }

    fn set(&self, release: Digest) -> Result<Option<Digest>, StoreError> {
        self.asked(|tables| tables.sets.get(&release).copied())
    }

    fn add_set(&self, release: Digest, description: Digest) -> Result<(), StoreError> {
        self.asked(|tables| {
            assert!(tables.files.contains_key(&description));
            tables.sets.entry(release).or_insert(description);
        })
    }

    fn file(&self, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.asked(|tables| {
            let file = tables.files.get(&digest).cloned();
            assert!(file.as_ref().is_none_or(|file| file.len() as u64 <= limit));
            file
        })
    }

    fn add_file(&self, digest: Digest, content: &[u8]) -> Result<bool, StoreError> {
        self.asked(|tables| {
            let is_new = !tables.files.contains_key(&digest);
            tables.files.entry(digest).or_insert_with(|| content.to_vec());
            is_new
        })
    }

    fn replicas(&self) -> Result<Vec<ReplicaEntry>, StoreError> {
        Ok(Vec::new())
    }
}

/// The state by the steps of a database alone.
fn state_in(tables: &Tables) -> ReleaseState {
    let folder = TempDir::new().unwrap();
    let database = Database::new();
    database.change(|own| *own = tables.clone());
    let store = database.store(&folder.path().join("releases"));
    store.compare().unwrap();
    whole_state(&store)
}

fn releases_in(folder: &TempDir) -> PathBuf {
    folder.path().join("releases")
}

#[test]
fn a_stop_at_any_moment_leaves_a_step_made_or_not_and_every_folder_follows() {
    let sets = Sets::new(3);
    let mut stops = 0;
    for (length, does_the_last) in
        (0..STORY.len()).flat_map(|length| [(length, false), (length, true)])
    {
        for room in 0.. {
            let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
            let database = Database::new();
            let store = database.store(&releases_in(&one));
            STORY[..length].iter().for_each(|before| before.run(&store, &sets).unwrap());
            let before = state_in(&database.tables());
            // The disk and the database end at the same moment, as the process does.
            let left = Arc::new(AtomicUsize::new(room));
            let stopped = STORY[length].run(
                &ReleaseStore::shared(
                    Box::new(EndingDisk(Arc::clone(&left))),
                    &releases_in(&one),
                    Box::new(database.ending(&left, does_the_last)),
                ),
                &sets,
            );
            let after = state_in(&database.tables());
            let made = after.step - before.step;
            assert!(made <= 1 && (stopped.is_err() || made == 1), "{length} {room}");
            assert!(after.active.is_some() || before.active.is_none());
            // The folder is never ahead.
            let kept = store.state().unwrap().step;
            assert!(kept == before.step || kept == after.step, "{length} {room}: {kept}");
            for folder in [&one, &other] {
                let store = database.store(&releases_in(folder));
                store.follow().unwrap();
                assert_eq!(whole_state(&store), after, "{length} {room}");
                store.compare().unwrap();
            }
            if stopped.is_ok() {
                break;
            }
            stops += 1;
            if made == 0 {
                // Nothing that was left is in the way.
                STORY[length].run(&store, &sets).unwrap();
            }
        }
    }
    assert!(stops > 100, "{stops}");
}

#[test]
fn of_two_that_make_the_next_step_one_is_told_that_it_was_overtaken() {
    let sets = Arc::new(Sets::new(3));
    let (one, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let database = Database::new();
    let first = Arc::new(database.store(&releases_in(&one)));
    for before in [Operation::Adopt(0), Operation::Stage(1), Operation::Stage(2)] {
        before.run(&first, &sets).unwrap();
    }
    let later = Database { before: Arc::default(), ..database.clone() };
    let second = later.store(&releases_in(&other));
    second.compare().unwrap();
    let (faster, of_faster) = (Arc::clone(&first), Arc::clone(&sets));
    *later.before.lock().unwrap() =
        Some(Box::new(move || Operation::Promote(1).run(&faster, &of_faster).unwrap()));
    let overtaken = second.promote(sets.digest(2), sets.digest(0), ground(), 3).unwrap_err();
    assert!(matches!(overtaken, ReleaseError::Overtaken), "{overtaken}");
    assert_eq!(second.state().unwrap().step, 3, "nothing of it is kept");
    second.follow().unwrap();
    assert_eq!(second.state().unwrap(), first.state().unwrap());
    assert_eq!(second.state().unwrap().active, Some(sets.digest(1)));
    // An automatic rollback of a step that is no longer the last.
    Operation::Promote(2).run(&second, &sets).unwrap();
    let late = first.rollback(Some("it faults".to_owned()), Some(4), 9).unwrap_err();
    assert!(matches!(late, ReleaseError::Overtaken), "{late}");
}

#[test]
fn whatever_is_wrong_in_the_database_is_refused_and_nothing_of_it_is_taken() {
    let sets = Sets::new(3);
    let made = TempDir::new().unwrap();
    let database = Database::new();
    let store = database.store(&releases_in(&made));
    STORY[..4].iter().for_each(|operation| operation.run(&store, &sets).unwrap());
    let whole = database.tables();
    let second = sets.digest(2);
    let set = whole.sets[&second];
    let manifest = store.release(second).unwrap().manifest;
    let described = |text: &str, to: &str| {
        let text = String::from_utf8(whole.files[&set].clone()).unwrap().replace(text, to);
        let (digest, text) = (Digest::of(text.as_bytes()), text.into_bytes());
        move |tables: &mut Tables| {
            tables.files.insert(digest, text.clone());
            tables.sets.insert(second, digest);
        }
    };
    let replaced = |at: usize, from: &str, to: &str| {
        let text = whole.steps[at].1.replace(from, to);
        assert_ne!(text, whole.steps[at].1);
        move |tables: &mut Tables| tables.steps[at].1 = text.clone()
    };
    type Change<'c> = Box<dyn Fn(&mut Tables) + 'c>;
    // The change, the message, and the last step that can be taken.
    let cases: Vec<(Change<'_>, &str, u64)> = vec![
        (Box::new(|tables| tables.files.get_mut(&manifest).unwrap()[0] ^= 1), "its digest is", 3),
        (Box::new(|tables| drop(tables.files.remove(&manifest))), "missing", 3),
        (Box::new(|tables| tables.files.get_mut(&set).unwrap()[0] ^= 1), "its digest is", 3),
        (Box::new(|tables| drop(tables.files.remove(&set))), "missing", 3),
        (Box::new(|tables| assert!(tables.sets.remove(&second).is_some())), "missing", 3),
        (Box::new(described("\"version\": 1", "\"version\": 2")), "in version 1", 3),
        (Box::new(described("\"manifest\"", "\"no-manifest\"")), "missing field", 3),
        (
            Box::new(|tables| {
                assert!(tables.sets.insert(second, whole.sets[&sets.digest(1)]).is_some())
            }),
            "not the description of",
            3,
        ),
        (Box::new(replaced(3, "\"version\": 1", "\"version\": 2")), "not step 4 in version 1", 3),
        (Box::new(replaced(3, "\"step\": 4", "\"step\": 5")), "not step 4 in version 1", 3),
        (Box::new(replaced(3, "staged", "unstaged")), "unknown variant", 3),
        (Box::new(|tables| tables.steps[3].1.clear()), "EOF", 3),
        (
            Box::new(|tables| drop(tables.steps.remove(1))),
            "step 2 of releases: missing; step 3 follows",
            1,
        ),
        (
            Box::new(|tables| drop(tables.steps.remove(0))),
            "step 1 of releases: missing; step 2 follows",
            0,
        ),
        (
            Box::new(|tables| tables.steps.swap(1, 2)),
            "step 2 of releases: missing; step 3 follows",
            1,
        ),
        (Box::new(replaced(2, "promoted", "rolled-back")), "does not follow", 2),
        (Box::new(replaced(1, "adopted", "promoted")), "does not follow", 1),
    ];
    for (at, (change, expected, last)) in cases.iter().enumerate() {
        database.change(|tables| {
            *tables = whole.clone();
            change(tables);
        });
        for looks in [ReleaseStore::compare, ReleaseStore::follow] {
            let folder = TempDir::new().unwrap();
            let store = database.store(&releases_in(&folder));
            let error = looks(&store).unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(expected) && text.contains("postgres://a@database/b"),
                "{at}: {text}"
            );
            assert!(!error.is_unanswered());
            assert_eq!(whole_state(&store).step, *last, "{at}");
            // Neither is a step made on it.
            assert!(store.rollback(None, None, 1).is_err(), "{at}");
            assert!(store.stage(&sets.new_release(0), 1).is_err(), "{at}");
        }
    }
    // What is wrong there is found when the release is staged again, and not named by another step.
    database.change(|tables| {
        *tables = whole.clone();
        tables.files.get_mut(&manifest).unwrap()[0] ^= 1;
    });
    let error = Operation::Stage(2).run(&store, &sets).unwrap_err();
    assert!(error.to_string().contains("remove its parts there"), "{error}");
    // The way that the message says.
    for wrong in [manifest, set] {
        database.change(|tables| drop(tables.files.remove(&wrong)));
        Operation::Stage(2).run(&store, &sets).unwrap();
        assert_eq!(state_in(&database.tables()).candidate, Some(second));
    }

    // Another program's reading of a manifest: kept, and not decided by.
    let other = whole.files[&whole.sets[&sets.digest(1)]].clone();
    let other = String::from_utf8(other).unwrap();
    let other = other.replace(&sets.digest(1).to_string(), &second.to_string()).into_bytes();
    database.change(|tables| {
        *tables = whole.clone();
        tables.sets.insert(second, Digest::of(&other));
        tables.files.insert(Digest::of(&other), other);
    });
    let folder = TempDir::new().unwrap();
    let store = database.store(&releases_in(&folder));
    store.compare().unwrap();
    let error = store.prepare(second, engine()).unwrap_err();
    assert!(matches!(error, ReleaseError::OtherSet { .. }), "{error}");
}

#[test]
fn a_folder_of_another_database_or_time_is_refused_and_says_what_to_do() {
    let sets = Sets::new(3);
    // A service that was alone brings its releases into an empty database.
    let alone = TempDir::new().unwrap();
    let store = ReleaseStore::on(Box::new(SystemDisk), &releases_in(&alone));
    STORY.iter().for_each(|operation| operation.run(&store, &sets).unwrap());
    let database = Database::new();
    // Also where that was cut off: the steps come all at once.
    for room in 0.. {
        let left = Arc::new(AtomicUsize::new(room));
        let ending = database.ending(&left, false).store(&releases_in(&alone));
        let compared = ending.compare();
        assert!([0, 5].contains(&database.tables().steps.len()));
        if compared.is_ok() {
            break;
        }
        assert!(compared.unwrap_err().is_unanswered());
    }
    assert_eq!(state_in(&database.tables()), store.state().unwrap());

    // One with the same steps goes on, one with others or more does not.
    let other = TempDir::new().unwrap();
    let alone_too = ReleaseStore::on(Box::new(SystemDisk), &releases_in(&other));
    Operation::Stage(2).run(&alone_too, &sets).unwrap();
    let shared = database.store(&releases_in(&other));
    let error = shared.compare().unwrap_err().to_string();
    assert!(error.contains("step 1 is another one in postgres://a@database/b"), "{error}");
    assert!(error.contains("move the folder away, keep it, and start again"), "{error}");
    assert!(shared.follow().is_err());
    assert!(shared.rollback(None, None, 1).is_err());
    assert_eq!(database.tables().steps.len(), 5, "nothing of it came into the database");
    fs::rename(releases_in(&other), other.path().join("kept")).unwrap();
    shared.compare().unwrap();
    assert_eq!(whole_state(&shared), store.state().unwrap());

    // The database of an earlier time.
    database.change(|tables| drop(tables.steps.pop()));
    let error = shared.compare().unwrap_err().to_string();
    assert!(error.contains("it has steps up to 5") && error.contains("has no step 5"), "{error}");
    assert!(shared.follow().is_err());
    let staged = shared.stage(&sets.new_release(0), 1);
    assert!(matches!(staged, Err(ReleaseError::Contradicts { .. })), "{staged:?}");
    // One that has lost all of them is none to bring them into again.
    database.change(|tables| *tables = Tables::default());
    let error = shared.compare().unwrap_err().to_string();
    assert!(error.contains("has no step 1"), "{error}");
    assert_eq!(database.tables(), Tables::default());
}

#[test]
fn what_was_damaged_in_the_folder_comes_again_from_the_database() {
    let sets = Sets::new(2);
    let folder = TempDir::new().unwrap();
    let database = Database::new();
    let store = database.store(&releases_in(&folder));
    store.compare().unwrap();
    assert!(!releases_in(&folder).exists(), "looking makes nothing");
    Operation::Adopt(0).run(&store, &sets).unwrap();
    Operation::Stage(1).run(&store, &sets).unwrap();
    let release = store.release(sets.digest(1)).unwrap();
    for digest in release.files.values().chain([&release.manifest]) {
        let name = digest.to_string().replace("sha256:", "");
        let file = releases_in(&folder).join("files").join(name);
        fs::write(&file, "x").unwrap();
        assert!(store.bundle(&release).is_err());
        store.compare().unwrap();
        store.bundle(&release).unwrap();
    }
    // A step is compared, and not mended: it is what decides.
    let step = releases_in(&folder).join("steps/00000000000000000001.json");
    let text = fs::read_to_string(&step).unwrap();
    fs::write(&step, text.replace("\"at\": 2", "\"at\": 3")).unwrap();
    let error = store.compare().unwrap_err();
    assert!(matches!(error, ReleaseError::Contradicts { .. }), "{error}");
}
