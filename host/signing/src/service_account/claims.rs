//! The claims of a service account's token, as the API server wants them signed.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::{Audience, IssuerUrl, check_json};
use countersign_clouds::AudienceClouds;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The maximum size of the claims, in bytes of JSON. Those of Kubernetes have about 1,000.
pub const MAX_SERVICE_ACCOUNT_CLAIMS_BYTES: usize = 32 << 10;

/// The maximum depth of the claims. Those of Kubernetes are three deep.
const MAX_DEPTH: usize = 8;

/// The maximum of audiences. Each is one of two lists, which an operator writes.
const MAX_AUDIENCES: usize = 32;

/// The beginning of a service account's subject; namespace, colon and name follow.
const SUBJECT: &str = "system:serviceaccount:";

/// The rules for the claims of any token, whatever its audience.
#[derive(Debug, Clone, Copy)]
pub struct ClaimsRules<'r> {
    /// The issuer, which `iss` is.
    pub issuer: &'r IssuerUrl,
    /// The maximum of seconds from `iat` to `exp`.
    pub max_expiration_seconds: u64,
}

/// The claims of a service account's token: parsed, within the rules, and still the bytes that came.
///
/// Namespace, name and subject say the same. Claims that Kubernetes does not write are kept and named, since a later version
/// may write more; whoever issues tokens for clouds refuses them.
#[derive(Clone)]
pub struct ServiceAccountClaims {
    encoded: String,
    json: Vec<u8>,
    subject: String,
    namespace: String,
    service_account: String,
    pod: Option<Pod>,
    audiences: Vec<Audience>,
    issued_at: u64,
    expires_at: u64,
    token_id: Option<String>,
    unknown: Vec<String>,
}

/// The pod that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// Claims that are not signed, for anybody. No message repeats a value but the issuer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServiceAccountClaimsError {
    /// They are longer than [`MAX_SERVICE_ACCOUNT_CLAIMS_BYTES`].
    #[error("the claims have {bytes} bytes of base64url, at most {max} are signed", max = max_encoded())]
    TooLarge {
        /// Their length.
        bytes: usize,
    },
    /// They are not base64url without padding.
    #[error("the claims are not base64url without padding (RFC 7515 section 2)")]
    Encoding,
    /// They are not one JSON value that all readers agree on.
    #[error("the claims are not strict JSON: {0}")]
    Json(String),
    /// They are not those of a service account.
    #[error("the claims are not a service account's: {0}")]
    Form(&'static str),
    /// The issuer is another one.
    #[error(
        "`iss` is `{found}`, and this issuer is `{expected}`; set `--service-account-issuer` to it"
    )]
    Issuer {
        /// The issuer in the claims, escaped.
        found: String,
        /// This issuer.
        expected: String,
    },
    /// The times contradict each other or the clock.
    #[error("the times of the claims contradict each other or the clock: {0}")]
    Times(&'static str),
    /// The token would live for longer than the maximum.
    #[error("the token would live for {found} s, at most {max} are signed")]
    Expiration {
        /// Its lifetime, in seconds.
        found: u64,
        /// The maximum.
        max: u64,
    },
}

impl ServiceAccountClaimsError {
    /// The codes, in the order of the variants.
    pub const CODES: [&str; 4] =
        ["claims-malformed", "claims-issuer", "claims-times", "expiration-too-long"];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        let [malformed, issuer, times, expiration] = Self::CODES;
        match self {
            Self::TooLarge { .. } | Self::Encoding | Self::Json(_) | Self::Form(_) => malformed,
            Self::Issuer { .. } => issuer,
            Self::Times(_) => times,
            Self::Expiration { .. } => expiration,
        }
    }
}

