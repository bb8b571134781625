//! The releases in the database that replicas share.

use std::path::Path;
use std::sync::Arc;

use countersign::Digest;
use countersign_issuer::{NewSharedStep, PostgresStore, ReplicaEntry, SharedStep, StoreError};
use tokio::runtime::{Builder, Handle, Runtime};

use super::{ReleaseDatabase, ReleaseError, ReleaseStore, SystemDisk};
use crate::database::store_of;
use crate::files::resolve_relative_to;
use crate::read::read_config;
use crate::service_state::OpenStateError;

/// A database, and the runtime that it is asked on.
struct DatabaseReleases {
    store: Arc<PostgresStore>,
    place: String,
    runtime: Handle,
    /// Of a command, which has no other.
    _own: Option<Runtime>,
}

impl ReleaseStore {
    /// The releases of the service that a configuration describes. Where replicas share them, the folder is compared with
    /// the database first; it is made only if there are any.
    ///
    /// # Errors
    /// When the configuration cannot be used, or [`ReleaseStore::compare`] fails.
    pub fn open(config: &Path) -> Result<Self, ReleaseError> {
        let parsed = read_config(config)?;
        let state = resolve_relative_to(config, &parsed.state);
        if parsed.database.is_none() {
            return Ok(Self::in_state(&state));
        }
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(OpenStateError::Thread).map_err(Box::new)?;
        let (store, place) = runtime.block_on(store_of(config)).map_err(Box::new)?;
        let database = DatabaseReleases {
            store: Arc::new(store),
            place: place.display().to_string(),
            runtime: runtime.handle().clone(),
            _own: Some(runtime),
        };
        let releases =
            Self::shared(Box::new(SystemDisk), &state.join("releases"), Box::new(database));
        releases.compare()?;
        Ok(releases)
    }

    /// The releases in a database that is open, and the folder of state that follows them. To be called on a runtime, and
    /// used on threads of it that may block.
    pub(crate) fn in_database(store: Arc<PostgresStore>, place: String, state: &Path) -> Self {
        let runtime = Handle::current();
        let database = DatabaseReleases { store, place, runtime, _own: None };
        Self::shared(Box::new(SystemDisk), &state.join("releases"), Box::new(database))
    }
}

impl ReleaseDatabase for DatabaseReleases {
    fn place(&self) -> String {
        self.place.clone()
    }

    fn steps(&self, from: u64) -> Result<Vec<SharedStep>, StoreError> {
        self.runtime.block_on(self.store.release_steps(from))
    }

    fn add_steps(&self, steps: &[NewSharedStep]) -> Result<bool, StoreError> {
        self.runtime.block_on(self.store.add_release_steps(steps))
    }

    fn set(&self, release: Digest) -> Result<Option<Digest>, StoreError> {
        self.runtime.block_on(self.store.release_set(release))
    }

    fn add_set(&self, release: Digest, description: Digest) -> Result<(), StoreError> {
        self.runtime.block_on(self.store.add_release_set(release, description))
    }

    fn file(&self, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.runtime.block_on(self.store.release_file(digest, limit))
    }

    fn add_file(&self, digest: Digest, content: &[u8]) -> Result<bool, StoreError> {
        self.runtime.block_on(self.store.add_release_file(digest, content))
    }

    fn replicas(&self) -> Result<Vec<ReplicaEntry>, StoreError> {
        self.runtime.block_on(self.store.replicas())
    }
}
