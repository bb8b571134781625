//! `issuer.toml`: the configuration of a service, as an operator writes it.

mod custody;
mod ext_authz;
mod file;
mod kubernetes_signer;
mod listen;
mod releases;
mod store;
mod trusted_issuer;

use std::sync::Arc;

use countersign_issuer::{
    AmbiguousIdentities, ApiKey, Identity, KeySource, Permission, Runners, ServiceConfig,
    TrustedIdentities, TrustedIdentity, TrustedIssuer,
};

use crate::https_fetch::Origin;

pub use custody::{AwsKmsEntry, CustodyEntry, Pkcs11Entry};
pub use ext_authz::ExtAuthzEntry;
pub use file::ConfigError;
pub use kubernetes_signer::KubernetesSignerEntry;
pub use releases::ReleasesEntry;
pub use store::DatabaseEntry;
pub(crate) use store::is_replica_name;

/// The maximum length of a configuration, in bytes.
pub const MAX_CONFIG_BYTES: usize = 4 << 20;

/// A parsed configuration. It names files and has read none of them; paths are relative to its own.
#[derive(Debug, Clone)]
pub struct Config {
    /// `policies`: the manifest.
    pub policies: String,
    /// `state`: the folder of database, log and keys.
    pub state: String,
    /// `store`: the database that replicas share, in the place of the one in the folder of state.
    pub database: Option<DatabaseEntry>,
    /// `keys.custody`: the place of the private keys.
    pub custody: CustodyEntry,
    /// `[listen]`: the address and the certificate.
    pub listen: ListenEntry,
    /// The other tables.
    pub settings: ServiceConfig,
    /// `[releases]`: the trial of candidates, their evidence, and automatic rollback.
    pub releases: ReleasesEntry,
    /// `[kubernetes-signer]`: signs the tokens of a cluster's service accounts.
    pub kubernetes_signer: Option<KubernetesSignerEntry>,
    /// `[ext-authz]`: decides for a foreign token endpoint behind Envoy.
    pub ext_authz: Option<ExtAuthzEntry>,
    /// `[[api-key]]`: keys of the control plane.
    pub api_keys: Vec<ApiKey>,
    /// `[[trusted-issuer]]`: issuers whose tokens are accepted.
    pub trusted_issuers: Vec<TrustedIssuerEntry>,
    /// `[[runner]]`: the runners of the platform.
    pub runners: Runners,
}

/// `[listen]`.
#[derive(Debug, Clone)]
pub struct ListenEntry {
    /// `address`: a loopback address unless given.
    pub address: std::net::SocketAddr,
    /// `certificate` and `key`: a certificate chain and its private key, in PEM. Without them it speaks
    /// plain HTTP.
    pub tls: Option<TlsEntry>,
    /// `probes`: the address of a listener for probes and metrics alone, in plain HTTP.
    pub probes: Option<std::net::SocketAddr>,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsEntry {
    /// The certificate chain.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// One `[[trusted-issuer]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuerEntry {
    /// `url`: its identifier (`iss`).
    pub url: String,
    /// `audience`: the audience that its tokens must have; this issuer's identifier unless given.
    pub audience: Option<String>,
    /// `jwks-url` or `jwks-file`; without either, its discovery document names the JWKS.
    pub keys: KeysEntry,
    /// `ca-file`: certificates, in PEM, that verify its server in the place of the system's.
    pub ca_file: Option<String>,
    /// `proxy`: the URL of an HTTP proxy that its keys are fetched through.
    pub proxy: Option<String>,
    /// `token-file`: a bearer token for requests of its keys, as Kubernetes requires; read anew each time.
    pub token_file: Option<String>,
    /// The origins that the token is for: those of `url` and `jwks-url`, and `token-origins`.
    pub token_origins: Vec<Origin>,
    /// `single-use`: accepts each token once only.
    pub single_use: bool,
    /// `max-token-lifetime-seconds`: the maximum of seconds from `iat` to `exp`.
    pub max_token_lifetime: u64,
    /// `[[trusted-issuer.identity]]`: the identities that its tokens stand for.
    pub identities: Vec<TrustedIdentity>,
}

impl TrustedIssuerEntry {
    /// The issuer, with a source of its keys. `audience` is this service's identifier, for an entry without one.
    ///
    /// # Errors
    /// When a token could stand for two identities.
    pub fn trust(
        &self,
        keys: Arc<KeySource>,
        audience: &str,
    ) -> Result<TrustedIssuer, AmbiguousIdentities> {
        Ok(TrustedIssuer {
            url: self.url.clone(),
            audience: self.audience.as_deref().unwrap_or(audience).to_owned(),
            keys,
            single_use: self.single_use,
            max_token_lifetime: self.max_token_lifetime,
            identities: TrustedIdentities::new(self.identities.iter().cloned())?,
        })
    }
}

/// The source of a trusted issuer's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysEntry {
    /// The JWKS that its discovery document names.
    Discovered,
    /// The JWKS at this URL.
    Url(String),
    /// The JWKS in this file.
    File(String),
}

impl Config {
    /// Parses a configuration (TOML 1.1, at most [`MAX_CONFIG_BYTES`]).
    ///
    /// ```
    /// let config = countersign_deployment::Config::parse(r#"
    ///     policies = "countersign.toml"
    ///     state = "state"
    ///
    ///     [[trusted-issuer]]
    ///     url = "https://kubernetes.default.svc.cluster.local"
    ///
    ///     [[trusted-issuer.identity]]
    ///     subject = "system:serviceaccount:runners:shared"
    ///     runner = "98520496-627d-43e6-82da-ce499179ff3f"
    /// "#)?;
    /// assert!(config.listen.address.ip().is_loopback());
    /// # Ok::<(), countersign_deployment::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not TOML, has a key that is not known, lacks one, or a value is out of form or
    /// bounds, or contradicts another.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        file::parse(text)
    }
}

impl Config {
    /// Tells whether an API key or a trusted identity has a permission.
    pub fn any_principal_has(&self, permission: Permission) -> bool {
        let by_token = self.trusted_issuers.iter().flat_map(|issuer| &issuer.identities).any(
            |identity| matches!(&identity.identity, Identity::ControlPlane(may) if may.contains(&permission)),
        );
        by_token || self.api_keys.iter().any(|key| key.permissions.contains(&permission))
    }
}
