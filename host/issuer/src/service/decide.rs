//! Deciding, and keeping the decision: no answer leaves before its record is durable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use countersign::{Approval, Claims, Digest, Reason, ReasonSource, SubjectFormat, Terms, TokenRequest};
use countersign_clouds::AudienceClouds;
use countersign_clouds::Violation;

use super::{Service, Slot};
use crate::issuer::IssueError;
use crate::key::Algorithm;
use crate::problem::{Problem, ProblemKind, with_sources};
use crate::record::{DecisionRecord, IssuedRecord, Requester, durable};
use crate::runs::RegisteredRun;
use crate::token::{SignedToken, TokenId};

/// How long a request waits for others to decide.
const GATE: Duration = Duration::from_millis(20);

/// The kinds of records.
const TOKEN: &str = "token";
const DECISION: &str = "decision";

/// What is decided on: a run, the runner that executes it, and the token that is asked for.
pub(crate) struct Question {
    pub(crate) run: countersign::Run,
    pub(crate) runner: Option<countersign::RunnerId>,
    pub(crate) facts: countersign::Facts,
    pub(crate) audiences: Vec<countersign::Audience>,
    pub(crate) ttl_seconds: u32,
    pub(crate) now: u64,
}

impl Question {
    pub(crate) fn of(
        registered: &RegisteredRun,
        audiences: Vec<countersign::Audience>,
        ttl_seconds: u32,
        now: u64,
    ) -> Self {
        let (run, runner) = (registered.run.clone(), Some(registered.runner.clone()));
        let facts = registered.facts.clone();
        Self { run, runner, facts, audiences, ttl_seconds, now }
    }
}

/// A token that may leave: its record is durable.
pub(crate) struct Issued {
    pub(crate) token: SignedToken,
    pub(crate) expires_in: u32,
    pub(crate) decision: Digest,
    pub(crate) jti: String,
    profile: SubjectFormat,
    algorithm: Algorithm,
}

impl Issued {
    /// What tokens are counted by.
    pub(crate) fn labels(&self) -> [&'static str; 2] {
        [self.profile.as_str(), self.algorithm.as_str()]
    }
}

/// A decision whose record is durable, as its requester may see it.
pub(crate) struct Decided {
    pub(crate) decision: Digest,
    pub(crate) policy_set: Digest,
    pub(crate) subject: String,
    pub(crate) outcome: Result<Terms, Vec<Reason>>,
    /// Whether policies approved, and the cloud would not take the token.
    by_cloud: bool,
}

/// A decision that is not on record yet, and the token that waits for it.
struct Made {
    kind: &'static str,
    /// Until the answer is there.
    slot: Option<Slot>,
    record: Vec<u8>,
    faults: Vec<&'static str>,
    decided: Decided,
    /// Where a token was asked for and approved.
    signed: Option<Issued>,
}

/// What becomes of an approval.
enum Preflighted {
    /// Its cloud would take the token, and none was asked for.
    Taken,
    /// The token, and what is on record of it.
    Signed(Box<Issued>, IssuedRecord),
    /// Its cloud would not take the token.
    NotTaken(Vec<Violation>),
}

impl Service {
    /// Decides, signs what is approved, and gives the token once the record is durable.
    ///
    /// # Errors
    /// When the decision refused, which is on record then; or when there can be no record or no signature.
    pub(crate) async fn issue(
        self: &Arc<Self>,
        question: Question,
        requester: Requester,
        request: String,
        slot: Slot,
    ) -> Result<Issued, Problem> {
        let made = self.make(question, requester, request, TOKEN, slot).await?;
        let (decided, signed) = self.keep(made).await?;
        match (decided.outcome, signed) {
            (Ok(_), Some(issued)) => Ok(issued),
            (Ok(_), None) => Err(Problem::unavailable("approved, and not signed")),
            (Err(reasons), _) => {
                let description = if decided.by_cloud {
                    "the cloud of the audience would not take this token"
                } else {
                    "the policies refuse a token for this run"
                };
                let decision = decided.decision;
                Err(Problem::refused(description, reasons, Some(decision)))
            }
        }
    }

