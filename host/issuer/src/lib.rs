//! Signs what Countersign approves, and nothing else.
//!
//! [`Issuer::sign`] takes a [`countersign::Approval`], which only the evaluator makes. The host
//! alone sets `iss`, `sub`, `aud`, `iat`, `nbf`, `exp` and `jti`; a policy can only have narrowed
//! what they are made of.
//!
//! The cryptography is AWS-LC, through `jsonwebtoken`'s backend `aws_lc_rs`: constant-time RSA
//! (the pure-Rust backend's is not, RUSTSEC-2023-0071), several times as fast for RS256, and the
//! library that TLS will use too.

#![forbid(unsafe_code)]

mod access;
mod checkpoint;
mod clock;
mod config;
mod http;
mod identity;
mod issuer;
mod key;
mod keys;
mod metrics;
mod problem;
mod record;
mod runs;
mod service;
mod signer;
mod store;
mod token;
mod url;

pub use access::{Access, ApiKey, ApiKeyText};
pub use checkpoint::{
    CHECKPOINT_KEY_FILE, CheckpointKeyError, CheckpointSigner, CheckpointVerifier,
};
pub use clock::{Clock, ClockError, SystemClock};
pub use config::{
    Config, ConfigError, KeysEntry, ListenEntry, MAX_CONFIG_BYTES, Settings, TlsEntry,
    TrustedIssuerEntry,
};
pub use http::{HttpsFetch, HttpsFetchError, OPENAPI, ServeError, Tls, TlsError, serve};
pub use identity::{
    CLOCK_LEEWAY, Fetch, FetchError, ForeignKey, ForeignKeyError, ForeignKeySet, Identity,
    IdentityError, KeySource, MAX_TOKEN_BYTES, Permission, TrustedIssuer, TrustedIssuers, Verified,
    verified_claims,
};
pub use issuer::Issuer;
pub use key::{Algorithm, KeyError, KeySet, MAX_PEM_BYTES, PrivateKeyPem, PublicKey, SigningKey};
pub use keys::{KeyEntry, KeyFolder, KeyFolderError, KeyPlan, KeyTimes, Keys, Phase, RotateError};
pub use problem::Problem;
pub use record::{OpenLogError, open_log};
pub use runs::{
    Liveness, MAX_SECRET_BYTES, MIN_SECRET_BYTES, RegisteredRun, RunTokenError, SecretHash,
    run_object, run_token_of,
};
pub use service::{Deciding, Service, ServiceError, ServiceParts};
pub use signer::{SignError, Signer};
pub use store::{Answer, Registered, SqliteStore, Store, StoreError};
pub use token::{SignedToken, TokenId};
pub use url::{IssuerUrl, IssuerUrlError};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
