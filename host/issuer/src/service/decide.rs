//! Decisions of a service: no answer leaves before its record is durable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::{Audience, Digest, Facts, RunId, RunnerId};
use countersign_decision_log::NotDurable;
use countersign_signing::ServiceAccountClaims;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{KeysByAudience, Principal, Service, Slot};
use crate::decider::{
    CommittedDecision, ConcludeError, DecideError, Decided, Decider, IssueRequest, Issued,
    PendingDecision, RecordHead, SelectIssuer, ServiceAccountHead,
};
use crate::problem::{Problem, ProblemKind, with_sources};
use crate::record::{RecordKind, RequestOrigin, Requester, UsedToken};

/// The time for which a request waits for others to decide.
const GATE: Duration = Duration::from_millis(20);

/// The head of a decision's record, until it is decided.
pub(super) struct Head {
    pub(super) requester: Requester,
    pub(super) origin: RequestOrigin,
    pub(super) used: Option<UsedToken>,
    /// The claims of a service account, where those are to be signed.
    pub(super) bound: Option<Bound>,
}

/// The claims of a service account, which an approval is bound to.
pub(super) struct Bound {
    pub(super) claims: Arc<ServiceAccountClaims>,
    pub(super) in_shadow: bool,
    /// The keys that whoever asks knows.
    pub(super) issuers: Arc<dyn SelectIssuer + Send + Sync>,
}

/// A question about a token of a run that is registered.
#[derive(Debug, Clone)]
pub struct RegisteredQuestion {
    /// The run.
    pub run: RunId,
    /// The audience that the token would have.
    pub audience: Audience,
    /// The lifetime that the token would have, in seconds.
    pub ttl_seconds: u32,
}

/// A decision whose record was queued.
struct Answer {
    /// The codes of the faults in its trace.
    faults: Vec<&'static str>,
    /// The time at which the record was queued.
    queued: Instant,
    committed: Result<CommittedDecision, NotDurable>,
}

impl Service {
    /// Decides, signs the approved token, and returns it once the record is durable.
    ///
    /// # Errors
    /// When the decision refused, which is on record then; or when there can be no record or no signature.
    pub(super) async fn issue(
        self: &Arc<Self>,
        request: IssueRequest,
        head: Head,
        slot: Slot,
    ) -> Result<Issued, Problem> {
        // RFC 8693 section 2.2.2 has a word of its own for an audience that no token is issued for.
        let clouds = &self.context.load().clouds;
        let is_target = |audience: &Audience| clouds.of(audience.as_str()).is_some();
        let kind = match request.audiences.iter().all(is_target) {
            true => ProblemKind::AccessDenied,
            false => ProblemKind::InvalidTarget,
        };
        let committed = self.committed(request, head, RecordKind::Token, slot).await?;
        let CommittedDecision { decided, issued, .. } = committed;
        match (decided.outcome, issued) {
            (Ok(_), Some(issued)) => Ok(issued),
            (Ok(_), None) => Err(Problem::unavailable("approved, and not signed")),
            (Err(reasons), _) => {
                let description = match kind {
                    ProblemKind::InvalidTarget => {
                        "`audience`: no tokens are issued for it; it is neither a usual one of a cloud nor one of \
                         the issuer's `audiences`"
                    }
                    _ if decided.preflight.is_empty() => "the policies refuse a token for this run",
                    _ => "the cloud of the audience would reject this token",
                };
                let decision: Digest = decided.decision;
                let problem = Problem::refused(description, reasons, Some(decision));
                Err(Problem { kind, ..problem })
            }
        }
    }

    /// Decides, and returns the decision once its record is durable.
    ///
    /// # Errors
    /// When the runner serves no such run, or there can be no record.
    pub async fn decide(
        self: &Arc<Self>,
        request: IssueRequest,
        principal: &Principal,
        origin: RequestOrigin,
        slot: Slot,
    ) -> Result<Decided, Problem> {
        let decided = self.decide_once(request, principal, origin, slot).await;
        self.repeatable_for(principal, decided).await
    }

    async fn decide_once(
        self: &Arc<Self>,
        request: IssueRequest,
        principal: &Principal,
        origin: RequestOrigin,
        slot: Slot,
    ) -> Result<Decided, Problem> {
        let facts = self.facts_for(request.runner.as_ref(), &request.run, &request.facts);
        let of = (&request.run.id, request.runner.as_ref());
        let facts = self.or_on_record(facts, of, principal, &origin, request.now).await?;
        self.decided(IssueRequest { facts, ..request }, principal, origin, slot).await
    }

