//! A client of OCI registries (distribution specification 1.1).

mod auth;
mod exchange;
mod pull;
mod push;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Proxy};
use zeroize::Zeroizing;

use crate::credentials::{CredentialFiles, CredentialsError};
use crate::reference::{RegistryName, Repository};

/// A client of registries. Cheap to make; it connects when it is used.
pub struct RegistryClient {
    options: HashMap<RegistryName, RegistryOptions>,
    files: CredentialFiles,
    clients: Mutex<HashMap<RegistryName, Client>>,
    /// Bearer tokens by registry and scope.
    tokens: Mutex<HashMap<(RegistryName, String), Zeroizing<String>>>,
    /// Advice about the token endpoints that were shown no credential, by registry: for the message where access is denied.
    withheld: Mutex<HashMap<RegistryName, String>>,
    timing: Timing,
}

/// The way to a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryOptions {
    /// The registry.
    pub registry: RegistryName,
    /// Registries that have the same repositories, tried before it. Asked for content by its digest alone, and never for a
    /// tag: a mirror that lags would bring an older version.
    pub mirrors: Vec<RegistryName>,
    /// The certificates (PEM) that its server is verified with, in the place of the system's.
    pub authorities: Option<Vec<u8>>,
    /// The URL of an HTTP proxy that all requests go through.
    pub proxy: Option<String>,
    /// Speaks HTTP without TLS. Credentials are then sent to this machine alone.
    pub plain_http: bool,
    /// Hosts (`host` or `host:port`) beside its own whose token endpoints get its credential.
    pub token_hosts: Vec<RegistryName>,
    /// The time within which an answer has to be there, in the place of [`Timing::request`] and [`Timing::idle`].
    pub timeout: Option<Duration>,
}

impl RegistryOptions {
    /// The options of a registry about which nothing is said: HTTPS, or HTTP on this machine.
    pub fn of(registry: RegistryName) -> Self {
        let plain_http = registry.is_loopback();
        Self {
            registry,
            mirrors: Vec::new(),
            authorities: None,
            proxy: None,
            plain_http,
            token_hosts: Vec::new(),
            timeout: None,
        }
    }
}

/// The times within which a registry has to answer, and how often it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// The time within which a whole answer must be there, but for a layer.
    pub request: Duration,
    /// The same for a layer.
    pub layer: Duration,
    /// The time between two parts of an answer.
    pub idle: Duration,
    /// Attempts, the first one included.
    pub attempts: u32,
    /// The time before the second attempt; twice as long before each further one.
    pub backoff: Duration,
    /// The longest time that a registry can ask to wait, by `Retry-After`; where it asks for more, there is no further attempt.
    pub max_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            request: Duration::from_secs(30),
            layer: Duration::from_secs(300),
            idle: Duration::from_secs(15),
            attempts: 4,
            backoff: Duration::from_millis(250),
            max_wait: Duration::from_secs(30),
        }
    }
}

/// The reason that a registry did not do what it was asked for. No message has a credential, or more of a URL than its host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// There is no connection.
    #[error("{registry}: no connection: {problem}")]
    Connection {
        /// The registry, or the host that it redirected to.
        registry: String,
        /// The problem.
        problem: String,
    },
    /// The answer is not there in time.
    #[error("{registry}: timed out; a slow registry can have a longer `timeout-seconds`")]
    Timeout {
        /// The registry.
        registry: String,
    },
    /// The answer ends early, or is none.
    #[error("{registry}: the answer is broken: {problem}")]
    Broken {
        /// The registry.
        registry: String,
        /// The problem.
        problem: String,
    },
    /// There is no such content.
    #[error("{registry}: no {what}")]
    NotFound {
        /// The registry.
        registry: String,
        /// The content.
        what: String,
    },
    /// The registry wants other credentials.
    #[error("{registry}: access denied ({status}) to {what}{hint}")]
    Denied {
        /// The registry.
        registry: String,
        /// The status.
        status: u16,
        /// The content.
        what: String,
        /// Advice.
        hint: String,
    },
    /// The registry answers with another status.
    #[error("{registry}: answered {status} to {what}{code}")]
    Status {
        /// The registry.
        registry: String,
        /// The status.
        status: u16,
        /// The content.
        what: String,
        /// The code of the registry's error, if it has one.
        code: String,
    },
    /// The registry redirects to another host, or too often.
    #[error("{registry}: redirects {what} to {to}, which is not followed")]
    Redirect {
        /// The registry.
        registry: String,
        /// The content.
        what: String,
        /// The other host.
        to: String,
    },
    /// The answer is longer than it can be.
    #[error("{registry}: {what} is longer than {limit} bytes")]
    TooLarge {
        /// The registry.
        registry: String,
        /// The content.
        what: String,
        /// The limit.
        limit: u64,
    },
    /// The answer is not what the specification says.
    #[error("{registry}: {problem}; is this a registry?")]
    Answer {
        /// The registry.
        registry: String,
        /// The problem.
        problem: String,
    },
    /// The client cannot be made.
    #[error("{registry}: {problem}")]
    Setup {
        /// The registry.
        registry: String,
        /// The problem.
        problem: String,
    },
    /// There is no credential where one is configured.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

