//! The trait of devices and services that have keys.

use countersign_issuer::CustodyFailure;
use countersign_signing::{Algorithm, PublicKey};

/// The maximum number of keys that one device lists for an issuer.
pub const MAX_KEYS: usize = 1000;

/// The maximum length of what a device says in a message, in characters.
const MAX_MESSAGE_CHARACTERS: usize = 300;

/// A device or a service that has private keys, each known by its `kid`. All that it says is checked by whoever asks.
///
/// Called on threads that may block; each operation ends within a time that the device was made with.
pub trait KeyDevice: Send + Sync + 'static {
    /// The device, as its operator knows it.
    fn name(&self) -> String;

    /// The `kid` of every key, at most [`MAX_KEYS`].
    ///
    /// # Errors
    /// When the device does not answer.
    fn list(&self) -> Result<Vec<String>, DeviceError>;

    /// Generates a key that cannot be exported, and returns its public half.
    ///
    /// # Errors
    /// When no key was made.
    fn make(&self, algorithm: Algorithm) -> Result<PublicKey, DeviceError>;

    /// The public half of the key of this `kid`; `None` where there is none.
    ///
    /// # Errors
    /// When the device does not answer, or the key can be read there.
    fn public(&self, kid: &str) -> Result<Option<PublicKey>, DeviceError>;

    /// Signs what has this SHA-256. For ES256 the answer is `r` and `s`, or both in DER.
    ///
    /// # Errors
    /// When there is no signature.
    fn sign(
        &self,
        kid: &str,
        algorithm: Algorithm,
        sha256: &[u8; 32],
    ) -> Result<Vec<u8>, DeviceError>;

    /// Destroys the key of this `kid`, or has it destroyed where that takes days. One that is gone is no error.
    ///
    /// # Errors
    /// When the key may still sign.
    fn destroy(&self, kid: &str) -> Result<(), DeviceError>;
}

/// A failed operation of a device.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {said}", .failure.as_str())]
pub struct DeviceError {
    /// The kind of failure.
    pub failure: CustodyFailure,
    /// A text for its operator; without control characters, and short.
    pub said: String,
}

impl DeviceError {
    /// A failure, with what the device or the system says of it.
    pub fn new(failure: CustodyFailure, said: impl AsRef<str>) -> Self {
        let said = said.as_ref().chars().take(MAX_MESSAGE_CHARACTERS);
        // One line of a log, whatever a device says.
        let said: String = said.map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { failure, said: countersign::visible(&said) }
    }

    pub(crate) fn unreachable(said: impl AsRef<str>) -> Self {
        Self::new(CustodyFailure::Unreachable, said)
    }

    pub(crate) fn malformed(said: impl AsRef<str>) -> Self {
        Self::new(CustodyFailure::Malformed, said)
    }
}
