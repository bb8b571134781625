//! A cache of compiled code in a folder.

mod secret;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use countersign::{Cache, CacheEntry, Digest, EntryOf};
use tempfile::NamedTempFile;

use self::secret::{MAC_BYTES, Secret};

/// The maximum age of a temporary file: after that, its process has crashed.
const MAX_TEMPORARY_AGE: Duration = Duration::from_secs(3600);

const TEMPORARY_PREFIX: &str = ".new-";
const EXTENSION: &str = "entry";

/// Opening a pipe would block until somebody writes, and a link in an entry's place must not be followed.
#[cfg(unix)]
const OPEN_FLAGS: i32 = libc::O_NONBLOCK | libc::O_NOFOLLOW;

/// A [`Cache`] in a folder that any number of processes may share.
///
/// Entries are machine code, so each is authenticated: HMAC-SHA256 (RFC 2104) over its key and its bytes, with a secret
/// in a file outside the folder that is created at first use and readable by its owner alone. The MAC of an entry that
/// was damaged, forged, truncated or moved does not verify, and the entry counts as missing. So whoever can write to
/// the folder can at most make preparing slow; whoever can read the secret could as well replace this program.
///
/// An entry is written to a temporary file and then renamed, so that no reader sees a partial one. If two processes
/// prepare the same binding at once, both write it, and either may win. The least recently used entries are removed when
/// the folder exceeds its limit. A cache that cannot be read or written is not an error: missing entries are prepared.
pub struct CacheFolder {
    folder: PathBuf,
    secret: Secret,
    max_bytes: u64,
    size: Mutex<Size>,
}

/// The size of the folder, as far as this process knows.
#[derive(Default)]
struct Size {
    /// The size at the last count; `None` before the first.
    counted: Option<u64>,
    /// The bytes that this process has written since.
    added: u64,
}

/// An entry of the listing.
#[derive(Debug, Clone)]
pub struct KeptEntry {
    /// The entry's key.
    pub key: Digest,
    /// The size of its file, in bytes.
    pub bytes: u64,
    /// The time of its last use, or of its creation.
    pub used: SystemTime,
    /// The origin of the code; `None` if the MAC does not verify or another version wrote it: it will not be used.
    pub of: Option<EntryOf>,
}

/// The result of [`CacheFolder::prune`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The number of removed entries.
    pub removed: u64,
    /// The bytes of the removed entries.
    pub removed_bytes: u64,
    /// The number of remaining entries.
    pub left: u64,
    /// The bytes of the remaining entries.
    pub left_bytes: u64,
}

/// An entry's file.
struct Listed {
    key: Digest,
    bytes: u64,
    used: SystemTime,
}

impl CacheFolder {
    /// The default limit of a folder: 1 GiB.
    pub const DEFAULT_MAX_BYTES: u64 = 1 << 30;

    /// The maximum size of an entry: 256 MiB. It bounds the memory that whoever can write to the folder can make a
    /// reader allocate before the MAC is verified.
    pub const MAX_ENTRY_BYTES: u64 = 256 << 20;

