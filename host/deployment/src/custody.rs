//! The custody of private keys that a configuration chooses.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use countersign_aws::{Credentials, MAX_CREDENTIALS_BYTES};
use countersign_custody::{
    AwsKms, AwsKmsConfig, CredentialSource, ExternalConfig, ExternalCustody, KeyDevice,
};
use countersign_issuer::{KeyCustody, KeyFolder, KeySealer};
use zeroize::Zeroizing;

use crate::files::{
    FileKind, FileSource, FileSystem, resolve_relative_to, resolve_secret, text_of,
};
use crate::service_config::{AwsKmsEntry, CustodyEntry, Pkcs11Entry};
use crate::service_state::OpenStateError;

/// The maximum length of a file with a secret, in bytes.
pub(crate) const MAX_SECRET_BYTES: u64 = 4096;

/// The argument with which this program is the helper that loads a PKCS #11 module.
pub const KEY_HELPER: &str = "hold-keys-for-parent";

/// The times between two probes of every key, while all is well and after a failure.
const PROBE_EVERY: Duration = Duration::from_secs(60);
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// The maximum of signatures that wait for a token, for each that it makes at a time.
const MAX_WAITING: usize = 32;

/// The custody that is outside of this process, where the configuration names one.
pub(crate) fn external(
    config: &Path,
    custody: &CustodyEntry,
) -> Result<Option<Arc<dyn KeyCustody>>, OpenStateError> {
    let (device, parallel, max_in_flight) = match custody {
        CustodyEntry::Pkcs11(entry) => {
            (pkcs11(config, entry)?, entry.processes, entry.processes * MAX_WAITING)
        }
        CustodyEntry::AwsKms(entry) => {
            (aws_kms(config, entry)?, entry.concurrent, entry.concurrent)
        }
        CustodyEntry::Folder
        | CustodyEntry::EncryptedFolder { .. }
        | CustodyEntry::Database { .. } => return Ok(None),
    };
    let bounds = ExternalConfig {
        max_in_flight,
        parallel,
        probe_every: PROBE_EVERY,
        retry_every: RETRY_EVERY,
    };
    let custody = ExternalCustody::new(device, bounds).map_err(OpenStateError::Custody)?;
    Ok(Some(Arc::new(custody)))
}

#[cfg(unix)]
fn pkcs11(config: &Path, entry: &Pkcs11Entry) -> Result<Arc<dyn KeyDevice>, OpenStateError> {
    use countersign_custody::{HelperProgram, Pkcs11, Pkcs11Config};

    let helper = HelperProgram::this([KEY_HELPER])
        .map_err(|error| OpenStateError::Custody(Box::new(error)))?;
    Ok(Arc::new(Pkcs11::new(Pkcs11Config {
        helper,
        module: absolute(&resolve_relative_to(config, &entry.module))?,
        token: entry.token.clone(),
        pin_file: absolute(&resolve_secret(config, &entry.pin_file)?)?,
        label: entry.label.clone(),
        processes: entry.processes,
        timeout: entry.timeout,
        environment: entry.environment.clone(),
    })))
}

#[cfg(not(unix))]
fn pkcs11(_: &Path, _: &Pkcs11Entry) -> Result<Arc<dyn KeyDevice>, OpenStateError> {
    Err(OpenStateError::Custody("the helper of a PKCS #11 token needs a Unix system".into()))
}

/// A path that means the same to a loader, which looks for names elsewhere.
#[cfg(unix)]
fn absolute(path: &Path) -> Result<PathBuf, OpenStateError> {
    std::path::absolute(path).map_err(|error| OpenStateError::Custody(Box::new(error)))
}

fn aws_kms(config: &Path, entry: &AwsKmsEntry) -> Result<Arc<dyn KeyDevice>, OpenStateError> {
    let credentials: CredentialSource = match &entry.credentials_file {
        Some(file) => {
            let path = resolve_secret(config, file)?;
            Box::new(move || profile(&path))
        }
        None => Box::new(|| {
            let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
            Credentials::from_variables(variable)
        }),
    };
    // Credentials that are missing now would be missing at the first signature.
    credentials().map_err(|problem| OpenStateError::Custody(problem.into()))?;
    let device = AwsKms::new(AwsKmsConfig {
        region: entry.region.clone(),
        endpoint: entry.endpoint.clone(),
        alias: entry.alias.clone(),
        timeout: entry.timeout,
        credentials,
    });
    Ok(Arc::new(device.map_err(|error| OpenStateError::Custody(Box::new(error)))?))
}

/// The credentials of a file, which somebody else may keep fresh.
fn profile(path: &Path) -> Result<Credentials, String> {
    let bytes = FileSystem.read(path, MAX_CREDENTIALS_BYTES, FileKind::Secret);
    let bytes = Zeroizing::new(bytes.map_err(|error| error.to_string())?);
    let text = text_of(path, &bytes).map_err(|error| error.to_string())?;
    Credentials::from_profile(text).ok_or_else(|| {
        let path = path.display();
        format!("{path}: expected a profile `[default]` with a key and its secret")
    })
}

/// Reads the PIN of a token, for the helper process.
///
/// # Errors
/// When others than its owner can open the file, or it cannot be read.
pub fn read_pin(path: &Path) -> Result<Zeroizing<String>, String> {
    secret(path).map_err(|error| error.to_string())
}

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
