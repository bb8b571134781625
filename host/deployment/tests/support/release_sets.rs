//! Policy sets that are releases, and operations on them, with a disk that ends.
#![allow(dead_code, reason = "no test uses all of it")]
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use countersign::{Digest, PolicySet};
use countersign_deployment::{
    ManifestBundle, NewRelease, PromotionGround, ReleaseDisk, ReleaseError, ReleaseState,
    ReleaseStore, SystemDisk,
};
use tempfile::TempDir;

use crate::support::engine;

/// A disk that takes so many operations, and then has neither room nor power: a file that is being written stays in part.
pub(crate) struct EndingDisk(pub(crate) Arc<AtomicUsize>);

/// Takes one of the operations that are left.
pub(crate) fn take_one(left: &AtomicUsize) -> io::Result<()> {
    let left = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
    left.map(drop).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))
}

impl ReleaseDisk for EndingDisk {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        if let Err(error) = take_one(&self.0) {
            fs::write(path, &bytes[..bytes.len() / 2])?;
            return Err(error);
        }
        SystemDisk.write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        take_one(&self.0)?;
        SystemDisk.rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        take_one(&self.0)?;
        SystemDisk.sync_folder(folder)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        take_one(&self.0)?;
        SystemDisk.remove(path)
    }
}

/// Policy sets that differ, and the manifests that they are of.
pub(crate) struct Sets {
    _folder: TempDir,
    sets: Vec<(ManifestBundle, PolicySet)>,
}

impl Sets {
    pub(crate) fn new(number: usize) -> Self {
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

    pub(crate) fn new_release(&self, at: usize) -> NewRelease<'_> {
        let (bundle, policies) = &self.sets[at];
        NewRelease { bundle, policies, cases: BTreeMap::new() }
    }

    pub(crate) fn digest(&self, at: usize) -> Digest {
        self.sets[at].1.digest()
    }
}

pub(crate) fn ground() -> PromotionGround {
    PromotionGround { evidence: None, reason: Some("a test".to_owned()) }
}

/// One operation on releases.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Operation {
    Stage(usize),
    Adopt(usize),
    Promote(usize),
    Rollback,
}

impl Operation {
    pub(crate) fn run(self, store: &ReleaseStore, sets: &Sets) -> Result<(), ReleaseError> {
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

    /// True where no file is kept, and so none removed that a crash has left.
    pub(crate) fn is_step(self) -> bool {
        matches!(self, Self::Promote(_) | Self::Rollback)
    }
}

/// The state, and that the releases which it names are whole.
pub(crate) fn whole_state(store: &ReleaseStore) -> ReleaseState {
    let state = store.state().unwrap();
    for release in state.active.iter().chain(&state.before).chain(&state.candidate) {
        store.bundle(&store.release(*release).unwrap()).unwrap();
    }
    state
}