impl ClientError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connection { .. } => "registry-unreachable",
            Self::Timeout { .. } => "registry-timeout",
            Self::Broken { .. } => "registry-broken",
            Self::NotFound { .. } => "registry-not-found",
            Self::Denied { .. } => "registry-denied",
            Self::Status { .. } => "registry-status",
            Self::Redirect { .. } => "registry-redirect",
            Self::TooLarge { .. } => "registry-too-large",
            Self::Answer { .. } => "registry-answer",
            Self::Setup { .. } => "registry-setup",
            Self::Credentials(_) => "registry-credentials",
        }
    }

    /// Tells whether another attempt may succeed.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::Connection { .. } | Self::Timeout { .. } | Self::Broken { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

impl RegistryClient {
    /// A client with the options of some registries; of the others, [`RegistryOptions::of`] is meant.
    pub fn new(options: Vec<RegistryOptions>, files: CredentialFiles, timing: Timing) -> Self {
        let options = options.into_iter().map(|options| (options.registry.clone(), options));
        Self {
            options: options.collect(),
            files,
            clients: Mutex::default(),
            tokens: Mutex::default(),
            withheld: Mutex::default(),
            timing,
        }
    }

    /// The places of a repository, in the order in which they are asked for content by its digest.
    pub(crate) fn places(&self, repository: &Repository) -> Vec<RegistryName> {
        let options = self.options(repository.registry());
        let mut places = options.mirrors;
        places.push(repository.registry().clone());
        places
    }

    fn options(&self, registry: &RegistryName) -> RegistryOptions {
        let known = self.options.get(registry).cloned();
        known.unwrap_or_else(|| RegistryOptions::of(registry.clone()))
    }

    /// The HTTP client of a registry: each has certificates and a proxy of its own.
    fn client(&self, registry: &RegistryName) -> Result<Client, ClientError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(registry) {
            return Ok(client.clone());
        }
        let setup = |problem: &str| ClientError::Setup {
            registry: registry.to_string(),
            problem: problem.to_owned(),
        };
        let options = self.options(registry);
        // The wait for the head of an answer counts as one between two parts, so a registry that may take longer may here.
        let idle = options.timeout.unwrap_or(self.timing.idle);
        let mut builder = Client::builder()
            .user_agent(concat!("countersign/", env!("CARGO_PKG_VERSION")))
            // Followed by hand, since what may be followed differs.
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .connect_timeout(idle)
            .read_timeout(idle)
            .https_only(false);
        if let Some(proxy) = &options.proxy {
            let proxy =
                Proxy::all(proxy).map_err(|_| setup("`proxy` is not the URL of a proxy"))?;
            builder = builder.proxy(proxy);
        }
        if let Some(pem) = &options.authorities {
            let none = || setup("`ca-file` has no certificate; expected PEM");
            let certificates = Certificate::from_pem_bundle(pem).map_err(|_| none())?;
            if certificates.is_empty() {
                return Err(none());
            }
            builder = builder.tls_certs_only(certificates);
        }
        let client = builder.build().map_err(|_| setup("failed to make the HTTPS client"))?;
        clients.insert(registry.clone(), client.clone());
        Ok(client)
    }
}
