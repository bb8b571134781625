//! The operations on disk that the store is written by. Each is one step, at which a process can end.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// The disk of a [`PolicyStore`](super::PolicyStore): the file system, or one of a test that stops at a step.
pub trait StoreDisk: Send + Sync {
    /// Makes a new file, writes it, and waits until it is durable.
    ///
    /// # Errors
    /// When the system refuses. A part of the file may be there.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file its name, in one step.
    ///
    /// # Errors
    /// When the system refuses; the file has its old name then.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Waits until the names in a folder are durable.
    ///
    /// # Errors
    /// When the system refuses.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Removes a file, if there is one.
    ///
    /// # Errors
    /// When the system refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemStoreDisk;

impl StoreDisk for SystemStoreDisk {
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        if cfg!(unix) {
            return File::open(folder)?.sync_all();
        }
        // Elsewhere a folder cannot be opened, and a rename is as durable as the system makes it.
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        }
    }
}
