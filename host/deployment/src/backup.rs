//! Backup of a service's state while it runs, and the way back.
//!
//! ```text
//! backup:  database (one transaction) ─→ log, up to the first record that is newer than it ─→ keys, releases ─→ backup.json
//! restore: backup.json ─→ every file by its digest ─→ the whole log ─→ a new folder of state, in one step
//! ```
//!
//! All that was acknowledged before a backup began is in it: the database is copied after that, and the log further than the
//! database, never beyond what it knows. So the parts are of one time, and a service starts on them.
//!
//! A replica's database is not in its backup: PostgreSQL's own means copy it, once for all replicas ([`shared`]).

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use countersign_decision_log::{CopyReport, Entry, LogConfig, ReadError, copy_log, verify};
use countersign_issuer::{
    CHECKPOINT_KEY_FILE, CheckpointKeyError, CheckpointVerifier, KeyFolder, KeyFolderError,
    SqliteStore, StoreError, StoreMark, UnboundError, VERIFIER_KEYS_FILE, changes_of, check_bound,
};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

mod shared;

pub use shared::DatabasePosition;

use crate::error::DeploymentError;
use crate::files::{self, FileError, FileSystem, private_folder, resolve_relative_to};
use crate::read::read_config;
use crate::releases::{ReleaseError, ReleaseStore};
use crate::service_config::Config;
use crate::service_state::OpenStateError;
use crate::snapshot::Snapshot;

/// The file that describes a backup.
pub const BACKUP_FILE: &str = "backup.json";

const DATABASE: &str = "issuer.db";
/// The maximum length of the description, in bytes.
const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;

/// The description of a backup. Within a `version`, members are only added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// 1.
    pub version: u32,
    /// The time of its beginning, in seconds since 1970.
    pub time: u64,
    /// The number of changes that the database has had; of a replica, of the times that it had been in the register.
    pub changes: u64,
    /// The last record of the log; 0 if it has none.
    pub last: u64,
    /// The hash of that record, in its text form; empty if there is none.
    pub hash: String,
    /// The files by their paths in the backup, with the SHA-256 of each.
    pub files: BTreeMap<String, String>,
    /// The configuration, and the files that it leads to, with the SHA-256 of each. They are not in the backup.
    pub configuration: BTreeMap<String, String>,
    /// The database that replicas share, which is not in the backup; `None` where it is in the state.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<DatabasePosition>,
}

/// The outcome of [`restore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub backup: Backup,
    /// The folder of state that was made.
    pub state: PathBuf,
    /// The files of the configuration that are not as they were when the backup was made.
    pub changed: Vec<String>,
    /// The last record of the restored log; 0 if it has none. Those after it, of a replica's backup, are of later than the
    /// database that was restored, and are in the backup alone.
    pub last: u64,
}

