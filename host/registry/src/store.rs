//! The store of policies: content by its digest, so that a service starts without any registry.
//!
//! ```text
//! blobs/HEX                manifests, components, settings and cases, by their digest; never changed
//! signatures/HEX/HEX       the bundles that were found with a manifest, by both digests
//! floors/HEX.json          the lowest revision of a repository that is accepted
//! new/                     what is being written
//! ```
//!
//! A file is written beside, synced, and gets its name in one move, after everything that it names is there: the store has
//! whole content and nothing else, however a process ends. What is read is compared with its digest again, and a policy is
//! verified each time that it is loaded.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use countersign::Digest;
use serde::{Deserialize, Serialize};

pub use self::disk::{StoreDisk, SystemStoreDisk};
pub use self::load::{LoadPolicyError, StoredCases, StoredPolicy};
use crate::bundle::MAX_BUNDLE_BYTES;
use crate::reference::Repository;

mod disk;
mod load;

/// The maximum number of signatures that are kept of a manifest.
pub(crate) const MAX_SIGNATURES: usize = 64;

/// The maximum length of a floor's file, in bytes.
const MAX_FLOOR_BYTES: u64 = 4 << 10;

/// A store of policies in a folder.
pub struct PolicyStore {
    folder: PathBuf,
    disk: Box<dyn StoreDisk>,
}

/// The reason that the store cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The system refuses.
    #[error("{} (store-io)", .path.display())]
    Io {
        /// The file, or the folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A file is not what was written.
    #[error("{}: {problem}; `countersign fetch` fetches it again (store-damaged)", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The floor of a repository is not what was written. Fetching anew does not say what it was.
    #[error(
        "{}: {problem}; which revisions of `{repository}` were accepted is not known; `countersign fetch --allow-older` accepts \
         what the manifest pins (floor-damaged)", .path.display()
    )]
    Floor {
        /// The file.
        path: PathBuf,
        /// The repository.
        repository: Repository,
        /// The problem.
        problem: String,
    },
    /// A file is longer than its bound.
    #[error("{}: more than {limit} bytes (store-too-large)", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The bound.
        limit: u64,
    },
}

impl StoreError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "store-io",
            Self::Damaged { .. } => "store-damaged",
            Self::Floor { .. } => "floor-damaged",
            Self::TooLarge { .. } => "store-too-large",
        }
    }
}

/// The lowest revision of a repository that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Floor {
    repository: String,
    revision: u64,
}

/// Held while something is written: others wait. Dropping it, and the end of the process, release it.
pub(crate) struct StoreLock {
    _file: File,
}

impl PolicyStore {
    /// The store in a folder. Makes nothing.
    pub fn at(folder: &Path) -> Self {
        Self::on(Box::new(SystemStoreDisk), folder)
    }

    /// The store in a folder, on a disk of the caller's.
    pub fn on(disk: Box<dyn StoreDisk>, folder: &Path) -> Self {
        Self { folder: folder.to_owned(), disk }
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Reads content of at most `limit` bytes; `None` where it is not there.
    ///
    /// # Errors
    /// When it is longer, has another digest, or cannot be read.
    pub fn blob(&self, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
        read_verified(&self.blob_path(digest), digest, limit)
    }

    /// Reads content of at most `limit` bytes that the caller compares with its digest; `None` where it is not there.
    pub(crate) fn unverified_blob(
        &self,
        digest: Digest,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        read(&self.blob_path(digest), limit)
    }

    /// Keeps content. Costs a read where it is there already.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put_blob(&self, lock: &StoreLock, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        self.put_verified(lock, &self.blob_path(digest), digest, bytes)?;
        Ok(digest)
    }

