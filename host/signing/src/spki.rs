//! Public keys as `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7), as key management services give them.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::key::{KeyError, MAX_PEM_BYTES, P256_SPKI, PublicKey};

/// The algorithm of an RSA key (RFC 8017 appendix A.1): `rsaEncryption` with no parameters.
const RSA_ALGORITHM: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

impl PublicKey {
    /// Reads the public half of a key whose private half is elsewhere: a `SubjectPublicKeyInfo` in DER, with an RSA key of
    /// 2048 to 4096 bits or an uncompressed point on P-256. The reverse of [`PublicKey::to_pkix_der`].
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn from_pkix_der(der: &[u8]) -> Result<Self, KeyError> {
        if der.len() > MAX_PEM_BYTES {
            return Err(KeyError::TooLarge { bytes: der.len() });
        }
        let found = match der.strip_prefix(P256_SPKI) {
            Some(point) => point.split_at_checked(32).map(|(x, y)| Self::from_point(x, y)),
            None => rsa(der).map(|(modulus, exponent)| Self::from_rsa(modulus, exponent)),
        };
        let key = found.ok_or(KeyError::Unsupported)??;
        // Bytes that are written anew as something else had another form.
        if key.to_pkix_der()? == der { Ok(key) } else { Err(KeyError::Unsupported) }
    }

    /// Puts an RSA key together from its numbers, big-endian.
    ///
    /// # Errors
    /// When the modulus has not 2048 to 4096 bits.
    pub fn from_rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (n, e) = (digits(without_zeros(modulus)), digits(without_zeros(exponent)));
        Self::from_jwk(format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#).as_bytes())
    }

    /// Puts a key on P-256 together from the coordinates of its point, 32 bytes each.
    ///
    /// # Errors
    /// When they have another length.
    pub fn from_point(x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let (x, y) = (digits(x), digits(y));
        Self::from_jwk(format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#).as_bytes())
    }
}

fn digits(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// The modulus and the exponent of an RSA key.
fn rsa(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, after) = element(der, SEQUENCE)?;
    let (bits, none) = element(key.strip_prefix(RSA_ALGORITHM)?, BIT_STRING)?;
    // No bit of the last byte is unused.
    let (numbers, end) = element(bits.strip_prefix(&[0])?, SEQUENCE)?;
    let (modulus, rest) = element(numbers, INTEGER)?;
    let (exponent, rest) = element(rest, INTEGER)?;
    let is_all = [after, none, end, rest].iter().all(|rest| rest.is_empty());
    is_all.then_some((modulus, exponent))
}

/// Splits the content of the first element from what follows it.
pub(crate) fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let rest = der.strip_prefix(&[tag])?;
    let (length, rest) = match rest {
        [length @ 0..=0x7f, rest @ ..] => (usize::from(*length), rest),
        [0x81, length @ 0x80..=0xff, rest @ ..] => (usize::from(*length), rest),
        [0x82, high @ 1..=0xff, low, rest @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}