    /// Decides on a token of a run that is registered, without issuing it, and returns the decision once its record is
    /// durable. The principal's token stays used whatever comes of it: it may ask several questions at once, and
    /// [`Service::repeatable_for`] is for the answer to all of them.
    ///
    /// # Errors
    /// When there is no such run, it has ended, its runner may not serve it, the lifetime is none that a token can have, or
    /// there can be no record.
    pub async fn decide_registered(
        self: &Arc<Self>,
        question: RegisteredQuestion,
        principal: &Principal,
        origin: RequestOrigin,
        slot: Slot,
    ) -> Result<Decided, Problem> {
        let RegisteredQuestion { run, audience, ttl_seconds } = question;
        let ttl_seconds = self.lifetime(Some(ttl_seconds))?;
        let now = self.now()?;
        let registered = self.registered_run(&run).await?;
        let facts = self.facts_now(&registered, now);
        let of = (&run, Some(&registered.runner));
        let facts = self.or_on_record(facts, of, principal, &origin, now).await?;
        let request = IssueRequest::for_run(&registered, vec![audience], ttl_seconds, now);
        self.decided(IssueRequest { facts, ..request }, principal, origin, slot).await
    }

    /// The facts of a run, or the refusal of a rule of the host, which is on record then.
    async fn or_on_record(
        &self,
        facts: Result<Facts, Problem>,
        of: (&RunId, Option<&RunnerId>),
        principal: &Principal,
        origin: &RequestOrigin,
        now: u64,
    ) -> Result<Facts, Problem> {
        match facts {
            Ok(facts) => Ok(facts),
            Err(refusal) => {
                let requester = principal.requester();
                let by = (&requester, principal.used.as_ref());
                Err(self.refusal_on_record(refusal, of, by, origin, now).await)
            }
        }
    }

    async fn decided(
        self: &Arc<Self>,
        request: IssueRequest,
        principal: &Principal,
        origin: RequestOrigin,
        slot: Slot,
    ) -> Result<Decided, Problem> {
        // All replicas decide alike, or not at all.
        self.check_replica()?;
        let used = principal.used.clone();
        let head = Head { requester: principal.requester(), origin, used, bound: None };
        Ok(self.committed(request, head, RecordKind::Decision, slot).await?.decided)
    }