    /// The bundles that were found with a manifest, in the order of their digests. One that is damaged is none.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn signatures(&self, manifest: Digest) -> Result<Vec<Vec<u8>>, StoreError> {
        let folder = self.signatures_path(manifest);
        let io = |source| StoreError::Io { path: folder.clone(), source };
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io)?,
        };
        let mut digests = Vec::new();
        for entry in entries {
            let name = entry.map_err(io)?.file_name();
            let digest = name.to_str().and_then(|hex| Digest::parse(&format!("sha256:{hex}")).ok());
            // A name that is none was not written here, and means nothing.
            digests.extend(digest);
        }
        digests.sort_unstable();
        digests.truncate(MAX_SIGNATURES);
        let mut bundles = Vec::new();
        for digest in digests {
            let path = folder.join(hex(digest));
            match read_verified(&path, digest, MAX_BUNDLE_BYTES as u64) {
                Ok(bundle) => bundles.extend(bundle),
                // Without it too few may have signed, which refuses and lets a fetch bring it again. An error would refuse
                // where the others are enough, and stop that fetch.
                Err(StoreError::Damaged { .. } | StoreError::TooLarge { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bundles)
    }

    /// Keeps a bundle that was found with a manifest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn put_signature(
        &self,
        lock: &StoreLock,
        manifest: Digest,
        bundle: &[u8],
    ) -> Result<(), StoreError> {
        let digest = Digest::of(bundle);
        let path = self.signatures_path(manifest).join(hex(digest));
        self.put_verified(lock, &path, digest, bundle)
    }

    /// The lowest revision of a repository that is accepted: 0 where nothing was accepted yet.
    ///
    /// # Errors
    /// When it cannot be read. A guess could let an older version back.
    pub fn floor(&self, repository: &Repository) -> Result<u64, StoreError> {
        let path = self.floor_path(repository);
        let damaged = |problem: String| StoreError::Floor {
            path: path.clone(),
            repository: repository.clone(),
            problem,
        };
        let bytes = match read(&path, MAX_FLOOR_BYTES) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(0),
            Err(StoreError::Damaged { problem, .. }) => return Err(damaged(problem)),
            Err(StoreError::TooLarge { limit, .. }) => {
                return Err(damaged(format!("more than {limit} bytes")));
            }
            Err(error) => return Err(error),
        };
        let floor: Floor =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if floor.repository != repository.to_string() {
            return Err(damaged("the floor of another repository".to_owned()));
        }
        Ok(floor.revision)
    }

    /// Raises the lowest revision of a repository that is accepted.
    ///
    /// # Errors
    /// When it cannot be read or written; the one before stays.
    pub fn raise_floor(&self, repository: &Repository, revision: u64) -> Result<(), StoreError> {
        // A look, so that what is right already needs no right to write.
        if self.floor(repository)? >= revision {
            return Ok(());
        }
        let lock = self.lock()?;
        // Another process may have raised it before this one had the lock.
        if self.floor(repository)? >= revision {
            return Ok(());
        }
        self.put_floor(&lock, repository, revision)
    }

    /// Lowers the lowest revision of a repository that is accepted, where it is higher, and sets it where it is damaged: the
    /// caller says why.
    ///
    /// # Errors
    /// When it cannot be read or written; the one before stays.
    pub fn lower_floor(&self, repository: &Repository, revision: u64) -> Result<(), StoreError> {
        let is_lower = || match self.floor(repository) {
            Ok(floor) => Ok(floor <= revision),
            Err(StoreError::Floor { .. }) => Ok(false),
            Err(error) => Err(error),
        };
        if is_lower()? {
            return Ok(());
        }
        let lock = self.lock()?;
        if is_lower()? {
            return Ok(());
        }
        self.put_floor(&lock, repository, revision)
    }

    fn put_floor(
        &self,
        lock: &StoreLock,
        repository: &Repository,
        revision: u64,
    ) -> Result<(), StoreError> {
        let path = self.floor_path(repository);
        let floor = Floor { repository: repository.to_string(), revision };
        let json = serde_json::to_vec(&floor);
        let json =
            json.map_err(|error| StoreError::Io { path: path.clone(), source: error.into() })?;
        self.put(lock, &path, &json)
    }

    /// Waits until nobody else writes. Makes the folders where they are missing, and removes what a process that ended has
    /// left unfinished.
    pub(crate) fn lock(&self) -> Result<StoreLock, StoreError> {
        let new = self.folder.join("new");
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| StoreError::Io { path, source }
        };
        for folder in ["blobs", "signatures", "floors", "new"] {
            let folder = self.folder.join(folder);
            fs::create_dir_all(&folder).map_err(io(&folder))?;
        }
        let path = self.folder.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(io(&path))?;
        file.lock().map_err(io(&path))?;
        for entry in fs::read_dir(&new).map_err(io(&new))? {
            let path = entry.map_err(io(&new))?.path();
            self.disk.remove(&path).map_err(io(&path))?;
        }
        Ok(StoreLock { _file: file })
    }

    /// Keeps bytes of a digest, unless they are there and whole.
    fn put_verified(
        &self,
        lock: &StoreLock,
        path: &Path,
        digest: Digest,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        match read_verified(path, digest, bytes.len() as u64) {
            Ok(Some(_)) => Ok(()),
            _ => self.put(lock, path, bytes),
        }
    }

    /// Puts a file in its place as a whole: written beside it and synced, then named, then the name synced.
    fn put(&self, _: &StoreLock, path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let folder = path.parent().unwrap_or(&self.folder);
        let io = |source| StoreError::Io { path: path.to_owned(), source };
        fs::create_dir_all(folder).map_err(io)?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let new = self.folder.join("new").join(format!("{}-{number}", std::process::id()));
        let written = self.disk.write(&new, bytes).and_then(|()| self.disk.rename(&new, path));
        if let Err(source) = written {
            // A full disk should get its room back; the error of the write is the one to tell.
            let _ = self.disk.remove(&new);
            return Err(io(source));
        }
        self.disk.sync_folder(folder).map_err(io)
    }

    fn blob_path(&self, digest: Digest) -> PathBuf {
        self.folder.join("blobs").join(hex(digest))
    }

    fn signatures_path(&self, manifest: Digest) -> PathBuf {
        self.folder.join("signatures").join(hex(manifest))
    }

    fn floor_path(&self, repository: &Repository) -> PathBuf {
        let name = hex(Digest::of(repository.to_string().as_bytes()));
        self.folder.join("floors").join(format!("{name}.json"))
    }
}