    /// Decides, and gives the decision once its record is durable.
    ///
    /// # Errors
    /// When there can be no record.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        question: Question,
        requester: Requester,
        request: String,
        slot: Slot,
    ) -> Result<Decided, Problem> {
        let made = self.make(question, requester, request, DECISION, slot).await?;
        Ok(self.keep(made).await?.0)
    }

    /// Evaluates and signs on a thread that may be kept waiting.
    ///
    /// As many do as there are processors: more would only take each other's turns. But a policy that takes
    /// long holds up its own callers only, which is for the evaluator to see to; so nobody waits here for
    /// longer than [`GATE`].
    async fn make(
        self: &Arc<Self>,
        question: Question,
        requester: Requester,
        request: String,
        kind: &'static str,
        slot: Slot,
    ) -> Result<Made, Problem> {
        let _passed = tokio::time::timeout(GATE, self.gate.acquire()).await;
        let started = Instant::now();
        let service = Arc::clone(self);
        let work = move || {
            let made = service.make_now(question, &requester, &request, kind);
            made.map(|made| Made { slot: Some(slot), ..made })
        };
        let made = tokio::task::spawn_blocking(work).await.map_err(|error| {
            // What panics says so itself.
            Problem::new(ProblemKind::Internal, "something went wrong").detail(error)
        })?;
        let decide = self.metrics.stage_seconds.with_label_values(&["decide"]);
        decide.observe(started.elapsed().as_secs_f64());
        made
    }

    fn make_now(
        &self,
        question: Question,
        requester: &Requester,
        request: &str,
        kind: &'static str,
    ) -> Result<Made, Problem> {
        // One set for the whole request, whatever replaces it meanwhile.
        let deciding = self.deciding.load_full();
        let Question { run, runner, facts, audiences, ttl_seconds, now } = question;
        let form = deciding.subjects.of(&run);
        let profile = form.profile;
        let token = TokenRequest::new(audiences, ttl_seconds, now)
            .map_err(|error| Problem::invalid(error.to_string()))?;
        let claims = Claims::new(run, runner, facts, &form, token)
            .map_err(|error| Problem::invalid(error.to_string()))?;
        let decision = deciding.policies.evaluate(claims);
        let faults = decision
            .trace()
            .iter()
            .filter_map(|trace| trace.result.as_ref().err().map(countersign::Fault::code))
            .collect();
        let json = decision.json().to_owned();
        let subject = decision.claims().subject().as_str().to_owned();
        let policy_set = decision.policy_set();
        let mut record = DecisionRecord::new(kind, request, now, requester);
        let (decision, outcome, signed) = match decision.into_approval() {
            Err(refusal) => (refusal.decision, Err(refusal.reasons), None),
            Ok(approval) => {
                let (id, terms) = (approval.decision(), approval.terms().clone());
                match self.preflighted(approval, kind, &deciding.clouds, profile, now)? {
                    Preflighted::Taken => (id, Ok(terms), None),
                    Preflighted::Signed(issued, issued_record) => {
                        record.issued = Some(issued_record);
                        (id, Ok(terms), Some(*issued))
                    }
                    Preflighted::NotTaken(violations) => {
                        let reasons = violations.iter().map(reason).collect();
                        record.preflight = violations;
                        (id, Err(reasons), None)
                    }
                }
            }
        };
        let by_cloud = !record.preflight.is_empty();
        Ok(Made {
            kind,
            slot: None,
            record: record.with(&json).map_err(Problem::failed)?,
            faults,
            decided: Decided { decision, policy_set, subject, outcome, by_cloud },
            signed,
        })
    }

    /// What is approved, signed if a token is asked for; or what its cloud would not take of it.
    fn preflighted(
        &self,
        approval: Approval,
        kind: &'static str,
        clouds: &AudienceClouds,
        profile: SubjectFormat,
        now: u64,
    ) -> Result<Preflighted, Problem> {
        let (decision, expires_in) = (approval.decision(), approval.terms().ttl_seconds);
        let keys = self.keys.load();
        let algorithm = self.settings.algorithm_of(&approval.terms().audiences);
        let issuer =
            keys.active(algorithm, now).ok_or_else(|| Problem::unavailable("no key is active"))?;
        if kind != TOKEN {
            return match issuer.check(&approval, clouds) {
                Ok(()) => Ok(Preflighted::Taken),
                Err(IssueError::Preflight(violations)) => Ok(Preflighted::NotTaken(violations)),
                Err(error) => Err(Problem::failed(error)),
            };
        }
        let id = TokenId::random()
            .ok_or_else(|| Problem::unavailable("the system gives no randomness"))?;
        let token = match issuer.sign(approval, &id, clouds) {
            Ok(token) => token,
            Err(IssueError::Preflight(violations)) => {
                return Ok(Preflighted::NotTaken(violations));
            }
            Err(error) => return Err(Problem::failed(error)),
        };
        let public = issuer.signer().public();
        let record = IssuedRecord {
            jti: id.to_string(),
            token: token.digest().to_string(),
            kid: public.kid().to_owned(),
            algorithm: public.algorithm().as_str(),
            subject_profile: profile.as_str(),
            expires_at: now + u64::from(expires_in),
        };
        let jti = id.to_string();
        let algorithm = public.algorithm();
        let issued = Issued { token, expires_in, decision, jti, profile, algorithm };
        Ok(Preflighted::Signed(Box::new(issued), record))
    }

    /// Waits until the record is durable. What it is of leaves only then.
    async fn keep(&self, made: Made) -> Result<(Decided, Option<Issued>), Problem> {
        let started = Instant::now();
        let log = self.log.load_full().ok_or_else(|| Problem::unavailable("stopping"))?;
        let kept = durable(&log, made.record).await;
        self.metrics
            .stage_seconds
            .with_label_values(&["durable"])
            .observe(started.elapsed().as_secs_f64());
        if let Err(error) = kept {
            let error = with_sources(&error);
            if log.has_failed() {
                let why = log.failure();
                tracing::error!(why, "the decision log has failed: no token until a restart");
            }
            return Err(Problem::unavailable(format!("no durable record: {error}")));
        }
        let outcome = if made.decided.outcome.is_ok() { "approved" } else { "refused" };
        self.metrics.decisions.with_label_values(&[made.kind, outcome]).inc();
        for fault in made.faults {
            self.metrics.faults.with_label_values(&[fault]).inc();
        }
        drop(made.slot);
        Ok((made.decided, made.signed))
    }
}

fn reason(violation: &Violation) -> Reason {
    Reason {
        code: violation.code.to_owned(),
        message: violation.message.clone(),
        source: ReasonSource::Host,
        binding: None,
    }
}
