//! The errors of releases.

use std::path::PathBuf;

use countersign::Digest;

use crate::error::DeploymentError;
use crate::files::FileError;

/// The reason that a release was not staged, found or taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The configuration or the release's manifest cannot be used, or a policy not be prepared.
    #[error(transparent)]
    Deployment(#[from] DeploymentError),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// A file of the store is not what was written.
    #[error("{}: {problem}; restore the file from a backup, or stage the release again", .path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The problem.
        problem: String,
    },
    /// The release was prepared to another policy set than it was staged as.
    #[error(
        "release {release}: prepares to the policy set {found}; this version reads its manifest differently: \
         stage it again with this version"
    )]
    OtherSet {
        /// The release.
        release: Digest,
        /// The digest of the policy set that was prepared.
        found: Digest,
    },
    /// No release has this digest or its beginning.
    #[error("release `{0}`: not found; `countersign release list` shows what is staged")]
    Unknown(String),
    /// Several releases begin so.
    #[error("release `{0}`: several begin so; give more of the digest")]
    Ambiguous(String),
    /// There is no candidate.
    #[error("there is no candidate; stage one by `countersign release stage`")]
    NoCandidate,
    /// The release decides already.
    #[error("release {0}: active already")]
    Active(Digest),
    /// No release decides.
    #[error("no release is active: the manifest of the configuration decides")]
    NoActive,
    /// No release decided before the active one.
    #[error("no release was active before {0}; promote another one")]
    NoEarlier(Digest),
    /// Another step was made meanwhile.
    #[error("another step was made meanwhile; look at `countersign release status`, and try again")]
    Overtaken,
}

impl ReleaseError {
    pub(super) fn damaged(path: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::Damaged { path: path.into(), problem: problem.to_string() }
    }
}
