//! Keys in a folder.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plan::{KeyPlan, KeyTimes, Phase, RotateError};
use crate::issuer::Issuer;
use crate::key::{Algorithm, KeyError, KeySet, MAX_PEM_BYTES, SigningKey};
use crate::url::IssuerUrl;

/// The file with the times of keys.
const PLAN: &str = "keys.json";
/// Held while the plan is changed.
const LOCK: &str = "keys.lock";
const MAX_PLAN_BYTES: u64 = 1 << 20;

/// A folder with private keys, each in a file that only its owner can read, and with their times in
/// `keys.json`. The service and `countersign keys rotate` share it.
#[derive(Debug, Clone)]
pub struct KeyFolder(PathBuf);

/// The keys that are published or sign, as they were read.
pub struct Keys {
    plan: KeyPlan,
    issuers: HashMap<String, Issuer>,
}

/// Why keys cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFolderError {
    /// A file could not be read or written.
    #[error("{file}")]
    Io {
        /// The file, or the folder.
        file: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// A private key can be read or written by others than its owner.
    #[error(
        "{file}: others than its owner can read or write it; `chmod 600` it, and think about `countersign keys rotate --at-once`"
    )]
    Open {
        /// The file.
        file: String,
    },
    /// There are no keys of a service.
    #[error(
        "{folder}: no keys of a service here; `countersign serve` makes them when it is first started"
    )]
    Missing {
        /// The folder.
        folder: String,
    },
    /// The plan is none.
    #[error("{file}: not the times of keys: {problem}")]
    Plan {
        /// The file.
        file: String,
        /// What is wrong.
        problem: String,
    },
    /// A file holds no key, or another one than its name says.
    #[error("{file}: {problem}")]
    Key {
        /// The file.
        file: String,
        /// What is wrong.
        problem: KeyError,
    },
    /// A file holds another key than its name says.
    #[error("{file}: holds another key, {found}")]
    OtherKey {
        /// The file.
        file: String,
        /// The id of the key that it holds.
        found: String,
    },
    /// There is no rotation.
    #[error(transparent)]
    Rotate(#[from] RotateError),
}

