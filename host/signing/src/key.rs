//! Keys that sign, and their public halves.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse,
    ThumbprintHash,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::signer::{SignError, Signer};

/// The maximum size of a key file, in bytes.
pub const MAX_PEM_BYTES: usize = 64 << 10;

/// The label of PKCS #8 in PEM (RFC 7468 section 10).
const LABEL: &str = "PRIVATE KEY";

/// The `SubjectPublicKeyInfo` of a key on P-256 up to its coordinates: `id-ecPublicKey`, `prime256v1`, and a bit string with an
/// uncompressed point.
pub(crate) const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

/// A signature algorithm (RFC 7518 section 3.1) that clouds accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256: accepted by all of AWS, Entra and GCP.
    #[serde(rename = "RS256")]
    Rs256,
    /// ECDSA on P-256 with SHA-256: accepted by AWS and GCP. Smaller and faster.
    #[serde(rename = "ES256")]
    Es256,
}

impl Algorithm {
    /// The name of the standard.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

/// A private key, ready to sign. It cannot be printed: `Debug` shows the algorithm and the `kid`.
pub struct SigningKey {
    private: Private,
    public: PublicKey,
}

/// Parsed once, which for RSA takes as long as a good part of a signature.
enum Private {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// The public half of a key, as a JWK (RFC 7517).
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub struct PublicKey {
    pub(crate) jwk: Jwk,
    #[serde(skip)]
    algorithm: Algorithm,
    #[serde(skip)]
    kid: String,
}

/// A JWK Set (RFC 7517 section 5), as it is published.
#[derive(Clone, Serialize)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

/// A private key as text (PKCS #8 in PEM, RFC 7468 section 10). It cannot be printed by accident,
/// and is wiped from memory when it is dropped.
pub struct PrivateKeyPem(Zeroizing<String>);

/// A key that cannot be used. Messages hold nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is longer than a key can be.
    #[error("the file has {bytes} bytes, a key has at most {MAX_PEM_BYTES}")]
    TooLarge {
        /// Its length.
        bytes: usize,
    },
    /// The text is not PEM.
    #[error("not a PEM file (RFC 7468): expected `-----BEGIN PRIVATE KEY-----`")]
    NotPem,
    /// The PEM file holds something else.
    #[error(
        "a PEM file with `{label}`, expected a private key (`PRIVATE KEY` or `RSA PRIVATE KEY`){hint}"
    )]
    OtherLabel {
        /// Its label, escaped.
        label: String,
        /// Advice for this label.
        hint: &'static str,
    },
    /// The key is neither RSA nor on P-256, or is malformed.
    #[error("neither an RSA key of 2048 to 4096 bits nor an EC key on P-256 in PKCS #8")]
    Unsupported,
    /// The RSA key has another size than verifiers accept.
    #[error("an RSA key of {bits} bits, expected 2048 to 4096")]
    Size {
        /// Size of its modulus in bits.
        bits: usize,
    },
    /// The text is not a JWK.
    #[error("not a JWK (RFC 7517) of an RSA or EC key")]
    NotJwk,
    /// A key could not be generated: the system's random number generator failed.
    #[error("no key could be generated")]
    Generate,
}

