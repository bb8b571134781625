//! `issuer.toml`: how a service is run, as an operator writes it.

mod file;

use std::time::Duration;

use countersign::{Audience, RunnerId};

use crate::access::ApiKey;
use crate::identity::{Identity, Permission};
use crate::keys::KeyTimes;
use countersign_signing::Algorithm;

pub use file::ConfigError;

/// The longest configuration that is parsed, in bytes.
pub const MAX_CONFIG_BYTES: usize = 4 << 20;

/// A parsed configuration. It names files and has read none of them; paths are relative to its own.
#[derive(Debug, Clone)]
pub struct Config {
    /// `policies`: the manifest.
    pub policies: String,
    /// `state`: the folder of database, log and keys.
    pub state: String,
    /// `[listen]`: where it is reached.
    pub listen: ListenEntry,
    /// The other tables.
    pub settings: ServiceConfig,
    /// `[[api-key]]`: keys of the control plane.
    pub api_keys: Vec<ApiKey>,
    /// `[[trusted-issuer]]`: issuers whose tokens are believed.
    pub trusted_issuers: Vec<TrustedIssuerEntry>,
}

/// `[listen]`.
#[derive(Debug, Clone)]
pub struct ListenEntry {
    /// `address`: a loopback address unless given.
    pub address: std::net::SocketAddr,
    /// `certificate` and `key`: a certificate chain and its private key, in PEM. Without them it speaks
    /// plain HTTP.
    pub tls: Option<TlsEntry>,
}

/// The files of a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsEntry {
    /// The certificate chain.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

/// How a service is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfig {
    /// `tokens.default-ttl-seconds`: the life that a token has where none is asked for.
    pub default_ttl_seconds: u32,
    /// `tokens.longest-ttl-seconds`: the longest life that can be asked for.
    pub longest_ttl_seconds: u32,
    /// `tokens.most-audiences`: the most audiences that a token can be asked for.
    pub most_audiences: usize,
    /// `tokens.es256-audiences`: tokens for these alone are signed with ES256, others with RS256.
    pub es256_audiences: Vec<Audience>,
    /// `runs.life-seconds`: for how long a run may have tokens at most.
    pub run_life_seconds: u64,
    /// `runs.keep-seconds`: for how long a run that has ended is remembered.
    pub keep_runs_seconds: u64,
    /// `keys.rotate-every-seconds`, `keys.verifier-cache-seconds`, and the longest life.
    pub key_times: KeyTimes,
    /// `keys.max-age-seconds`: for how long verifiers are told to keep a key set.
    pub key_set_max_age: u64,
    /// `limits.body-bytes`: the longest body of a request.
    pub body_bytes: usize,
    /// `limits.header-bytes`: the longest head of a request.
    pub header_bytes: usize,
    /// `limits.header-seconds`: within which the head of a request must have arrived.
    pub header_timeout: Duration,
    /// `limits.body-seconds`: within which its body must have.
    pub body_timeout: Duration,
    /// `limits.requests`: the most requests that are answered at a time.
    pub most_requests: usize,
    /// `limits.connections`: the most connections at a time.
    pub most_connections: usize,
    /// `limits.runner-per-second`: how many tokens a runner may ask for, on average.
    pub runner_per_second: u32,
    /// `limits.runner-burst`: how many at once.
    pub runner_burst: u32,
    /// `limits.run-per-second`: how many tokens may be asked for by one run token, on average. They count for the
    /// runner as well.
    pub run_per_second: u32,
    /// `limits.run-burst`: how many at once.
    pub run_burst: u32,
    /// `limits.drain-seconds`: how long it goes on when it is stopped, and says that it is not ready, so that
    /// nobody is sent there any more.
    pub drain: Duration,
    /// `limits.shutdown-seconds`: how long requests have to finish when it is stopped.
    pub shutdown: Duration,
}

/// One `[[trusted-issuer]]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuerEntry {
    /// `url`: its identifier (`iss`).
    pub url: String,
    /// `audience`: what its tokens must be for; this issuer's identifier unless given.
    pub audience: Option<String>,
    /// `jwks-url` or `jwks-file`; without either, its discovery document says.
    pub keys: KeysEntry,
    /// `ca-file`: certificates, in PEM, that its server is verified with, in the place of the system's.
    pub ca_file: Option<String>,
    /// `token-file`: a token that it is shown when its keys are asked for, as Kubernetes wants; read anew each time.
    pub token_file: Option<String>,
    /// `single-use`: whether each token is taken once only.
    pub single_use: bool,
    /// `[[trusted-issuer.identity]]`: whom its subjects stand for.
    pub identities: Vec<(String, Identity)>,
}

/// Where the keys of a trusted issuer are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeysEntry {
    /// Where its discovery document says.
    Discovered,
    /// At this URL.
    Url(String),
    /// In this file.
    File(String),
}

impl Config {
    /// Parses a configuration (TOML 1.1, at most [`MAX_CONFIG_BYTES`]).
    ///
    /// ```
    /// let config = countersign_issuer::Config::parse(r#"
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
    /// # Ok::<(), countersign_issuer::ConfigError>(())
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
    /// Whether there is anybody who may do this.
    pub fn any_principal_has(&self, permission: Permission) -> bool {
        let by_token = self.trusted_issuers.iter().flat_map(|issuer| &issuer.identities).any(
            |(_, identity)| matches!(identity, Identity::ControlPlane(may) if may.contains(&permission)),
        );
        by_token || self.api_keys.iter().any(|key| key.permissions.contains(&permission))
    }
}

impl ServiceConfig {
    /// The algorithms that there are keys of.
    pub fn algorithms(&self) -> &'static [Algorithm] {
        if self.es256_audiences.is_empty() {
            &[Algorithm::Rs256]
        } else {
            &[Algorithm::Rs256, Algorithm::Es256]
        }
    }

    /// What a token for these audiences is signed with.
    pub fn algorithm_of(&self, audiences: &[Audience]) -> Algorithm {
        if audiences.iter().all(|audience| self.es256_audiences.contains(audience)) {
            Algorithm::Es256
        } else {
            Algorithm::Rs256
        }
    }
}

/// Whom an identity is of: exactly one of a runner, and what a part of the control plane may do.
pub(crate) fn identity(runner: Option<RunnerId>, may: Option<Vec<Permission>>) -> Option<Identity> {
    match (runner, may) {
        (Some(runner), None) => Some(Identity::Runner(runner)),
        (None, Some(may)) => Some(Identity::ControlPlane(may)),
        _ => None,
    }
}