/// A backup that was not made, or not restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Configuration(#[from] DeploymentError),
    /// The database that replicas share cannot be read.
    #[error("failed to compare with the database that replicas share")]
    Shared(#[source] OpenStateError),
    /// The database of the configuration is not where that of the backup was.
    #[error("the backup is of {backup}, and the configuration of {configuration}")]
    OtherStore {
        /// The place of the backup's.
        backup: &'static str,
        /// The place of the configuration's.
        configuration: &'static str,
    },
    /// The configuration is another replica's.
    #[error(
        "the backup is of replica `{backup}`, and the configuration of replica `{configuration}`"
    )]
    OtherReplica {
        /// The replica of the backup.
        backup: String,
        /// The replica of the configuration.
        configuration: String,
    },
    /// The database that replicas share does not know the replica.
    #[error(
        "replica `{replica}`: the database does not know it: it was forgotten, or the database is of before its first start. \
         Keep the backup, and start the replica with an empty state"
    )]
    UnknownReplica {
        /// The name of the replica.
        replica: String,
    },
    /// The database that replicas share is of later than the backup.
    #[error(
        "replica `{replica}`: the database is later than the backup: the log had reached record {reached}, and the backup \
         ends with {last}. Recover the database to {time} seconds since 1970 ({lsn}) or earlier; or keep the backup, and start \
         the replica with an empty state (`countersign replicas forget {replica}`)"
    )]
    LaterDatabase {
        /// The name of the replica.
        replica: String,
        /// The record that the database names.
        reached: u64,
        /// The last record of the backup.
        last: u64,
        /// The time of the backup by the database's clock, in seconds since 1970.
        time: u64,
        /// The database's position then.
        lsn: String,
    },
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The folder is not empty.
    #[error("{}: not empty; expected a folder that does not exist or is empty", .path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// The database cannot be copied.
    #[error("{}: failed to copy the database", .path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// The reason.
        source: StoreError,
    },
    /// The log cannot be copied.
    #[error("{}: failed to copy the decision log", .path.display())]
    Log {
        /// The folder of the log.
        path: PathBuf,
        /// The reason.
        source: ReadError,
    },
    /// The releases cannot be copied.
    #[error("failed to copy the releases")]
    Releases(#[source] Box<ReleaseError>),
    /// The keys cannot be copied.
    #[error("failed to copy the keys")]
    Keys(#[from] KeyFolderError),
    /// The key of the log's checkpoints cannot be read.
    #[error(transparent)]
    CheckpointKey(#[from] CheckpointKeyError),
    /// Database and log of the backup do not belong together.
    #[error("{}", .path.display())]
    Unbound {
        /// The backup.
        path: PathBuf,
        /// The reason.
        source: UnboundError,
    },
    /// The description is malformed.
    #[error("{}: not the description of a backup: {problem}", .path.display())]
    Description {
        /// The file.
        path: PathBuf,
        /// The reason.
        problem: String,
    },
    /// A file of the backup is not the one that was written.
    #[error("{}: changed since the backup was made: its SHA-256 is {found}, expected {expected}", .path.display())]
    Changed {
        /// The file.
        path: PathBuf,
        /// The SHA-256 in the description.
        expected: String,
        /// The SHA-256 of the file.
        found: String,
    },
    /// The log of the backup is damaged.
    #[error("{}: damaged: {damage}", .path.display())]
    Damaged {
        /// The folder of the log.
        path: PathBuf,
        /// The first damage.
        damage: String,
    },
}

impl From<ReleaseError> for BackupError {
    fn from(error: ReleaseError) -> Self {
        Self::Releases(Box::new(error))
    }
}

/// Writes a backup of the state that a configuration names to the folder `to`, which is made: private keys are in it, and
/// only its owner can read it. A service may be using the state. `now`, in seconds since 1970, is the time of the backup.
///
/// # Errors
/// When the folder is not empty, or a part of the state cannot be read or written. The folder is then no backup: it has no
/// description.
pub async fn backup(config: &Path, to: &Path, now: u64) -> Result<Backup, BackupError> {
    let parsed = read_config(config)?;
    let state = resolve_relative_to(config, &parsed.state);
    empty_folder(to)?;
    let (mark, shared) = match &parsed.database {
        None => (embedded(&state, to).await?, None),
        // Before the log is read: the copy then has all that the database knows of it.
        Some(_) => {
            let (mark, position) = shared::position(config).await?;
            (mark, Some(position))
        }
    };
    let log = state.join("log");
    let log_copy = to.join("log");
    private_folder(&log_copy)?;
    let copied = copy_log(&log, &log_copy, |entry| shared.is_some() || is_within(entry, &mark))
        .map_err(|source| BackupError::Log { path: log.clone(), source })?;
    let CopyReport { end, checkpoint } = copied;
    let key = files::read(&log.join(CHECKPOINT_KEY_FILE), 1 << 16)?;
    files::replace(&log_copy.join(CHECKPOINT_KEY_FILE), &key, true)?;
    // The public keys alone: what is restored may go on in another way, and signs notes with another key.
    let notes = log.join(VERIFIER_KEYS_FILE);
    if notes.exists() {
        let keys = files::read(&notes, 1 << 20)?;
        files::replace(&log_copy.join(VERIFIER_KEYS_FILE), &keys, true)?;
    }
    let keys = to.join("keys");
    private_folder(&keys)?;
    KeyFolder::existing(&state.join("keys"))?.copy_to(&keys, checkpoint.as_ref())?;
    // Without them another policy set would decide after a restore. Those of replicas are in their database, which may be put
    // back to an earlier time than this.
    if shared.is_none() {
        ReleaseStore::in_state(&state).copy_to(&to.join("releases"))?;
    }
    let mut files = BTreeMap::new();
    digests(to, to, &mut files)?;
    let configuration = configuration(config);
    let (changes, last) = (mark.changes, end.map_or(0, |end| end.sequence));
    let hash = end.map_or_else(String::new, |end| end.hash.to_string());
    let backup = Backup {
        version: 1,
        time: now,
        changes,
        last,
        hash,
        files,
        configuration,
        database: shared,
    };
    let text = serde_json::to_vec_pretty(&backup).map_err(|error| BackupError::Description {
        path: to.join(BACKUP_FILE),
        problem: error.to_string(),
    })?;
    // Last: what has no description is no backup.
    files::replace(&to.join(BACKUP_FILE), &text, true)?;
    Ok(backup)
}

/// Makes the folder of state that a configuration names from the backup in `from`. Every file is compared with its digest,
/// and all of the log is verified, before the state is there, in one step. The log of a replica is compared with the database,
/// and ends where the database has it.
///
/// # Errors
/// When the folder of state is not empty, the backup is not as it was written, or its parts do not belong together, or not to
/// the database. There is no folder of state then, as before.
pub async fn restore(from: &Path, config: &Path) -> Result<Restored, BackupError> {
    let parsed = read_config(config)?;
    let state = resolve_relative_to(config, &parsed.state);
    let backup = described(from)?;
    same_store(&parsed, &backup)?;
    if state.exists() {
        empty_folder(&state)?;
    }
    let mut name = state.file_name().unwrap_or_default().to_owned();
    name.push(".restoring");
    let new = state.with_file_name(name);
    // An earlier attempt may have left one.
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| BackupError::File(FileError::Io { path, source })
    };
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(&new)(error)),
        _ => {}
    }
    private_folder(&new)?;
    for (file, expected) in &backup.files {
        let (source, target) = (from.join(file), new.join(file));
        if let Some(folder) = target.parent() {
            private_folder(folder)?;
        }
        fs::copy(&source, &target).map_err(io(&source))?;
        private(&target)?;
        // Of the copy, which is what is used.
        let found = digest(&target)?;
        if found != *expected {
            return Err(BackupError::Changed { path: source, expected: expected.clone(), found });
        }
        fs::File::open(&target).and_then(|file| file.sync_all()).map_err(io(&target))?;
    }
    check_log(&new, from, &backup)?;
    let last = match &backup.database {
        None => {
            check_embedded(&new, from).await?;
            backup.last
        }
        Some(position) => shared::fit(&new, config, &backup, position).await?,
    };
    if state.exists() {
        fs::remove_dir(&state).map_err(io(&state))?;
    }
    fs::rename(&new, &state).map_err(io(&state))?;
    #[cfg(unix)]
    if let Some(parent) = state.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(io(parent))?;
    }
    let now = configuration(config);
    let differs =
        |(file, digest): (&String, &String)| (now.get(file) != Some(digest)).then(|| file.clone());
    let changed = backup.configuration.iter().filter_map(differs).collect();
    Ok(Restored { backup, state, changed, last })
}

