//! The file system operations of a log.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::checkpoint;
use crate::places::{Places, room};
use crate::segment::first_of;

/// A folder of append-only files. It is a trait so that a test can have one that loses unsynced writes.
pub trait Disk: Send {
    /// Lists the names of all files.
    ///
    /// # Errors
    /// Returns an error if the folder cannot be read.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// Reads a file.
    ///
    /// # Errors
    /// Returns an error if the file does not exist or cannot be read.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;

    /// Creates an empty file.
    ///
    /// # Errors
    /// Returns an error if a file of this name exists, or it cannot be created.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Appends bytes to a file.
    ///
    /// # Errors
    /// Returns an error if not all of them could be written.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes the contents of a file durable.
    ///
    /// # Errors
    /// Returns an error if that failed. It is unknown then which bytes are durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Makes the names of files durable.
    ///
    /// # Errors
    /// Returns an error if that failed.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Replaces a file durably and atomically: after a crash there is the old one or the new one.
    ///
    /// # Errors
    /// Returns an error if it cannot be replaced or made durable.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// Returns an error if it cannot be removed.
    fn remove(&mut self, name: &str) -> io::Result<()>;

    /// Looks whether the folder and the files of the log are still in their places, and returns the names of those
    /// that are missing. Files that were there when the folder was opened, or were created since, are looked for. The
    /// default finds everything in its place.
    ///
    /// # Errors
    /// Returns an error if the folder or a file was replaced by another one, or could not be looked at.
    fn missing(&mut self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }

    /// Stops looking for a missing file.
    fn forget(&mut self, name: &str) {
        let _ = name;
    }

    /// The bytes that can still be written to the file system; `None` if that is unknown, as by default.
    fn room(&mut self) -> Option<u64> {
        None
    }
}

/// A folder of the file system, locked for one process at a time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: HashMap<String, File>,
    places: Places,
    /// Holds the lock until the folder is dropped.
    _lock: File,
}

const LOCK: &str = "lock";

impl Folder {
    /// Locks the folder at `path`, and creates it if it does not exist. On Unix only its owner can read its files.
    ///
    /// # Errors
    /// Returns an error if it cannot be created, or another process has locked it.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path)?;
        let lock = private().write(true).create(true).truncate(false).open(path.join(LOCK))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::ResourceBusy,
                    "another process is writing this log",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut places = Places::new(path);
        for name in list(path)? {
            if is_watched(&name) {
                places.add(&name)?;
            }
        }
        Ok(Self { path: path.to_owned(), files: HashMap::new(), places, _lock: lock })
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        if !self.files.contains_key(name) {
            let file = OpenOptions::new().append(true).open(self.path.join(name))?;
            self.files.insert(name.to_owned(), file);
        }
        self.files.get_mut(name).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Disk for Folder {
    fn list(&mut self) -> io::Result<Vec<String>> {
        list(&self.path)
    }

    fn read(&mut self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        // Full segments are never written to again, so their files can be closed.
        self.files.retain(|open, _| !open.ends_with(".log"));
        let file = private().append(true).create_new(true).open(self.path.join(name))?;
        self.files.insert(name.to_owned(), file);
        if is_watched(name) { self.places.add(name) } else { Ok(()) }
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        sync_folder(&self.path)
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files.remove(name);
        write_private(&self.path, name, bytes)?;
        if is_watched(name) { self.places.add(name) } else { Ok(()) }
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name);
        self.places.remove(name);
        fs::remove_file(self.path.join(name))
    }

    fn missing(&mut self) -> io::Result<Vec<String>> {
        self.places.missing()
    }

    fn forget(&mut self, name: &str) {
        self.places.remove(name);
    }

    fn room(&mut self) -> Option<u64> {
        room(&self.path)
    }
}

/// True for the files without which the log is not whole. Those that were put aside may be taken away.
fn is_watched(name: &str) -> bool {
    first_of(name).is_some() || name == checkpoint::FILE || name == LOCK
}

/// Replaces a file durably and atomically.
pub(crate) fn write_private(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (path, new) = (folder.join(name), folder.join(format!("{name}.new")));
    // An earlier crash may have left one.
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private().write(true).create_new(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, &path)?;
    sync_folder(folder)
}

/// Makes the names of files durable.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    // Other systems cannot open a folder as a file; there the names are durable with the files.
    #[cfg(unix)]
    File::open(path)?.sync_all()?;
    Ok(())
}

/// Lists the files of a folder. The log writes no name that is not UTF-8, so those are skipped.
pub(crate) fn list(path: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(path)?
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        .collect()
}

/// Options for a file that only its owner can read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
