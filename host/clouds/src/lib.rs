//! What the clouds demand of a token, checked before it is signed.
//!
//! A cloud refuses a token that it cannot take with an error that names neither the limit nor the
//! value, and only when a run already needs it. [`preflight`] checks the same limits on the very bytes that
//! would be signed, and says both.
//!
//! It does no I/O and knows no trust: whether a cloud's trust admits a token is for that trust to say.

#![forbid(unsafe_code)]

mod aws;
mod azure;
mod cloud;
mod gcp;
mod limits;
mod preflight;
mod stackit;
mod unsigned;

pub use cloud::{AudienceClouds, AudienceCloudsError, Cloud, CloudError};
pub use limits::{
    AWS_ISSUER_BYTES, AWS_SESSION_TAG_KEY, AWS_SESSION_TAG_VALUE, AWS_SESSION_TAGS,
    AWS_TOKEN_CHARACTERS, AZURE_CHARACTERS, GCP_AUDIENCE_BYTES, GCP_AUDIENCES,
    GCP_LIFETIME_SECONDS, GCP_SUBJECT_BYTES,
};
pub use preflight::{CODES, Violation, preflight};
pub use unsigned::{UnsignedToken, UnsignedTokenError};