/// Reads a file of at most `limit` bytes that has a digest; `None` where there is none.
fn read_verified(path: &Path, digest: Digest, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(bytes) = read(path, limit)? else { return Ok(None) };
    match Digest::of(&bytes) {
        found if found == digest => Ok(Some(bytes)),
        found => {
            let problem = format!("its digest is {found}");
            Err(StoreError::Damaged { path: path.to_owned(), problem })
        }
    }
}

/// Reads a regular file of at most `limit` bytes; `None` where there is none.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    let io = |source| StoreError::Io { path: path.to_owned(), source };
    // Before it is opened: opening a pipe would wait for a writer. A link is nothing that was written here.
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
        Ok(metadata) if !metadata.is_file() => {
            let problem = "not a regular file".to_owned();
            return Err(StoreError::Damaged { path: path.to_owned(), problem });
        }
        Ok(_) => {}
    }
    let file = File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(StoreError::TooLarge { path: path.to_owned(), limit });
    }
    Ok(Some(bytes))
}

/// Reads a file of at most `limit` bytes, also through a link; `None` where there is none.
pub(crate) fn read_following(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::canonicalize(path) {
        Ok(path) => read(&path, limit),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { path: path.to_owned(), source }),
    }
}

/// The digits of a digest.
pub(crate) fn hex(digest: Digest) -> String {
    let text = digest.to_string();
    text.strip_prefix("sha256:").unwrap_or(&text).to_owned()
}
