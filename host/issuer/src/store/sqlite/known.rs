//! The runs that were read of late.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use countersign::RunId;

use crate::runs::RegisteredRun;

/// Recently read runs, as they are in the database: one process has it, so nobody else changes
/// them.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<Recent>);

#[derive(Debug, Default)]
struct Recent {
    runs: HashMap<RunId, Arc<RegisteredRun>>,
    /// Counts changes, so that what was read before one is not kept after it.
    changes: u64,
}

impl Known {
    /// The number of runs kept; when it is reached, all are forgotten.
    const MAX: usize = 16_384;

    pub(super) fn get(&self, id: &RunId) -> (Option<Arc<RegisteredRun>>, u64) {
        let recent = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (recent.runs.get(id).cloned(), recent.changes)
    }

    /// Keeps what was read when there had been so many changes.
    pub(super) fn put(&self, run: Arc<RegisteredRun>, changes: u64) {
        let mut recent = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if recent.changes != changes {
            return;
        }
        if recent.runs.len() >= Self::MAX {
            recent.runs.clear();
        }
        recent.runs.insert(run.run.id.clone(), run);
    }

    /// Forgets a run that has changed.
    pub(super) fn forget(&self, id: &RunId) {
        let mut recent = self.0.write().unwrap_or_else(PoisonError::into_inner);
        recent.changes += 1;
        recent.runs.remove(id);
    }

    pub(super) fn clear(&self) {
        let mut recent = self.0.write().unwrap_or_else(PoisonError::into_inner);
        recent.changes += 1;
        recent.runs.clear();
    }
}
