//! Token exchange (RFC 8693): a runner's own identity, or a run's own token, is exchanged for a token of the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use countersign::{Audience, Facts, Reason, ReasonSource, Run, RunId, RunnerId};
use zeroize::Zeroizing;

use super::decide::Head;
use super::principal::{identity_problem, used_token};
use super::{Service, Slot};
use crate::decider::{Decided, IssueRequest, Issued};
use crate::identity::{Identity, Verified};
use crate::problem::{Problem, ProblemKind};
use crate::record::{RecordKind, RequestOrigin, Requester};
use crate::runs::{Liveness, RUN_EXPIRED, RUN_FINISHED, RegisteredRun, SecretHash};

/// A request to exchange a token.
pub struct ExchangeRequest {
    /// The run that the new token is for.
    pub run: RunId,
    /// The audiences of the new token.
    pub audiences: Vec<Audience>,
    /// The lifetime of the new token, in seconds; the default one unless given.
    pub ttl_seconds: Option<u32>,
    /// The token that is exchanged.
    pub subject_token: SubjectToken,
}

/// A run for which the caller may have a token.
struct Authorized {
    registered: Arc<RegisteredRun>,
    requester: Requester,
    /// The token that proves so, where it is one of a trusted issuer.
    verified: Option<Verified>,
    slot: Slot,
}

/// A request of a caller that may have a token of the run.
struct ProvenExchange {
    issue: IssueRequest,
    head: Head,
    registered: Arc<RegisteredRun>,
    slot: Slot,
}

/// A token that proves that the caller may have a token of the run.
pub enum SubjectToken {
    /// A JWT of a trusted issuer: the runner's own identity.
    RunnerIdentity(Zeroizing<String>),
    /// The token in the run object.
    RunToken(Zeroizing<String>),
}

impl Service {
    /// Issues a token for a run to a caller that may have it. `proven` becomes true once its caller has proved that it may.
    ///
    /// # Errors
    /// When the subject token is not accepted or is not for this run, with one answer for a run that is
    /// not there and one that is another's; when the run has ended; when policies refuse.
    pub async fn exchange(
        self: &Arc<Self>,
        request: ExchangeRequest,
        origin: RequestOrigin,
        proven: &Arc<AtomicBool>,
    ) -> Result<Issued, Problem> {
        let ProvenExchange { issue, head, registered, slot } =
            self.entitled(request, origin, proven).await?;
        self.issued(issue, head, &registered, slot).await
    }

    /// Decides on an exchange that somebody else makes, and returns the decision once its record is durable. All checks of
    /// [`Service::exchange`] come first.
    ///
    /// # Errors
    /// Those of [`Service::exchange`], but for a decision that refuses, which is an answer here.
    pub async fn decide_exchange(
        self: &Arc<Self>,
        request: ExchangeRequest,
        origin: RequestOrigin,
        proven: &Arc<AtomicBool>,
    ) -> Result<Decided, Problem> {
        let ProvenExchange { issue, head, registered, slot } =
            self.entitled(request, origin, proven).await?;
        let (requester, origin) = (head.requester.clone(), head.origin.clone());
        let used = head.used.clone();
        let committed = self.committed(issue, head, RecordKind::Decision, slot).await;
        let decided = self.repeatable(used.as_ref(), committed).await?.decided;
        if decided.outcome.is_err() {
            return Ok(decided);
        }
        // The run may have ended meanwhile, as for a token.
        let Err(refusal) = self.releasable(&registered.run.id).await else { return Ok(decided) };
        let of = (&registered.run.id, Some(&registered.runner));
        let by = (&requester, None);
        let refusal = self.refusal_on_record(refusal, of, by, &origin, self.now()?).await;
        self.repeatable(used.as_ref(), Err(refusal)).await
    }