/// Copies the database in a folder of state.
async fn embedded(state: &Path, to: &Path) -> Result<StoreMark, BackupError> {
    let database = state.join(DATABASE);
    let mark = SqliteStore::copy(&database, &to.join(DATABASE))
        .await
        .map_err(|source| BackupError::Database { path: database, source })?;
    private(&to.join(DATABASE))?;
    Ok(mark)
}

/// Checks that a backup and a configuration have their databases in the same place.
fn same_store(config: &Config, backup: &Backup) -> Result<(), BackupError> {
    let place = |is_shared| match is_shared {
        true => "a replica, whose database is shared (`store`)",
        false => "a service whose database is in its state",
    };
    let (of_backup, of_config) = (backup.database.is_some(), config.database.is_some());
    if of_backup == of_config {
        return Ok(());
    }
    Err(BackupError::OtherStore { backup: place(of_backup), configuration: place(of_config) })
}

/// Checks that the log is whole, and the one that was copied.
fn check_log(state: &Path, from: &Path, backup: &Backup) -> Result<(), BackupError> {
    let log = state.join("log");
    let key = files::read(&log.join(CHECKPOINT_KEY_FILE), 1 << 16)?;
    let key = CheckpointVerifier::parse(&key)?;
    let path = from.join("log");
    let report = verify(&log, &LogConfig::default(), &key)
        .map_err(|source| BackupError::File(FileError::Io { path: path.clone(), source }))?;
    let mut damage: Vec<_> = report.damage.iter().map(ToString::to_string).collect();
    if (report.last, report.hash.to_string()) != (backup.last, backup.hash.clone())
        && backup.last > 0
    {
        damage.push(format!("its last record is {}, expected {}", report.last, backup.last));
    }
    match damage.into_iter().next() {
        Some(damage) => Err(BackupError::Damaged { path, damage }),
        None => Ok(()),
    }
}

