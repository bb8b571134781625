//! The errors of reading a deployment.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use countersign::{EngineError, IssuerUrlError};
use countersign_issuer::{AmbiguousIdentities, JwksError};

use crate::files::FileError;
use crate::https_fetch::HttpsFetchError;
use crate::manifest::ManifestError;
use crate::policies::PreparePoliciesError;
use crate::policy_source::PolicySourceError;
use crate::service_config::ConfigError;
use crate::subject_migration::SubjectMigrationsError;

/// The reason that a configuration cannot be deployed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeploymentError {
    /// The error is in a file, or in a part of one.
    #[error("{place}")]
    At {
        /// The file, or the table or key in it.
        place: String,
        /// The error there.
        source: Box<Self>,
    },
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] Arc<FileError>),
    /// A file was not named when the files were read.
    #[error("{}: not read", .0.display())]
    NotRead(PathBuf),
    /// The same file was found to be wrong before.
    #[error(transparent)]
    Shared(Arc<Self>),
    /// `issuer.toml` is no configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// `countersign.toml` is no manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The manifest lacks what the command or the service needs.
    #[error("{0}")]
    Lacks(&'static str),
    /// An audience that is signed for without a decision is assigned to a cloud.
    #[error(
        "kubernetes-signer.pass: `{audience}` is assigned to a cloud by the manifest, so that it needs a decision"
    )]
    PassedCloud {
        /// The audience.
        audience: String,
    },
    /// `issuer.url` is no issuer identifier.
    #[error("issuer.url")]
    IssuerUrl(#[from] IssuerUrlError),
    /// The file of subject migrations is missing.
    #[error("`countersign subjects begin --create` makes it; a lost one must be restored")]
    MigrationsMissing(#[source] Arc<FileError>),
    /// The file of subject migrations cannot be used.
    #[error(transparent)]
    Migrations(#[from] SubjectMigrationsError),
    /// A policy cannot be prepared.
    #[error(transparent)]
    Policies(#[from] PreparePoliciesError),
    /// The JWKS of a trusted issuer cannot be used.
    #[error(transparent)]
    Jwks(#[from] JwksError),
    /// The identities of a trusted issuer are ambiguous.
    #[error(transparent)]
    Identities(#[from] AmbiguousIdentities),
    /// The certificates of a trusted issuer cannot be used.
    #[error(transparent)]
    Fetch(#[from] HttpsFetchError),
    /// The rules about policies of registries cannot be used.
    #[error(transparent)]
    Registries(#[from] PolicySourceError),
    /// There is no engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The compiling child process cannot be named.
    #[error("the path of this program")]
    Program(#[source] io::Error),
}

impl DeploymentError {
    /// The same error, at a place.
    pub(crate) fn at(self, place: impl Into<String>) -> Self {
        Self::At { place: place.into(), source: Box::new(self) }
    }
}

impl From<FileError> for DeploymentError {
    fn from(error: FileError) -> Self {
        Self::File(Arc::new(error))
    }
}
