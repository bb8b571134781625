//! Message authentication codes of cache entries, and their secret.

use std::io::{self, Read, Write};
use std::path::Path;

use countersign::Digest;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use super::{named, open};

/// The length of a MAC (HMAC-SHA256), in bytes.
pub(super) const MAC_BYTES: usize = 32;

const SECRET_BYTES: usize = 32;

/// Separates entries from anything else that may be authenticated with the same secret one day.
const PURPOSE: &[u8] = b"countersign cache entry\n";

/// The secret, as the keyed state that each MAC starts from. It implements neither `Debug` nor `Display`.
pub(super) struct Secret(Hmac<Sha256>);

impl Secret {
    /// Reads a secret, or creates one if the file does not exist.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match Self::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Self::create(path).map_err(|error| named(path, &error))?;
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
            return Err(invalid("not a regular file"));
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;

            if metadata.uid() != rustix::process::geteuid().as_raw() {
                return Err(invalid("it belongs to another user"));
            }
            if metadata.mode() & 0o077 != 0 {
                return Err(invalid("others can read or write it; `chmod 600`, or remove it"));
            }
        }
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        let problem = "not 32 bytes; remove it, and a new one is created";
        if metadata.len() != SECRET_BYTES as u64 {
            return Err(invalid(problem));
        }
        file.read_exact(&mut *secret).map_err(|_| invalid(problem))?;
        Hmac::new_from_slice(&*secret).map(Self).map_err(|_| invalid(problem))
    }

    /// Creates a secret, unless another process does so first.
    fn create(path: &Path) -> io::Result<()> {
        let mut secret = Zeroizing::new([0; SECRET_BYTES]);
        getrandom::fill(&mut *secret).map_err(io::Error::other)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // A temporary file has mode 0600 from the start.
        let mut file = NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
        file.write_all(&*secret)?;
        file.as_file().sync_all()?;
        match file.persist_noclobber(path) {
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other.map(drop).map_err(|error| error.error),
        }
    }

    pub(super) fn mac(&self, key: &Digest, bytes: &[u8]) -> [u8; MAC_BYTES] {
        self.state(key, bytes).finalize().into_bytes().into()
    }

    /// Verifies the MAC of an entry in constant time.
    pub(super) fn verify(&self, mac: &[u8; MAC_BYTES], key: &Digest, bytes: &[u8]) -> bool {
        self.state(key, bytes).verify_slice(mac).is_ok()
    }

    fn state(&self, key: &Digest, bytes: &[u8]) -> Hmac<Sha256> {
        // Every key has the same length, so two different pairs of key and bytes are never the same message.
        self.0.clone().chain_update(PURPOSE).chain_update(key.to_string()).chain_update(bytes)
    }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}