impl KeyFolder {
    /// The folder at `path`, made where there is none.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(path: &Path) -> Result<Self, KeyFolderError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(io_error(path))?;
        Ok(Self(path.to_owned()))
    }

    /// The folder at `path`, with the keys of a service.
    ///
    /// # Errors
    /// When there are none.
    pub fn existing(path: &Path) -> Result<Self, KeyFolderError> {
        if !path.join(PLAN).exists() {
            return Err(KeyFolderError::Missing { folder: path.display().to_string() });
        }
        Ok(Self(path.to_owned()))
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The times of all keys.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn plan(&self) -> Result<KeyPlan, KeyFolderError> {
        let path = self.0.join(PLAN);
        let file = || path.display().to_string();
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(KeyPlan::default()),
            Ok(metadata) if metadata.len() > MAX_PLAN_BYTES => {
                let problem = format!("larger than {MAX_PLAN_BYTES} bytes");
                return Err(KeyFolderError::Plan { file: file(), problem });
            }
            _ => {}
        }
        let text = fs::read(&path).map_err(io_error(&path))?;
        serde_json::from_slice(&text)
            .map_err(|error| KeyFolderError::Plan { file: file(), problem: error.to_string() })
    }

    /// Reads every key that is not removed at `now`.
    ///
    /// # Errors
    /// When the plan or a key cannot be read, or a key is open to others.
    pub fn load(&self, url: &IssuerUrl, now: u64) -> Result<Keys, KeyFolderError> {
        let plan = self.plan()?;
        let mut issuers = HashMap::new();
        for entry in plan.published(now) {
            let key = self.read(&entry.kid)?;
            issuers.insert(entry.kid.clone(), Issuer::new(url.clone(), Arc::new(key)));
        }
        Ok(Keys { plan, issuers })
    }

    /// Makes the next key of an algorithm; [`KeyPlan::rotate`] says when it signs. Gives its id.
    ///
    /// # Errors
    /// When the next one is there already, or it cannot be made.
    pub fn rotate(
        &self,
        algorithm: Algorithm,
        times: &KeyTimes,
        at_once: bool,
        now: u64,
    ) -> Result<String, KeyFolderError> {
        let _lock = self.lock()?;
        self.rotate_locked(algorithm, times, at_once, now)
    }

    /// Makes the keys of `algorithms` that are due, and deletes the files of those that are removed.
    /// Whether anything changed.
    ///
    /// # Errors
    /// When a key cannot be made.
    pub fn keep_schedule(
        &self,
        algorithms: &[Algorithm],
        times: &KeyTimes,
        now: u64,
    ) -> Result<bool, KeyFolderError> {
        let is_due = |plan: &KeyPlan| {
            let gone = plan.keys.iter().any(|key| key.phase(now) == Phase::Removed);
            gone || algorithms.iter().any(|algorithm| plan.is_due(*algorithm, times, now))
        };
        if !is_due(&self.plan()?) {
            return Ok(false);
        }
        let _lock = self.lock()?;
        // Another process may have been first.
        for algorithm in algorithms {
            if self.plan()?.is_due(*algorithm, times, now) {
                self.rotate_locked(*algorithm, times, false, now)?;
            }
        }
        let mut plan = self.plan()?;
        let gone: Vec<_> =
            plan.keys.extract_if(.., |key| key.phase(now) == Phase::Removed).collect();
        if !gone.is_empty() {
            self.write_plan(&plan)?;
        }
        for key in gone {
            let path = self.path_of(&key.kid);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(&path)(error));
                }
                _ => {}
            }
        }
        Ok(true)
    }

    /// The key in `NAME.pem`, made where there is none: one that signs no tokens.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn key_of_its_own(&self, name: &str) -> Result<SigningKey, KeyFolderError> {
        let _lock = self.lock()?;
        let path = self.path_of(name);
        if path.exists() {
            return read_key(&path);
        }
        let (key, text) = SigningKey::generate(Algorithm::Es256).map_err(key_error(&path))?;
        write_private(&path, text.expose().as_bytes()).map_err(io_error(&path))?;
        Ok(key)
    }

    fn rotate_locked(
        &self,
        algorithm: Algorithm,
        times: &KeyTimes,
        at_once: bool,
        now: u64,
    ) -> Result<String, KeyFolderError> {
        let mut plan = self.plan()?;
        let (key, text) = SigningKey::generate(algorithm).map_err(key_error(&self.0))?;
        let kid = key.public().kid().to_owned();
        plan.rotate(kid.clone(), algorithm, times, at_once, now)?;
        // The key before its times: a plan never names a key that is not there.
        let path = self.path_of(&kid);
        write_private(&path, text.expose().as_bytes()).map_err(io_error(&path))?;
        self.write_plan(&plan)?;
        Ok(kid)
    }

    fn path_of(&self, kid: &str) -> PathBuf {
        self.0.join(format!("{kid}.pem"))
    }

    fn read(&self, kid: &str) -> Result<SigningKey, KeyFolderError> {
        let path = self.path_of(kid);
        let key = read_key(&path)?;
        if key.public().kid() != kid {
            let (file, found) = (path.display().to_string(), key.public().kid().to_owned());
            return Err(KeyFolderError::OtherKey { file, found });
        }
        Ok(key)
    }

    fn lock(&self) -> Result<File, KeyFolderError> {
        let path = self.0.join(LOCK);
        let file = private().write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(io_error(&path))?;
        file.lock().map_err(io_error(&path))?;
        Ok(file)
    }

    fn write_plan(&self, plan: &KeyPlan) -> Result<(), KeyFolderError> {
        let path = self.0.join(PLAN);
        let text = serde_json::to_vec_pretty(plan).map_err(io::Error::from);
        text.and_then(|text| write_private(&path, &text)).map_err(io_error(&path))
    }
}

impl Keys {
    /// What signs with an algorithm at `now`. Where that is ES256 and no such key is active yet, what signs
    /// with RS256, which every verifier takes.
    pub fn active(&self, algorithm: Algorithm, now: u64) -> Option<&Issuer> {
        self.plan
            .active(algorithm, now)
            .or_else(|| self.plan.active(Algorithm::Rs256, now))
            .and_then(|entry| self.issuers.get(&entry.kid))
    }

    /// The key set that is published at `now`.
    pub fn key_set(&self, now: u64) -> KeySet {
        let published = self.plan.published(now).filter_map(|entry| self.issuers.get(&entry.kid));
        KeySet::new(published.map(|issuer| issuer.signer().public()))
    }

    /// The times of keys.
    pub fn plan(&self) -> &KeyPlan {
        &self.plan
    }
}

fn read_key(path: &Path) -> Result<SigningKey, KeyFolderError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(KeyFolderError::Open { file: path.display().to_string() });
    }
    if metadata.len() > MAX_PEM_BYTES as u64 {
        let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        return Err(key_error(path)(KeyError::TooLarge { bytes }));
    }
    let text = zeroize::Zeroizing::new(fs::read(path).map_err(io_error(path))?);
    SigningKey::from_pem(&text).map_err(key_error(path))
}

/// Puts a file that only its owner can read in its place: durably, and whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    // One that an earlier crash left.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private().write(true).create_new(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> KeyFolderError {
    let file = path.display().to_string();
    move |source| KeyFolderError::Io { file: file.clone(), source }
}

fn key_error(path: &Path) -> impl Fn(KeyError) -> KeyFolderError {
    let file = path.display().to_string();
    move |problem| KeyFolderError::Key { file: file.clone(), problem }
}
