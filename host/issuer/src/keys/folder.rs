//! Keys in a folder: the custody that needs nothing but a file system.

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use countersign_decision_log::Checkpoint;
use countersign_signing::{
    Algorithm, KeyError, MAX_PEM_BYTES, PublicKey, Signer, SigningKey, is_kid,
};

use zeroize::Zeroizing;

use super::custody::{CustodyError, KeyCustody};
use super::plans::PLAN;
use super::ring::lock;
use super::sealed::{KeySealer, SealError};
use crate::checkpoint::LAST_CHECKPOINT_FILE;

/// The ends of the names of keys' files: as text, and encrypted.
const PLAIN: &str = ".pem";
const SEALED: &str = ".sealed";

/// A folder with private keys, each in a file that only its owner can read: `KID.pem`, or `KID.sealed` where they are
/// encrypted by a key that is elsewhere ([`KeyFolder::encrypted`]).
#[derive(Debug, Clone)]
pub struct KeyFolder {
    path: PathBuf,
    sealer: Option<Arc<KeySealer>>,
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
    /// An encrypted key cannot be opened, or a key not be encrypted.
    #[error("{file}")]
    Sealed {
        /// The file.
        file: String,
        /// The reason.
        #[source]
        problem: SealError,
    },
    /// A key is encrypted, and the folder was opened without the key that encrypts.
    #[error("{file}: encrypted; set `keys.custody = \"encrypted-folder\"`")]
    Encrypted {
        /// The file.
        file: String,
    },
    /// A key that was encrypted has a text beside it, which is another key.
    #[error(
        "{file}: a private key that is not encrypted, and not the one in `{sealed}`; remove one of them"
    )]
    Twice {
        /// The file that is not encrypted.
        file: String,
        /// The name of the one that is.
        sealed: String,
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
        Self { path: path.to_owned(), sealer: None, in_use: Arc::default() }
    }

    /// The same folder with its keys encrypted, each for its name.
    #[must_use]
    pub fn encrypted(self, sealer: KeySealer) -> Self {
        Self { sealer: Some(Arc::new(sealer)), ..self }
    }

    /// Encrypts the keys that are there as text, of a folder that was not encrypted before, and removes the texts. The
    /// blocks of the disk that they were in are not wiped: `countersign keys rotate --at-once` makes them worthless.
    ///
    /// # Errors
    /// When a key cannot be read, encrypted or removed. It is then as it was, or encrypted as well.
    pub fn encrypt_texts(&self) -> Result<usize, KeyFolderError> {
        let Some(_) = &self.sealer else { return Ok(0) };
        let _lock = lock(&self.path).map_err(io_error(&self.path))?;
        let mut encrypted = 0;
        for name in self.names(PLAIN)? {
            let plain = self.path.join(format!("{name}{PLAIN}"));
            let text = read_text(&plain)?;
            let key = SigningKey::from_pem(&text).map_err(key_error(&plain))?;
            let sealed = self.path_of(&name);
            if sealed.exists() {
                // A crash left both, or somebody put another key there.
                if self.read_key(&name)?.public().kid() != key.public().kid() {
                    let (file, sealed) = (plain.display().to_string(), format!("{name}{SEALED}"));
                    return Err(KeyFolderError::Twice { file, sealed });
                }
            } else {
                self.write_key(&name, &text)?;
            }
            fs::remove_file(&plain).map_err(io_error(&plain))?;
            encrypted += 1;
        }
        Ok(encrypted)
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
                let problem = format!("the key {name}{} was taken away: {error}", self.end());
                io::Error::new(error.kind(), problem)
            })?;
            if same_file(file, &now) {
                continue;
            }
            // It may have been put back as it was.
            if self.read_key(name).is_ok_and(|key| key.public().kid() == kid) {
                *file = now;
            } else {
                let problem = format!("{name}{} was replaced by another key", self.end());
                return Err(io::Error::other(problem));
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
            let is_of_keys = name.to_str().is_some_and(|name| {
                name.ends_with(PLAIN) || name.ends_with(SEALED) || name == PLAN
            });
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

    /// The key of a name, made where there is none: one that signs no tokens, and is in no plan.
    ///
    /// # Errors
    /// When it cannot be read or made.
    pub fn key_of_its_own(&self, name: &str) -> Result<SigningKey, KeyFolderError> {
        let _lock = lock(&self.path).map_err(io_error(&self.path))?;
        let path = self.path_of(name);
        let key = if path.exists() {
            self.read_key(name)?
        } else {
            self.require_form(name)?;
            let (key, text) = SigningKey::generate(Algorithm::Es256).map_err(key_error(&path))?;
            self.write_key(name, text.expose().as_bytes())?;
            key
        };
        self.use_key(name, key.public()).map_err(io_error(&path))?;
        Ok(key)
    }

    fn end(&self) -> &'static str {
        if self.sealer.is_some() { SEALED } else { PLAIN }
    }

    fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{}", self.end()))
    }

    /// The names of files with an end, without it.
    fn names(&self, end: &str) -> Result<Vec<String>, KeyFolderError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path).map_err(io_error(&self.path))? {
            let name = entry.map_err(io_error(&self.path))?.file_name();
            let name = name.to_str().and_then(|name| name.strip_suffix(end));
            names.extend(name.map(str::to_owned));
        }
        Ok(names)
    }

    /// Fails where a key is encrypted and the folder is not open as one: a new one in its place would be another key.
    fn require_form(&self, name: &str) -> Result<(), KeyFolderError> {
        let sealed = self.path.join(format!("{name}{SEALED}"));
        if self.sealer.is_none() && sealed.exists() {
            return Err(KeyFolderError::Encrypted { file: sealed.display().to_string() });
        }
        Ok(())
    }

    fn read_key(&self, name: &str) -> Result<SigningKey, KeyFolderError> {
        let path = self.path_of(name);
        let mut text = read_text(&path)?;
        if let Some(sealer) = &self.sealer {
            text = sealer.open(name, &text).map_err(seal_error(&path))?;
        }
        SigningKey::from_pem(&text).map_err(key_error(&path))
    }

    fn write_key(&self, name: &str, text: &[u8]) -> Result<(), KeyFolderError> {
        let path = self.path_of(name);
        let written = match &self.sealer {
            Some(sealer) => {
                let sealed = sealer.seal(name, text).map_err(seal_error(&path))?;
                write_private(&path, &sealed)
            }
            None => write_private(&path, text),
        };
        written.map_err(io_error(&path))
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

impl KeyCustody for KeyFolder {
    fn list(&self) -> Result<Vec<String>, CustodyError> {
        let mut kids = self.names(self.end())?;
        // The key of the checkpoints is beside them, under a name of its own.
        kids.retain(|kid| is_kid(kid));
        Ok(kids)
    }

    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, CustodyError> {
        let (key, text) = SigningKey::generate(algorithm).map_err(key_error(&self.path))?;
        let path = self.path_of(key.public().kid());
        self.write_key(key.public().kid(), text.expose().as_bytes())?;
        self.use_key(key.public().kid(), key.public()).map_err(io_error(&path))?;
        Ok(key.public().clone())
    }

    fn signer(&self, kid: &str) -> Result<Arc<dyn Signer>, CustodyError> {
        let path = self.path_of_kid(kid)?;
        if matches!(fs::metadata(&path), Err(error) if error.kind() == io::ErrorKind::NotFound) {
            self.require_form(kid)?;
            return Err(self.missing(kid));
        }
        let key = self.read_key(kid)?;
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

/// Reads the file of a key, which nobody but its owner can open.
fn read_text(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyFolderError> {
    let metadata = fs::metadata(path).map_err(io_error(path))?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(KeyFolderError::Open { file: path.display().to_string() });
    }
    if metadata.len() > MAX_PEM_BYTES as u64 {
        let bytes = usize::try_from(metadata.len()).unwrap_or(usize::MAX);
        return Err(key_error(path)(KeyError::TooLarge { bytes }));
    }
    Ok(Zeroizing::new(fs::read(path).map_err(io_error(path))?))
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

fn seal_error(path: &Path) -> impl Fn(SealError) -> KeyFolderError {
    let file = path.display().to_string();
    move |problem| KeyFolderError::Sealed { file: file.clone(), problem }
}
