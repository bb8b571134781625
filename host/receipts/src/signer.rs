//! The key that signs a log's notes.

use std::fmt;

use aws_lc_rs::encoding::AsBigEndian as _;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use crate::verifier_key::{VerifierKey, hex};

/// An Ed25519 key that signs notes. It cannot be printed: `Debug` shows its public half.
pub struct NoteSigner {
    pair: Ed25519KeyPair,
    key: VerifierKey,
}

/// A signer that cannot be made or read. Messages hold nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignerError {
    /// The system's random number generator failed.
    #[error("no key could be generated")]
    Generate,
    /// The text is not of the form.
    #[error("not the private key of a log's notes: expected `PRIVATE+KEY+NAME+ID+KEY`")]
    Form,
}

impl NoteSigner {
    /// Generates a key. `name_of` makes its name of the public half, in hexadecimal digits.
    ///
    /// # Errors
    /// Returns an error if there is no randomness, or the name cannot be a key's.
    pub fn generate(name_of: impl FnOnce(&str) -> String) -> Result<Self, SignerError> {
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(seed.as_mut_slice()).map_err(|_| SignerError::Generate)?;
        let pair = pair_of(seed.as_slice())?;
        let public = pair.public_key().as_ref();
        let digits: String = public.iter().map(|byte| format!("{byte:02x}")).collect();
        Self::new(pair, &name_of(&digits))
    }

    /// Reads a private key, in the form of Go's `note` package.
    ///
    /// # Errors
    /// Returns an error if it is of another form, or its id is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, SignerError> {
        let text = text.strip_prefix("PRIVATE+KEY+").ok_or(SignerError::Form)?;
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(SignerError::Form);
        };
        let key = Zeroizing::new(BASE64_STANDARD.decode(key).map_err(|_| SignerError::Form)?);
        let seed = key.strip_prefix(&[1]).ok_or(SignerError::Form)?;
        let signer = Self::new(pair_of(seed)?, name)?;
        if hex(signer.key.id()) == id { Ok(signer) } else { Err(SignerError::Form) }
    }

    /// The private key as text.
    pub fn to_private_text(&self) -> Result<Zeroizing<String>, SignerError> {
        let seed = self.pair.seed().map_err(|_| SignerError::Form)?;
        let seed = seed.as_be_bytes().map_err(|_| SignerError::Form)?;
        let mut key = Zeroizing::new(vec![1]);
        key.extend_from_slice(seed.as_ref());
        let key = Zeroizing::new(BASE64_STANDARD.encode(&*key));
        let (name, id) = (self.key.name(), hex(self.key.id()));
        Ok(Zeroizing::new(format!("PRIVATE+KEY+{name}+{id}+{}", *key)))
    }

    fn new(pair: Ed25519KeyPair, name: &str) -> Result<Self, SignerError> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| SignerError::Form)?;
        let key = VerifierKey::ed25519(name, public).map_err(|_| SignerError::Form)?;
        Ok(Self { pair, key })
    }

    /// The public half.
    pub fn key(&self) -> &VerifierKey {
        &self.key
    }

    /// Signs the text of a note, and returns the signature line without its line break.
    pub fn sign(&self, text: &str) -> String {
        signature_line(&self.key, self.pair.sign(text.as_bytes()).as_ref())
    }
}

impl fmt::Debug for NoteSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("NoteSigner").field(&self.key.to_string()).finish()
    }
}

/// The signature line of a key on P-256, for a signature in the form of a JWS (RFC 7518 section 3.4): notes have the
/// form of ASN.1. `None` if it has another length.
pub fn ecdsa_signature(key: &VerifierKey, jws: &[u8]) -> Option<String> {
    let (r, s) = (jws.len() == 64).then(|| jws.split_at(32))?;
    let integers = [integer(r), integer(s)].concat();
    let mut der = vec![0x30, u8::try_from(integers.len()).ok()?];
    der.extend(integers);
    Some(signature_line(key, &der))
}

/// A non-negative integer in DER.
fn integer(bytes: &[u8]) -> Vec<u8> {
    let first = bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len().saturating_sub(1));
    let digits = bytes.get(first..).unwrap_or_default();
    let sign = digits.first().is_some_and(|byte| byte & 0x80 != 0).then_some(0);
    let length = digits.len() + usize::from(sign.is_some());
    // At most 33.
    let header = [0x02, u8::try_from(length).unwrap_or(u8::MAX)];
    header.into_iter().chain(sign).chain(digits.iter().copied()).collect()
}

/// A line of a note (C2SP signed-note, "Signatures"), without its line break.
pub(crate) fn signature_line(key: &VerifierKey, signature: &[u8]) -> String {
    let blob: Vec<u8> = key.id().into_iter().chain(signature.iter().copied()).collect();
    format!("— {} {}", key.name(), BASE64_STANDARD.encode(blob))
}

fn pair_of(seed: &[u8]) -> Result<Ed25519KeyPair, SignerError> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SignerError::Form)
}
