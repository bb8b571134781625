//! Public keys of JWKs (RFC 7517 section 4), each for the algorithms that its type, its curve and its `alg` allow.

use std::fmt;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::visible;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::roca;

/// The bounds of the length of an RSA modulus, in bits. NIST SP 800-131A allows none that is shorter; a longer one
/// makes each verification expensive.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The length of an uncompressed point on P-256.
const P256_POINT_BYTES: usize = 65;

/// The maximum length of a value of a JWK in a message, in characters.
const SHOWN: usize = 64;

/// An algorithm of signatures that are accepted of other issuers (RFC 7518 section 3.1, RFC 8037 section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum VerificationAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    #[serde(rename = "RS256")]
    Rs256,
    /// RSASSA-PSS with SHA-256, and a salt as long as the hash.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// ECDSA on P-384 with SHA-384.
    #[serde(rename = "ES384")]
    Es384,
    /// EdDSA on Ed25519. RFC 9864 also names it by its curve.
    #[serde(rename = "EdDSA", alias = "Ed25519")]
    EdDsa,
}

impl VerificationAlgorithm {
    /// The name of the standard.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A public key that verifies signatures.
///
/// INVARIANT: it has an algorithm only if the type and the curve of the JWK are that algorithm's, and its `alg`, where
/// it has one, names it. A token cannot have it used in another way.
pub struct VerificationKey {
    material: Material,
    verifiers: Vec<(VerificationAlgorithm, ParsedPublicKey)>,
}

/// The public numbers, by which two JWKs are known to be one key.
#[derive(PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point on P-256 or P-384, which differ in length; or the 32 bytes of Ed25519.
    Point(Vec<u8>),
}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithms: Vec<_> = self.algorithms().map(VerificationAlgorithm::as_str).collect();
        f.debug_struct("VerificationKey").field("algorithms", &algorithms).finish_non_exhaustive()
    }
}

