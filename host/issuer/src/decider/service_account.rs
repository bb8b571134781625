//! The signature over a service account's claims, by an approval of all of them.

use countersign::{Approval, SubjectFormat};
use countersign_clouds::Violation;
use countersign_signing::{
    InShadow, Issuer, NotAsApproved, ServiceAccountClaims, ServiceAccountError,
    ServiceAccountSignature, SignError,
};

use super::{ConcludeError, Decider};
use crate::record::IssuedRecord;

/// The claims that a decision is about.
#[derive(Clone, Copy)]
pub struct ServiceAccountHead<'r> {
    /// The claims.
    pub claims: &'r ServiceAccountClaims,
    /// Decisions are not enforced: the claims are signed whatever is decided.
    pub in_shadow: bool,
}

/// A signature with its part of the record; or the reasons that there is none.
pub(super) enum BoundOutcome {
    Signed(ServiceAccountSignature, IssuedRecord),
    Rejected(Vec<Violation>),
}

impl Decider<'_> {
    /// Signs the claims that an approval is for.
    pub(super) fn sign_bound(
        &self,
        approval: Approval,
        claims: &ServiceAccountClaims,
        profile: SubjectFormat,
        now: u64,
    ) -> Result<BoundOutcome, ConcludeError> {
        let issuer = self.issuers.issuer_for(claims.audiences(), now);
        let issuer = issuer.ok_or(ConcludeError::NoKey)?;
        match issuer.sign_service_account(approval, claims, &self.context.clouds) {
            Ok(signature) => {
                let record = issued_record(issuer, claims, &signature, profile.as_str());
                Ok(BoundOutcome::Signed(signature, record))
            }
            Err(ServiceAccountError::Preflight(violations)) => {
                Ok(BoundOutcome::Rejected(violations))
            }
            Err(ServiceAccountError::NotAsApproved(error)) => {
                Ok(BoundOutcome::Rejected(vec![violation(&error)]))
            }
            Err(error) => Err(ConcludeError::ServiceAccount(error)),
        }
    }

    /// Signs the claims although they were refused.
    pub(super) fn sign_shadowed(
        &self,
        claims: &ServiceAccountClaims,
        profile: SubjectFormat,
        now: u64,
    ) -> Result<(ServiceAccountSignature, IssuedRecord), ConcludeError> {
        let issuer = self.issuers.issuer_for(claims.audiences(), now);
        let issuer = issuer.ok_or(ConcludeError::NoKey)?;
        let signature = issuer.sign_in_shadow(InShadow::of(claims));
        let signature =
            signature.map_err(|SignError| ConcludeError::ServiceAccount(SignError.into()))?;
        let record = issued_record(issuer, claims, &signature, profile.as_str());
        Ok((signature, record))
    }
}

fn violation(error: &NotAsApproved) -> Violation {
    Violation { code: error.code(), message: error.to_string() }
}

/// The part of a record about a signature over claims.
pub(crate) fn issued_record(
    issuer: &Issuer,
    claims: &ServiceAccountClaims,
    signature: &ServiceAccountSignature,
    profile: &'static str,
) -> IssuedRecord {
    let public = issuer.signer().public();
    IssuedRecord {
        jti: claims.token_id().unwrap_or_default().to_owned(),
        token: signature.token_digest().to_string(),
        kid: public.kid().to_owned(),
        algorithm: public.algorithm().as_str(),
        subject_profile: profile,
        expires_at: claims.expires_at(),
    }
}
