//! Issues workload-identity tokens for runs: what Countersign approves is signed, and nothing else.
//!
//! ```text
//! PUT /v1/runs ─→ Store          POST /v1/token ─→ who asks? ─→ run ─→ PolicySet ─→ Approval
//!                                                                                      ↓
//!                                   token ←─ durable ←─ record (LogWriter) ←─ Issuer::sign
//! ```
//!
//! [`Issuer::sign`] takes a [`countersign::Approval`], which only the evaluator makes. The host
//! alone sets `iss`, `sub`, `aud`, `iat`, `nbf`, `exp` and `jti`; a policy can only have narrowed
//! what they are made of.
//!
//! [`Service`] is what requests share, and [`serve`] answers them over HTTP. Around it are what an embedder can
//! replace: a [`Store`] of runs, a [`Signer`], a [`Clock`], and where trusted issuers' keys are from ([`Fetch`]).
//! Decisions are recorded in a [log](countersign_decision_log). Files are read by whoever makes the
//! [`ServiceParts`], but for keys ([`KeyFolder`]) and the log.
//!
//! The cryptography is AWS-LC: constant-time RSA (the pure-Rust crates' is not, RUSTSEC-2023-0071), several times as
//! fast for RS256, and what TLS uses here too.

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
pub use config::Settings;
pub use http::{OPENAPI, ServeError, Tls, TlsError, serve};
pub use identity::{
    CLOCK_LEEWAY, Fetch, FetchError, ForeignKey, ForeignKeyError, ForeignKeySet, Identity,
    IdentityError, KeySource, MAX_TOKEN_BYTES, Permission, TrustedIssuer, TrustedIssuers, Verified,
    is_secure, verified_claims,
};
pub use issuer::{ClaimsError, IssueError, Issuer};
pub use key::{Algorithm, KeyError, KeySet, MAX_PEM_BYTES, PrivateKeyPem, PublicKey, SigningKey};
pub use keys::{KeyEntry, KeyFolder, KeyFolderError, KeyPlan, KeyTimes, Keys, Phase, RotateError};
pub use problem::Problem;
pub use record::{OpenLogError, open_log};
pub use runs::{
    Liveness, MAX_SECRET_BYTES, MIN_SECRET_BYTES, RegisteredRun, RunTokenError, SecretHash,
    run_token_of,
};
pub use service::{Deciding, Service, ServiceError, ServiceParts};
pub use signer::{SignError, Signer};
pub use store::{Answer, Registered, SqliteStore, Store, StoreError};
pub use token::{SignedToken, TokenId};
pub use url::{IssuerUrl, IssuerUrlError};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
