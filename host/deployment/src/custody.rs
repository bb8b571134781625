//! The custody of private keys that a configuration chooses.

use std::path::{Path, PathBuf};

use countersign_issuer::{KeyFolder, KeySealer};
use zeroize::Zeroizing;

use crate::files::{FileKind, FileSource, FileSystem, resolve_secret, text_of};
use crate::service_config::CustodyEntry;
use crate::service_state::OpenStateError;

/// The maximum length of a file with a secret, in bytes.
pub(crate) const MAX_SECRET_BYTES: u64 = 4096;

/// The folder of keys of a service that starts, which is made where there is none. Keys that it had as text before its
/// custody was an encrypted folder are encrypted now.
pub(crate) fn open_folder(
    config: &Path,
    custody: &CustodyEntry,
    path: &Path,
) -> Result<KeyFolder, OpenStateError> {
    let folder = in_form(config, custody, KeyFolder::open(path)?)?;
    folder.encrypt_texts()?;
    Ok(folder)
}

/// The folder of keys of a service, which must be there.
pub(crate) fn existing_folder(
    config: &Path,
    custody: &CustodyEntry,
    path: &Path,
) -> Result<KeyFolder, OpenStateError> {
    in_form(config, custody, KeyFolder::existing(path)?)
}

fn in_form(
    config: &Path,
    custody: &CustodyEntry,
    folder: KeyFolder,
) -> Result<KeyFolder, OpenStateError> {
    match custody {
        CustodyEntry::EncryptedFolder { sealing_key_file } => {
            Ok(folder.encrypted(sealer(config, sealing_key_file)?))
        }
        _ => Ok(folder),
    }
}

/// The key in `keys.sealing-key-file`.
pub(crate) fn sealer(config: &Path, file: &str) -> Result<KeySealer, OpenStateError> {
    let path = resolve_secret(config, file)?;
    let text = secret(&path)?;
    KeySealer::parse(text.as_bytes()).map_err(|source| OpenStateError::SealingKey { path, source })
}

/// The text of a file that nobody but its owner can open, without the line break at its end.
pub(crate) fn secret(path: &Path) -> Result<Zeroizing<String>, OpenStateError> {
    let bytes = FileSystem.read(path, MAX_SECRET_BYTES, FileKind::Secret)?;
    let bytes = Zeroizing::new(bytes);
    let text = text_of(path, &bytes)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Zeroizing::new(text.strip_suffix('\r').unwrap_or(text).to_owned()))
}

/// The folder of keys in a folder of state.
pub(crate) fn keys_in(state: &Path) -> PathBuf {
    state.join("keys")
}
