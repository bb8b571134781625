//! Reads and replaces files: regular ones, bounded, and named in every error.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use zeroize::Zeroizing;

use crate::policy_source::PolicySourceError;

/// A link that was put in a file's place is not followed.
#[cfg(unix)]
const NO_LINK: i32 = libc::O_NOFOLLOW;
#[cfg(not(unix))]
const NO_LINK: i32 = 0;

/// Memory that is reserved before a file is read, at most: its length may be wrong, as in `/proc`.
const MAX_RESERVED_BYTES: u64 = 64 << 20;

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The system refuses.
    #[error("{}", .path.display())]
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The path names a folder, a pipe or a device.
    #[error("{}: not a regular file", .path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The path of a component names a symbolic link.
    #[error("{}: a symbolic link; name the file that it points to", .path.display())]
    Link {
        /// The path.
        path: PathBuf,
    },
    /// The file is longer than its bound.
    #[error("{}: {bytes} bytes, at most {limit} are allowed", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its length, or a byte more than the bound where the system does not know it.
        bytes: u64,
        /// The bound.
        limit: u64,
    },
    /// The component is longer than its binding allows.
    #[error(
        "{}: {bytes} bytes, at most {limit} are allowed; a binding can raise `limits.component-bytes`, or say \
         `limits = {{ profile = \"interpreter\" }}` where the policy has an engine or an interpreter in it",
        .path.display()
    )]
    ComponentTooLarge {
        /// The file.
        path: PathBuf,
        /// Its length.
        bytes: u64,
        /// The bound.
        limit: u64,
    },
    /// Others than its owner can read or write a private key.
    #[error("{}: others than its owner can read or write it; `chmod 600` it", .path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
    },
    /// A policy of a registry cannot be used.
    #[error(transparent)]
    Policy(Box<PolicySourceError>),
    /// The file is no text.
    #[error("{}: not UTF-8 from byte {valid_up_to} on", .path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The length of the text before it.
        valid_up_to: usize,
    },
}

impl FileError {
    /// Tells whether there is no file at the path.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// The checks that a file has to pass before its bytes are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// Configuration, keys, certificates, settings. Symbolic links are followed, since Kubernetes mounts files as
    /// links.
    Plain,
    /// A component: never a link, so that the manifest names what is loaded.
    Component,
    /// A private key: a plain file that nobody but its owner can open, wiped from memory when it is no longer used.
    Secret,
}

/// The files' content: the file system's, or a test's.
pub trait FileSource: Send + Sync {
    /// Reads a file of at most `limit` bytes.
    ///
    /// # Errors
    /// When it is missing, not regular, too long, or cannot be read.
    fn read(&self, path: &Path, limit: u64, kind: FileKind) -> Result<Vec<u8>, FileError>;

    /// The time by which signatures of policies are judged, in seconds since 1970. Where the clock is before that, no
    /// signature is valid that begins at a time.
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileSystem;

impl FileSource for FileSystem {
    fn read(&self, path: &Path, limit: u64, kind: FileKind) -> Result<Vec<u8>, FileError> {
        match kind {
            FileKind::Plain => read(path, limit),
            FileKind::Secret => read_private(path, limit),
            FileKind::Component => read_component(path, limit),
        }
    }
}

/// Reads a file of at most `limit` bytes. Symbolic links are followed.
///
/// # Errors
/// When it is missing, not regular, too long, or cannot be read.
pub fn read(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_opened(path, limit, 0, false)
}

/// Reads a private key of at most `limit` bytes: a file that nobody but its owner can open.
///
/// # Errors
/// Those of [`read`], and when others can open it.
pub fn read_private(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    read_opened(path, limit, 0, true)
}

/// Reads a component of at most `limit` bytes: a regular file and no link to one, so that a manifest names what is
/// loaded.
///
/// # Errors
/// Those of [`read`], and when it is a link.
pub fn read_component(path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_symlink()) {
        return Err(FileError::Link { path: path.to_owned() });
    }
    let bytes = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if bytes > limit {
        return Err(FileError::ComponentTooLarge { path: path.to_owned(), bytes, limit });
    }
    // A link that was put there since is not followed either.
    read_opened(path, limit, NO_LINK, false)
}

/// Makes a folder that only its owner can read, where there is none.
///
/// # Errors
/// When the system refuses.
pub fn private_folder(path: &Path) -> Result<(), FileError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|source| FileError::Io { path: path.to_owned(), source })
}

/// Reads a small text, such as a token, without the white space around it.
///
/// # Errors
/// Those of [`read`], and when it is no text.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let bytes = Zeroizing::new(read(path, limit)?);
    Ok(text_of(path, &bytes)?.trim().to_owned())
}

/// Reads a text as it is, so that the lines of an error in it are those of the file.
///
/// # Errors
/// Those of [`read`], and when it is no text.
pub fn read_whole_text(path: &Path, limit: u64) -> Result<String, FileError> {
    Ok(text_of(path, &read(path, limit)?)?.to_owned())
}

/// The text of a file that was read.
pub(crate) fn text_of<'b>(path: &Path, bytes: &'b [u8]) -> Result<&'b str, FileError> {
    std::str::from_utf8(bytes).map_err(|error| FileError::NotUtf8 {
        path: path.to_owned(),
        valid_up_to: error.valid_up_to(),
    })
}

