//! The trust that clouds have in an issuer: [written](TrustOf), and [looked through](TrustFiles).
//!
//! ```text
//! definitions ─→ subjects ─→ TrustOf ─→ IAM JSON, federated credentials, conditions; each as HCL too
//! files ─parse→ Node ─read→ Grant ─┬ lint ─→ findings
//!                                  └ admits ─→ whether a subject with an audience gets in
//! ```
//!
//! It does no I/O. What a file cannot say by itself (a variable, a data source) is not guessed: it is a finding.

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

pub use admission::{Admission, Presented};
pub use files::{FileError, TrustFiles};
pub use generate::{AWS_POLICY_CHARACTERS, AZURE_CREDENTIALS, GeneratedTrust, TrustError, TrustOf};
pub use lint::{FINDINGS, Finding};
