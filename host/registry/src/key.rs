//! Keys that sign policies, and their public halves.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, KeyPair,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, VerificationAlgorithm,
};
use countersign::Digest;

/// The maximum length of a key file, in bytes.
pub const MAX_KEY_BYTES: usize = 64 << 10;

/// The length of the SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) of a P-256 key with an uncompressed point, and of an
/// Ed25519 key. One length, so that a key has one form and counts once.
const P256_SPKI_BYTES: usize = 91;
const ED25519_SPKI_BYTES: usize = 44;

/// A public key that verifies signatures: ECDSA on P-256 with SHA-256, as cosign makes by default, RSA (PKCS #1 v1.5 with
/// SHA-256) from 2048 bits, or Ed25519.
#[derive(Clone)]
pub struct VerificationKey {
    key: ParsedPublicKey,
    id: Digest,
}

/// A key that cannot be used. No message has anything of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyKeyError {
    /// The text is longer than a key can be.
    #[error("the file has {bytes} bytes, a key has at most {MAX_KEY_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The text is not one PEM block with the label that is expected.
    #[error("expected one `-----BEGIN {expected}-----` (PEM, RFC 7468) and nothing else{hint}")]
    NotPem {
        /// The label.
        expected: &'static str,
        /// Advice for what was found.
        hint: &'static str,
    },
    /// The key is of another kind.
    #[error("expected {0}")]
    Unsupported(&'static str),
}

impl VerificationKey {
    /// Reads a public key in PEM (`PUBLIC KEY`), as `cosign generate-key-pair` and `openssl pkey -pubout` write it.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn from_pem(text: &[u8]) -> Result<Self, PolicyKeyError> {
        let hint = "; `openssl pkey -in KEY -pubout` makes it of a private key";
        Self::from_der(&block(text, "PUBLIC KEY", hint)?)
    }

    /// Reads a SubjectPublicKeyInfo in DER.
    fn from_der(der: &[u8]) -> Result<Self, PolicyKeyError> {
        let algorithms: [(&'static dyn VerificationAlgorithm, Option<usize>); 3] = [
            (&ECDSA_P256_SHA256_ASN1, Some(P256_SPKI_BYTES)),
            (&ED25519, Some(ED25519_SPKI_BYTES)),
            (&RSA_PKCS1_2048_8192_SHA256, None),
        ];
        let unsupported = PolicyKeyError::Unsupported(
            "a public key on P-256, an RSA key of at least 2048 bits, or an Ed25519 key",
        );
        for (algorithm, length) in algorithms {
            if length.is_some_and(|length| length != der.len()) {
                continue;
            }
            let Ok(key) = ParsedPublicKey::new(algorithm, der) else { continue };
            let spki: Result<PublicKeyX509Der<'_>, _> = key.as_der();
            // A key that is written anew as something else has several forms.
            if !spki.is_ok_and(|spki| spki.as_ref() == der) {
                continue;
            }
            return Ok(Self { key, id: Digest::of(der) });
        }
        Err(unsupported)
    }

    /// The SHA-256 of its SubjectPublicKeyInfo.
    pub fn id(&self) -> Digest {
        self.id
    }

    /// Tells whether a signature of `message` is this key's.
    pub(crate) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerificationKey({})", self.id)
    }
}

/// A signature that could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key gave no signature")]
pub struct SignPolicyError;

/// Signs policies with a private key that may be anywhere: a file, or a device or service that keeps it.
///
/// Called on a thread that may block.
pub trait PolicySigner: Send + Sync {
    /// The public half.
    fn public_key(&self) -> &VerificationKey;

    /// The signature of `message`, in the form that the public half verifies: for ECDSA, that of ASN.1 (RFC 3279
    /// section 2.2.3).
    ///
    /// # Errors
    /// When there can be no signature, for a reason that does not lie in `message`.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignPolicyError>;
}

/// A private key in memory: ECDSA on P-256. It cannot be printed.
pub struct PolicyKey {
    private: EcdsaKeyPair,
    public: VerificationKey,
}

impl PolicyKey {
    /// Reads a private key on P-256: PKCS #8 in PEM (`PRIVATE KEY`).
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn from_pem(text: &[u8]) -> Result<Self, PolicyKeyError> {
        let label = std::str::from_utf8(text).unwrap_or_default();
        let hint = if label.contains("SIGSTORE PRIVATE KEY") || label.contains("COSIGN PRIVATE KEY")
        {
            "; this one is encrypted as cosign does it: sign with cosign, whose signatures are accepted"
        } else if label.contains("ENCRYPTED PRIVATE KEY") {
            "; this one is encrypted"
        } else if label.contains("EC PRIVATE KEY") {
            "; `openssl pkcs8 -topk8 -nocrypt` makes one of it"
        } else {
            ""
        };
        let der = zeroize::Zeroizing::new(block(text, "PRIVATE KEY", hint)?);
        let unsupported = || PolicyKeyError::Unsupported("a private key on P-256 in PKCS #8");
        let private = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der)
            .map_err(|_| unsupported())?;
        let spki: PublicKeyX509Der<'_> =
            private.public_key().as_der().map_err(|_| unsupported())?;
        let public = VerificationKey::from_der(spki.as_ref())?;
        Ok(Self { private, public })
    }
}

impl PolicySigner for PolicyKey {
    fn public_key(&self) -> &VerificationKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignPolicyError> {
        let signature = self.private.sign(&SystemRandom::new(), message);
        Ok(signature.map_err(|_| SignPolicyError)?.as_ref().to_vec())
    }
}

impl fmt::Debug for PolicyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PolicyKey({})", self.public.id)
    }
}

/// The content of the one block of a PEM file.
fn block(
    text: &[u8],
    expected: &'static str,
    hint: &'static str,
) -> Result<Vec<u8>, PolicyKeyError> {
    if text.len() > MAX_KEY_BYTES {
        return Err(PolicyKeyError::TooLarge { bytes: text.len() });
    }
    let not_pem = || PolicyKeyError::NotPem { expected, hint };
    let mut blocks = pem::parse_many(text).map_err(|_| not_pem())?;
    match (blocks.pop(), blocks.is_empty()) {
        (Some(block), true) if block.tag() == expected => Ok(block.into_contents()),
        _ => Err(not_pem()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_what_its_public_half_verifies() {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let der = pair.to_pkcs8v1().unwrap();
        let text = pem::encode(&pem::Pem::new("PRIVATE KEY", der.as_ref()));
        let key = PolicyKey::from_pem(text.as_bytes()).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(key.public_key().verifies(b"message", &signature));
        assert!(!key.public_key().verifies(b"another", &signature));
        let printed = format!("{key:?}");
        assert_eq!(printed, format!("PolicyKey({})", key.public_key().id()));
        let public = pair.public_key().as_der().unwrap();
        let public: &PublicKeyX509Der<'_> = &public;
        let public = pem::encode(&pem::Pem::new("PUBLIC KEY", public.as_ref()));
        let read = VerificationKey::from_pem(public.as_bytes()).unwrap();
        assert_eq!(read.id(), key.public_key().id());
        for text in [
            String::new(),
            "-----BEGIN PUBLIC KEY-----".to_owned(),
            text.clone(),
            format!("{public}{public}"),
            pem::encode(&pem::Pem::new("PUBLIC KEY", &public.as_bytes()[..40])),
            "x".repeat(MAX_KEY_BYTES + 1),
        ] {
            assert!(VerificationKey::from_pem(text.as_bytes()).is_err(), "{text}");
        }
    }
}