/// Checks that the database is of the log's time.
async fn check_embedded(state: &Path, from: &Path) -> Result<(), BackupError> {
    let (log, path) = (state.join("log"), from.join(DATABASE));
    let mark = async {
        let store = SqliteStore::open(&state.join(DATABASE)).await?;
        let mark = store.mark().await;
        countersign_issuer::Store::close(&store).await;
        mark
    };
    let mark = mark.await.map_err(|source| BackupError::Database { path, source })?;
    check_bound(&log, &mark)
        .map_err(|source| BackupError::Unbound { path: from.to_owned(), source })
}

/// True for the records that a database has all changes of: those that it knew to be durable, and those that name no
/// later change.
fn is_within(entry: &Entry, mark: &StoreMark) -> bool {
    entry.sequence <= mark.log_sequence
        || changes_of(&entry.record).is_some_and(|changes| changes <= mark.changes)
}

fn described(from: &Path) -> Result<Backup, BackupError> {
    let path = from.join(BACKUP_FILE);
    let bytes = files::read(&path, MAX_DESCRIPTION_BYTES)?;
    let invalid = |problem| BackupError::Description { path: path.clone(), problem };
    let backup: Backup =
        serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if backup.version != 1 {
        return Err(invalid(format!("version {}, expected 1", backup.version)));
    }
    // A description that was tampered with must not lead out of the folders.
    let is_inside = |file: &String| {
        let mut parts = Path::new(file).components();
        !file.is_empty() && parts.all(|part| matches!(part, std::path::Component::Normal(_)))
    };
    match backup.files.keys().find(|file| !is_inside(file)) {
        Some(file) => Err(invalid(format!("{file:?} is not a path within the backup"))),
        None => Ok(backup),
    }
}

/// Makes a folder, or takes one that is empty.
fn empty_folder(path: &Path) -> Result<(), BackupError> {
    private_folder(path)?;
    let io = |source| FileError::Io { path: path.to_owned(), source };
    if fs::read_dir(path).map_err(io)?.next().is_some() {
        return Err(BackupError::NotEmpty { path: path.to_owned() });
    }
    Ok(())
}

/// The digests of the files in a folder and those within it, by their paths from `root`.
fn digests(
    root: &Path,
    folder: &Path,
    into: &mut BTreeMap<String, String>,
) -> Result<(), FileError> {
    let io = |source| FileError::Io { path: folder.to_owned(), source };
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() {
            digests(root, &path, into)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            into.insert(relative.to_string_lossy().into_owned(), digest(&path)?);
        }
    }
    Ok(())
}

/// The SHA-256 of a file, read in parts: a database may have any size.
fn digest(path: &Path) -> Result<String, FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let mut file = fs::File::open(path).map_err(io)?;
    let (mut hasher, mut part) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut part).map_err(io)? {
            0 => break,
            length => hasher.update(part.get(..length).unwrap_or_default()),
        }
    }
    let hex: String = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}

/// Makes a file its owner's alone.
fn private(path: &Path) -> Result<(), FileError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    }
    let _ = path;
    Ok(())
}

/// The files of a configuration by their names, with their digests. Those that cannot be read are left out, as `check`
/// names them.
fn configuration(config: &Path) -> BTreeMap<String, String> {
    let snapshot = Snapshot::take(&FileSystem, config, &Snapshot::default());
    let folder = config.parent().unwrap_or(Path::new(""));
    let digests = snapshot.digests().map(|(path, digest)| {
        let name = path.strip_prefix(folder).unwrap_or(path);
        (name.to_string_lossy().into_owned(), digest.to_string())
    });
    digests.collect()
}
