//! Signatures that were made elsewhere: verified, and brought into the form of a JWS.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::AlgorithmParameters;

use crate::key::PublicKey;
use crate::spki::element;

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
/// The length of a number of P-256, in bytes.
const NUMBER: usize = 32;

impl PublicKey {
    /// Verifies a signature over `input` that a device or a service gave, and brings it into the form of a JWS (RFC 7518
    /// section 3.4): one of ES256 may come as `ECDSA-Sig-Value` in DER (RFC 3279 section 2.2.3), or as its two numbers.
    ///
    /// `None` where the key does not verify it: it is another key's, over other bytes, cut, or no signature.
    ///
    /// ```
    /// use countersign_signing::{Algorithm, Signer, SigningKey};
    ///
    /// let (key, _) = SigningKey::generate(Algorithm::Es256)?;
    /// let signature = key.sign(b"input")?;
    /// assert_eq!(key.public().verified(b"input", &signature), Some(signature.clone()));
    /// assert_eq!(key.public().verified(b"other", &signature), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn verified(&self, input: &[u8], signature: &[u8]) -> Option<Vec<u8>> {
        let digits = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).ok();
        match &self.jwk.algorithm {
            AlgorithmParameters::RSA(rsa) => {
                let key = PublicKeyComponents { n: digits(&rsa.n)?, e: digits(&rsa.e)? };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, input, signature).ok()?;
                Some(signature.to_vec())
            }
            AlgorithmParameters::EllipticCurve(ec) => {
                let point = [&[4][..], &digits(&ec.x)?, &digits(&ec.y)?].concat();
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
                // Bytes of one form can look like those of the other, so the key decides.
                let forms = [Some(signature.to_vec()), fixed(signature)];
                forms.into_iter().flatten().find(|form| key.verify(input, form).is_ok())
            }
            _ => None,
        }
    }
}

/// The two numbers of a signature in DER, each of 32 bytes.
fn fixed(der: &[u8]) -> Option<Vec<u8>> {
    let (numbers, after) = element(der, SEQUENCE)?;
    let (r, rest) = element(numbers, INTEGER)?;
    let (s, rest) = element(rest, INTEGER)?;
    if !after.is_empty() || !rest.is_empty() {
        return None;
    }
    let mut fixed = vec![0; 2 * NUMBER];
    for (number, half) in [r, s].into_iter().zip(fixed.chunks_mut(NUMBER)) {
        // A number whose first bit is set has a zero before it, and no other has one.
        let digits = match number {
            [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => digits,
            [1..=0x7f, ..] => number,
            _ => return None,
        };
        let start = NUMBER.checked_sub(digits.len())?;
        half.get_mut(start..)?.copy_from_slice(digits);
    }
    Some(fixed)
}
