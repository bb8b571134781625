//! The database that replicas share: opened for a service, for its keys, and for those who look after it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_issuer::{
    CHECKPOINT_KEY_FILE, CheckpointSigner, DatabasePlans, DatabaseUrl, KeyCustody, KeyFolder,
    KeyRing, Membership, Migrated, PostgresConfig, PostgresStore, Replica, ReplicaEntry,
    SealedKeys, StoreError, StoreMark, UnboundError, check_bound, last_anchors,
};
use tokio::runtime::Handle;

use crate::custody::{MAX_SECRET_BYTES, external, sealer, secret};
use crate::error::DeploymentError;
use crate::files::{read, resolve_relative_to, resolve_secret};
use crate::read::{read_config, read_manifest};
use crate::service_config::{Config, CustodyEntry, DatabaseEntry, is_replica_name};
use crate::service_state::OpenStateError;

/// The time beyond its lease for which a start waits for the name of a process that was killed.
const WAITS_FOR_NAME: Duration = Duration::from_secs(5);

/// A command on the database that a configuration names.
#[derive(Debug, Clone, Default)]
pub struct MigrateOptions {
    /// The place of the database for it, in the place of the configuration's: by another role, or past a pooler.
    pub url: Option<String>,
    /// The file with the password of that role.
    pub password_file: Option<PathBuf>,
    /// The role that is given the rights that a service needs.
    pub grant: Option<String>,
}

/// The shared parts of a service's state.
pub(crate) struct Shared {
    pub(crate) store: Arc<PostgresStore>,
    pub(crate) ring: KeyRing,
    pub(crate) replica: Replica,
}

/// Opens the database for a service, whose log is in `log` and locked. Enters the register, once it is known that log and
/// database are of one time.
pub(crate) async fn open_shared(
    config: &Path,
    (entry, custody): (&DatabaseEntry, &CustodyEntry),
    issuer: &str,
    keys: &KeyFolder,
    log: &Path,
) -> Result<Shared, OpenStateError> {
    let place = || PathBuf::from(entry.url.to_string());
    let failed = |source| OpenStateError::Store { path: place(), source };
    let name = replica_name(entry)?;
    let key = CheckpointSigner::open(keys, log)?;
    let key_set = read(&log.join(CHECKPOINT_KEY_FILE), MAX_SECRET_BYTES)?;
    let key_set = String::from_utf8_lossy(&key_set).into_owned();
    let (store, ring) = open(config, entry, custody, issuer).await?;
    // Longer than it issues tokens for: their clocks do not run alike.
    let lease = entry.poll + Duration::from_secs(1);
    let member = Membership::new(name, lease).ok_or(OpenStateError::NoRandomness)?;
    join(&store, &member, log).await.map_err(|error| match error {
        JoinError::Store(source) => failed(source),
        JoinError::Unbound(source) => OpenStateError::Unbound { path: place(), source },
    })?;
    let anchors = last_anchors(log).map_err(|source| OpenStateError::Unbound {
        path: log.to_owned(),
        source: source.into(),
    })?;
    let replica =
        Replica { member, store: Arc::clone(&store), key, key_set, poll: entry.poll, anchors };
    Ok(Shared { store, ring, replica })
}

/// Opens the store, and the keys in it.
async fn open(
    config: &Path,
    entry: &DatabaseEntry,
    custody: &CustodyEntry,
    issuer: &str,
) -> Result<(Arc<PostgresStore>, KeyRing), OpenStateError> {
    let sealer = match custody {
        CustodyEntry::Database { sealing_key_file } => Some(sealer(config, sealing_key_file)?),
        _ => None,
    };
    let external = external(config, custody)?;
    let store = PostgresStore::open(&postgres_config(config, entry)?, issuer).await;
    let store = store.map_err(|source| OpenStateError::Store {
        path: PathBuf::from(entry.url.to_string()),
        source,
    })?;
    let (store, runtime) = (Arc::new(store), Handle::current());
    let custody: Arc<dyn KeyCustody> = match (sealer, external) {
        (Some(sealer), _) => Arc::new(SealedKeys::new(Arc::clone(&store), sealer, runtime.clone())),
        (None, Some(external)) => external,
        // A folder, which a configuration with a database cannot have.
        (None, None) => return Err(OpenStateError::NoDatabase),
    };
    let plans = DatabasePlans::new(Arc::clone(&store), runtime);
    Ok((store, KeyRing::new(Arc::new(plans), custody)))
}

enum JoinError {
    Store(StoreError),
    Unbound(UnboundError),
}

