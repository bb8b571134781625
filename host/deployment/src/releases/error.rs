//! The errors of releases.

use std::path::PathBuf;

use countersign::Digest;
use countersign_issuer::StoreError;

use crate::error::DeploymentError;
use crate::files::FileError;
use crate::service_state::OpenStateError;

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
    /// The database that replicas share cannot be opened.
    #[error(transparent)]
    Database(#[from] Box<OpenStateError>),
    /// The database that replicas share does not answer.
    #[error("{place}: releases")]
    Shared {
        /// Its place.
        place: String,
        /// The reason.
        source: StoreError,
    },
    /// Something in the database that replicas share is not what was put there.
    #[error(
        "{place}: {what} of releases: {problem}; nothing of it is taken. Recover the database; or, where a content is wrong, \
         remove its parts there (`countersign.release_part`) as the owner of the tables, and stage its release again at a \
         replica that has it"
    )]
    SharedDamaged {
        /// The place of the database.
        place: String,
        /// The part.
        what: String,
        /// The problem.
        problem: String,
    },
    /// The folder has other releases than the database that replicas share.
    #[error(
        "{}: {problem}: the folder is of another database, or of another time of this one. Recover the one that was put \
         back; or move the folder away, keep it, and start again: the releases of the database decide then",
        .path.display()
    )]
    Contradicts {
        /// The folder.
        path: PathBuf,
        /// The difference.
        problem: String,
    },
    /// The database did not answer when it was told a step.
    #[error("it is not known whether step {step} was made: look at `countersign release status`")]
    Unsure {
        /// Its number.
        step: u64,
        /// The reason.
        source: StoreError,
    },
    /// A step is in the database that replicas share, and cannot be kept here.
    #[error("step {step} is made for all replicas, and this one could not keep it")]
    Behind {
        /// Its number.
        step: u64,
        /// The reason.
        source: Box<ReleaseError>,
    },
    /// The releases were opened to be looked at.
    #[error("the releases are in the database that replicas share, which is not open")]
    Unopened,
}

impl ReleaseError {
    /// Tells whether the database that replicas share did not answer, so that the same may succeed soon.
    pub fn is_unanswered(&self) -> bool {
        matches!(self, Self::Shared { source, .. } if !matches!(source, StoreError::Release { .. }))
    }

    pub(super) fn damaged(path: impl Into<PathBuf>, problem: impl ToString) -> Self {
        Self::Damaged { path: path.into(), problem: problem.to_string() }
    }
}
