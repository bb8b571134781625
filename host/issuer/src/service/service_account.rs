//! Tokens of service accounts: decided on as tokens of a registered run are, and signed as they came.

use std::sync::Arc;

use countersign::{Reason, ReasonSource, RunId};
use countersign_clouds::AudienceClouds;
use countersign_signing::{ServiceAccountClaims, ServiceAccountSignature};

use super::decide::{Bound, Head};
use super::{Service, ServiceError};
use crate::clock::Clock;
use crate::cluster_signer::reason;
use crate::decider::{CommittedDecision, IssueRequest, SelectIssuer};
use crate::metrics::ClusterSignerMetrics;
use crate::problem::{Problem, ProblemKind};
use crate::record::{RecordKind, RequestOrigin, Requester};

/// A question about claims that a run's pod asks for.
pub(crate) struct ServiceAccountQuestion {
    pub(crate) run: RunId,
    pub(crate) claims: Arc<ServiceAccountClaims>,
    pub(crate) in_shadow: bool,
    /// The keys that the API server knows.
    pub(crate) issuers: Arc<dyn SelectIssuer + Send + Sync>,
}

/// The answer to claims that a run's pod asks for.
pub(crate) enum ServiceAccountOutcome {
    /// Signed, and on record.
    Signed(ServiceAccountSignature),
    /// Refused by a decision that is on record.
    RefusedOnRecord(Vec<Reason>),
    /// Refused before any decision, and not on record yet.
    Refused(Vec<Reason>),
}

impl Service {
    /// Decides on the claims of a service account's token, and signs them if all of it is approved; in shadow in any case.
    ///
    /// # Errors
    /// When there is no decision or no record of it.
    pub(crate) async fn sign_service_account(
        self: &Arc<Self>,
        question: ServiceAccountQuestion,
        requester: Requester,
        origin: RequestOrigin,
    ) -> Result<ServiceAccountOutcome, Problem> {
        let ServiceAccountQuestion { run, claims, in_shadow, issuers } = question;
        let slot = self.slot()?;
        let now = self.now()?;
        let registered = self.find(&run).await?;
        let Some(registered) = registered else {
            let reason = Reason {
                code: reason::RUN_UNKNOWN.to_owned(),
                message: format!("the run {run} is not registered"),
                source: ReasonSource::Host,
                binding: None,
            };
            return Ok(ServiceAccountOutcome::Refused(vec![reason]));
        };
        let facts = match self.facts_now(&registered, now) {
            Ok(facts) => facts,
            Err(problem) => return refused(problem),
        };
        let audiences = claims.audiences().to_vec();
        let ttl_seconds = u32::try_from(claims.lifetime_seconds()).unwrap_or(u32::MAX);
        let request = IssueRequest::for_run(&registered, audiences, ttl_seconds, now);
        let request = IssueRequest { facts, ..request };
        let token_id = claims.token_id().map(str::to_owned);
        let bound = Some(Bound { claims, in_shadow, issuers });
        let head = Head { requester: requester.clone(), origin: origin.clone(), used: None, bound };
        let committed = self.committed(request, head, RecordKind::ServiceAccount, slot).await?;
        let CommittedDecision { decided, signature, .. } = committed;
        let Some(signature) = signature else {
            let reasons = decided.outcome.err().unwrap_or_default();
            return Ok(ServiceAccountOutcome::RefusedOnRecord(reasons));
        };
        // The run may have ended meanwhile: no token after that.
        let Err(withheld) = self.releasable(&run).await else {
            return Ok(ServiceAccountOutcome::Signed(signature));
        };
        if in_shadow {
            // It leaves all the same, with the reasons on record.
            return refused(withheld);
        }
        // The record of the signed one stays, and this says that it never left.
        let token_id = token_id.unwrap_or_else(|| signature.token_digest().to_string());
        let of = (&run, Some(&registered.runner));
        let by = (&requester, None);
        self.withheld_on_record(&withheld, &token_id, of, by, &origin, self.now()?).await?;
        match refused(withheld)? {
            ServiceAccountOutcome::Refused(reasons) => {
                Ok(ServiceAccountOutcome::RefusedOnRecord(reasons))
            }
            outcome => Ok(outcome),
        }
    }

    /// Puts a record in the log, and waits until it is durable.
    ///
    /// # Errors
    /// When it is not durable as far as is known.
    pub(crate) async fn on_record(&self, record: Vec<u8>) -> Result<(), Problem> {
        let queued = self.append(record)?;
        self.recorded(queued).await
    }

    /// Counts the reasons of a refusal before any decision.
    pub(crate) fn count_refusal(&self, reasons: &[Reason]) {
        self.metrics.count_refusal(reasons);
    }

    /// The clouds of audiences that are in use.
    pub(crate) fn with_clouds<T>(&self, of: impl FnOnce(&AudienceClouds) -> T) -> T {
        of(&self.context.load().clouds)
    }

    /// The clock.
    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The number of changes that the store has.
    pub(crate) fn changes(&self) -> u64 {
        self.store.changes()
    }

    /// Shows the metrics of a cluster's signer beside its own.
    pub(crate) fn register_metrics(
        &self,
        metrics: &ClusterSignerMetrics,
    ) -> Result<(), ServiceError> {
        Ok(self.metrics.register(metrics)?)
    }
}

/// A refusal of the host's rules, or any other problem as it is.
fn refused(problem: Problem) -> Result<ServiceAccountOutcome, Problem> {
    match problem {
        Problem { kind: ProblemKind::AccessDenied, refusal: Some(refused), .. } => {
            Ok(ServiceAccountOutcome::Refused(refused.reasons))
        }
        problem => Err(problem),
    }
}