impl From<StoreError> for JoinError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Enters the register. The name of a process that was killed is free a few seconds later.
async fn join(store: &PostgresStore, member: &Membership, log: &Path) -> Result<(), JoinError> {
    let began = std::time::Instant::now();
    let mut first = None;
    loop {
        let mark = store.replica_mark(&member.name).await?;
        check_mark(log, mark.as_ref()).map_err(JoinError::Unbound)?;
        match store.join(member, mark.as_ref()).await {
            Err(StoreError::NameTaken { .. })
                if began.elapsed() < member.lease + WAITS_FOR_NAME => {}
            joined => return Ok(joined?),
        }
        // One that goes on was not killed.
        let seen = store.replica_mark(&member.name).await?.map(|mark| mark.changes);
        if *first.get_or_insert(seen) != seen {
            return Err(StoreError::NameTaken { name: member.name.clone() }.into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Checks that a log and what the database has of it are of one time.
fn check_mark(log: &Path, mark: Option<&StoreMark>) -> Result<(), UnboundError> {
    let none = StoreMark { changes: 0, log_sequence: 0, log_hash: String::new() };
    let mark = mark.unwrap_or(&none);
    match check_bound(log, mark) {
        // It was entered, and stopped before its log had a record.
        Err(UnboundError::NoLog { .. }) if mark.log_sequence == 0 => Ok(()),
        checked => checked,
    }
}

/// Makes or changes the tables of the database that a configuration names.
///
/// # Errors
/// When the configuration names none, or it cannot be changed.
pub async fn migrate(config: &Path, options: &MigrateOptions) -> Result<Migrated, OpenStateError> {
    let Configured { mut entry, issuer, .. } = configured(config)?;
    let mut password = None;
    if let Some(url) = &options.url {
        entry.url = DatabaseUrl::parse(url).map_err(OpenStateError::Url)?;
        entry.password_file = None;
    }
    if let Some(file) = &options.password_file {
        password = Some(secret(file)?);
    }
    let mut database = postgres_config(config, &entry)?;
    database.password = password.or(database.password);
    let migrated = PostgresStore::migrate(&database, &issuer, options.grant.as_deref()).await;
    let path = PathBuf::from(entry.url.to_string());
    migrated.map_err(|source| OpenStateError::Store { path, source })
}

/// The replicas in the register of the database that a configuration names.
///
/// # Errors
/// When the configuration names none, or it cannot be read.
pub async fn replicas(config: &Path) -> Result<Vec<ReplicaEntry>, OpenStateError> {
    let (store, path) = store_of(config).await?;
    store.replicas().await.map_err(|source| OpenStateError::Store { path, source })
}

/// Removes a replica that runs no more from the register. False where there is none, or it runs.
///
/// # Errors
/// When the configuration names no database, or it cannot be changed.
pub async fn forget_replica(config: &Path, name: &str) -> Result<bool, OpenStateError> {
    let (store, path) = store_of(config).await?;
    store.forget_replica(name).await.map_err(|source| OpenStateError::Store { path, source })
}

/// The keys in the database that a configuration names.
pub(crate) async fn shared_keys(config: &Path) -> Result<KeyRing, OpenStateError> {
    let Configured { entry, custody, issuer } = configured(config)?;
    Ok(open(config, &entry, &custody, &issuer).await?.1)
}

/// The database that a configuration names, its place for messages, and the name of the configuration's replica.
pub(crate) async fn replica_of(
    config: &Path,
) -> Result<(PostgresStore, PathBuf, String), OpenStateError> {
    let configured = configured(config)?;
    let name = replica_name(&configured.entry)?;
    let (store, path) = store_in(config, &configured).await?;
    Ok((store, path, name))
}

/// The database that a configuration names, and its place for messages.
pub(crate) async fn store_of(config: &Path) -> Result<(PostgresStore, PathBuf), OpenStateError> {
    store_in(config, &configured(config)?).await
}

async fn store_in(
    config: &Path,
    Configured { entry, issuer, .. }: &Configured,
) -> Result<(PostgresStore, PathBuf), OpenStateError> {
    let path = PathBuf::from(entry.url.to_string());
    match PostgresStore::open(&postgres_config(config, entry)?, issuer).await {
        Ok(store) => Ok((store, path)),
        Err(source) => Err(OpenStateError::Store { path, source }),
    }
}

/// The database of a configuration, the custody of its keys, and the issuer that it is for.
struct Configured {
    entry: DatabaseEntry,
    custody: CustodyEntry,
    issuer: String,
}

fn configured(config: &Path) -> Result<Configured, OpenStateError> {
    let parsed: Config = read_config(config)?;
    let entry = parsed.database.ok_or(OpenStateError::NoDatabase)?;
    let manifest = read_manifest(&resolve_relative_to(config, &parsed.policies))?;
    let issuer = manifest.issuer.and_then(|issuer| issuer.url);
    let missing =
        DeploymentError::Lacks("`issuer.url` is missing: a database belongs to an issuer");
    Ok(Configured { entry, custody: parsed.custody, issuer: issuer.ok_or(missing)? })
}

fn postgres_config(config: &Path, entry: &DatabaseEntry) -> Result<PostgresConfig, OpenStateError> {
    let password = entry.password_file.as_ref();
    let password = password.map(|path| secret(&resolve_secret(config, path)?)).transpose()?;
    Ok(PostgresConfig {
        url: entry.url.clone(),
        password,
        authorities: entry.ca_file.as_ref().map(|file| resolve_relative_to(config, file)),
        connections: entry.connections,
        query_timeout: entry.query_timeout,
        accepts_asynchronous: entry.accepts_asynchronous,
    })
}

/// The name of this process among the replicas: in a StatefulSet, that of the pod.
fn replica_name(entry: &DatabaseEntry) -> Result<String, OpenStateError> {
    if let Some(name) = &entry.replica_name {
        return Ok(name.clone());
    }
    // Linux has it as a file; elsewhere the configuration has it.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim_end().to_owned();
    if !is_replica_name(&host) {
        let problem = io::Error::other("the host name is no name of a replica: set `replica.name`");
        return Err(OpenStateError::ReplicaName(problem));
    }
    Ok(host)
}
