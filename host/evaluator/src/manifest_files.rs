//! The files of a manifest.

use std::collections::BTreeMap;

/// The files that a manifest names, by the path as the manifest has it.
pub type ManifestFiles = BTreeMap<String, Vec<u8>>;
