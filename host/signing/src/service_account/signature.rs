//! The signature over a service account's claims.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use countersign::{Approval, Digest};
use countersign_clouds::{AudienceClouds, UnsignedToken, Violation, preflight};
use serde_json::Value;

use super::claims::{ForApiServer, InShadow, ServiceAccountClaims};
use crate::issuer::{ClaimsError, Issuer};
use crate::signer::SignError;

/// A signature over claims that came from the API server. With the claims it is a token, so it cannot be printed by accident.
pub struct ServiceAccountSignature {
    header: String,
    signature: String,
    token: Digest,
}

impl ServiceAccountSignature {
    /// The header in base64url: `alg`, `kid` and `typ`, and nothing else.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The signature in base64url, for the API server.
    pub fn expose(&self) -> &str {
        &self.signature
    }

    /// The digest of the whole token in compact serialisation, which identifies it and is no secret.
    pub fn token_digest(&self) -> Digest {
        self.token
    }
}

impl fmt::Debug for ServiceAccountSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServiceAccountSignature([redacted])")
    }
}

/// A difference between claims and an approval, for which the claims are not signed: they cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAsApproved {
    /// The approval is for less than the claims have.
    #[error(
        "policies approve {approved}, and the API server asks for {asked}, which cannot be changed here"
    )]
    Narrower {
        /// The approval's terms that differ.
        approved: String,
        /// The same of the claims.
        asked: String,
    },
    /// The approval is about another subject.
    #[error("the token's subject is `{asked}`, and the run's is `{approved}`")]
    Subject {
        /// The subject of the run that was decided on.
        approved: String,
        /// The subject of the claims.
        asked: String,
    },
}

impl NotAsApproved {
    /// The codes, in the order of the variants.
    pub const CODES: [&str; 2] = ["door-cannot-narrow", "subject-differs"];

    /// The stable code.
    pub fn code(&self) -> &'static str {
        let [narrower, subject] = Self::CODES;
        match self {
            Self::Narrower { .. } => narrower,
            Self::Subject { .. } => subject,
        }
    }
}

/// Claims that were approved or needed no approval, and became no token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceAccountError {
    /// They are not what was approved.
    #[error(transparent)]
    NotAsApproved(#[from] NotAsApproved),
    /// The cloud of an audience would reject the token. At least one violation.
    #[error("the cloud of the audience would reject the token")]
    Preflight(Vec<Violation>),
    /// The key gave no signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The claims cannot be read as a token's.
    #[error("the claims of the token cannot be read")]
    Claims(#[from] ClaimsError),
}

impl Issuer {
    /// Signs the claims of an approval, and consumes the approval: one approval, one token. They are signed as they came, so
    /// that the approval must be for all of them: the subject, the audiences, the lifetime, and no claim beside.
    ///
    /// # Errors
    /// When the approval is about less or about another subject, a cloud would reject the token, or the signature fails.
    pub fn sign_service_account(
        &self,
        approval: Approval,
        claims: &ServiceAccountClaims,
        clouds: &AudienceClouds,
    ) -> Result<ServiceAccountSignature, ServiceAccountError> {
        self.check_service_account(&approval, claims, clouds)?;
        Ok(self.signed(claims)?)
    }

    /// Runs the checks of [`Issuer::sign_service_account`], and signs nothing.
    ///
    /// # Errors
    /// As there, but for the signature.
    pub fn check_service_account(
        &self,
        approval: &Approval,
        claims: &ServiceAccountClaims,
        clouds: &AudienceClouds,
    ) -> Result<(), ServiceAccountError> {
        as_approved(approval, claims)?;
        match self.violations(claims, clouds)? {
            violations if violations.is_empty() => Ok(()),
            violations => Err(ServiceAccountError::Preflight(violations)),
        }
    }

    /// Signs claims for the API server itself, without a decision.
    ///
    /// # Errors
    /// When the key gives no signature.
    pub fn sign_for_api_server(
        &self,
        claims: ForApiServer<'_>,
    ) -> Result<ServiceAccountSignature, SignError> {
        self.signed(claims.0)
    }

    /// Signs claims whatever was decided on them: the operator does not enforce decisions yet.
    ///
    /// # Errors
    /// When the key gives no signature.
    pub fn sign_in_shadow(
        &self,
        claims: InShadow<'_>,
    ) -> Result<ServiceAccountSignature, SignError> {
        self.signed(claims.0)
    }

    fn signed(&self, claims: &ServiceAccountClaims) -> Result<ServiceAccountSignature, SignError> {
        let mut token = format!("{}{}", self.encoded_header(), claims.encoded());
        let signature = BASE64_URL_SAFE_NO_PAD.encode(self.signer().sign(token.as_bytes())?);
        token.push('.');
        token.push_str(&signature);
        let header = self.encoded_header().trim_end_matches('.').to_owned();
        Ok(ServiceAccountSignature { header, signature, token: Digest::of(token.as_bytes()) })
    }

    /// The violations of the clouds' limits by the token of these claims.
    fn violations(
        &self,
        claims: &ServiceAccountClaims,
        clouds: &AudienceClouds,
    ) -> Result<Vec<Violation>, ClaimsError> {
        let characters = self.encoded_header().len()
            + claims.encoded().len()
            + 1
            + self.signer().public().signature_characters();
        // Kubernetes writes a list also where it has one audience, and every cloud takes such a list of a cluster.
        let mut object: serde_json::Map<String, Value> = serde_json::from_slice(claims.json())?;
        if let [one] = claims.audiences() {
            object.insert("aud".to_owned(), Value::String(one.to_string()));
        }
        let json = serde_json::to_vec(&object)?;
        let unsigned = UnsignedToken::parse(self.header().as_bytes(), &json, characters)?;
        Ok(preflight(&unsigned, clouds))
    }
}

fn as_approved(approval: &Approval, claims: &ServiceAccountClaims) -> Result<(), NotAsApproved> {
    let subject = approval.claims().subject().as_str();
    if subject != claims.subject() {
        let (approved, asked) = (subject.to_owned(), claims.subject().to_owned());
        return Err(NotAsApproved::Subject { approved, asked });
    }
    let terms = approval.terms();
    if terms.audiences != claims.audiences() {
        let list = |audiences: &[countersign::Audience]| {
            let texts: Vec<_> = audiences.iter().map(|audience| format!("`{audience}`")).collect();
            texts.join(", ")
        };
        let (approved, asked) = (list(&terms.audiences), list(claims.audiences()));
        return Err(NotAsApproved::Narrower { approved, asked });
    }
    if u64::from(terms.ttl_seconds) != claims.lifetime_seconds() {
        let approved = format!("{} s", terms.ttl_seconds);
        let asked = format!("{} s", claims.lifetime_seconds());
        return Err(NotAsApproved::Narrower { approved, asked });
    }
    // Kubernetes writes no claim that a policy may add, so that any is one that the token lacks.
    if let Some(name) = terms.claims.keys().next() {
        let (approved, asked) = (format!("with the claim `{name}`"), "a token without".to_owned());
        return Err(NotAsApproved::Narrower { approved, asked });
    }
    Ok(())
}
