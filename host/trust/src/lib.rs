//! Generates and lints cloud trust policies for an issuer.
//!
//! ```text
//! definitions ─→ subjects ─→ TrustSpec ─→ IAM JSON, federated credentials, conditions; each as HCL too
//! files ─parse→ Node ─read→ TrustStatement ─┬ lint ─→ findings
//!                                           └ admits ─→ Admission of a token's claims
//! ```
//!
//! [`TrustSpec`] generates, [`TrustFiles`] parses and lints. The crate does no I/O. It never guesses a value that a
//! file alone cannot give (a variable, a data source): such a value is a finding.

#![forbid(unsafe_code)]

mod admission;
mod condition;
mod files;
mod generate;
mod glob;
mod hcl;
mod json;
mod lint;
mod node;
mod read;
mod trust_statement;

pub use admission::{Admission, TokenClaims};
pub use files::{FileError, TrustFiles};
pub use generate::{
    AWS_POLICY_CHARACTERS, AZURE_CREDENTIALS, GeneratedTrust, TrustError, TrustSpec,
};
pub use lint::{FINDINGS, Finding};
