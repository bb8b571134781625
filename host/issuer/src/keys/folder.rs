//! Keys in a folder: the custody that needs nothing but a file system.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_decision_log::Checkpoint;
use countersign_signing::{Algorithm, KeyError, MAX_PEM_BYTES, PublicKey, Signer, SigningKey};

use zeroize::Zeroizing;

use super::custody::{CustodyError, KeyCustody};
use super::plans::PLAN;
use super::ring::lock;
use crate::checkpoint::LAST_CHECKPOINT_FILE;

/// The length of a `kid`: SHA-256 in base64url.
const KID_CHARACTERS: usize = 43;

/// A folder with private keys, each in a file `KID.pem` that only its owner can read.
#[derive(Debug, Clone)]
pub struct KeyFolder {
    path: PathBuf,
    /// The keys that were read or made, by the names of their files.
    in_use: Arc<Mutex<BTreeMap<String, InUse>>>,
}

/// A key that was read or made, and the file that it was in.
#[derive(Debug)]
struct InUse {
    kid: String,
    file: Metadata,
}

/// A folder whose keys cannot be read or made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFolderError {
    /// A file could not be read or written.
    #[error("{file}")]
    Io {
        /// The file, or the folder.
        file: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// There is no folder.
    #[error(
        "{folder}: no keys of a service here; `countersign serve` makes them when it is first started"
    )]
    NoFolder {
        /// Its path.
        folder: String,
    },
    /// A private key can be read or written by others than its owner.
    #[error(
        "{file}: others than its owner can read or write it; `chmod 600` it, and consider `countersign keys rotate --at-once`"
    )]
    Open {
        /// The file.
        file: String,
    },
    /// A file holds no key.
    #[error("{file}: {problem}")]
    Key {
        /// The file.
        file: String,
        /// The reason.
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
        Ok(Self::at(path))
    }

    /// The folder at `path`, which is not made: a command that only looks leaves nothing behind.
    ///
    /// # Errors
    /// When there is no folder.
    pub fn existing(path: &Path) -> Result<Self, KeyFolderError> {
        if !path.is_dir() {
            return Err(KeyFolderError::NoFolder { folder: path.display().to_string() });
        }
        Ok(Self::at(path))
    }

    fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), in_use: Arc::default() }
    }

    /// The path of the folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Checks that the keys that were read or made here are where they were: a service whose keys were taken away would
    /// sign until it is restarted, and then publish others.
    ///
    /// # Errors
    /// When the file of a key was taken away, or has another key.
    pub fn check_place(&self) -> io::Result<()> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, InUse { kid, file }) in in_use.iter_mut() {
            let path = self.path_of(name);
            let now = fs::metadata(&path).map_err(|error| {
                let problem = format!("the key {name}.pem was taken away: {error}");
                io::Error::new(error.kind(), problem)
            })?;
            if same_file(file, &now) {
                continue;
            }
            // It may have been put back as it was.
            if read_key(&path).is_ok_and(|key| key.public().kid() == kid) {
                *file = now;
            } else {
                return Err(io::Error::other(format!("{name}.pem was replaced by another key")));
            }
        }
        Ok(())
    }

    /// Copies the keys and their plan to another folder, as they are while nobody changes them, with the checkpoint that
    /// the log's copy has reached.
    ///
    /// # Errors
    /// When a file cannot be read or written.
    pub fn copy_to(
        &self,
        to: &Path,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(), KeyFolderError> {
        let _lock = lock(&self.path).map_err(io_error(&self.path))?;
        for entry in fs::read_dir(&self.path).map_err(io_error(&self.path))? {
            let name = entry.map_err(io_error(&self.path))?.file_name();
            let is_of_keys =
                name.to_str().is_some_and(|name| name.ends_with(".pem") || name == PLAN);
            if is_of_keys {
                let path = self.path.join(&name);
                let bytes = Zeroizing::new(fs::read(&path).map_err(io_error(&path))?);
                write_private(&to.join(&name), &bytes).map_err(io_error(&path))?;
            }
        }
        if let Some(checkpoint) = checkpoint {
            let path = to.join(LAST_CHECKPOINT_FILE);
            let text =
                serde_json::to_vec(checkpoint).map_err(|error| io_error(&path)(error.into()))?;
            write_private(&path, &text).map_err(io_error(&path))?;
        }
        Ok(())
    }

    fn use_key(&self, name: &str, key: &PublicKey) -> io::Result<()> {
        let (kid, file) = (key.kid().to_owned(), fs::metadata(self.path_of(name))?);
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.insert(name.to_owned(), InUse { kid, file });
        Ok(())
    }

    /// The key in `NAME.pem`, made where there is none: one that signs no tokens, and is in no plan.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn key_of_its_own(&self, name: &str) -> Result<SigningKey, KeyFolderError> {
        let _lock = lock(&self.path).map_err(io_error(&self.path))?;
        let path = self.path_of(name);
        let key = if path.exists() {
            read_key(&path)?
        } else {
            let (key, text) = SigningKey::generate(Algorithm::Es256).map_err(key_error(&path))?;
            write_private(&path, text.expose().as_bytes()).map_err(io_error(&path))?;
            key
        };
        self.use_key(name, key.public()).map_err(io_error(&path))?;
        Ok(key)
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}.pem"))
    }

    /// The file of a key, where the name is one: a plan that was tampered with reaches no other file.
    fn path_of_kid(&self, kid: &str) -> Result<PathBuf, CustodyError> {
        if is_kid(kid) { Ok(self.path_of(kid)) } else { Err(self.missing(kid)) }
    }

    fn missing(&self, kid: &str) -> CustodyError {
        CustodyError::Missing {
            custody: self.path.display().to_string(),
            kid: kid.escape_debug().take(64).collect(),
        }
    }
}

