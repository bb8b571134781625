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

mod accept;
mod admission;
mod condition;
mod documents;
mod files;
mod generate;
mod glob;
mod hcl;
mod json;
mod lint;
mod modules;
mod node;
mod read;
mod trust_statement;
mod yaml;

pub use admission::{Admission, TokenClaims};
pub use files::TrustFiles;
pub use generate::{
    AWS_POLICY_CHARACTERS, AZURE_CREDENTIALS, GeneratedTrust, TrustError, TrustSpec,
};
pub use lint::{FINDINGS, Finding, Severity};

/// Finds the line, from 1, of the value in a JSON file that a pointer (RFC 6901) names.
pub fn line_of_pointer(text: &str, pointer: &str) -> usize {
    json::line_of(text, pointer)
}
