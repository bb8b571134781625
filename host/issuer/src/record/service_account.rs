//! The records of tokens of service accounts.

use countersign::{Reason, RunId};
use countersign_signing::{Issuer, ServiceAccountClaims, ServiceAccountSignature};
use serde::Serialize;

use super::{IssuedRecord, RequestOrigin, Requester};
use crate::decider::issued_record;

/// The kind of these records, with a decision and without one.
pub(crate) const SERVICE_ACCOUNT: &str = "service-account";

/// The list of the signer that has all audiences of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignerList {
    /// The API server's own.
    Pass,
    /// Those that are decided on.
    Decide,
    /// Some are of one list and some of the other, or of none.
    Both,
    /// Neither has any of them.
    None,
}

impl SignerList {
    /// The word that records have for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Decide => "decide",
            Self::Both => "mixed",
            Self::None => "none",
        }
    }
}

/// The claims of a token, as records have them.
#[derive(Serialize)]
pub(crate) struct ServiceAccountPart<'r> {
    namespace: &'r str,
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pod_uid: Option<&'r str>,
    audiences: Vec<&'r str>,
    lifetime_seconds: u64,
    /// Names of claims that Kubernetes does not write.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    unknown_claims: &'r [String],
}

impl<'r> ServiceAccountPart<'r> {
    pub(crate) fn new(claims: &'r ServiceAccountClaims) -> Self {
        Self {
            namespace: claims.namespace(),
            name: claims.service_account(),
            pod: claims.pod().map(|pod| pod.name.as_str()),
            pod_uid: claims.pod().map(|pod| pod.uid.as_str()),
            audiences: claims.audiences().iter().map(|audience| audience.as_str()).collect(),
            lifetime_seconds: claims.lifetime_seconds(),
            unknown_claims: claims.unknown(),
        }
    }
}

/// The parts of a record without a decision.
pub(crate) struct ServiceAccountRecord<'r> {
    pub(crate) origin: &'r RequestOrigin,
    pub(crate) requester: &'r Requester,
    pub(crate) time: u64,
    pub(crate) changes: Option<u64>,
    pub(crate) claims: Option<&'r ServiceAccountClaims>,
    pub(crate) list: SignerList,
    pub(crate) in_shadow: bool,
    pub(crate) run: Option<&'r RunId>,
    pub(crate) reasons: &'r [Reason],
    pub(crate) signed: Option<(&'r ServiceAccountSignature, &'r Issuer)>,
}

/// A record. Within a `version`, members are only added.
#[derive(Serialize)]
struct Record<'r> {
    version: u32,
    kind: &'static str,
    request: &'r str,
    time: u64,
    requester: &'r Requester,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<u64>,
    /// [`mode`].
    mode: &'static str,
    list: &'static str,
    /// Absent where the claims are not those of a service account.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_account: Option<ServiceAccountPart<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<HostReason<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<IssuedRecord>,
}

#[derive(Serialize)]
struct HostReason<'r> {
    code: &'r str,
    message: &'r str,
}

impl ServiceAccountRecord<'_> {
    /// The record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn written(&self) -> Result<Vec<u8>, serde_json::Error> {
        let reasons = self.reasons.iter();
        let signed = self.signed.zip(self.claims);
        serde_json::to_vec(&Record {
            version: 1,
            kind: SERVICE_ACCOUNT,
            request: &self.origin.id,
            time: self.time,
            requester: self.requester,
            changes: self.changes,
            mode: match self.list {
                SignerList::Pass => "pass",
                _ => mode(self.in_shadow),
            },
            list: self.list.as_str(),
            service_account: self.claims.map(ServiceAccountPart::new),
            run: self.run.map(|run| run.as_str()),
            reasons: reasons
                .map(|reason| HostReason { code: &reason.code, message: &reason.message })
                .collect(),
            // Nothing here knows a definition, whose subject would have a format.
            issued: signed.map(|((signature, issuer), claims)| {
                issued_record(issuer, claims, signature, SERVICE_ACCOUNT)
            }),
        })
    }
}

/// The word for the effect of decisions.
pub(crate) fn mode(in_shadow: bool) -> &'static str {
    if in_shadow { "shadow" } else { "enforce" }
}
