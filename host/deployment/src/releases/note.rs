//! The report of the service: the steps that it has taken, and what it has seen of the candidate.
//!
//! A promotion looks at it: at the trial of the candidate, and at what decides. A lost one leads to records that say the same
//! twice, and to a promotion without what was seen of the candidate.

use std::collections::BTreeMap;
use std::fs::File;

use countersign::Digest;
use serde::{Deserialize, Serialize};

use super::folder::{MAX_DESCRIPTION_BYTES, json};
use super::{ReleaseError, ReleaseStore};
use crate::files::{FileError, private_folder, read, replace};

/// The report of a service about its releases.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceNote {
    /// The last step that is on record in the decision log.
    pub recorded: u64,
    /// The last step that the service decides by.
    pub taken: u64,
    /// The policy set that decides.
    pub deciding: Option<Digest>,
    /// The reason that a later step is not taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// The candidate, as it did beside the active release.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<CandidateNote>,
}

/// The trial of a candidate on live runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateNote {
    /// The candidate.
    pub release: Digest,
    /// The time since when it is tried, in seconds since 1970.
    pub since: u64,
    /// Decisions that were compared.
    pub compared: u64,
    /// Decisions that were not: there was no processor time left for them.
    pub skipped: u64,
    /// Decisions by class of difference.
    pub classes: BTreeMap<String, u64>,
    /// Decisions in which a binding faults that does not fault in the active release.
    pub faults: u64,
}

/// Held by the service while it runs, so that others know that it does.
pub struct ServiceHold {
    _file: File,
}

impl ReleaseStore {
    /// The last report of the service; an empty one where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or is none.
    pub fn note(&self) -> Result<ServiceNote, ReleaseError> {
        let path = self.folder.path.join("service.json");
        match read(&path, MAX_DESCRIPTION_BYTES) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| ReleaseError::damaged(path, error))
            }
            Err(error) if error.is_missing() => Ok(ServiceNote::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Replaces the report.
    ///
    /// # Errors
    /// When it cannot be written; the one before stays.
    pub fn write_note(&self, note: &ServiceNote) -> Result<(), ReleaseError> {
        let path = self.folder.path.join("service.json");
        Ok(replace(&path, &json(&path, note)?, true)?)
    }

    /// Tells whoever asks that the service runs, until what is returned is dropped.
    ///
    /// The caller holds the decision log, so no other service runs; one that just asks is waited for.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn hold(&self) -> Result<ServiceHold, ReleaseError> {
        private_folder(&self.folder.path)?;
        let path = self.folder.path.join("service.lock");
        let io = |source| FileError::Io { path: path.clone(), source };
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(io)?;
        file.lock().map_err(io)?;
        Ok(ServiceHold { _file: file })
    }

    /// Tells whether a service runs on this state.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn is_served(&self) -> Result<bool, ReleaseError> {
        let path = self.folder.path.join("service.lock");
        let io = |source| FileError::Io { path: path.clone(), source };
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            file => file.map_err(io)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(std::fs::TryLockError::WouldBlock) => Ok(true),
            Err(std::fs::TryLockError::Error(error)) => Err(io(error).into()),
        }
    }
}