#[derive(Deserialize)]
struct ClaimsObject {
    iss: String,
    sub: String,
    aud: Vec<String>,
    exp: u64,
    iat: u64,
    nbf: u64,
    jti: Option<String>,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Kubernetes,
    /// Claims that Kubernetes does not write.
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

/// Members that are not here are not read.
#[derive(Deserialize)]
struct Kubernetes {
    namespace: String,
    serviceaccount: Reference,
    pod: Option<Reference>,
}

#[derive(Deserialize)]
struct Reference {
    name: String,
    uid: String,
}

/// The audiences of the API server, for which tokens are signed without a decision. None of them is a cloud's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiServerAudiences(Vec<Audience>);

/// Claims whose every audience is the API server's and no cloud's: proof that no decision is needed.
#[derive(Clone, Copy)]
pub struct ForApiServer<'c>(pub(crate) &'c ServiceAccountClaims);

/// Claims that are signed whatever was decided on them, since the operator has not begun to enforce decisions. The cluster
/// signed such tokens itself before.
#[derive(Clone, Copy)]
pub struct InShadow<'c>(pub(crate) &'c ServiceAccountClaims);

impl ApiServerAudiences {
    /// The audiences that the operator lists.
    pub fn new(audiences: Vec<Audience>) -> Self {
        Self(audiences)
    }

    /// Tells if an audience is listed.
    pub fn contains(&self, audience: &Audience) -> bool {
        self.0.contains(audience)
    }
}

impl<'c> ForApiServer<'c> {
    /// The proof, where every audience of the claims is listed, and none is a cloud's as `clouds` has it now.
    pub fn of(
        claims: &'c ServiceAccountClaims,
        listed: &ApiServerAudiences,
        clouds: &AudienceClouds,
    ) -> Option<Self> {
        let may = |audience: &Audience| {
            listed.contains(audience) && clouds.of(audience.as_str()).is_none()
        };
        claims.audiences.iter().all(may).then_some(Self(claims))
    }
}

impl<'c> InShadow<'c> {
    /// The claims. The caller vouches that the configuration does not enforce decisions.
    pub fn of(claims: &'c ServiceAccountClaims) -> Self {
        Self(claims)
    }
}

