//! Decisions of a service: no answer leaves before its record is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::Digest;

use super::{KeysByAudience, Service, Slot};
use crate::decider::{
    CommittedDecision, ConcludeError, DecideError, Decided, Decider, IssueRequest, Issued,
    PendingDecision, RecordHead,
};
use crate::problem::{Problem, ProblemKind, with_sources};
use crate::record::{RecordKind, Requester};

/// The time for which a request waits for others to decide.
const GATE: Duration = Duration::from_millis(20);

impl Service {
    /// Decides, signs the approved token, and returns it once the record is durable.
    ///
    /// # Errors
    /// When the decision refused, which is on record then; or when there can be no record or no signature.
    pub(super) async fn issue(
        self: &Arc<Self>,
        request: IssueRequest,
        requester: Requester,
        id: String,
        slot: Slot,
    ) -> Result<Issued, Problem> {
        let committed = self.committed(request, requester, id, RecordKind::Token, slot).await?;
        let CommittedDecision { decided, issued, .. } = committed;
        match (decided.outcome, issued) {
            (Ok(_), Some(issued)) => Ok(issued),
            (Ok(_), None) => Err(Problem::unavailable("approved, and not signed")),
            (Err(reasons), _) => {
                let description = if decided.preflight.is_empty() {
                    "the policies refuse a token for this run"
                } else {
                    "the cloud of the audience would reject this token"
                };
                let decision: Digest = decided.decision;
                Err(Problem::refused(description, reasons, Some(decision)))
            }
        }
    }

    /// Decides, and returns the decision once its record is durable. `id` identifies the request.
    ///
    /// # Errors
    /// When there can be no record.
    pub async fn decide(
        self: &Arc<Self>,
        request: IssueRequest,
        requester: Requester,
        id: String,
        slot: Slot,
    ) -> Result<Decided, Problem> {
        let committed = self.committed(request, requester, id, RecordKind::Decision, slot);
        Ok(committed.await?.decided)
    }

    async fn committed(
        self: &Arc<Self>,
        request: IssueRequest,
        requester: Requester,
        id: String,
        kind: RecordKind,
        slot: Slot,
    ) -> Result<CommittedDecision, Problem> {
        let (pending, slot) = self.pending(request, requester, id, kind, slot).await?;
        let committed = self.commit(pending).await?;
        drop(slot);
        Ok(committed)
    }

    /// Decides and signs on a thread that may be kept waiting. The slot stays with the work until that is done, also
    /// when the requester has gone.
    ///
    /// As many do as there are processors: more would only take each other's turns. But a policy that takes
    /// long holds up its own callers only, which the evaluator sees to; so nobody waits here for
    /// longer than [`GATE`].
    async fn pending(
        self: &Arc<Self>,
        request: IssueRequest,
        requester: Requester,
        id: String,
        kind: RecordKind,
        slot: Slot,
    ) -> Result<(PendingDecision, Slot), Problem> {
        let _passed = tokio::time::timeout(GATE, self.gate.acquire()).await;
        let started = Instant::now();
        let service = Arc::clone(self);
        let work = move || {
            let head = RecordHead { kind, request: &id, requester: &requester };
            service.decide_and_sign(request, head).map(|pending| (pending, slot))
        };
        let pending = tokio::task::spawn_blocking(work).await.map_err(|error| {
            // The panic was reported where it happened.
            Problem::new(ProblemKind::Internal, "the service failed").detail(error)
        })?;
        let decide = self.metrics.stage_seconds.with_label_values(&["decide"]);
        decide.observe(started.elapsed().as_secs_f64());
        pending
    }

    fn decide_and_sign(
        &self,
        request: IssueRequest,
        head: RecordHead<'_>,
    ) -> Result<PendingDecision, Problem> {
        // One context for the whole request, whatever replaces it meanwhile.
        let (context, keys) = (self.context.load_full(), self.keys.load_full());
        let issuers = KeysByAudience { keys: &keys, config: &self.config };
        let pending = Decider::new(&context, &issuers).decide_and_sign(request, head);
        pending.map_err(|error| match error {
            DecideError::Request(error) => Problem::invalid(error.to_string()),
            DecideError::Conclude(error @ (ConcludeError::NoKey | ConcludeError::NoRandomness)) => {
                Problem::unavailable(error)
            }
            DecideError::Conclude(error) => Problem::failed(error),
        })
    }

    /// Waits until the record is durable. The decision leaves only then.
    async fn commit(&self, pending: PendingDecision) -> Result<CommittedDecision, Problem> {
        let started = Instant::now();
        let log = self.log.load_full().ok_or_else(|| Problem::unavailable("stopping"))?;
        let (kind, faults) = (pending.kind(), pending.faults().to_vec());
        let committed = pending.commit(&log).await;
        self.metrics
            .stage_seconds
            .with_label_values(&["durable"])
            .observe(started.elapsed().as_secs_f64());
        let committed = committed.map_err(|error| {
            let error = with_sources(&error);
            if log.has_failed() {
                let why = log.failure();
                tracing::error!(why, "the decision log has failed: no token until a restart");
            }
            Problem::unavailable(format!("no durable record: {error}"))
        })?;
        let outcome = if committed.decided.outcome.is_ok() { "approved" } else { "refused" };
        self.metrics.decisions.with_label_values(&[kind.as_str(), outcome]).inc();
        for fault in faults {
            self.metrics.faults.with_label_values(&[fault]).inc();
        }
        Ok(committed)
    }
}
