//! What was prepared, kept in a folder.

mod secret;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use countersign::{Cache, CacheEntry, Digest, EntryOf};
use tempfile::NamedTempFile;

use self::secret::{SEAL_BYTES, Secret};

/// How long a file may be in the making: then whoever made it has crashed.
const MOST_IN_THE_MAKING: Duration = Duration::from_secs(3600);

const IN_THE_MAKING: &str = ".new-";
const ENTRY: &str = "entry";

/// Opening a pipe would wait for somebody to write, and a link that was put in an entry's place is not
/// followed.
#[cfg(unix)]
const WARY: i32 = libc::O_NONBLOCK | libc::O_NOFOLLOW;

/// A [`Cache`] in a folder, for as many processes at once as like to share it.
///
/// Entries are machine code, so each is sealed: HMAC-SHA256 (RFC 2104) over its key and its bytes, with a
/// secret that is kept in a file outside of the folder, made at first use and readable by its owner
/// alone. An entry that was damaged, forged, cut, or put in another's place does not fit its seal, and is
/// prepared again as if it were not there. So whoever can write to the folder can at most make preparing
/// slow; whoever can read the secret could as well replace this program.
///
/// An entry is written to a file of its own and then given its name, so that nobody sees half of one. Two
/// processes that prepare the same binding at once both write it, and either may win. What was not used
/// for longest is removed when the folder grows beyond its bound. A cache that cannot be read or written
/// is no error: what is missing is prepared.
pub struct CacheFolder {
    folder: PathBuf,
    secret: Secret,
    most_bytes: u64,
    size: Mutex<Size>,
}

/// How large the folder is, as far as this process knows.
#[derive(Default)]
struct Size {
    /// When it was last looked at; not yet, when `None`.
    counted: Option<u64>,
    /// What this process has written since.
    added: u64,
}

/// An entry, as it is listed.
#[derive(Debug, Clone)]
pub struct KeptEntry {
    /// Its key.
    pub key: Digest,
    /// Its size in the folder, in bytes.
    pub bytes: u64,
    /// When it was last used, or written.
    pub used: SystemTime,
    /// What it is of; `None` when it does not fit its seal, or another version's words are in it: it will
    /// not be used.
    pub of: Option<EntryOf>,
}

/// What was removed from a folder, and what is left.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// How many entries were removed.
    pub removed: u64,
    /// How many bytes they had.
    pub removed_bytes: u64,
    /// How many entries are left.
    pub left: u64,
    /// How many bytes they have.
    pub left_bytes: u64,
}

/// A file of an entry.
struct Listed {
    key: Digest,
    bytes: u64,
    used: SystemTime,
}

impl CacheFolder {
    /// The bound of a folder unless another is given: 1 GiB.
    pub const MOST_BYTES: u64 = 1 << 30;

    /// The largest entry that is kept: 256 MiB. So much memory whoever can write to the folder can make a
    /// reader take, for a moment.
    pub const MOST_ENTRY_BYTES: u64 = 256 << 20;

