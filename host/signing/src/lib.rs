//! Signs the tokens that Countersign approves: keys, signers and tokens, and nothing else.
//!
//! ```text
//! Approval (countersign) ─→ Issuer::sign ─→ claims ─→ preflight (countersign-clouds) ─→ Signer ─→ SignedToken
//! ```
//!
//! An issuer of its own needs this crate beside the evaluator: there is no HTTP, no database and no clock in it.
//!
//! [`Issuer::sign`] takes a [`countersign::Approval`], which only the evaluator makes. The host alone sets `iss`,
//! `sub`, `aud`, `iat`, `nbf`, `exp` and `jti`; a policy can only narrow the values that they are made of. The private
//! key is behind the [`Signer`] trait: [`SigningKey`] keeps it in memory, and a key management service or a PKCS #11
//! device is an implementation of its own that names its public half by [`PublicKey::from_jwk`].
//!
//! Beside it, claims that a cluster's API server wrote are signed as they came ([`ServiceAccountClaims`]): with an approval of
//! all of them; for the API server's own audiences, which no cloud accepts, without one; and while an operator enforces
//! nothing, as [`InShadow`].
//!
//! The cryptography is AWS-LC: constant-time RSA (the pure-Rust crates' is not, RUSTSEC-2023-0071), several times as
//! fast for RS256, and the library that TLS uses in the service.

#![forbid(unsafe_code)]

mod issuer;
mod key;
mod service_account;
mod signer;
mod spki;
mod token;
mod verify;

pub use issuer::{ClaimsError, IssueError, Issuer};
pub use key::{
    Algorithm, KeyError, KeySet, MAX_PEM_BYTES, PrivateKeyPem, PublicKey, SigningKey, is_kid,
};
pub use service_account::{
    ApiServerAudiences, ClaimsRules, ForApiServer, InShadow, MAX_SERVICE_ACCOUNT_CLAIMS_BYTES,
    NotAsApproved, Pod, ServiceAccountClaims, ServiceAccountClaimsError, ServiceAccountError,
    ServiceAccountSignature,
};
pub use signer::{SignError, Signer};
pub use token::{SignedToken, TokenId};

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
