//! The state of a service: the store, the keys and the decision log, opened where the configuration names them.
//!
//! This is the one place that chooses their implementations.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use countersign::IssuerUrl;
use countersign_decision_log::{Folder, LogConfig, LogWriter, Recovered};
use countersign_issuer::{
    Authorizer, CHECKPOINT_KEY_FILE, CheckpointKeyError, CheckpointSigner, Clock,
    ClusterSignerParts, InvalidDatabaseUrl, KeyFolder, KeyFolderError, KeyRing, KeyRingError,
    KeyTimes, OpenLogError, PostgresStore, Replica, SealError, ServiceParts, SqliteStore, Store,
    StoreError, SystemClock, UnboundError, check_bound, open_log,
};
use tokio::runtime::{Builder, Runtime};

use crate::custody::{existing_folder, external, keys_in, open_folder};
use crate::database::{open_shared, shared_keys};
use crate::error::DeploymentError;
use crate::files::{FileError, private_folder, resolve_relative_to};
use crate::loader::{Deployment, Loader};
use crate::read::read_config;
use crate::service_config::CustodyEntry;
use crate::snapshot::Snapshot;

/// The store, the keys and the decision log of a service, with a clock that is not before what the log says.
pub struct ServiceState {
    ring: KeyRing,
    replica: Option<Replica>,
    store: Arc<dyn Store>,
    log: LogWriter,
    clock: Arc<dyn Clock>,
    /// The incomplete records of a crash, which were put aside.
    pub recovered: Vec<Recovered>,
}