impl SigningKey {
    /// Reads a private key: PEM (RFC 7468) with PKCS #8, or PKCS #1 for RSA. An RSA key of 2048 to
    /// 4096 bits signs RS256, an EC key on P-256 signs ES256.
    ///
    /// # Errors
    /// When the text holds no such key.
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyError> {
        if text.len() > MAX_PEM_BYTES {
            return Err(KeyError::TooLarge { bytes: text.len() });
        }
        let pem = pem::parse(text).map_err(|_| KeyError::NotPem)?;
        let rsa = EncodingKey::from_rsa_pem(text);
        match (pem.tag(), rsa) {
            (tag @ ("PRIVATE KEY" | "RSA PRIVATE KEY"), Ok(key)) => {
                let public = PublicKey::of(&key, Algorithm::Rs256)?;
                let private = match tag {
                    "PRIVATE KEY" => RsaKeyPair::from_pkcs8(pem.contents()),
                    _ => RsaKeyPair::from_der(pem.contents()),
                };
                let private = Private::Rsa(private.map_err(|_| KeyError::Unsupported)?);
                Ok(Self { private, public })
            }
            ("PRIVATE KEY", Err(_)) => {
                let key = EncodingKey::from_ec_pem(text).map_err(|_| KeyError::Unsupported)?;
                let public = PublicKey::of(&key, Algorithm::Es256)?;
                let private =
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pem.contents())
                        .map_err(|_| KeyError::Unsupported)?;
                Ok(Self { private: Private::Ec(private), public })
            }
            ("RSA PRIVATE KEY", Err(_)) => Err(KeyError::Unsupported),
            (label, _) => Err(KeyError::OtherLabel {
                label: label.escape_debug().take(64).collect(),
                hint: match label {
                    "EC PRIVATE KEY" => "; `openssl pkcs8 -topk8 -nocrypt` makes one of it",
                    "ENCRYPTED PRIVATE KEY" => "; this one is encrypted",
                    _ => "",
                },
            }),
        }
    }

    /// Makes a new key, and its text to keep. An RSA key has 2048 bits, which all clouds accept.
    ///
    /// # Errors
    /// When the system's random number generator fails.
    pub fn generate(algorithm: Algorithm) -> Result<(Self, PrivateKeyPem), KeyError> {
        let pem = match algorithm {
            Algorithm::Rs256 => RsaKeyPair::generate(KeySize::Rsa2048)
                .and_then(|key| AsDer::<Pkcs8V1Der<'_>>::as_der(&key))
                .map(|der| pem::Pem::new(LABEL, der.as_ref())),
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
                .and_then(|key| key.to_pkcs8v1())
                .map(|der| pem::Pem::new(LABEL, der.as_ref())),
        };
        let pem = pem.map_err(|_| KeyError::Generate)?;
        let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let text = Zeroizing::new(pem::encode_config(&pem, config));
        Ok((Self::from_pem(text.as_bytes())?, PrivateKeyPem(text)))
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }
}

impl Signer for SigningKey {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, input: &[u8]) -> Result<Vec<u8>, SignError> {
        let random = SystemRandom::new();
        match &self.private {
            Private::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, input, &mut signature)
                    .map_err(|_| SignError)?;
                Ok(signature)
            }
            Private::Ec(key) => {
                Ok(key.sign(&random, input).map_err(|_| SignError)?.as_ref().to_vec())
            }
        }
    }
}