    /// Decides and signs on a thread that may be kept waiting, and waits until the record is durable. The slot stays with
    /// the work until that is done, also when the requester has gone.
    ///
    /// A policy that takes long holds up its own callers only, which the evaluator sees to; so nobody waits here for a
    /// thread for longer than [`GATE`].
    pub(super) async fn committed(
        self: &Arc<Self>,
        request: IssueRequest,
        head: Head,
        kind: RecordKind,
        slot: Slot,
    ) -> Result<CommittedDecision, Problem> {
        let (done, answer) = oneshot::channel();
        let service = Arc::clone(self);
        let expected = self.log.load().as_ref().map(|log| log.expect());
        self.deciders.submit(move || {
            // Until the record is queued.
            let _expected = expected;
            if done.is_closed() {
                return;
            }
            let Head { requester, origin, used, bound } = &head;
            let (used, changes) = (used.as_ref(), Some(service.store.changes()));
            let service_account = bound.as_ref().map(|bound| ServiceAccountHead {
                claims: &bound.claims,
                in_shadow: bound.in_shadow,
            });
            let head = RecordHead { kind, origin, requester, used, changes, service_account };
            let issuers = bound.as_ref().map(|bound| &*bound.issuers);
            service.decide_and_commit(request, head, issuers, slot, done);
        });
        let mut answer = pin!(answer);
        let answer = match timeout(GATE, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                self.deciders.relieve();
                answer.await
            }
        };
        // Dropped with the records that wait, where the log is closed before they are written.
        let Answer { faults, queued, committed } =
            answer.unwrap_or_else(|_| Err(Problem::unavailable(NotDurable::Closed)))?;
        self.metrics
            .stage_seconds
            .with_label_values(&["durable"])
            .observe(queued.elapsed().as_secs_f64());
        let committed = committed.map_err(|error| self.not_durable(&error))?;
        if let Some(position) = committed.position {
            self.log_reached(position);
        }
        let outcome = if committed.decided.outcome.is_ok() { "approved" } else { "refused" };
        self.metrics.decisions.with_label_values(&[kind.as_str(), outcome]).inc();
        if let Err(reasons) = &committed.decided.outcome {
            self.metrics.count_refusal(reasons);
        }
        for fault in faults {
            self.metrics.faults.with_label_values(&[fault]).inc();
        }
        Ok(committed)
    }

    /// Decides, signs, and queues the record, in one go: each other thread in between would have to be woken.
    fn decide_and_commit(
        &self,
        request: IssueRequest,
        head: RecordHead<'_>,
        issuers: Option<&(dyn SelectIssuer + Send + Sync)>,
        slot: Slot,
        done: oneshot::Sender<Result<Answer, Problem>>,
    ) {
        let (started, trace) = (Instant::now(), head.origin.trace.clone());
        // The panic is reported where it happens; nothing of the request is used after it.
        let decided =
            catch_unwind(AssertUnwindSafe(|| self.decide_and_sign(request, head, issuers)));
        let decided = decided.unwrap_or_else(|_| {
            Err(Problem::new(ProblemKind::Internal, "the service failed").detail("it panicked"))
        });
        let decide = self.metrics.stage_seconds.with_label_values(&["decide"]);
        decide.observe(started.elapsed().as_secs_f64());
        let ready = decided.and_then(|pending| match self.log.load_full() {
            Some(log) => Ok((pending, log)),
            None => Err(Problem::unavailable("stopping")),
        });
        // The slot is free before the answer is there, and the requester may have gone.
        match ready {
            Err(problem) => {
                drop(slot);
                let _ = done.send(Err(problem));
            }
            Ok((pending, log)) => {
                let (faults, queued) = (pending.faults().to_vec(), Instant::now());
                let mut pending = pending;
                let decision = pending.take_json();
                let (policy_set, faulted) = (pending.policy_set(), !faults.is_empty());
                let (decided_at, of_record) = (pending.decided_at(), trace.clone());
                pending.commit(&log, move |committed| {
                    if let Some(trace) = of_record {
                        let failed = committed.is_err();
                        trace.span("sync", (queued, Instant::now()), Vec::new(), failed);
                    }
                    drop(slot);
                    let _ = done.send(Ok(Answer { faults, queued, committed }));
                });
                // Once the record is queued: nothing of this is in its way.
                if let Some(trace) = trace {
                    trace.span("append", (queued, Instant::now()), Vec::new(), false);
                    trace.span("sign", (decided_at, queued), Vec::new(), false);
                    trace.decision((started, decided_at), &decision);
                }
                self.offer_to_watch(policy_set, faulted, &decision);
                self.offer_to_trial(decision);
            }
        }
    }

    fn decide_and_sign(
        &self,
        request: IssueRequest,
        head: RecordHead<'_>,
        issuers: Option<&(dyn SelectIssuer + Send + Sync)>,
    ) -> Result<PendingDecision, Problem> {
        // One context for the whole request, whatever replaces it meanwhile.
        let (context, keys) = (self.context.load_full(), self.keys.load_full());
        let own = KeysByAudience { keys: &keys, config: &self.config };
        let issuers: &dyn SelectIssuer = match issuers {
            Some(issuers) => issuers,
            None => &own,
        };
        let pending = Decider::new(&context, issuers).decide_and_sign(request, head);
        pending.map_err(|error| match error {
            DecideError::Request(error) => Problem::invalid(error.to_string()),
            DecideError::Conclude(error @ (ConcludeError::NoKey | ConcludeError::NoRandomness)) => {
                Problem::unavailable(error)
            }
            DecideError::Conclude(error) => Problem::failed(error),
        })
    }

    /// The problem of a decision without a durable record, which does not leave.
    pub(super) fn not_durable(&self, error: &NotDurable) -> Problem {
        let error = with_sources(error);
        if let Some(log) = self.log.load().as_ref().filter(|log| log.has_failed()) {
            let why = log.failure();
            tracing::error!(why, "the decision log has failed: no token until a restart");
        }
        Problem::unavailable(format!("no durable record: {error}"))
    }
}