/// The reason that the state of a service cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenStateError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Configuration(#[from] DeploymentError),
    /// The folder cannot be made.
    #[error(transparent)]
    Folder(#[from] FileError),
    /// The keys cannot be opened.
    #[error(transparent)]
    Keys(#[from] KeyFolderError),
    /// The plan of keys cannot be read.
    #[error(transparent)]
    Plan(#[from] KeyRingError),
    /// The key of checkpoints cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointKeyError),
    /// The folder of the decision log cannot be opened.
    #[error("{}", .path.display())]
    LogFolder {
        /// The folder.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// The decision log cannot be opened.
    #[error("{}", .path.display())]
    Log {
        /// The folder.
        path: PathBuf,
        /// The reason.
        source: OpenLogError,
    },
    /// The configuration names no database that replicas share.
    #[error("`store` is missing: the database is in the folder of state, and one process has it")]
    NoDatabase,
    /// A text is not the place of a database.
    #[error("--url: {0}")]
    Url(InvalidDatabaseUrl),
    /// The key that seals private keys cannot be used.
    #[error("{}", .path.display())]
    SealingKey {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: SealError,
    },
    /// The custody of keys outside of this process cannot be used.
    #[error("keys.custody")]
    Custody(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// This process has no name among the replicas.
    #[error(transparent)]
    ReplicaName(std::io::Error),
    /// The system gives no random numbers.
    #[error("the system's random number generator failed")]
    NoRandomness,
    /// The system gives no thread.
    #[error("failed to start a thread")]
    Thread(#[source] std::io::Error),
    /// The store is not of the same time as the log.
    #[error("{}", .path.display())]
    Unbound {
        /// The database.
        path: PathBuf,
        /// The reason.
        source: UnboundError,
    },
    /// The store cannot be opened.
    #[error("{}", .path.display())]
    Store {
        /// The database.
        path: PathBuf,
        /// The reason.
        source: StoreError,
    },
}

impl ServiceState {
    /// Opens the state that a configuration names, for an issuer; what is missing is made, but for the tables of a database
    /// that replicas share.
    ///
    /// # Errors
    /// When a part of it cannot be opened, or another process has it.
    pub async fn open(loader: &Loader, issuer: &IssuerUrl) -> Result<Self, OpenStateError> {
        let state = loader.path(&loader.config().state);
        private_folder(&state)?;
        let folder = state.join("log");
        // Locked before anything is touched that a running service holds.
        let disk = log_folder(&folder)?;
        let (config, custody) = (loader.config_path(), &loader.config().custody);
        let keys = open_folder(config, custody, &keys_in(&state))?;
        let (store, ring, replica): (Arc<dyn Store>, _, _) = match &loader.config().database {
            None => {
                let ring = ring_of(config, custody, &keys)?;
                (embedded(&state, &folder).await?, ring, None)
            }
            Some(entry) => {
                let issuer = issuer.as_str();
                let shared = open_shared(config, (entry, custody), issuer, &keys, &folder).await?;
                (shared.store, shared.ring, Some(shared.replica))
            }
        };
        let guarded = (Arc::clone(&store), keys.clone());
        let guard = move || {
            let (store, keys) = &guarded;
            store.check_place()?;
            keys.check_place()
        };
        let (log, clock, recovered) = decision_log(disk, &folder, &keys, guard)?;
        Ok(Self { ring, replica, store, log, clock, recovered })
    }

    /// The database that replicas share; `None` of a service that is alone.
    pub fn shared(&self) -> Option<Arc<PostgresStore>> {
        self.replica.as_ref().map(|replica| Arc::clone(&replica.store))
    }

    /// Puts the parts of a service together.
    pub fn into_parts(
        self,
        loader: &Loader,
        deployment: Deployment,
        authorizer: Authorizer,
    ) -> ServiceParts {
        ServiceParts {
            url: deployment.installation.url,
            config: loader.config().settings.clone(),
            context: deployment.context,
            authorizer,
            keys: self.ring,
            store: self.store,
            log: self.log,
            clock: self.clock,
            replica: self.replica,
        }
    }
}

/// The keys of a service, for a command.
pub struct ExistingKeys {
    /// The keys, with their plan.
    pub ring: KeyRing,
    /// The times that they have.
    pub times: KeyTimes,
    /// The thread on which a database is asked.
    _runtime: Option<Runtime>,
}

/// Opens the keys of the service that a configuration describes, with the times that they have. They must be there.
///
/// # Errors
/// When the configuration cannot be used, or the service has no keys.
pub fn existing_keys(config: &Path) -> Result<ExistingKeys, OpenStateError> {
    let parsed = read_config(config)?;
    let times = parsed.settings.key_times;
    if parsed.database.is_none() {
        let state = resolve_relative_to(config, &parsed.state);
        let keys = existing_folder(config, &parsed.custody, &keys_in(&state))?;
        let ring = ring_of(config, &parsed.custody, &keys)?.require_plan()?;
        return Ok(ExistingKeys { ring, times, _runtime: None });
    }
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(OpenStateError::Thread)?;
    let ring = runtime.block_on(shared_keys(config))?.require_plan()?;
    Ok(ExistingKeys { ring, times, _runtime: Some(runtime) })
}

/// The parts of the signer that `[kubernetes-signer]` describes, where there is one. It needs the keys and the manifest alone:
/// neither policies nor the store nor the log.
///
/// # Errors
/// When the manifest cannot be used, an audience of `pass` is a cloud's, or the keys cannot be opened.
pub fn cluster_signer(
    loader: &Loader,
    snapshot: &Snapshot,
) -> Result<Option<ClusterSignerParts>, OpenStateError> {
    let Some(entry) = &loader.config().kubernetes_signer else { return Ok(None) };
    let (url, clouds) = (loader.issuer(snapshot)?, loader.clouds(snapshot)?);
    if let Some(audience) = entry.signer.passed_cloud(&clouds) {
        let audience = audience.to_string();
        return Err(DeploymentError::PassedCloud { audience }.into());
    }
    let state = loader.path(&loader.config().state);
    private_folder(&state)?;
    let custody = &loader.config().custody;
    let keys = open_folder(loader.config_path(), custody, &keys_in(&state))?;
    let keys = ring_of(loader.config_path(), custody, &keys)?;
    // The log's last checkpoint is not known here, so the plan says which time has been.
    let made = keys.plan()?.keys.iter().map(|key| key.published).max();
    Ok(Some(ClusterSignerParts {
        url,
        config: entry.signer.clone(),
        service: loader.config().settings.clone(),
        clouds,
        keys,
        clock: Arc::new(SystemClock::monotonic_from(made.unwrap_or(0))),
    }))
}

/// Opens the key that signs the checkpoints of a service's log, beside the service. Gives the folder of the log with it.
///
/// # Errors
/// When the configuration cannot be used, or the service has no log or no key.
pub fn checkpoint_signer(config: &Path) -> Result<(PathBuf, CheckpointSigner), OpenStateError> {
    let parsed = read_config(config)?;
    let state = resolve_relative_to(config, &parsed.state);
    let log = state.join("log");
    let keys = existing_folder(config, &parsed.custody, &keys_in(&state))?;
    // A log without its public key is none, and must not become one here.
    std::fs::metadata(log.join(CHECKPOINT_KEY_FILE))
        .map_err(|source| OpenStateError::LogFolder { path: log.clone(), source })?;
    let key = CheckpointSigner::open(&keys, &log)?;
    Ok((log, key))
}

/// The keys of a service that is alone: their plan is in the folder of keys, and they are there or in a device.
fn ring_of(
    config: &Path,
    custody: &CustodyEntry,
    keys: &KeyFolder,
) -> Result<KeyRing, OpenStateError> {
    let external = external(config, custody)?;
    Ok(match external {
        None => KeyRing::in_folder(keys),
        Some(external) => KeyRing::beside(keys, external),
    })
}

/// Opens the database in the folder of state, whose log is in `log`.
async fn embedded(state: &Path, log: &Path) -> Result<Arc<dyn Store>, OpenStateError> {
    let path = state.join("issuer.db");
    let opened = async {
        let store = SqliteStore::open(&path).await?;
        let mark = store.mark().await?;
        Ok((store, mark))
    };
    let opened =
        opened.await.map_err(|source| OpenStateError::Store { path: path.clone(), source });
    let (store, mark) = opened?;
    check_bound(log, &mark).map_err(|source| OpenStateError::Unbound { path, source })?;
    Ok(Arc::new(store))
}

/// Opens a decision log for one command, or begins one: of the same form as a service's, and it can be one's. The key of
/// its checkpoints is in the folder `keys`.
///
/// # Errors
/// When it cannot be opened, or another process is writing it.
pub fn open_record_log(
    path: &Path,
    keys: &Path,
) -> Result<(LogWriter, Vec<Recovered>), OpenStateError> {
    // First, so that nothing is touched of a log that a running service holds.
    let disk = log_folder(path)?;
    let (log, _, recovered) = decision_log(disk, path, &KeyFolder::open(keys)?, || Ok(()))?;
    Ok((log, recovered))
}

fn log_folder(path: &Path) -> Result<Folder, OpenStateError> {
    Folder::open(path).map_err(|source| OpenStateError::LogFolder { path: path.to_owned(), source })
}

/// An open log, a clock that never runs before it, and what a crash had left in it.
type OpenLog = (LogWriter, Arc<dyn Clock>, Vec<Recovered>);

fn decision_log(
    disk: Folder,
    path: &Path,
    keys: &KeyFolder,
    guard: impl Fn() -> std::io::Result<()> + Send + 'static,
) -> Result<OpenLog, OpenStateError> {
    // The folder is locked: nobody else signs for this log.
    let key = CheckpointSigner::open(keys, path)?.with_notes(keys, path)?;
    let clock = Arc::new(SystemClock::monotonic_from(key.last_signed()?.unwrap_or(0)));
    let (log, recovered) = open_log(disk, LogConfig::default(), key, clock.clone(), guard)
        .map_err(|source| OpenStateError::Log { path: path.to_owned(), source })?;
    Ok((log, clock, recovered))
}