impl PublicKey {
    /// Reads the public half of a key whose private half is elsewhere: a JWK (RFC 7517) with an RSA key of 2048 to
    /// 4096 bits, which signs RS256, or an EC key on P-256, which signs ES256.
    ///
    /// The `kid` is the key's thumbprint, whatever the JWK says; members other than those of the key itself are
    /// dropped.
    ///
    /// ```
    /// let key = countersign_signing::PublicKey::from_jwk(br#"{
    ///     "kty": "EC", "crv": "P-256",
    ///     "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    ///     "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
    /// }"#)?;
    /// assert_eq!(key.algorithm(), countersign_signing::Algorithm::Es256);
    /// # Ok::<(), countersign_signing::KeyError>(())
    /// ```
    ///
    /// # Errors
    /// When the text is not a JWK, or holds another key.
    pub fn from_jwk(text: &[u8]) -> Result<Self, KeyError> {
        if text.len() > MAX_PEM_BYTES {
            return Err(KeyError::TooLarge { bytes: text.len() });
        }
        let jwk: Jwk = serde_json::from_slice(text).map_err(|_| KeyError::NotJwk)?;
        let digits = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map(|bytes| bytes.len());
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                digits(&rsa.n).and(digits(&rsa.e)).map_err(|_| KeyError::NotJwk)?;
                Algorithm::Rs256
            }
            // Both coordinates have 32 bytes (RFC 7518 section 6.2.1).
            AlgorithmParameters::EllipticCurve(ec)
                if (digits(&ec.x), digits(&ec.y)) == (Ok(32), Ok(32)) =>
            {
                Algorithm::Es256
            }
            _ => return Err(KeyError::Unsupported),
        };
        Self::of_jwk(Jwk { common: CommonParameters::default(), ..jwk }, algorithm)
    }

    fn of(private: &EncodingKey, algorithm: Algorithm) -> Result<Self, KeyError> {
        let of_library = match algorithm {
            Algorithm::Rs256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::Es256 => jsonwebtoken::Algorithm::ES256,
        };
        let jwk = Jwk::from_encoding_key(private, of_library).map_err(|_| KeyError::Unsupported)?;
        Self::of_jwk(jwk, algorithm)
    }

    fn of_jwk(mut jwk: Jwk, algorithm: Algorithm) -> Result<Self, KeyError> {
        match &jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                // Base64 without padding has four digits for three bytes.
                let bits = rsa.n.len() * 3 / 4 * 8;
                if !(2048..=4096).contains(&bits) {
                    return Err(KeyError::Size { bits });
                }
            }
            AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => {}
            _ => return Err(KeyError::Unsupported),
        }
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(|_| KeyError::Unsupported)?;
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        jwk.common.key_algorithm = Some(match algorithm {
            Algorithm::Rs256 => KeyAlgorithm::RS256,
            Algorithm::Es256 => KeyAlgorithm::ES256,
        });
        jwk.common.key_id = Some(kid.clone());
        Ok(Self { jwk, algorithm, kid })
    }

    /// The key's id: its SHA-256 thumbprint (RFC 7638) in base64url.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key as a `SubjectPublicKeyInfo` in DER (RFC 5280 section 4.1.2.7, RFC 8017, RFC 5480).
    ///
    /// # Errors
    /// When the numbers of the key are none of a key.
    pub fn to_pkix_der(&self) -> Result<Vec<u8>, KeyError> {
        let digits =
            |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Unsupported);
        match &self.jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let key = PublicKeyComponents { n: digits(&rsa.n)?, e: digits(&rsa.e)? };
                let der: PublicKeyX509Der<'_> = key.as_der().map_err(|_| KeyError::Unsupported)?;
                Ok(der.as_ref().to_vec())
            }
            AlgorithmParameters::EllipticCurve(ec) => {
                Ok([P256_SPKI, &digits(&ec.x)?, &digits(&ec.y)?].concat())
            }
            _ => Err(KeyError::Unsupported),
        }
    }

    /// The length of a signature in base64url (RFC 7518 sections 3.3 and 3.4).
    pub(crate) fn signature_characters(&self) -> usize {
        match &self.jwk.algorithm {
            // As long as the modulus.
            AlgorithmParameters::RSA(rsa) => rsa.n.len(),
            // Two numbers of 32 bytes.
            _ => 86,
        }
    }

    /// The algorithm of the key's signatures.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl KeySet {
    /// Puts keys together for publication, each once.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k PublicKey>) -> Self {
        let mut set = Self { keys: Vec::new() };
        for key in keys {
            if set.keys.iter().all(|other| other.kid != key.kid) {
                set.keys.push(key.clone());
            }
        }
        set
    }
}

impl PrivateKeyPem {
    /// The text, for the one place that stores it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PrivateKeyPem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKeyPem([redacted])")
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({} {})", self.public.algorithm.as_str(), self.public.kid)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm.as_str(), self.kid)
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.keys).finish()
    }
}

/// Tells whether a text has the form of a [`PublicKey::kid`], so that it can be part of the name of a file or of a key in a
/// device. There need not be such a key.
pub fn is_kid(text: &str) -> bool {
    // SHA-256 in base64url.
    text.len() == 43
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}
