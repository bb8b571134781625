//! The parts of a token, before anything in it is verified.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::{MAX_TIMESTAMP, check_json, visible};
use serde::{Deserialize, Deserializer};

use super::key_source::WantedKey;
use super::verification_key::{VerificationAlgorithm, VerificationKey};
use super::{CLOCK_LEEWAY, IdentityError};

/// The maximum size of a token, in bytes.
pub const MAX_TOKEN_BYTES: usize = 16 << 10;

const MAX_DEPTH: usize = 16;

/// A JWS in compact serialisation (RFC 7515 section 7.1) with the claims of a JWT (RFC 7519).
#[derive(Debug)]
pub(super) struct JwsParts<'t> {
    pub(super) algorithm: VerificationAlgorithm,
    /// Not every issuer has it where it has one key only (OpenID Connect Core section 10.1).
    pub(super) kid: Option<String>,
    pub(super) claims: Claims,
    /// The input of the signature.
    pub(super) signed: &'t [u8],
    pub(super) signature: Vec<u8>,
}

/// RFC 7515 section 4.1. A header with any other member is rejected: `crit`, `jwk`, `jku`, `x5u`, `x5c`, `zip`, `b64`
/// and `enc` change the reading of a token, or the key that verifies it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: VerificationAlgorithm,
    #[serde(default, deserialize_with = "present")]
    kid: Option<String>,
    #[serde(default)]
    typ: Option<String>,
    /// Thumbprints of certificates, which some issuers add beside the `kid`.
    #[serde(default, rename = "x5t")]
    _x5t: Option<String>,
    #[serde(default, rename = "x5t#S256")]
    _x5t_s256: Option<String>,
}

/// The claims that are checked; an issuer's others are its own.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    pub(super) iss: String,
    pub(super) sub: String,
    pub(super) aud: AudienceClaim,
    #[serde(deserialize_with = "time")]
    pub(super) exp: u64,
    #[serde(deserialize_with = "time")]
    pub(super) iat: u64,
    #[serde(default, deserialize_with = "optional_time")]
    pub(super) nbf: Option<u64>,
    #[serde(default)]
    pub(super) jti: Option<String>,
}

/// `aud` as RFC 7519 section 4.1.3 has it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum AudienceClaim {
    One(String),
    Several(Vec<String>),
}

impl AudienceClaim {
    /// True when the token is for `audience` alone: any other audience could use it here.
    pub(super) fn is_only(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Several(several) => matches!(several.as_slice(), [one] if one == audience),
        }
    }
}

impl<'t> JwsParts<'t> {
    pub(super) fn parse(token: &'t str) -> Result<Self, &'static str> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err("is too long");
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err("is not a signed JWT in compact serialisation");
        };
        let signed = header.len() + 1 + claims.len();
        let signed = token.as_bytes().get(..signed).unwrap_or_default();
        let header: Header = decode(header).ok_or(
            "has an invalid header: expected `alg` RS256, PS256, ES256, ES384 or EdDSA, `kid`, and no \
             other but `typ`",
        )?;
        if header.kid.as_ref().is_some_and(|kid| {
            kid.is_empty() || kid.len() > 256 || !kid.bytes().all(|byte| byte.is_ascii_graphic())
        }) {
            return Err("has an invalid `kid`");
        }
        if header.typ.is_some_and(|typ| !is_accepted_type(&typ)) {
            return Err("has an invalid `typ`");
        }
        let claims: Claims = decode(claims).ok_or(
            "has invalid claims: expected the texts `iss` and `sub`, `aud`, and the whole \
             numbers `exp` and `iat`",
        )?;
        if claims.jti.as_ref().is_some_and(|id| id.is_empty() || id.len() > 256) {
            return Err("has an invalid `jti`");
        }
        let signature = BASE64_URL_SAFE_NO_PAD
            .decode(signature)
            .map_err(|_| "has a signature that is not base64url")?;
        Ok(Self { algorithm: header.alg, kid: header.kid, claims, signed, signature })
    }

    /// The key that it names.
    pub(super) fn wanted_key(&self) -> WantedKey<'_> {
        WantedKey { kid: self.kid.as_deref(), algorithm: self.algorithm }
    }

    /// Verifies the signature by a key, which must have the token's algorithm.
    pub(super) fn verify(&self, key: &VerificationKey) -> Result<(), IdentityError> {
        if !key.verify(self.algorithm, self.signed, &self.signature) {
            return Err(IdentityError::Signature);
        }
        Ok(())
    }

    /// Its unverified claims, for an operator who looks for the reason of a rejection: escaped, and cut.
    pub(super) fn describe(&self) -> String {
        let cut =
            |text: &str| visible(text).chars().take(200).collect::<String>().replace('\n', " ");
        let aud = match &self.claims.aud {
            AudienceClaim::One(one) => one.clone(),
            AudienceClaim::Several(several) => several.join(" "),
        };
        let (iss, sub) = (cut(&self.claims.iss), cut(&self.claims.sub));
        let kid = self.kid.as_deref().unwrap_or_default();
        format!("iss `{iss}`, sub `{sub}`, aud `{}`, kid `{}`", cut(&aud), cut(kid))
    }

    /// All claims, for showing them.
    pub(super) fn all_claims(&self) -> Option<serde_json::Value> {
        let claims = self.signed.rsplit(|byte| *byte == b'.').next()?;
        decode(str::from_utf8(claims).ok()?)
    }
}

impl Claims {
    /// Checks that the token is for `audience`, and is valid at `now`.
    pub(super) fn check(&self, audience: &str, now: u64) -> Result<(), IdentityError> {
        if !self.aud.is_only(audience) {
            return Err(IdentityError::Audience { expected: audience.to_owned() });
        }
        if now >= self.exp {
            return Err(IdentityError::Expired { expired: self.exp, now });
        }
        for (claim, at) in [("iat", Some(self.iat)), ("nbf", self.nbf)] {
            if let Some(at) = at.filter(|at| *at > now + CLOCK_LEEWAY) {
                return Err(IdentityError::Early { claim, at, now });
            }
        }
        Ok(())
    }
}

/// True for the media types that a JWT of an issuer has: `JWT` (RFC 7519 section 5.1) and that of an access token (RFC
/// 9068 section 4), with or without `application/`; their case does not matter (RFC 7515 section 4.1.9).
fn is_accepted_type(typ: &str) -> bool {
    let subtype = match typ.split_once('/') {
        None => typ,
        Some((kind, subtype)) if kind.eq_ignore_ascii_case("application") => subtype,
        Some(_) => return false,
    };
    ["jwt", "at+jwt"].iter().any(|accepted| subtype.eq_ignore_ascii_case(accepted))
}

/// Decodes JSON in base64url that all readers agree on.
fn decode<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(part).ok()?;
    check_json(&text, MAX_TOKEN_BYTES, MAX_DEPTH).ok()?;
    serde_json::from_slice(&text).ok()
}

/// A NumericDate (RFC 7519 section 2) that is a whole number, as AWS wants them too.
fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let time = u64::deserialize(deserializer)?;
    if time > MAX_TIMESTAMP {
        return Err(serde::de::Error::custom("after the year 9999"));
    }
    Ok(time)
}

/// A text, which may be absent but not null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    String::deserialize(deserializer).map(Some)
}

fn optional_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    time(deserializer).map(Some)
}
