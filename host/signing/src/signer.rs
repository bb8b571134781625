//! The trait of keys that sign.

use crate::key::PublicKey;

/// Signs with a private key that may be anywhere: in memory ([`SigningKey`](crate::SigningKey)), or in a
/// key management service or a PKCS #11 device, whose public half is read by
/// [`PublicKey::from_jwk`].
///
/// Called on a thread that may block.
pub trait Signer: Send + Sync {
    /// The public half, which names the key and its algorithm.
    fn public(&self) -> &PublicKey;

    /// The signature of `input`, in the form of a JWS (RFC 7518 sections 3.3 and 3.4): for ES256
    /// that is r and s, 32 bytes each.
    ///
    /// # Errors
    /// When there can be no signature, for a reason that does not lie in `input`.
    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A token that could not be signed: the system's random number generator failed, or the key's custody did not respond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key gave no signature")]
pub struct SignError;
