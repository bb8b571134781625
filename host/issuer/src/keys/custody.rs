//! The custody of private keys: a folder, a PKCS #11 token, a key management service.

use std::error::Error;
use std::sync::Arc;

use countersign_signing::{Algorithm, PublicKey, Signer};

use super::folder::KeyFolderError;
use super::health::CustodyHealth;

/// Holds private keys, each by its `kid`, and lets nobody but their [`Signer`]s use them.
///
/// The custody knows nothing of time: when a key is published, active or retired stands in the
/// [`KeyPlan`](super::KeyPlan), which a [`KeyRing`](super::KeyRing) keeps elsewhere. [`KeyFolder`](super::KeyFolder)
/// is the implementation of this crate; one over a device or a service implements [`Signer`] as well, and names the
/// public half by [`PublicKey::from_jwk`].
///
/// Called on threads that may block. Several processes may share a custody; the lock of the key ring lets one of them
/// at a time make or destroy keys.
pub trait KeyCustody: Send + Sync {
    /// The `kid` of every key, in any order. Those that no plan names are left alone: others may own them.
    ///
    /// # Errors
    /// When the custody does not answer.
    fn list(&self) -> Result<Vec<String>, CustodyError>;

    /// Generates a key, which is durable when this returns, and returns its public half.
    ///
    /// # Errors
    /// When no key was made.
    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, CustodyError>;

    /// Signs with the key of this `kid`.
    ///
    /// # Errors
    /// [`CustodyError::Missing`] when there is no such key; otherwise when it cannot be used.
    fn signer(&self, kid: &str) -> Result<Arc<dyn Signer>, CustodyError>;

    /// Destroys the key of this `kid`. Destroying a key that is gone changes nothing.
    ///
    /// # Errors
    /// When the key may still exist.
    fn destroy(&self, kid: &str) -> Result<(), CustodyError>;

    /// The health of a custody that is outside of this process; `None` where a signature needs nothing else.
    fn health(&self) -> Option<Arc<CustodyHealth>> {
        None
    }

    /// The number of signatures that wait for something else than a processor, at most: as many more decisions are made at
    /// a time.
    fn waiting_signatures(&self) -> usize {
        0
    }
}

/// A failed operation of a key custody.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CustodyError {
    /// The plan names a key that the custody does not have.
    #[error("{custody}: key {kid} is missing")]
    Missing {
        /// The custody, as its operator knows it.
        custody: String,
        /// The key.
        kid: String,
    },
    /// A folder of keys.
    #[error(transparent)]
    Folder(#[from] KeyFolderError),
    /// Any other custody.
    #[error("{custody}: the key custody failed")]
    Failed {
        /// The custody, as its operator knows it.
        custody: String,
        /// The cause, without any secret.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}
