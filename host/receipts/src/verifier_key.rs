//! Keys that verify the signatures of notes (C2SP signed-note, "Verifier keys").

use std::fmt;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

/// The DER encoding of a key on P-256 (SubjectPublicKeyInfo, RFC 5480) before its uncompressed point.
const SPKI_P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The length of an uncompressed point on P-256.
const POINT_BYTES: usize = 65;

/// The maximum length of a key's name, in bytes.
const MAX_NAME_BYTES: usize = 1024;

const ED25519_TYPE: u8 = 0x01;
const ECDSA_TYPE: u8 = 0x02;
const COSIGNATURE_TYPE: u8 = 0x04;

/// A public key with the name and the id that its signatures have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    id: [u8; 4],
    kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    Ed25519([u8; 32]),
    /// ECDSA on P-256 with SHA-256: an uncompressed point.
    Ecdsa([u8; POINT_BYTES]),
    /// A timestamped Ed25519 cosignature of a checkpoint (C2SP tlog-cosignature).
    Cosignature([u8; 32]),
}

/// A text that is no verifier key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VerifierKeyError {
    /// It is not of the form.
    #[error("expected NAME+ID+KEY: a name, eight lower-case hexadecimal digits, and base64")]
    Form,
    /// The name cannot be a key's.
    #[error("the key's name is empty, too long, or has a space, a plus or a control character")]
    Name,
    /// The key is of another type.
    #[error(
        "the key has the type {found:#04x}; expected 0x01 (Ed25519), 0x02 (ECDSA on P-256) or 0x04 (cosignature)"
    )]
    Type {
        /// The type that it has.
        found: u8,
    },
    /// The key has another length or form than its type.
    #[error("the key is not of its type's form")]
    Key,
    /// The id is not that of the name and the key.
    #[error("the id is not that of this name and key")]
    Id,
}

impl VerifierKey {
    /// An Ed25519 key that signs notes.
    ///
    /// # Errors
    /// Returns an error if the name cannot be a key's.
    pub fn ed25519(name: &str, key: [u8; 32]) -> Result<Self, VerifierKeyError> {
        Self::new(name, Kind::Ed25519(key))
    }

    /// A key on P-256 that signs notes, by its uncompressed point.
    ///
    /// # Errors
    /// Returns an error if the name cannot be a key's, or the point has another form.
    pub fn ecdsa(name: &str, point: &[u8]) -> Result<Self, VerifierKeyError> {
        let point: [u8; POINT_BYTES] = point.try_into().map_err(|_| VerifierKeyError::Key)?;
        if !point.starts_with(&[4]) {
            return Err(VerifierKeyError::Key);
        }
        Self::new(name, Kind::Ecdsa(point))
    }

    /// A witness's key that cosigns checkpoints.
    ///
    /// # Errors
    /// Returns an error if the name cannot be a key's.
    pub fn cosignature(name: &str, key: [u8; 32]) -> Result<Self, VerifierKeyError> {
        Self::new(name, Kind::Cosignature(key))
    }

    /// Parses a vkey. Only the text that [`Display`](fmt::Display) writes is accepted.
    ///
    /// # Errors
    /// Returns an error if it is of another form or type, or its id is not that of its name and key.
    pub fn parse(text: &str) -> Result<Self, VerifierKeyError> {
        let mut parts = text.splitn(3, '+');
        let (Some(name), Some(id), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(VerifierKeyError::Form);
        };
        let key = BASE64_STANDARD.decode(key).map_err(|_| VerifierKeyError::Form)?;
        let (kind, key) = key.split_first().ok_or(VerifierKeyError::Form)?;
        let ed25519 = || key.try_into().map_err(|_| VerifierKeyError::Key);
        let parsed = match *kind {
            ED25519_TYPE => Self::ed25519(name, ed25519()?)?,
            COSIGNATURE_TYPE => Self::cosignature(name, ed25519()?)?,
            ECDSA_TYPE => {
                Self::ecdsa(name, key.strip_prefix(&SPKI_P256).ok_or(VerifierKeyError::Key)?)?
            }
            found => return Err(VerifierKeyError::Type { found }),
        };
        if id.len() != 8 || id.bytes().any(|byte| !matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(VerifierKeyError::Form);
        }
        if hex(parsed.id) == id { Ok(parsed) } else { Err(VerifierKeyError::Id) }
    }

    fn new(name: &str, kind: Kind) -> Result<Self, VerifierKeyError> {
        if !is_name(name) {
            return Err(VerifierKeyError::Name);
        }
        let hash = match &kind {
            // As `transparency-dev/witness` has it: of the key alone.
            Kind::Ecdsa(_) => Sha256::digest(kind.key()),
            _ => Sha256::new_with_prefix(name)
                .chain_update([b'\n', kind.type_byte()])
                .chain_update(kind.key())
                .finalize(),
        };
        let mut id = [0; 4];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Ok(Self { name: name.to_owned(), id, kind })
    }

    /// The key's name. A log's is its origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The key's id, which together with its name says which signatures are the key's.
    pub fn id(&self) -> [u8; 4] {
        self.id
    }

    /// True for a key that cosigns checkpoints, and signs nothing else.
    pub fn is_cosignature(&self) -> bool {
        matches!(self.kind, Kind::Cosignature(_))
    }

    /// True when both are one key, whatever its names are.
    pub fn is_same_key(&self, other: &Self) -> bool {
        self.kind.key() == other.kind.key()
    }

    /// Verifies a signature of a note's text, without its key id. Returns the time of a cosignature, in seconds since 1970,
    /// and 0 of another signature; `None` if it is not the key's.
    pub fn verify(&self, text: &str, signature: &[u8]) -> Option<u64> {
        match &self.kind {
            Kind::Ed25519(key) => {
                let key = UnparsedPublicKey::new(&ED25519, key);
                key.verify(text.as_bytes(), signature).ok().map(|()| 0)
            }
            Kind::Ecdsa(point) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
                key.verify(text.as_bytes(), signature).ok().map(|()| 0)
            }
            Kind::Cosignature(key) => {
                let (time, signature) = signature.split_first_chunk::<8>()?;
                let time = u64::from_be_bytes(*time);
                // C2SP: no time beyond 2^63 - 1.
                i64::try_from(time).ok().filter(|time| *time > 0)?;
                let message = cosigned(time, text);
                let key = UnparsedPublicKey::new(&ED25519, key);
                key.verify(message.as_bytes(), signature).ok().map(|()| time)
            }
        }
    }
}

/// The message of a cosignature (C2SP tlog-cosignature, "Ed25519 signed message").
pub(crate) fn cosigned(time: u64, text: &str) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}

/// The vkey.
impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![self.kind.type_byte()];
        key.extend(self.kind.key());
        write!(f, "{}+{}+{}", self.name, hex(self.id), BASE64_STANDARD.encode(key))
    }
}

impl Kind {
    fn type_byte(&self) -> u8 {
        match self {
            Self::Ed25519(_) => ED25519_TYPE,
            Self::Ecdsa(_) => ECDSA_TYPE,
            Self::Cosignature(_) => COSIGNATURE_TYPE,
        }
    }

    /// The key as its type encodes it.
    fn key(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) | Self::Cosignature(key) => key.to_vec(),
            Self::Ecdsa(point) => SPKI_P256.iter().chain(point).copied().collect(),
        }
    }
}

/// True for a text that can be a key's name (C2SP signed-note, "Format").
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+')
}

pub(crate) fn hex(id: [u8; 4]) -> String {
    format!("{:08x}", u32::from_be_bytes(id))
}
