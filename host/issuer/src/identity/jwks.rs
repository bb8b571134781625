//! Key sets of other issuers, and of checkpoints.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::check_json;
use serde_json::Value;

use countersign_signing::Algorithm;

/// The maximum size of a key set, in bytes.
pub(super) const MAX_KEY_SET_BYTES: usize = 256 << 10;
const MAX_KEYS: usize = 256;

/// The size of P-256's coordinates, in bytes (RFC 7518 section 6.2.1).
const COORDINATE: usize = 32;

/// A public key that verifies signatures of one algorithm.
#[derive(Debug, PartialEq, Eq)]
pub struct VerificationKey(Material);

#[derive(Debug, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    Ec(Vec<u8>),
}

/// The keys of a JWK Set (RFC 7517 section 5) that can be used, by their `kid`.
///
/// Left out are keys for other uses, of other kinds or sizes, without `kid`, and all keys of a `kid` that
/// several have.
#[derive(Debug, Clone, Default)]
pub struct Jwks(HashMap<String, Arc<VerificationKey>>);

/// A text that is not a key set with a key that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a JWK Set (RFC 7517) with at least one RS256 or ES256 key that has a `kid`: {problem}"
)]
pub struct JwksError {
    problem: String,
}

impl Jwks {
    /// Parses a JWK Set.
    ///
    /// # Errors
    /// When the text is not one, or has no key that can be used.
    pub fn parse(text: &[u8]) -> Result<Self, JwksError> {
        let error = |problem: String| JwksError { problem };
        check_json(text, MAX_KEY_SET_BYTES, 8).map_err(|problem| error(problem.to_string()))?;
        let set: Value = serde_json::from_slice(text).map_err(|_| error("not JSON".to_owned()))?;
        let keys = set.get("keys").and_then(Value::as_array);
        let keys = keys.ok_or_else(|| error("no `keys`".to_owned()))?;
        if keys.len() > MAX_KEYS {
            return Err(error(format!("more than {MAX_KEYS} keys")));
        }
        // `None` stands for a `kid` that several keys have.
        let mut found: HashMap<String, Option<VerificationKey>> = HashMap::new();
        for jwk in keys {
            let Some(kid) = jwk.get("kid").and_then(Value::as_str) else { continue };
            let twice = found.contains_key(kid);
            found.insert(kid.to_owned(), VerificationKey::of(jwk).filter(|_| !twice));
        }
        let usable: HashMap<_, _> =
            found.into_iter().filter_map(|(kid, key)| Some((kid, Arc::new(key?)))).collect();
        if usable.is_empty() {
            return Err(error("no key can be used".to_owned()));
        }
        Ok(Self(usable))
    }

    /// The key, and its `kid`, where there is one only.
    pub(crate) fn only(&self) -> Option<(String, Arc<VerificationKey>)> {
        let mut keys = self.0.iter();
        let (kid, key) = keys.next()?;
        keys.next().is_none().then(|| (kid.clone(), Arc::clone(key)))
    }

    /// The key of a `kid`.
    pub fn get(&self, kid: &str) -> Option<Arc<VerificationKey>> {
        self.0.get(kid).cloned()
    }
}

impl VerificationKey {
    /// The algorithm of the signatures that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Material::Rsa { .. } => Algorithm::Rs256,
            Material::Ec(_) => Algorithm::Es256,
        }
    }

    /// True when this is the key's signature of `message`, in the form of a JWS.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.0 {
            Material::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
            Material::Ec(point) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                .verify(message, signature)
                .is_ok(),
        }
    }

    fn of(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| BASE64_URL_SAFE_NO_PAD.decode(text(name)?).ok();
        let absent_or = |name: &str, expected: &str| match jwk.get(name) {
            None => true,
            Some(value) => value.as_str() == Some(expected),
        };
        let verifies = match jwk.get("key_ops") {
            None => true,
            Some(operations) => operations
                .as_array()
                .is_some_and(|operations| operations.iter().any(|word| word == "verify")),
        };
        if !absent_or("use", "sig") || !verifies {
            return None;
        }
        match text("kty")? {
            "RSA" if absent_or("alg", "RS256") => {
                let (n, e) = (bytes("n")?, bytes("e")?);
                // 2048 to 4096 bits, without leading zeros; an odd exponent of at most 32 bits.
                let sizes = (256..=512).contains(&n.len()) && (1..=4).contains(&e.len());
                let odd = e.last().is_some_and(|last| last & 1 == 1) && e != [1];
                (sizes && odd && n.first() != Some(&0) && e.first() != Some(&0))
                    .then_some(Self(Material::Rsa { n, e }))
            }
            "EC" if absent_or("alg", "ES256") && text("crv")? == "P-256" => {
                let (x, y) = (bytes("x")?, bytes("y")?);
                (x.len() == COORDINATE && y.len() == COORDINATE)
                    .then(|| Self(Material::Ec([&[4], x.as_slice(), &y].concat())))
            }
            _ => None,
        }
    }
}
