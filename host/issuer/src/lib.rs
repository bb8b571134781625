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

mod clock;
mod issuer;
mod key;
mod keys;
mod runs;
mod signer;
mod store;
mod token;
mod url;

pub use clock::{Clock, ClockError, SystemClock};
pub use issuer::Issuer;
pub use key::{Algorithm, KeyError, KeySet, MAX_PEM_BYTES, PrivateKeyPem, PublicKey, SigningKey};
pub use keys::{KeyEntry, KeyFolder, KeyFolderError, KeyPlan, KeyTimes, Keys, Phase, RotateError};
pub use runs::{
    Liveness, MAX_SECRET_BYTES, MIN_SECRET_BYTES, RegisteredRun, RunTokenError, SecretHash,
    run_object, run_token_of,
};
pub use signer::{SignError, Signer};
pub use store::{Answer, Registered, SqliteStore, Store, StoreError};
pub use token::{SignedToken, TokenId};
pub use url::{IssuerUrl, IssuerUrlError};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
