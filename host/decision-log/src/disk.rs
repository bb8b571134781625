//! What a log needs of a file system.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A folder of files that are only appended to. A trait, so that tests can have one that loses what
/// was not synced.
pub trait Disk: Send {
    /// The names of all files.
    ///
    /// # Errors
    /// When the folder cannot be read.
    fn list(&mut self) -> io::Result<Vec<String>>;

    /// The bytes of a file.
    ///
    /// # Errors
    /// When there is none, or it cannot be read.
    fn read(&mut self, name: &str) -> io::Result<Vec<u8>>;

    /// Makes a new, empty file.
    ///
    /// # Errors
    /// When there is one of this name, or none can be made.
    fn create(&mut self, name: &str) -> io::Result<()>;

    /// Puts bytes behind those that a file has.
    ///
    /// # Errors
    /// When not all of them could be written.
    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Makes what a file has durable.
    ///
    /// # Errors
    /// When that cannot be said. What is durable then is not known.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Makes the names of files durable.
    ///
    /// # Errors
    /// When that cannot be said.
    fn sync_names(&mut self) -> io::Result<()>;

    /// Puts a file with these bytes in the place of a file, durably: a crash leaves the old one or the new
    /// one.
    ///
    /// # Errors
    /// When it cannot be replaced, or it cannot be said to be durable.
    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When it cannot be removed.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// A folder of the file system, which one process at a time has for itself.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    files: HashMap<String, File>,
    /// Held for as long as the folder is.
    _lock: File,
}

const LOCK: &str = "lock";

impl Folder {
    /// Takes the folder at `path`, and makes it where there is none. On Unix only its owner can read
    /// what is in it.
    ///
    /// # Errors
    /// When it cannot be made, or another process has it.
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
                    "another process writes this log",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { path: path.to_owned(), files: HashMap::new(), _lock: lock })
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
        // Those that are full are not written to again.
        self.files.retain(|open, _| !open.ends_with(".log"));
        let file = private().append(true).create_new(true).open(self.path.join(name))?;
        self.files.insert(name.to_owned(), file);
        Ok(())
    }

    fn append(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all(bytes)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        // Elsewhere a folder cannot be opened as a file, and its names are durable with the files.
        #[cfg(unix)]
        File::open(&self.path)?.sync_all()?;
        Ok(())
    }

    fn replace(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let (path, new) = (self.path.join(name), self.path.join(format!("{name}.new")));
        self.files.remove(name);
        // One that an earlier crash left.
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().write(true).create_new(true).open(&new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        self.sync_names()
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.files.remove(name);
        fs::remove_file(self.path.join(name))
    }
}

/// The names of the files in a folder. A name that is not UTF-8 is none of a log's.
pub(crate) fn list(path: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(path)?
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose())
        .collect()
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}