    /// Checks that a caller may have a token of the run, within its limits.
    async fn entitled(
        self: &Arc<Self>,
        request: ExchangeRequest,
        origin: RequestOrigin,
        proven: &Arc<AtomicBool>,
    ) -> Result<ProvenExchange, Problem> {
        let max = self.config.max_audiences;
        if request.audiences.len() > max {
            let description = match max {
                1 => "one audience a token; request a token for each".to_owned(),
                max => format!("at most {max} audiences a token"),
            };
            return Err(Problem::new(ProblemKind::InvalidTarget, description));
        }
        let ttl_seconds = self.lifetime(request.ttl_seconds)?;
        let began = Instant::now();
        let authorized = self.authorized(&request.run, &request.subject_token, proven).await;
        if let Some(trace) = &origin.trace {
            trace.span("authenticate", (began, Instant::now()), Vec::new(), false);
        }
        let Authorized { registered, requester, verified, slot } = authorized?;
        let now = self.now()?;
        // The token is not used up: nothing could be given for it.
        self.check_replica()?;
        // Before anything is decided or put on record, and after it is known whose limit it is.
        let is_of_run = matches!(request.subject_token, SubjectToken::RunToken(_));
        match is_of_run {
            true => self.check_run_rate(&request.run)?,
            false => self.check_runner_rate(&registered.runner)?,
        }
        let of = (&request.run, Some(&registered.runner));
        let facts = match self.facts_now(&registered, now) {
            Ok(facts) => facts,
            // The token is not used up: nothing was given for it.
            Err(refusal) => {
                let by = (&requester, None);
                return Err(self.refusal_on_record(refusal, of, by, &origin, now).await);
            }
        };
        // Whoever holds the token of a run that has ended takes nothing of what its runner's other runs share.
        if is_of_run {
            self.check_runner_rate(&registered.runner)?;
        }
        let used = verified.as_ref().and_then(used_token);
        if let SubjectToken::RunnerIdentity(token) = &request.subject_token {
            let noted = self.use_once(used.as_ref()).await;
            noted.map_err(|error| identity_problem(&error, token))?;
        }
        let issue = IssueRequest::for_run(&registered, request.audiences, ttl_seconds, now);
        let issue = IssueRequest { facts, ..issue };
        let head = Head { requester, origin, used, bound: None };
        Ok(ProvenExchange { issue, head, registered, slot })
    }

    async fn issued(
        self: &Arc<Self>,
        request: IssueRequest,
        head: Head,
        registered: &RegisteredRun,
        slot: Slot,
    ) -> Result<Issued, Problem> {
        let (run, requester, origin) =
            (registered.run.id.clone(), head.requester.clone(), head.origin.clone());
        let used = head.used.clone();
        let issued = self.issue(request, head, slot).await;
        let issued = self.repeatable(used.as_ref(), issued).await?;
        let Err(withheld) = self.releasable(&run).await else {
            self.metrics.tokens.with_label_values(&issued.labels()).inc();
            return Ok(issued);
        };
        // The record of the signed one stays, and this says that it never left. Where that cannot be said, the token that
        // was used stays used: by the records it has led to one.
        let now = self.now()?;
        let of = (&run, Some(&registered.runner));
        let by = (&requester, None);
        let recorded = self.withheld_on_record(&withheld, &issued.jti, of, by, &origin, now).await;
        match recorded {
            Ok(()) => self.repeatable(used.as_ref(), Err(withheld)).await,
            Err(problem) => Err(problem),
        }
    }

    /// Checks that a token that is signed may leave: the run may have ended meanwhile, and after that none does, whichever
    /// replica has noted it.
    pub(super) async fn releasable(&self, run: &RunId) -> Result<(), Problem> {
        let registered = self.find(run).await?;
        let registered = registered.ok_or_else(|| Problem::unavailable("the run is gone"))?;
        check_live(&registered, self.now()?)?;
        // Last: what was read is of no account once this replica has lost the others.
        self.check_replica()
    }

    /// The lifetime of a token, in seconds: the one that is requested, or the default.
    pub(super) fn lifetime(&self, requested: Option<u32>) -> Result<u32, Problem> {
        let ttl_seconds = requested.unwrap_or(self.config.default_ttl_seconds);
        let max = self.config.max_ttl_seconds;
        match (1..=max).contains(&ttl_seconds) {
            true => Ok(ttl_seconds),
            false => Err(Problem::invalid(format!("`ttl_seconds`: expected 1 to {max}"))),
        }
    }