impl VerificationKey {
    /// The algorithms of the signatures that it verifies: at least one.
    pub fn algorithms(&self) -> impl Iterator<Item = VerificationAlgorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }

    /// True when this is the key's signature of `message` by this algorithm, in the form of a JWS.
    pub fn verify(
        &self,
        algorithm: VerificationAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.verifiers
            .iter()
            .find(|(own, _)| *own == algorithm)
            .is_some_and(|(_, key)| key.verify_sig(message, signature).is_ok())
    }

    /// The uncompressed point of a key on P-256; `None` of another key.
    pub fn p256_point(&self) -> Option<&[u8]> {
        match &self.material {
            Material::Point(point) if point.len() == P256_POINT_BYTES => Some(point),
            _ => None,
        }
    }

    /// True when two JWKs have the same numbers.
    pub(super) fn is_same_key(&self, other: &Self) -> bool {
        self.material == other.material
    }

    /// The key of a JWK that verifies signatures.
    ///
    /// # Errors
    /// The reason that it cannot be used, about "it".
    pub(super) fn parse(jwk: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| jwk.get(name).map(|value| value.as_str().unwrap_or_default());
        if text("use").is_some_and(|found| found != "sig") {
            return Err("its `use` is not `sig`".to_owned());
        }
        let operations = jwk.get("key_ops").map(|value| value.as_array().map(Vec::as_slice));
        if operations.is_some_and(|found| !found.unwrap_or_default().iter().any(|o| o == "verify"))
        {
            return Err("its `key_ops` does not have `verify`".to_owned());
        }
        if jwk.contains_key("d") {
            return Err("its private part is published".to_owned());
        }
        let (kty, curve) = (text("kty").unwrap_or_default(), text("crv").unwrap_or_default());
        let key = match (kty, curve) {
            ("RSA", _) => Self::rsa(member(jwk, "n")?, member(jwk, "e")?),
            ("EC", "P-256") => Self::ec(VerificationAlgorithm::Es256, 32, jwk),
            ("EC", "P-384") => Self::ec(VerificationAlgorithm::Es384, 48, jwk),
            ("OKP", "Ed25519") => Self::point(VerificationAlgorithm::EdDsa, member(jwk, "x")?),
            ("EC" | "OKP", curve) => Err(format!("its curve `{}` is not accepted", shown(curve))),
            (kty, _) => Err(format!("its `kty` `{}` is not accepted", shown(kty))),
        }?;
        key.restricted_to(text("alg"))
    }

    /// The key for the algorithm that its JWK names; for all of its type where it names none.
    fn restricted_to(mut self, alg: Option<&str>) -> Result<Self, String> {
        let Some(alg) = alg else { return Ok(self) };
        self.verifiers.retain(|(own, _)| {
            own.as_str() == alg || (*own == VerificationAlgorithm::EdDsa && alg == "Ed25519")
        });
        if self.verifiers.is_empty() {
            return Err(format!("its `alg` `{}` is not accepted for its type", shown(alg)));
        }
        Ok(self)
    }

    fn rsa(n: Vec<u8>, e: Vec<u8>) -> Result<Self, String> {
        // RFC 7518 section 6.3.1.1: as few bytes as needed. Two encodings of one key would be two keys.
        if n.first().is_none_or(|byte| *byte == 0) || e.first().is_none_or(|byte| *byte == 0) {
            return Err("its `n` or `e` is empty or begins with a zero byte".to_owned());
        }
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            let (min, max) = (RSA_BITS.start(), RSA_BITS.end());
            return Err(format!("its modulus has {bits} bits, expected {min} to {max}"));
        }
        let is_odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
        if !is_odd(&n) || !is_odd(&e) || e == [1] || e.len() > 4 {
            return Err(
                "its `n` is even, or its `e` is not an odd number from 3 to 2^32 - 1".to_owned()
            );
        }
        if roca::has_fingerprint(&n) {
            return Err("its private part can be computed (ROCA, CVE-2017-15361)".to_owned());
        }
        let components = RsaPublicKeyComponents { n: n.as_slice(), e: e.as_slice() };
        let parsed = |parameters: &'static RsaParameters| {
            let key = components.to_parsed_public_key(parameters);
            key.map_err(|_| "its numbers are no RSA key".to_owned())
        };
        let verifiers = vec![
            (VerificationAlgorithm::Rs256, parsed(&RSA_PKCS1_2048_8192_SHA256)?),
            (VerificationAlgorithm::Ps256, parsed(&RSA_PSS_2048_8192_SHA256)?),
        ];
        Ok(Self { material: Material::Rsa { n, e }, verifiers })
    }

    /// A key of two coordinates, each of the curve's length (RFC 7518 section 6.2.1).
    fn ec(
        algorithm: VerificationAlgorithm,
        length: usize,
        jwk: &Map<String, Value>,
    ) -> Result<Self, String> {
        let (x, y) = (member(jwk, "x")?, member(jwk, "y")?);
        if x.len() != length || y.len() != length {
            return Err(format!("its `x` or `y` has not {length} bytes"));
        }
        Self::point(algorithm, [&[4], x.as_slice(), &y].concat())
    }

    fn point(algorithm: VerificationAlgorithm, point: Vec<u8>) -> Result<Self, String> {
        let key = match algorithm {
            VerificationAlgorithm::Es256 => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point),
            VerificationAlgorithm::Es384 => ParsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &point),
            // The library would read a certificate's form of the key as well.
            VerificationAlgorithm::EdDsa if point.len() == 32 => {
                ParsedPublicKey::new(&ED25519, &point)
            }
            _ => return Err("its `x` has not 32 bytes".to_owned()),
        };
        let key = key.map_err(|_| "its numbers are no point of its curve".to_owned())?;
        Ok(Self { material: Material::Point(point), verifiers: vec![(algorithm, key)] })
    }
}

/// The bytes of a member in base64url (RFC 7518 section 2).
fn member(jwk: &Map<String, Value>, name: &str) -> Result<Vec<u8>, String> {
    let text = jwk.get(name).and_then(Value::as_str);
    text.and_then(|text| BASE64_URL_SAFE_NO_PAD.decode(text).ok())
        .ok_or_else(|| format!("its `{name}` is missing or not base64url"))
}

/// A value of a JWK for a message: escaped, and cut.
pub(super) fn shown(text: &str) -> String {
    visible(&text.chars().take(SHOWN).collect::<String>()).replace('\n', "\\n")
}
