//! The places of a plan of keys: a file beside them, or the database that replicas share.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::folder::write_private;
use super::plan::KeyPlan;
use super::ring::{KeyRingError, io_error, lock};
use crate::store::PostgresStore;

/// The file with the times of keys.
pub(super) const PLAN: &str = "keys.json";
const MAX_PLAN_BYTES: u64 = 1 << 20;

/// A plan as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedPlan {
    /// Its version; 0 for a plan that a lock protects.
    pub version: u64,
    /// The plan.
    pub plan: KeyPlan,
    /// The time by the clock of the plan's place, in seconds since 1970, where it has one of its own: the times of a plan
    /// that several read are by one clock.
    pub now: Option<u64>,
}

/// Keeps the plan of keys. Called on threads that may block.
pub trait KeyPlans: Send + Sync {
    /// The plan; one without keys before the first.
    ///
    /// # Errors
    /// When it cannot be read.
    fn load(&self) -> Result<LoadedPlan, KeyRingError>;

    /// Replaces the plan of a version. False where another process was first, and nothing was changed.
    ///
    /// # Errors
    /// When it may have been replaced, or not.
    fn replace(&self, version: u64, plan: &KeyPlan) -> Result<bool, KeyRingError>;

    /// Keeps other processes from changing the plan for as long as the value lives, where versions do not.
    ///
    /// # Errors
    /// When there is no lock.
    fn lock(&self) -> Result<Option<File>, KeyRingError>;

    /// The place, as its operator knows it.
    fn place(&self) -> String;
}

/// A plan in the file `keys.json` of a folder.
#[derive(Debug, Clone)]
pub(super) struct FilePlans(pub(super) PathBuf);

/// The plan in the database that replicas share.
pub struct DatabasePlans {
    store: Arc<PostgresStore>,
    runtime: Handle,
}

impl KeyPlans for FilePlans {
    fn load(&self) -> Result<LoadedPlan, KeyRingError> {
        let path = self.0.join(PLAN);
        let file = || path.display().to_string();
        let loaded = |plan| LoadedPlan { version: 0, plan, now: None };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(loaded(KeyPlan::default()));
            }
            Ok(metadata) if metadata.len() > MAX_PLAN_BYTES => {
                let problem = format!("larger than {MAX_PLAN_BYTES} bytes");
                return Err(KeyRingError::Plan { file: file(), problem });
            }
            _ => {}
        }
        let text = fs::read(&path).map_err(io_error(&path))?;
        serde_json::from_slice(&text)
            .map(loaded)
            .map_err(|error| KeyRingError::Plan { file: file(), problem: error.to_string() })
    }

    fn replace(&self, _: u64, plan: &KeyPlan) -> Result<bool, KeyRingError> {
        let path = self.0.join(PLAN);
        let text = serde_json::to_vec_pretty(plan).map_err(io::Error::from);
        text.and_then(|text| write_private(&path, &text)).map_err(io_error(&path))?;
        Ok(true)
    }

    fn lock(&self) -> Result<Option<File>, KeyRingError> {
        lock(&self.0).map(Some).map_err(io_error(&self.0))
    }

    fn place(&self) -> String {
        self.0.display().to_string()
    }
}

impl DatabasePlans {
    /// The plan in a store. The runtime is the one that the store is used on; the plan is read on none of its threads.
    pub fn new(store: Arc<PostgresStore>, runtime: Handle) -> Self {
        Self { store, runtime }
    }
}

impl KeyPlans for DatabasePlans {
    fn load(&self) -> Result<LoadedPlan, KeyRingError> {
        let row = self.runtime.block_on(self.store.key_plan())?;
        Ok(LoadedPlan { version: row.version, plan: row.plan, now: Some(row.now) })
    }

    fn replace(&self, version: u64, plan: &KeyPlan) -> Result<bool, KeyRingError> {
        Ok(self.runtime.block_on(self.store.replace_key_plan(version, plan))?)
    }

    fn lock(&self) -> Result<Option<File>, KeyRingError> {
        Ok(None)
    }

    fn place(&self) -> String {
        "the database".to_owned()
    }
}