    /// Opens a folder of at most `max_bytes` with the file of its secret. Both are created if they do not exist,
    /// readable by their owner alone.
    ///
    /// # Errors
    /// Returns an error if they cannot be created or read, if the secret's file is in the folder, or if it is not a
    /// regular file of 32 bytes (a link to one is not); on Unix also if it belongs to another user or others can read
    /// it.
    pub fn open(folder: &Path, secret: &Path, max_bytes: u64) -> io::Result<Self> {
        create_folder(folder)?;
        let beside = secret.parent().filter(|path| !path.as_os_str().is_empty());
        let beside = beside.unwrap_or(Path::new("."));
        create_folder(beside)?;
        if fs::canonicalize(beside)?.starts_with(fs::canonicalize(folder)?) {
            let problem = format!(
                "{}: in the cache's folder; whoever can write to that must not be able to read it",
                secret.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let secret = Secret::open(secret)?;
        Ok(Self { folder: folder.to_owned(), secret, max_bytes, size: Mutex::default() })
    }

    /// Opens a folder and a secret that exist: those that [`CacheFolder::open`] has created before.
    ///
    /// # Errors
    /// Returns the errors of [`CacheFolder::open`], and one if the folder or the secret does not exist.
    pub fn open_existing(folder: &Path, secret: &Path, max_bytes: u64) -> io::Result<Self> {
        for path in [folder, secret] {
            fs::metadata(path).map_err(|error| named(path, &error))?;
        }
        Self::open(folder, secret, max_bytes)
    }

    /// The path of the folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Lists all entries, the most recently used first. Each one is read and its MAC verified.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    pub fn entries(&self) -> io::Result<Vec<KeptEntry>> {
        let mut listed = self.list()?;
        listed.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.key.cmp(&b.key)));
        let kept = listed.into_iter().map(|Listed { key, bytes, used }| {
            let of = self.read(&key).and_then(|(entry, _)| entry.of());
            KeptEntry { key, bytes, used, of }
        });
        Ok(kept.collect())
    }

    /// Removes the entries for which `unwanted` is true, and then the least recently used ones until at most `max_bytes`
    /// remain.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read or an entry cannot be removed.
    pub fn prune(
        &self,
        max_bytes: u64,
        mut unwanted: impl FnMut(&KeptEntry) -> bool,
    ) -> io::Result<Pruned> {
        let (mut pruned, mut problem) = (Pruned::default(), None);
        for entry in self.entries()? {
            let fits = pruned.left_bytes.saturating_add(entry.bytes) <= max_bytes;
            if fits && !unwanted(&entry) {
                pruned.left += 1;
                pruned.left_bytes += entry.bytes;
                continue;
            }
            match remove(&self.path(&entry.key)) {
                Ok(()) => {
                    pruned.removed += 1;
                    pruned.removed_bytes = pruned.removed_bytes.saturating_add(entry.bytes);
                }
                // Reported after the others are removed.
                Err(error) => problem = Some(named(&self.path(&entry.key), &error)),
            }
        }
        problem.map_or(Ok(pruned), Err)
    }

    /// Lists the files of entries, and removes temporary files that a crash left behind.
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            // Another process may have removed it since.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            // A folder is never an entry, whatever its name.
            if metadata.is_dir() {
                continue;
            }
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.starts_with(TEMPORARY_PREFIX) {
                // No process of ours wrote a file with a time in the future.
                if used.elapsed().map_or(true, |age| age > MAX_TEMPORARY_AGE) {
                    let _ = remove(&path);
                }
                continue;
            }
            let key = name.strip_suffix(EXTENSION).and_then(|name| name.strip_suffix('.'));
            let key = key.and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
            if let Some(key) = key {
                listed.push(Listed { key, bytes: metadata.len(), used });
            }
        }
        Ok(listed)
    }

    fn path(&self, key: &Digest) -> PathBuf {
        let key = key.to_string();
        self.folder.join(format!("{}.{EXTENSION}", key.trim_start_matches("sha256:")))
    }

    /// Reads an entry and verifies its MAC.
    fn read(&self, key: &Digest) -> Option<(CacheEntry, File)> {
        let mut file = open(&self.path(key)).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > self.max_entry_bytes() {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(metadata.len()).ok()?).ok()?;
        // The file may have grown since its length was read.
        Read::by_ref(&mut file).take(metadata.len()).read_to_end(&mut bytes).ok()?;
        // The MAC is at the end, so that the entry need not be moved.
        let (entry, mac) = bytes.split_last_chunk::<MAC_BYTES>()?;
        let (length, mac) = (entry.len(), *mac);
        bytes.truncate(length);
        if !self.secret.verify(&mac, key, &bytes) {
            return None;
        }
        // SAFETY: the MAC proves that a process with the secret wrote these bytes under this key, and that they have
        // not changed since.
        #[expect(unsafe_code, reason = "loads code that the MAC authenticates")]
        let entry = unsafe { CacheEntry::from_bytes(bytes) };
        Some((entry, file))
    }

    /// The maximum size of a file that is read before its MAC is verified.
    fn max_entry_bytes(&self) -> u64 {
        self.max_bytes.min(Self::MAX_ENTRY_BYTES)
    }

    fn write(&self, key: &Digest, entry: &CacheEntry) -> io::Result<()> {
        let mut file = NamedTempFile::with_prefix_in(TEMPORARY_PREFIX, &self.folder)?;
        file.write_all(entry.as_bytes())?;
        file.write_all(&self.secret.mac(key, entry.as_bytes()))?;
        file.persist(self.path(key))?;
        Ok(())
    }

    /// Evicts entries if the folder exceeds its limit, after `written` bytes were added.
    fn evict(&self, written: u64) -> io::Result<()> {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.added += written;
        // Other processes write to the folder too, so it is counted again after a sixteenth of the limit.
        let is_within = size.counted.is_some_and(|counted| {
            counted + size.added <= self.max_bytes && size.added <= self.max_bytes / 16
        });
        if is_within {
            return Ok(());
        }
        let mut listed = self.list()?;
        let mut total =
            listed.iter().fold(0_u64, |total, listed| total.saturating_add(listed.bytes));
        if total > self.max_bytes {
            listed.sort_by_key(|listed| listed.used);
            // Evicts a tenth more than necessary, or every following entry would list the folder again.
            for Listed { key, bytes, .. } in listed {
                if total <= self.max_bytes / 10 * 9 {
                    break;
                }
                // A file that cannot be removed must not keep the others.
                if remove(&self.path(&key)).is_ok() {
                    total = total.saturating_sub(bytes);
                }
            }
        }
        *size = Size { counted: Some(total), added: 0 };
        Ok(())
    }
}

impl Cache for CacheFolder {
    fn get(&self, key: &Digest) -> Option<CacheEntry> {
        let (entry, file) = self.read(key)?;
        // If this fails, the entry is evicted earlier than it should be.
        let _ = file.set_modified(SystemTime::now());
        Some(entry)
    }

    fn put(&self, key: &Digest, entry: &CacheEntry) {
        let bytes = (MAC_BYTES + entry.as_bytes().len()) as u64;
        if bytes > self.max_entry_bytes() {
            return;
        }
        // An entry that cannot be written is prepared again. If the disk is full, evicting makes room for the next one.
        let _ = self.write(key, entry);
        let _ = self.evict(bytes);
    }
}

impl std::fmt::Debug for CacheFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CacheFolder({})", self.folder.display())
    }
}

/// Opens a file for reading without blocking or following a link.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, OPEN_FLAGS);
    options.open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        // Another process may have removed it first.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn create_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| named(path, &error))
}

/// Adds the path to an error.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
