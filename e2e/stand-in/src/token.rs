//! Parses and verifies a presented token.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Map, Value};

use crate::keys::Published;

/// The tolerated clock skew, in seconds.
const LEEWAY: i64 = 60;

/// A parsed token whose signature is not verified yet.
pub(crate) struct PresentedToken {
    pub(crate) text: String,
    pub(crate) header: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
}

impl PresentedToken {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let parts: Vec<_> = text.split('.').collect();
        let [header, claims, _] = parts.as_slice() else {
            return Err("not a signed JWT".to_owned());
        };
        let object = |part: &str, what| -> Result<Map<String, Value>, String> {
            let bytes = BASE64_URL_SAFE_NO_PAD
                .decode(part)
                .map_err(|_| format!("{what}: not base64url"))?;
            serde_json::from_slice(&bytes).map_err(|_| format!("{what}: not an object"))
        };
        Ok(Self {
            text: text.to_owned(),
            header: object(header, "header")?,
            claims: object(claims, "claims")?,
        })
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.header.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn claim(&self, name: &str) -> Result<&str, String> {
        self.claims.get(name).and_then(Value::as_str).ok_or_else(|| format!("no `{name}`"))
    }

    /// Returns the audiences, one or several.
    pub(crate) fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns a time claim, which must be a whole number.
    pub(crate) fn time(&self, name: &str) -> Result<i64, String> {
        match self.claims.get(name) {
            Some(Value::Number(number)) => {
                number.as_i64().ok_or_else(|| format!("`{name}` is no integer"))
            }
            _ => Err(format!("`{name}` is no integer")),
        }
    }

    /// Verifies the signature with one of the issuer's keys, the issuer, and the times.
    pub(crate) fn verify(&self, published: &Published, algorithms: &[&str]) -> Result<(), String> {
        if self.claim("iss")? != published.issuer {
            return Err("another issuer".to_owned());
        }
        let named = self.header("alg");
        if !algorithms.contains(&named) {
            return Err(format!("the algorithm `{named}` is not supported"));
        }
        let algorithm: Algorithm =
            named.parse().map_err(|_| format!("unknown algorithm `{named}`"))?;
        let kid = self.header.get("kid").and_then(Value::as_str);
        let candidates = published.keys.keys.iter().filter(|key| {
            kid.is_none_or(|kid| key.common.key_id.as_deref() == Some(kid)) && fits(key, algorithm)
        });
        let mut validation = Validation::new(algorithm);
        // Issuer, audience and times are checked below, since the clouds differ.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let verified = candidates
            .filter_map(|key| DecodingKey::from_jwk(key).ok())
            .any(|key| jsonwebtoken::decode::<Value>(&self.text, &key, &validation).is_ok());
        if !verified {
            return Err("no published key verifies the signature".to_owned());
        }
        let now = now();
        if self.time("exp")? + LEEWAY < now {
            return Err("the token has expired".to_owned());
        }
        if self.claims.contains_key("nbf") && self.time("nbf")? - LEEWAY > now {
            return Err("the token is not valid yet".to_owned());
        }
        if self.time("iat")? - LEEWAY > now {
            return Err("`iat` is not in the past".to_owned());
        }
        Ok(())
    }
}

/// Seconds since 1970.
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn fits(key: &Jwk, algorithm: Algorithm) -> bool {
    match &key.algorithm {
        AlgorithmParameters::RSA(_) => {
            matches!(algorithm, Algorithm::RS256 | Algorithm::RS384 | Algorithm::RS512)
        }
        AlgorithmParameters::EllipticCurve(_) => {
            matches!(algorithm, Algorithm::ES256 | Algorithm::ES384)
        }
        _ => false,
    }
}
