//! What a cache's entries are sealed with.

use std::io::{self, Read, Write};
use std::path::Path;

use countersign::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::{named, open};

/// Length of a seal: HMAC-SHA256.
pub(super) const SEAL_BYTES: usize = 32;

const SECRET_BYTES: usize = 32;

/// What else could be sealed with the same secret one day begins otherwise.
const PURPOSE: &[u8] = b"countersign cache entry\n";

/// The secret, as the state that every seal begins with. It cannot be printed.
pub(super) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Reads a secret, or makes one where there is none.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::make(path).map_err(|error| named(path, &error))?;
                Self::read(path)
            }
            other => other,
        }
        .map_err(|error| named(path, &error))
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mut file = open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(unfit("not a regular file"));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;

            if metadata.uid() != rustix::process::geteuid().as_raw() {
                return Err(unfit("it belongs to another user"));
            }
            if metadata.mode() & 0o077 != 0 {
                return Err(unfit("others can read or write it; `chmod 600`, or remove it"));
            }
        }
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        let problem = "not 32 bytes; remove it, and another is made";
        if metadata.len() != SECRET_BYTES as u64 {
            return Err(unfit(problem));
        }
        file.read_exact(&mut *secret).map_err(|_| unfit(problem))?;
        Hmac::new_from_slice(&*secret).map(Self).map_err(|_| unfit(problem))
    }

    /// Makes a secret, unless somebody else does so first.
    fn make(path: &Path) -> io::Result<()> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(&mut *secret).map_err(io::Error::other)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // Such a file is its owner's alone from the beginning.
        let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(&*secret)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop).map_err(|error| error.error),
        }
    }

    pub(super) fn seal(&self, key: &Digest, bytes: &[u8]) -> [u8; SEAL_BYTES] {
        self.of(key, bytes).finalize().into_bytes().into()
    }

    /// Whether a seal is that of these bytes under this key; it takes as long either way.
    pub(super) fn fits(&self, seal: &[u8; SEAL_BYTES], key: &Digest, bytes: &[u8]) -> bool {
        self.of(key, bytes).verify_slice(seal).is_ok()
    }

    fn of(&self, key: &Digest, bytes: &[u8]) -> Hmac<Sha256> {
        // Every key is written at the same length, so no two messages are alike.
        self.0.clone().chain_update(PURPOSE).chain_update(key.to_string()).chain_update(bytes)
    }
}

fn unfit(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
