//! Watches that the files of a folder stay where they are.
//!
//! An open file can be written to after its name was removed or given to another one (by a cleaner, a log rotation, a
//! move of the folder, an archive put back): nothing fails, and nobody finds again what is written. So names are
//! compared with the files that they led to before.

use std::collections::HashMap;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time after which a folder that has not changed is not read again. The time of a change has steps of some
/// milliseconds: a change within the same step as the one before leaves no trace.
const SETTLED: Duration = Duration::from_secs(1);

/// The files that names of a folder lead to.
#[derive(Debug)]
pub struct Places {
    folder: PathBuf,
    files: HashMap<String, Identity>,
    seen: Option<Seen>,
}

/// The folder as it was seen last.
#[derive(Debug, Clone, Copy)]
struct Seen {
    change: Change,
    since: Instant,
    /// True once its files were looked at after [`SETTLED`].
    settled: bool,
}

/// One file, whatever its name.
type Identity = (u64, u64);

/// A folder and the time of its last change.
type Change = (Identity, i64, i64);

impl Places {
    /// Watches nothing yet in a folder.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), files: HashMap::new(), seen: None }
    }

    /// Adds a file that is there now, or takes another one for its name. One that is not there is not watched.
    ///
    /// # Errors
    /// If the file cannot be looked at.
    pub fn add(&mut self, name: &str) -> io::Result<()> {
        if let Some(identity) = identity(&self.folder.join(name))? {
            self.files.insert(name.to_owned(), identity);
        }
        self.seen = None;
        Ok(())
    }

    /// Forgets a file.
    pub fn remove(&mut self, name: &str) {
        self.files.remove(name);
        self.seen = None;
    }

    /// The names that lead nowhere any more. Reads no more than the folder's own state while that does not change.
    ///
    /// # Errors
    /// If a name leads to another file, or the folder cannot be looked at.
    pub fn missing(&mut self) -> io::Result<Vec<String>> {
        let change = change(&fs::metadata(&self.folder)?);
        let seen = match self.seen {
            Some(seen) if seen.change == change && seen.settled => return Ok(Vec::new()),
            Some(seen) if seen.change == change => {
                Seen { settled: seen.since.elapsed() >= SETTLED, ..seen }
            }
            _ => Seen { change, since: Instant::now(), settled: false },
        };
        let mut missing = Vec::new();
        for (name, before) in &self.files {
            match identity(&self.folder.join(name))? {
                None => missing.push(name.clone()),
                Some(now) if now == *before => {}
                Some(_) => {
                    return Err(io::Error::other(format!("{name} was replaced by another file")));
                }
            }
        }
        if missing.is_empty() {
            self.seen = Some(seen);
        }
        missing.sort_unstable();
        Ok(missing)
    }
}

/// The bytes that an unprivileged process can still write to the file system of a path.
#[cfg(unix)]
pub(crate) fn room(path: &Path) -> Option<u64> {
    let system = rustix::fs::statvfs(path).ok()?;
    system.f_bavail.checked_mul(system.f_frsize)
}

#[cfg(not(unix))]
pub(crate) fn room(_: &Path) -> Option<u64> {
    None
}

/// The file that a path leads to, if it leads to one.
fn identity(path: &Path) -> io::Result<Option<Identity>> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(identity_of(&metadata))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(unix)]
fn identity_of(metadata: &Metadata) -> Identity {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

#[cfg(unix)]
fn change(folder: &Metadata) -> Change {
    use std::os::unix::fs::MetadataExt;
    (identity_of(folder), folder.ctime(), folder.ctime_nsec())
}

// Other systems do not let go of the name of an open file; that a name leads somewhere is all that is compared.
#[cfg(not(unix))]
fn identity_of(_: &Metadata) -> Identity {
    (0, 0)
}

#[cfg(not(unix))]
fn change(_: &Metadata) -> Change {
    ((0, 0), 0, 0)
}
