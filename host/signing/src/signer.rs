//! What signs.

use crate::key::PublicKey;

/// Signs with a private key that may be anywhere: in memory ([`SigningKey`](crate::SigningKey)), or in a
/// key management service or a PKCS #11 device.
///
/// Called on a thread that may block.
pub trait Signer: Send + Sync {
    /// The public half: which key, and which algorithm.
    fn public(&self) -> &PublicKey;

    /// The signature of `input`, in the form that a JWS has (RFC 7518 sections 3.3 and 3.4): for ES256
    /// that is r and s, 32 bytes each.
    ///
    /// # Errors
    /// When there can be no signature, for a reason that does not lie in `input`.
    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A token could not be signed: the system gives no randomness, or where the key is does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token could not be signed")]
pub struct SignError;