    /// The facts of a run that is live at `now` and that its runner may have a token for.
    pub(super) fn facts_now(&self, registered: &RegisteredRun, now: u64) -> Result<Facts, Problem> {
        check_live(registered, now)?;
        self.facts_for(Some(&registered.runner), &registered.run, &registered.facts)
    }

    /// The run, if the subject token is of its runner, or is its own; with a slot.
    async fn authorized(
        self: &Arc<Self>,
        run: &RunId,
        subject_token: &SubjectToken,
        proven: &Arc<AtomicBool>,
    ) -> Result<Authorized, Problem> {
        let not_authorized = |detail: &str| {
            let description = "the subject token is not for this run, or there is no such run";
            Problem::new(ProblemKind::NotEntitled, description).detail(format!("{run}: {detail}"))
        };
        match subject_token {
            SubjectToken::RunnerIdentity(token) => {
                let authorizer = self.authorizer.load_full();
                // Before there is a place for it: another issuer may be slow to publish its keys.
                let verified = self
                    .verify(&authorizer, token)
                    .await
                    .map_err(|error| identity_problem(&error, token))?;
                // Whatever it asks for, its caller is known, and waits for nobody who is not.
                proven.store(true, Ordering::Relaxed);
                let slot = self.slot()?;
                let Identity::Runner(runner) = &verified.identity else {
                    return Err(not_authorized("the token is the control plane's"));
                };
                let registered =
                    self.find(run).await?.ok_or_else(|| not_authorized("no such run"))?;
                if registered.runner != *runner {
                    return Err(not_authorized(&format!("requested by runner {runner}")));
                }
                let (issuer, subject) = (verified.issuer.clone(), verified.subject.clone());
                let requester = Requester::Runner { runner: runner.to_string(), issuer, subject };
                Ok(Authorized { registered, requester, verified: Some(verified), slot })
            }
            SubjectToken::RunToken(token) => {
                let hash = SecretHash::of(token.as_bytes());
                let candidate = self.candidate(Arc::clone(proven)).await?;
                let registered =
                    self.find(run).await?.ok_or_else(|| not_authorized("no such run"))?;
                if registered.run_token.as_ref() != Some(&hash) {
                    return Err(not_authorized("another run token"));
                }
                let requester = Requester::RunToken { runner: registered.runner.to_string() };
                let slot = candidate.promote()?;
                Ok(Authorized { registered, requester, verified: None, slot })
            }
        }
    }

    /// The facts that policies see of a run, with those of its runner; unless the runner must not have a token for the run.
    pub(super) fn facts_for(
        &self,
        runner: Option<&RunnerId>,
        run: &Run,
        registered: &Facts,
    ) -> Result<Facts, Problem> {
        let authorizer = self.authorizer.load();
        let refusal = runner.and_then(|runner| authorizer.runners.refusal(runner, run));
        if let Some(reason) = refusal {
            return Err(refused("the runner serves no such run", reason));
        }
        authorizer
            .runners
            .facts(runner, registered)
            .map_err(|error| Problem::invalid(format!("facts: {error}")))
    }

    pub(super) async fn find(&self, run: &RunId) -> Result<Option<Arc<RegisteredRun>>, Problem> {
        self.store.run(run).await.map_err(|error| self.store_failed(&error))
    }
}

/// Checks that a run may have a token at `now`.
fn check_live(registered: &RegisteredRun, now: u64) -> Result<(), Problem> {
    let (code, message) = match registered.liveness(now) {
        Liveness::Live => return Ok(()),
        Liveness::Finished => (RUN_FINISHED, "the run is finished"),
        Liveness::Expired => (RUN_EXPIRED, "the run has expired"),
    };
    let reason = Reason {
        code: code.to_owned(),
        message: message.to_owned(),
        source: ReasonSource::Host,
        binding: None,
    };
    Err(refused(message, reason))
}

/// A refusal before any decision. It is counted where it is put on record.
fn refused(description: &str, reason: Reason) -> Problem {
    Problem::refused(description, vec![reason], None)
}
