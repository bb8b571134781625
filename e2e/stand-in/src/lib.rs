//! The token services of AWS, Entra, Google and STACKIT, as far as they look at a token: for tests.
//!
//! Each fetches the issuer's discovery document and key set, verifies signature, issuer, audience and times,
//! enforces what the cloud documents as its limits, and evaluates trust in the cloud's own format: IAM JSON, federated
//! identity credentials, providers with conditions in CEL, STACKIT's assertions. Nothing here is shared with
//! what is tested.
//!
//! What it gives are no credentials for anything.

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

/// What an operator of the clouds has set up.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// Where an issuer is really reached: `https://oidc.example.com` at `http://127.0.0.1:8080`.
    pub issuers: BTreeMap<String, String>,
    /// Certificates, in PEM, that issuers are verified with, where they are reached over TLS.
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

/// Why a cloud gives no credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The cloud's own word.
    pub code: &'static str,
    /// What it says.
    pub message: String,
}

impl Refusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// What all four share: what is set up, and whom they fetch keys by.
pub(crate) struct Clouds {
    setup: RwLock<Setup>,
}

pub(crate) type Shared = Arc<Clouds>;

impl Clouds {
    fn setup(&self) -> Setup {
        self.setup.read().map(|setup| setup.clone()).unwrap_or_default()
    }
}
