//! Stand-ins for the token services of AWS, Entra, Google and STACKIT, as far as they verify a token: for tests.
//!
//! Each one fetches the issuer's discovery document and key set, verifies signature, issuer, audience and times, enforces
//! the cloud's documented limits, and evaluates trust policies in the cloud's own format: IAM JSON, federated identity
//! credentials, providers with CEL conditions, STACKIT's assertions. No code is shared with the code under test.
//!
//! The credentials that they issue are valid nowhere.

#![forbid(unsafe_code)]

mod aws;
mod entra;
mod google;
mod http;
mod keys;
mod stackit;
mod token;

use std::collections::BTreeMap;
use std::sync::{Arc, RwLock};

use serde_json::Value;

pub use http::{StandIn, Tls};

/// The configuration of the clouds.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// The actual address of each issuer: `https://oidc.example.com` is served at `http://127.0.0.1:8080`.
    pub issuers: BTreeMap<String, String>,
    /// The trusted certificates, in PEM, of issuers that are reached over TLS.
    pub authorities: Option<Vec<u8>>,
    /// AWS: the client ids of each provider, by the issuer.
    pub aws_providers: BTreeMap<String, Vec<String>>,
    /// AWS: trust policies, by the role.
    pub aws_roles: BTreeMap<String, Value>,
    /// Entra: federated identity credentials, by the client id of the identity.
    pub azure_identities: BTreeMap<String, Vec<Value>>,
    /// GCP: providers, by their resource name (`//iam.googleapis.com/…`).
    pub gcp_providers: BTreeMap<String, Value>,
    /// STACKIT: federated identity providers, by service account.
    pub stackit_accounts: BTreeMap<String, Vec<Value>>,
}

/// The reason for not issuing credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The cloud's own error code.
    pub code: &'static str,
    /// The error message.
    pub message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The state that all four share: the configuration, and the HTTP client that fetches keys.
pub(crate) struct Clouds {
    setup: RwLock<Setup>,
}

pub(crate) type Shared = Arc<Clouds>;

impl Clouds {
    fn setup(&self) -> Setup {
        self.setup.read().map(|setup| setup.clone()).unwrap_or_default()
    }
}
