//! Tokens and their claims.

use std::collections::BTreeMap;
use std::fmt;

use aws_lc_rs::rand;
use countersign::{Claims, Digest, Terms};
use serde::Serialize;

/// A signed token in compact serialisation (RFC 7519 section 3). Whoever holds it can use it, so
/// it cannot be printed by accident.
pub struct SignedToken(pub(crate) String);

impl SignedToken {
    /// The token, for its requester.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The digest of the token, which identifies it and is no secret.
    pub fn digest(&self) -> Digest {
        Digest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for SignedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedToken([redacted])")
    }
}

/// The id of a token (`jti`, RFC 7519 section 4.1.7): a random UUID (RFC 9562 section 5.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenId(uuid::Uuid);

impl TokenId {
    /// A new id, or `None` when the system's random number generator fails.
    pub fn random() -> Option<Self> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).ok()?;
        Some(Self::from_random_bytes(bytes))
    }

    /// An id of bytes that the caller vouches for.
    pub fn from_random_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// The claims set of a token.
///
/// The facts of the run are under `meshstack`, and the decision on them under `countersign`,
/// so that they are out of the way of registered claims. The author of the trigger is not among them:
/// a cloud has no use for it, and it may be a person.
#[derive(Serialize)]
pub(crate) struct ClaimsSet<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: AudienceClaim<'a>,
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    meshstack: RunFacts<'a>,
    countersign: DecisionFacts,
    /// Never one of the names above: the evaluator refuses a grant with a reserved name.
    #[serde(flatten)]
    added: BTreeMap<&'a str, &'a str>,
}

/// `aud` as RFC 7519 section 4.1.3 has it: one audience is a string. Entra accepts nothing else.
#[derive(Serialize)]
#[serde(untagged)]
enum AudienceClaim<'a> {
    One(&'a str),
    Several(Vec<&'a str>),
}

#[derive(Serialize)]
struct RunFacts<'a> {
    run: &'a str,
    run_number: u64,
    behavior: &'static str,
    building_block: &'a str,
    workspace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<&'a str>,
    definition: &'a str,
    definition_workspace: &'a str,
    definition_version: u64,
    implementation: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<&'a str>,
}

#[derive(Serialize)]
struct DecisionFacts {
    decision: String,
    policy_set: String,
}

impl<'a> ClaimsSet<'a> {
    /// The claims of a token under these terms. `digests` are those of the decision and of the policy set.
    pub(crate) fn new(
        issuer: &'a str,
        claims: &'a Claims,
        terms: &'a Terms,
        (decision, policy_set): (Digest, Digest),
        id: &TokenId,
    ) -> Self {
        let run = claims.run();
        let issued_at = claims.token().issued_at();
        Self {
            iss: issuer,
            sub: claims.subject().as_str(),
            aud: match terms.audiences.as_slice() {
                [one] => AudienceClaim::One(one.as_str()),
                several => AudienceClaim::Several(several.iter().map(|a| a.as_str()).collect()),
            },
            iat: issued_at,
            nbf: issued_at,
            exp: issued_at + u64::from(terms.ttl_seconds),
            jti: id.to_string(),
            meshstack: RunFacts {
                run: run.id.as_str(),
                run_number: run.number,
                behavior: run.behavior.as_str(),
                building_block: run.building_block.id.as_str(),
                workspace: run.building_block.workspace.as_str(),
                project: run.building_block.project.as_ref().map(|project| project.as_str()),
                platform: run.building_block.platform.as_ref().map(|platform| platform.as_str()),
                definition: run.definition.id.as_str(),
                definition_workspace: run.definition.workspace.as_str(),
                definition_version: run.definition.version,
                implementation: run.definition.implementation.as_str(),
                runner: claims.runner().map(|runner| runner.as_str()),
            },
            countersign: DecisionFacts {
                decision: decision.to_string(),
                policy_set: policy_set.to_string(),
            },
            added: terms.claims.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect(),
        }
    }
}