fn is_kid(text: &str) -> bool {
    text.len() == KID_CHARACTERS
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

impl KeyCustody for KeyFolder {
    fn list(&self) -> Result<Vec<String>, CustodyError> {
        let mut kids = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io_error(&self.path))? {
            let name = entry.map_err(io_error(&self.path))?.file_name();
            // The key of the checkpoints is beside them, under a name of its own.
            let kid = name.to_str().and_then(|name| name.strip_suffix(".pem"));
            kids.extend(kid.filter(|kid| is_kid(kid)).map(str::to_owned));
        }
        Ok(kids)
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, CustodyError> {
        let (key, text) = SigningKey::generate(algorithm).map_err(key_error(&self.path))?;
        let path = self.path_of(key.public().kid());
        write_private(&path, text.expose().as_bytes()).map_err(io_error(&path))?;
        self.use_key(key.public().kid(), key.public()).map_err(io_error(&path))?;
        Ok(key.public().clone())
    }

    fn signer(&self, kid: &str) -> Result<Arc<dyn Signer>, CustodyError> {
        let path = self.path_of_kid(kid)?;
        if matches!(fs::metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            return Err(self.missing(kid));
        }
        let key = read_key(&path)?;
        if key.public().kid() != kid {
            let (file, found) = (path.display().to_string(), key.public().kid().to_owned());
            return Err(KeyFolderError::OtherKey { file, found }.into());
        }
        self.use_key(kid, key.public()).map_err(io_error(&path))?;
        Ok(Arc::new(key))
    }

    fn destroy(&self, kid: &str) -> Result<(), CustodyError> {
        let path = self.path_of_kid(kid)?;
        self.in_use.lock().unwrap_or_else(PoisonError::into_inner).remove(kid);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(&path)(error))?,
            _ => Ok(()),
        }
    }
}

#[cfg(unix)]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |file: &Metadata| (file.dev(), file.ino(), file.ctime(), file.ctime_nsec());
    identity(one) == identity(other)
}

#[cfg(not(unix))]
fn same_file(one: &Metadata, other: &Metadata) -> bool {
    one.len() == other.len() && one.modified().ok() == other.modified().ok()
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
    let text = Zeroizing::new(fs::read(path).map_err(io_error(path))?);
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

/// Options for a file that only its owner can read.
pub(super) fn private() -> OpenOptions {
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