impl ServiceAccountClaims {
    /// Parses claims in base64url without padding (RFC 7515 section 2): strict JSON with the claims of Kubernetes, `iss` this
    /// issuer, `aud` a list of at least one audience and none twice, `nbf` not after `iat`, and `iat` before `exp`.
    ///
    /// # Errors
    /// When they are anything else. Nothing is normalised.
    pub fn parse(
        encoded: &str,
        rules: &ClaimsRules<'_>,
    ) -> Result<Self, ServiceAccountClaimsError> {
        use ServiceAccountClaimsError as Error;
        if encoded.len() > max_encoded() {
            return Err(Error::TooLarge { bytes: encoded.len() });
        }
        let json = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| Error::Encoding)?;
        check_json(&json, MAX_SERVICE_ACCOUNT_CLAIMS_BYTES, MAX_DEPTH)
            .map_err(|error| Error::Json(error.to_string()))?;
        // serde's message could repeat a value.
        let object: ClaimsObject = serde_json::from_slice(&json).map_err(|_| {
            Error::Form("expected `iss`, `sub`, `aud` (a list), `exp`, `iat`, `nbf` (whole numbers) and `kubernetes.io`")
        })?;
        let of = &object.kubernetes;
        let subject = format!("{SUBJECT}{}:{}", of.namespace, of.serviceaccount.name);
        let is_name = |name: &str| (1..=253).contains(&name.len()) && name.bytes().all(of_name);
        if !is_name(&of.namespace) || !is_name(&of.serviceaccount.name) || object.sub != subject {
            return Err(Error::Form("`sub` is not that of `kubernetes.io`"));
        }
        if of.pod.as_ref().is_some_and(|pod| !is_name(&pod.name)) {
            return Err(Error::Form("the name of the pod is none"));
        }
        let token_id = object.jti.as_deref();
        if token_id.is_some_and(|id| !(1..=64).contains(&id.len()) || !id.bytes().all(of_name)) {
            return Err(Error::Form("`jti` is not 1 to 64 letters, digits, dashes and dots"));
        }
        let audiences = audiences(&object.aud)?;
        if object.iss != rules.issuer.as_str() {
            let found = countersign::visible(&object.iss);
            return Err(Error::Issuer { found, expected: rules.issuer.as_str().to_owned() });
        }
        times(&object, rules)?;
        Ok(Self {
            encoded: encoded.to_owned(),
            subject: object.sub,
            namespace: of.namespace.clone(),
            service_account: of.serviceaccount.name.clone(),
            pod: of.pod.as_ref().map(|pod| Pod { name: pod.name.clone(), uid: pod.uid.clone() }),
            audiences,
            issued_at: object.iat,
            expires_at: object.exp,
            token_id: object.jti,
            unknown: object.others.keys().map(|name| countersign::visible(name)).collect(),
            json,
        })
    }

    /// Checks that the token is issued at `now`, in seconds since 1970, within the seconds by which clocks may differ.
    ///
    /// # Errors
    /// When `iat` is at another time.
    pub fn issued_at(
        &self,
        now: u64,
        leeway_seconds: u64,
    ) -> Result<(), ServiceAccountClaimsError> {
        if self.issued_at.abs_diff(now) > leeway_seconds {
            let problem = "`iat` is not now; the clocks of API server and issuer differ";
            return Err(ServiceAccountClaimsError::Times(problem));
        }
        Ok(())
    }

    /// The claims as they came, in base64url.
    pub(crate) fn encoded(&self) -> &str {
        &self.encoded
    }

    /// The claims as JSON.
    pub(crate) fn json(&self) -> &[u8] {
        &self.json
    }

    /// `sub`: `system:serviceaccount:NAMESPACE:NAME`.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// The namespace of service account and pod.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The name of the service account.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// The pod that the token is bound to, if it is bound to one.
    pub fn pod(&self) -> Option<&Pod> {
        self.pod.as_ref()
    }

    /// `aud`: at least one, and none twice.
    pub fn audiences(&self) -> &[Audience] {
        &self.audiences
    }

    /// `exp`, in seconds since 1970.
    pub fn expires_at(&self) -> u64 {
        self.expires_at
    }

    /// The seconds from `iat` to `exp`.
    pub fn lifetime_seconds(&self) -> u64 {
        self.expires_at - self.issued_at
    }

    /// `jti`, which clusters before 1.30 do not write.
    pub fn token_id(&self) -> Option<&str> {
        self.token_id.as_deref()
    }

    /// The names of claims that Kubernetes does not write, escaped.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }
}

fn audiences(found: &[String]) -> Result<Vec<Audience>, ServiceAccountClaimsError> {
    let wrong = ServiceAccountClaimsError::Form;
    if !(1..=MAX_AUDIENCES).contains(&found.len()) {
        return Err(wrong("`aud` has no audience, or more than 32"));
    }
    let mut audiences = Vec::with_capacity(found.len());
    for text in found {
        let audience = Audience::parse(text)
            .map_err(|_| wrong("an audience is not 1 to 256 bytes of printable ASCII"))?;
        if audiences.contains(&audience) {
            return Err(wrong("`aud` has an audience twice"));
        }
        audiences.push(audience);
    }
    Ok(audiences)
}

fn times(claims: &ClaimsObject, rules: &ClaimsRules<'_>) -> Result<(), ServiceAccountClaimsError> {
    use ServiceAccountClaimsError::{Expiration, Times};
    let &ClaimsObject { exp, iat, nbf, .. } = claims;
    if exp <= iat {
        return Err(Times("`exp` is not after `iat`"));
    }
    if nbf > iat {
        return Err(Times("`nbf` is after `iat`"));
    }
    let (found, max) = (exp - iat, rules.max_expiration_seconds);
    if found > max {
        return Err(Expiration { found, max });
    }
    Ok(())
}

fn of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.')
}

fn max_encoded() -> usize {
    MAX_SERVICE_ACCOUNT_CLAIMS_BYTES.div_ceil(3) * 4
}
