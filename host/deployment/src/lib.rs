//! Reads `countersign.toml`, `issuer.toml` and the files that they name, once, and makes a deployment of them.
//!
//! ```text
//! files ─each once→ Snapshot ─┬→ Deployment (policies, subjects, clouds, certificate)
//!   (bytes and digests)       └→ Authorizer (API keys, trusted issuers)
//! ```
//!
//! [`Loader`] takes snapshots of a service's configuration and makes deployments of them; [`ManifestBundle`] is a
//! manifest alone, for commands that decide without a service. [`ServiceState`] opens the store, the keys and the
//! decision log. No other crate chooses their implementations.
//!
//! ```
//! use countersign::Engine;
//! use countersign_deployment::{Manifest, ManifestFiles, prepare_policies};
//! # fn prepare(text: &str, files: ManifestFiles) -> Result<(), Box<dyn std::error::Error>> {
//! // `files` has the bytes of every path in `manifest.files()`.
//! let manifest = Manifest::parse(text)?;
//! let policies = prepare_policies(&Engine::new()?, &manifest, &files)?;
//! assert_eq!(policies.bindings().len(), manifest.bindings.len());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here prints: warnings go to the function that the caller gives, and what was done is returned.
//!
//! Without the feature `service`, which is a default, the crate parses manifests and prepares their policies, and
//! builds no server, no database and no TLS.

#![forbid(unsafe_code)]

#[cfg(feature = "service")]
mod backup;
#[cfg(feature = "service")]
mod bundle;
#[cfg(feature = "service")]
mod custody;
#[cfg(feature = "service")]
mod database;
#[cfg(feature = "service")]
pub mod engine;
#[cfg(feature = "service")]
mod error;
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
mod parsed;
mod policies;
#[cfg(feature = "service")]
mod policy_registries;
#[cfg(feature = "service")]
mod policy_source;
#[cfg(feature = "service")]
mod read;
#[cfg(feature = "service")]
mod releases;
mod renamed;
#[cfg(feature = "service")]
mod service_config;
#[cfg(feature = "service")]
mod service_state;
#[cfg(feature = "service")]
mod snapshot;
mod subject_migration;

#[cfg(feature = "service")]
pub use backup::{BACKUP_FILE, Backup, BackupError, DatabasePosition, Restored, backup, restore};
#[cfg(feature = "service")]
pub use bundle::ManifestBundle;
#[cfg(feature = "service")]
pub use custody::{KEY_HELPER, read_pin};
#[cfg(feature = "service")]
pub use database::{MigrateOptions, forget_replica, migrate, replicas};
#[cfg(feature = "service")]
pub use error::DeploymentError;
#[cfg(feature = "service")]
pub use https_fetch::{FetchToken, HttpsFetch, HttpsFetchError, Origin};
#[cfg(feature = "service")]
pub use installation::{DefinitionArgument, Installation, NoAudience, SubjectsError};
#[cfg(feature = "service")]
pub use loader::{Deployment, Loader, TlsFiles};
pub use manifest::{
    BindingEntry, IssuerEntry, MAX_MANIFEST_BYTES, Manifest, ManifestError, PolicySchema,
    PreparationEntry, PreparationTiming, RegistryEntry, SettingsSource, TrustedKeyEntry,
    TrustedSignerEntry, manifest_schema,
};
pub use manifest_files::ManifestFiles;
pub use policies::{PreparePoliciesError, PrepareStep, prepare_policies};
#[cfg(feature = "service")]
pub use policy_registries::{FollowError, FollowedPins, PolicyRegistries, ShippedCases};
#[cfg(feature = "service")]
pub use policy_source::PolicySourceError;
#[cfg(feature = "service")]
pub use read::{manifest_of, read_manifest, releases_entry};
#[cfg(feature = "service")]
pub use releases::{
    CandidateNote, NewRelease, PromotionGround, Release, ReleaseBinding, ReleaseDatabase,
    ReleaseDisk, ReleaseError, ReleaseState, ReleaseStore, ServiceHold, ServiceNote, SystemDisk,
};
#[cfg(feature = "service")]
pub use service_config::{
    AwsKmsEntry, Config, ConfigError, CustodyEntry, DatabaseEntry, ExtAuthzEntry, KeysEntry,
    KubernetesSignerEntry, ListenEntry, MAX_CONFIG_BYTES, Pkcs11Entry, ReleasesEntry, TlsEntry,
    TrustedIssuerEntry,
};
#[cfg(feature = "service")]
pub use service_state::{
    ExistingKeys, OpenStateError, ServiceState, checkpoint_signer, cluster_signer, existing_keys,
    open_record_log,
};
#[cfg(feature = "service")]
pub use snapshot::{FileFingerprints, Snapshot};
pub use subject_migration::{
    MAX_MIGRATIONS_BYTES, MigrationRecord, MigrationState, MigrationStep, SubjectMigration,
    SubjectMigrations, SubjectMigrationsError,
};