    /// Opens a folder, which is made when it is not there, of at most so many bytes. `secret` is the
    /// file that its entries are sealed with, made when it is not there; both are made so that nobody
    /// but their owner can read them.
    ///
    /// # Errors
    /// When they cannot be made or read; when the secret's file is in the folder, or is not a regular file of
    /// 32 bytes, and no link to one; on Unix also when it belongs to somebody else or others can read it.
    pub fn open(folder: &Path, secret: &Path, most_bytes: u64) -> io::Result<Self> {
        make_folder(folder)?;
        let beside = secret.parent().filter(|path| !path.as_os_str().is_empty());
        let beside = beside.unwrap_or(Path::new("."));
        make_folder(beside)?;
        if fs::canonicalize(beside)?.starts_with(fs::canonicalize(folder)?) {
            let problem = format!(
                "{}: in the cache's folder; whoever can write to that must not be able to read it",
                secret.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let secret = Secret::open(secret)?;
        Ok(Self { folder: folder.to_owned(), secret, most_bytes, size: Mutex::default() })
    }

    /// Opens a folder that is there, with a secret that is there: what [`CacheFolder::open`] has made
    /// before.
    ///
    /// # Errors
    /// Also when one of them is not there.
    pub fn open_existing(folder: &Path, secret: &Path, most_bytes: u64) -> io::Result<Self> {
        for path in [folder, secret] {
            fs::metadata(path).map_err(|error| named(path, &error))?;
        }
        Self::open(folder, secret, most_bytes)
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All entries, the most recently used first. Each is read, and compared with its seal.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn entries(&self) -> io::Result<Vec<KeptEntry>> {
        let mut listed = self.list()?;
        listed.sort_by(|a, b| b.used.cmp(&a.used).then_with(|| a.key.cmp(&b.key)));
        let kept = listed.into_iter().map(|Listed { key, bytes, used }| {
            let of = self.read(&key).and_then(|(entry, _)| entry.of());
            KeptEntry { key, bytes, used, of }
        });
        Ok(kept.collect())
    }

    /// Removes what `unwanted` says, and then what was not used for longest, until at most so many bytes
    /// are left.
    ///
    /// # Errors
    /// When the folder cannot be read, or an entry not be removed.
    pub fn prune(
        &self,
        most_bytes: u64,
        mut unwanted: impl FnMut(&KeptEntry) -> bool,
    ) -> io::Result<Pruned> {
        let (mut pruned, mut problem) = (Pruned::default(), None);
        for entry in self.entries()? {
            let fits = pruned.left_bytes.saturating_add(entry.bytes) <= most_bytes;
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
                // The others first.
                Err(error) => problem = Some(named(&self.path(&entry.key), &error)),
            }
        }
        problem.map_or(Ok(pruned), Err)
    }

    /// The files of entries. Files in the making that nobody makes any more are removed.
    fn list(&self) -> io::Result<Vec<Listed>> {
        let mut listed = Vec::new();
        for file in fs::read_dir(&self.folder)? {
            let path = file?.path();
            // Whatever is gone by now is nobody's matter.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            // Somebody's folder stays, whatever its name.
            if metadata.is_dir() {
                continue;
            }
            let used = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.starts_with(IN_THE_MAKING) {
                // A time that is still to come is nobody's.
                if used.elapsed().map_or(true, |age| age > MOST_IN_THE_MAKING) {
                    let _ = remove(&path);
                }
                continue;
            }
            let key = name.strip_suffix(ENTRY).and_then(|name| name.strip_suffix('.'));
            let key = key.and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
            if let Some(key) = key {
                listed.push(Listed { key, bytes: metadata.len(), used });
            }
        }
        Ok(listed)
    }

    fn path(&self, key: &Digest) -> PathBuf {
        let key = key.to_string();
        self.folder.join(format!("{}.{ENTRY}", key.trim_start_matches("sha256:")))
    }

    /// Reads an entry that fits its seal.
    fn read(&self, key: &Digest) -> Option<(CacheEntry, File)> {
        let mut file = open(&self.path(key)).ok()?;
        let metadata = file.metadata().ok()?;
        if !metadata.is_file() || metadata.len() > self.most_of_an_entry() {
            return None;
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(usize::try_from(metadata.len()).ok()?).ok()?;
        // What was added since is not read.
        Read::by_ref(&mut file).take(metadata.len()).read_to_end(&mut bytes).ok()?;
        // At the end, so that the entry need not be moved.
        let (entry, seal) = bytes.split_last_chunk::<SEAL_BYTES>()?;
        let (length, seal) = (entry.len(), *seal);
        bytes.truncate(length);
        if !self.secret.fits(&seal, key, &bytes) {
            return None;
        }
        // SAFETY: the seal says that these bytes were put here under this key by a process that knows
        // the secret, and that nobody has changed them since.
        #[expect(unsafe_code, reason = "what the seal is for")]
        let entry = unsafe { CacheEntry::from_bytes(bytes) };
        Some((entry, file))
    }

    /// The most that is read before it is known whether it fits its seal.
    fn most_of_an_entry(&self) -> u64 {
        self.most_bytes.min(Self::MOST_ENTRY_BYTES)
    }

    fn write(&self, key: &Digest, entry: &CacheEntry) -> io::Result<()> {
        let mut file = NamedTempFile::with_prefix_in(IN_THE_MAKING, &self.folder)?;
        file.write_all(entry.as_bytes())?;
        file.write_all(&self.secret.seal(key, entry.as_bytes()))?;
        file.persist(self.path(key))?;
        Ok(())
    }

    /// Keeps the folder within its bound after so many bytes were written to it.
    fn keep_within_bound(&self, written: u64) -> io::Result<()> {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        size.added += written;
        // Others write to it too, so it is looked at again now and then.
        let known = size.counted.is_some_and(|counted| {
            counted + size.added <= self.most_bytes && size.added <= self.most_bytes / 16
        });
        if known {
            return Ok(());
        }
        let mut listed = self.list()?;
        let mut total =
            listed.iter().fold(0_u64, |total, listed| total.saturating_add(listed.bytes));
        if total > self.most_bytes {
            listed.sort_by_key(|listed| listed.used);
            // A tenth more than must go, so that not every entry from here on costs this.
            for Listed { key, bytes, .. } in listed {
                if total <= self.most_bytes / 10 * 9 {
                    break;
                }
                // What cannot be removed must not keep all others from it.
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
        // At worst it is taken for one that was not used.
        let _ = file.set_modified(SystemTime::now());
        Some(entry)
    }

    fn put(&self, key: &Digest, entry: &CacheEntry) {
        let bytes = (SEAL_BYTES + entry.as_bytes().len()) as u64;
        if bytes > self.most_of_an_entry() {
            return;
        }
        // What cannot be kept is prepared again. Where there is no room left, some is made for the next.
        let _ = self.write(key, entry);
        let _ = self.keep_within_bound(bytes);
    }
}

impl std::fmt::Debug for CacheFolder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CacheFolder({})", self.folder.display())
    }
}

/// Opens a file to be read, whatever it is.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, WARY);
    options.open(path)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(|error| named(path, &error))
}

/// An error that says where.
fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
