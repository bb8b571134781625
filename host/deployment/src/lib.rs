//! Reads `countersign.toml`, `issuer.toml` and the files that they name.

#![forbid(unsafe_code)]

#[cfg(feature = "service")]
pub mod engine;
#[cfg(feature = "service")]
pub mod files;
#[cfg(feature = "service")]
mod https_fetch;
#[cfg(feature = "service")]
mod installation;
#[cfg(feature = "service")]
mod loader;
mod manifest;
mod manifest_files;
mod policies;
#[cfg(feature = "service")]
mod service_config;
mod subject_migration;

#[cfg(feature = "service")]
pub use https_fetch::{HttpsFetch, HttpsFetchError};
#[cfg(feature = "service")]
pub use installation::{DefinitionArgument, Installation};
#[cfg(feature = "service")]
pub use loader::{Loaded, Loader, Looks, beside, read_config};
pub use manifest::{
    BindingEntry, IssuerEntry, MAX_MANIFEST_BYTES, Manifest, ManifestError, PolicySchema,
    PreparationEntry, SettingsSource, When, manifest_schema,
};
pub use manifest_files::ManifestFiles;
pub use policies::{PreparePoliciesError, prepare_policies};
#[cfg(feature = "service")]
pub use service_config::{
    Config, ConfigError, KeysEntry, ListenEntry, MAX_CONFIG_BYTES, TlsEntry, TrustedIssuerEntry,
};
pub use subject_migration::{
    MAX_MOVES_BYTES, MoveRecord, MoveState, MoveStep, SubjectMove, SubjectMoves, SubjectMovesError,
};