/// Puts a file with these bytes in the place of a file, or where there is none: a reader gets the old one or the new
/// one. On Unix only its owner can read it, if it is `private`.
///
/// # Errors
/// When the system refuses; the old file is then unchanged.
pub fn replace(path: &Path, bytes: &[u8], private: bool) -> Result<(), FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".countersign-");
    #[cfg(unix)]
    if !private {
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    }
    #[cfg(not(unix))]
    let _ = private;
    let mut file = builder.tempfile_in(folder.unwrap_or(Path::new("."))).map_err(io)?;
    file.write_all(bytes).map_err(io)?;
    file.as_file().sync_all().map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// Resolves a path that a file names: relative to that file.
pub fn resolve_relative_to(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// The folder of systemd's credentials, at the beginning of a path.
const CREDENTIALS: &str = "$CREDENTIALS_DIRECTORY/";

/// Resolves the path of a secret that a file names: relative to that file, or in the folder where systemd puts the
/// credentials of a unit (`$CREDENTIALS_DIRECTORY/NAME`).
///
/// # Errors
/// When there is no such folder, or the name is no credential's.
pub fn resolve_secret(file: &Path, path: &str) -> Result<PathBuf, FileError> {
    let Some(name) = path.strip_prefix(CREDENTIALS) else {
        return Ok(resolve_relative_to(file, path));
    };
    credential(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from), path, name)
}

fn credential(folder: Option<PathBuf>, path: &str, name: &str) -> Result<PathBuf, FileError> {
    let error = |problem| FileError::Io { path: path.into(), source: io::Error::other(problem) };
    if name.is_empty() || name.contains('/') || matches!(name, "." | "..") {
        return Err(error("not the name of a credential: it is one file of the folder"));
    }
    match folder {
        Some(folder) if folder.is_absolute() => Ok(folder.join(name)),
        _ => Err(error(
            "CREDENTIALS_DIRECTORY is not set: the unit has no LoadCredential=, or this was started by hand",
        )),
    }
}

fn read_opened(path: &Path, limit: u64, flags: i32, private: bool) -> Result<Vec<u8>, FileError> {
    let io = |source| FileError::Io { path: path.to_owned(), source };
    let mut options = OpenOptions::new();
    options.read(true);
    // Opening a pipe would wait for a writer. The checks are on what was opened, since a path may name another file
    // by then.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | flags);
    #[cfg(not(unix))]
    let _ = flags;
    let file = options.open(path).map_err(io)?;
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(FileError::NotRegular { path: path.to_owned() });
    }
    #[cfg(unix)]
    if private && is_open_to_others(&metadata) {
        return Err(FileError::OpenToOthers { path: path.to_owned() });
    }
    #[cfg(not(unix))]
    let _ = private;
    // All at once: a buffer that grows leaves copies of a private key behind.
    let reserved = metadata.len().saturating_add(1).min(limit.saturating_add(1));
    let reserved = usize::try_from(reserved.min(MAX_RESERVED_BYTES)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(reserved);
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        let bytes = metadata.len().max(bytes.len() as u64);
        return Err(FileError::TooLarge { path: path.to_owned(), bytes, limit });
    }
    Ok(bytes)
}

#[cfg(unix)]
fn is_open_to_others(metadata: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let as_root = rustix::process::geteuid().is_root();
    (metadata.mode() & bits_of_others(metadata.uid(), as_root)) != 0
}

/// The bits of a mode by which others than whom a private file is for could open it.
///
/// A file of root's is for its group, where this process is not root's: a process that has no file of its own (a secret
/// that Kubernetes mounts for `fsGroup`) can have it in no other way.
#[cfg(unix)]
fn bits_of_others(owner: u32, as_root: bool) -> u32 {
    if owner == 0 && !as_root { 0o037 } else { 0o077 }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_a_file_of_its_folder() {
        let folder = || Some(PathBuf::from("/run/credentials/x"));
        let path = credential(folder(), "$CREDENTIALS_DIRECTORY/pin", "pin").unwrap();
        assert_eq!(path, Path::new("/run/credentials/x/pin"));
        for name in ["", ".", "..", "../x", "a/b", "/etc/passwd"] {
            assert!(credential(folder(), name, name).is_err(), "{name}");
        }
        for none in [None, Some(PathBuf::from("")), Some(PathBuf::from("relative"))] {
            assert!(credential(none, "pin", "pin").is_err());
        }
    }

    #[test]
    fn a_private_file_is_its_owners_or_was_given_by_root() {
        for (owner, mode, as_root, is_open) in [
            (1000, 0o600, false, false),
            (1000, 0o640, false, true),
            (1000, 0o604, false, true),
            (0, 0o600, true, false),
            (0, 0o640, true, true),
            (0, 0o440, false, false),
            (0, 0o640, false, false),
            (0, 0o660, false, true),
            (0, 0o650, false, true),
            (0, 0o644, false, true),
        ] {
            let found = mode & bits_of_others(owner, as_root) != 0;
            assert_eq!(found, is_open, "{mode:o} of {owner}, as root: {as_root}");
        }
    }
}
