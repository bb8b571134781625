//! Policies from OCI registries: a pinned reference becomes verified bytes.
//!
//! ```text
//! reference ─RegistryClient→ manifest, signatures ─TrustPolicy::verify→ VerifiedManifest ─→ layer ─→ PolicyStore
//!   (pinned)   (bounded)                             (who, how many, when)                 (length, digest)
//!
//! reference ─PolicyStore::load→ StoredPolicy (verified again) ─→ Policy::load
//! ```
//!
//! A layer is downloaded only for a [`VerifiedManifest`], and only [`TrustPolicy::verify`] makes one; so nothing reads a byte
//! of a component before its signatures are verified. The registry is trusted with nothing but being there: it can withhold,
//! and it can serve an older version that was signed, which the floor of its repository refuses.
//!
//! The client is this crate's own, over the HTTP client that the program has: what a registry sends is bounded while it is
//! read, and credentials go to the host that they are for alone. Signatures are verified by AWS-LC, as tokens are. The crates
//! for registries and for Sigstore would add two dozen dependencies each, and leave both to them.
//!
//! Without the feature `client`, which is a default, the crate parses references, and builds no cryptography and no TLS.

#![forbid(unsafe_code)]

#[cfg(feature = "client")]
mod artifact;
#[cfg(feature = "client")]
mod bundle;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod credentials;
#[cfg(feature = "client")]
mod fetch;
#[cfg(feature = "client")]
mod key;
#[cfg(feature = "client")]
mod layout;
#[cfg(feature = "client")]
mod lock;
#[cfg(feature = "client")]
mod oci;
#[cfg(feature = "client")]
mod publish;
mod reference;
#[cfg(feature = "client")]
mod store;
#[cfg(feature = "client")]
mod trust;

#[cfg(feature = "client")]
pub use artifact::{
    Artifact, CASES_ARTIFACT_TYPE, CONTRACT, EngineOfText, MAX_SETTINGS_LAYER_BYTES,
    MAX_SIDE_BYTES, NewContent, NewPolicy, PolicyFormError, PolicyManifest, RUN_ARTIFACT_TYPE,
    SCHEMA_ARTIFACT_TYPE, SETTINGS_TYPE, TEXT_POLICY_TYPE, WASM_CONFIG_TYPE, WASM_TYPE,
};
#[cfg(feature = "client")]
pub use bundle::{BUNDLE_TYPE, BundleError, MAX_BUNDLE_BYTES, SIGN_PREDICATE};
#[cfg(feature = "client")]
pub use client::{ClientError, RegistryClient, RegistryOptions, Timing};
#[cfg(feature = "client")]
pub use credentials::{CredentialFiles, CredentialsError};
#[cfg(feature = "client")]
pub use fetch::{FetchPolicyError, Fetched, Fetcher, Source};
#[cfg(feature = "client")]
pub use key::{
    MAX_KEY_BYTES, PolicyKey, PolicyKeyError, PolicySigner, SignPolicyError, VerificationKey,
};
#[cfg(feature = "client")]
pub use layout::{LayoutError, OciLayout};
#[cfg(feature = "client")]
pub use lock::{LOCK_EXTENSION, LockFile, LockFileError, LockedPolicy, MAX_LOCK_BYTES};
#[cfg(feature = "client")]
pub use oci::{Descriptor, ImageManifest, MAX_MANIFEST_BYTES, ManifestFormError};
#[cfg(feature = "client")]
pub use publish::{PublishError, Published, publish, sign};
pub use reference::{
    PinnedReference, Reference, ReferenceError, RegistryName, Repository, RepositoryPrefix, Tag,
};
#[cfg(feature = "client")]
pub use store::{
    LoadPolicyError, PolicyStore, StoreDisk, StoreError, StoredCases, StoredPolicy, SystemStoreDisk,
};
#[cfg(feature = "client")]
pub use trust::{
    FoundSignatures, LayerError, TrustPolicy, TrustPolicyError, TrustedKey, TrustedSigner,
    VerifiedLayer, VerifiedManifest, VerifyError,
};
