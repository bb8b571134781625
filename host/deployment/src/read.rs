//! Single files of a deployment, for commands that need no more of it.

use std::path::{Path, PathBuf};

use crate::error::DeploymentError;
use crate::files::{read, resolve_relative_to, text_of};
use crate::manifest::{MAX_MANIFEST_BYTES, Manifest};
use crate::service_config::{Config, MAX_CONFIG_BYTES, ReleasesEntry};

/// Reads and parses `issuer.toml`, and none of the files that it names.
///
/// # Errors
/// When it cannot be read or parsed.
pub(crate) fn read_config(path: &Path) -> Result<Config, DeploymentError> {
    let bytes = read(path, MAX_CONFIG_BYTES as u64)?;
    Config::parse(text_of(path, &bytes)?)
        .map_err(|error| DeploymentError::from(error).at(path.display().to_string()))
}

/// The path of the manifest that a configuration names.
///
/// # Errors
/// When the configuration cannot be read or parsed.
pub fn manifest_of(config: &Path) -> Result<PathBuf, DeploymentError> {
    Ok(resolve_relative_to(config, &read_config(config)?.policies))
}

/// The table `[releases]` of a configuration.
///
/// # Errors
/// When the configuration cannot be read or parsed.
pub fn releases_entry(config: &Path) -> Result<ReleasesEntry, DeploymentError> {
    Ok(read_config(config)?.releases)
}

/// Reads and parses `countersign.toml`, and none of the files that it names.
///
/// # Errors
/// When it cannot be read or parsed.
pub fn read_manifest(path: &Path) -> Result<Manifest, DeploymentError> {
    let bytes = read(path, MAX_MANIFEST_BYTES as u64)?;
    Manifest::parse(text_of(path, &bytes)?)
        .map_err(|error| DeploymentError::from(error).at(path.display().to_string()))
}
