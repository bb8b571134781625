//! The one way from a request to a signed token or a refusal.
//!
//! ```text
//! IssueRequest ─→ Claims ─→ PolicySet::evaluate ─→ Decision ─┬ Approval ─→ preflight ─→ sign ─┬→ PendingDecision
//!                                                            └ Refusal  ──────────────────────┘        │
//!                                              Decided, Issued ←─ record durable (or none was wanted) ←┘
//! ```
//!
//! The service and the command line walk it alike: each only makes an [`IssueRequest`], and adds what it needs around
//! (who may ask, how often, where records go).

mod service_account;

use std::sync::{Arc, mpsc};
use std::time::Instant;

use countersign::{
    Approval, Audience, Claims, Decision, Digest, Facts, Fault, PolicySet, Reason, ReasonSource,
    Run, RunnerId, SubjectError, SubjectFormat, SubjectFormats, Terms, TokenRequest,
    TokenRequestError,
};
use countersign_clouds::{AudienceClouds, Violation};
use countersign_decision_log::{LogWriter, NotDurable, Position};
use countersign_signing::{
    Algorithm, IssueError, Issuer, ServiceAccountError, ServiceAccountSignature, SignedToken,
    TokenId,
};

use self::service_account::BoundOutcome;
use crate::record::{
    DecisionRecord, IssuedRecord, RecordKind, RequestOrigin, Requester, UsedToken,
};
use crate::runs::RegisteredRun;

pub use self::service_account::ServiceAccountHead;
pub(crate) use self::service_account::issued_record;

/// Everything that a decision follows from beside the request: replaced whole, and never while a request uses it.
pub struct DecisionContext {
    /// The policies: shared, since a release that is no longer active is kept for a rollback.
    pub policies: Arc<PolicySet>,
    /// The form of each subject.
    pub subjects: SubjectFormats,
    /// The cloud of each audience.
    pub clouds: AudienceClouds,
}

/// A request for a token: a run, the runner that executes it, and the token that is requested.
#[derive(Debug, Clone)]
pub struct IssueRequest {
    /// The run.
    pub run: Run,
    /// The runner that executes it, where the caller knows it.
    pub runner: Option<RunnerId>,
    /// The facts that were registered with the run.
    pub facts: Facts,
    /// The audiences of the token.
    pub audiences: Vec<Audience>,
    /// The lifetime of the token, in seconds.
    pub ttl_seconds: u32,
    /// The time of issue, in seconds since 1970.
    pub now: u64,
}

/// Selects the issuer, and so the key, that signs a token.
pub trait SelectIssuer: Sync {
    /// The issuer that signs tokens for these audiences at `now`, where there is one.
    fn issuer_for(&self, audiences: &[Audience], now: u64) -> Option<&Issuer>;
}

/// Decides on requests, and signs what is approved.
#[derive(Clone, Copy)]
pub struct Decider<'d> {
    context: &'d DecisionContext,
    issuers: &'d dyn SelectIssuer,
}

/// The head of a decision's record: everything in it that is not decided.
#[derive(Clone, Copy)]
pub struct RecordHead<'r> {
    /// With a token, or without one.
    pub kind: RecordKind,
    /// The request.
    pub origin: &'r RequestOrigin,
    /// The requester.
    pub requester: &'r Requester,
    /// The token whose only use the request is.
    pub used: Option<&'r UsedToken>,
    /// The number of changes that the store has, where there is one.
    pub changes: Option<u64>,
    /// The claims that are to be signed, where a cluster's API server wrote them.
    pub service_account: Option<ServiceAccountHead<'r>>,
}

/// A decision that is not on record yet, and the token that waits for it. Nothing of it leaves the service before it
/// is committed.
pub struct PendingDecision {
    kind: RecordKind,
    record: Vec<u8>,
    faults: Vec<&'static str>,
    /// The decision's own record.
    json: String,
    decided: Decided,
    issued: Option<Issued>,
    /// The time at which policies had decided, and the rest began.
    decided_at: Instant,
    signature: Option<ServiceAccountSignature>,
}

/// A decision that may be answered: it is on record, or no record was wanted.
pub struct CommittedDecision {
    /// The decision, as its requester may see it.
    pub decided: Decided,
    /// The token, where one was requested and approved.
    pub issued: Option<Issued>,
    /// The signature over a service account's claims, where one was requested and approved, or decisions are not enforced.
    pub signature: Option<ServiceAccountSignature>,
    /// The place of its record, where there is one.
    pub position: Option<Position>,
}

/// A decision, as its requester may see it.
#[derive(Debug)]
pub struct Decided {
    /// Digest of the decision's record.
    pub decision: Digest,
    /// Digest of the policy set.
    pub policy_set: Digest,
    /// The subject that the token has, or would have.
    pub subject: String,
    /// The terms, or at least one reason.
    pub outcome: Result<Terms, Vec<Reason>>,
    /// The violations for which the cloud of an audience would reject a token that the policies approved; `outcome`
    /// has them as reasons.
    pub preflight: Vec<Violation>,
}

/// A token that may leave.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub token: SignedToken,
    /// Its lifetime, in seconds.
    pub expires_in: u32,
    /// Digest of the decision's record.
    pub decision: Digest,
    /// Its id.
    pub jti: String,
    profile: SubjectFormat,
    algorithm: Algorithm,
}

/// A request that cannot be decided on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The token cannot be requested.
    #[error(transparent)]
    Token(#[from] TokenRequestError),
    /// The run has no subject of the form that is configured.
    #[error(transparent)]
    Subject(#[from] SubjectError),
}

/// A decision that could not be concluded, for a reason that lies neither in the request nor in the policies.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConcludeError {
    /// No key signs for the audiences now.
    #[error("no key is active")]
    NoKey,
    /// There is no id for the token.
    #[error("the system's random number generator failed")]
    NoRandomness,
    /// The key gave no signature.
    #[error(transparent)]
    Issue(IssueError),
    /// The key gave no signature over a service account's claims.
    #[error(transparent)]
    ServiceAccount(ServiceAccountError),
    /// The record could not be written.
    #[error("failed to write the record of the decision")]
    Record(#[from] serde_json::Error),
}

/// A request that got neither a token nor a refusal.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// It cannot be decided on.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The decision could not be concluded.
    #[error(transparent)]
    Conclude(#[from] ConcludeError),
}

/// A check before any decision that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PreflightError {
    /// The token cannot be requested.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The token could not be put together.
    #[error(transparent)]
    Issue(IssueError),
}

/// The outcome of an approval.
enum Preflighted {
    /// Its cloud would accept the token, and none was requested.
    Accepted,
    /// The token, and its part of the record.
    Signed(Box<Issued>, IssuedRecord),
    /// The signature over claims that came from elsewhere, and its part of the record.
    Bound(ServiceAccountSignature, IssuedRecord),
    /// Its cloud would reject the token.
    Rejected(Vec<Violation>),
}

impl From<BoundOutcome> for Preflighted {
    fn from(outcome: BoundOutcome) -> Self {
        match outcome {
            BoundOutcome::Signed(signature, record) => Self::Bound(signature, record),
            BoundOutcome::Rejected(violations) => Self::Rejected(violations),
        }
    }
}

/// An issuer with one key.
impl SelectIssuer for Issuer {
    fn issuer_for(&self, _: &[Audience], _: u64) -> Option<&Issuer> {
        Some(self)
    }
}

impl IssueRequest {
    /// A request for a token of a registered run.
    pub fn for_run(
        registered: &RegisteredRun,
        audiences: Vec<Audience>,
        ttl_seconds: u32,
        now: u64,
    ) -> Self {
        let (run, runner) = (registered.run.clone(), Some(registered.runner.clone()));
        let facts = registered.facts.clone();
        Self { run, runner, facts, audiences, ttl_seconds, now }
    }

    /// The claims that policies see, with the subject in the form that its definition has.
    fn claims(self, subjects: &SubjectFormats) -> Result<Claims, RequestError> {
        let token = TokenRequest::new(self.audiences, self.ttl_seconds, self.now)?;
        let form = subjects.of(&self.run);
        Ok(Claims::new(self.run, self.runner, self.facts, &form, token)?)
    }
}

/// Runs the checks of the audience's cloud on a request before any policy decides on it: the violations of the token
/// that would be signed if all of it were granted.
///
/// # Errors
/// When the token cannot be requested.
pub fn preflight_request(
    request: IssueRequest,
    subjects: &SubjectFormats,
    clouds: &AudienceClouds,
    issuer: &Issuer,
) -> Result<Vec<Violation>, PreflightError> {
    match issuer.check_request(&request.claims(subjects)?, clouds) {
        Ok(()) => Ok(Vec::new()),
        Err(IssueError::Preflight(violations)) => Ok(violations),
        Err(error) => Err(PreflightError::Issue(error)),
    }
}

impl<'d> Decider<'d> {
    /// Decides by a context, and signs by the issuers.
    pub fn new(context: &'d DecisionContext, issuers: &'d dyn SelectIssuer) -> Self {
        Self { context, issuers }
    }

    /// Evaluates the policies on a request.
    ///
    /// # Errors
    /// When there is nothing to decide on.
    pub fn decide(&self, request: IssueRequest) -> Result<Decision, RequestError> {
        Ok(self.context.policies.evaluate(request.claims(&self.context.subjects)?))
    }

    /// Decides, and signs what is approved.
    ///
    /// # Errors
    /// When there is neither a token nor a refusal.
    pub fn decide_and_sign(
        &self,
        request: IssueRequest,
        head: RecordHead<'_>,
    ) -> Result<PendingDecision, DecideError> {
        Ok(self.conclude(self.decide(request)?, head)?)
    }

    /// Signs the token of a decision that approved, unless the cloud of an audience would reject it, and writes the
    /// record.
    ///
    /// # Errors
    /// When an approved token could not be signed, or the record not be written.
    pub fn conclude(
        &self,
        decision: Decision,
        head: RecordHead<'_>,
    ) -> Result<PendingDecision, ConcludeError> {
        let decided_at = Instant::now();
        let faults = decision
            .trace()
            .iter()
            .filter_map(|trace| trace.result.as_ref().err().map(Fault::code))
            .collect();
        let json = decision.json().to_owned();
        let claims = decision.claims();
        let (subject, now) = (claims.subject().as_str().to_owned(), claims.token().issued_at());
        let profile = self.context.subjects.of(claims.run()).profile;
        let policy_set = decision.policy_set();
        let mut record = DecisionRecord::new(head, now);
        let mut signature = None;
        let (decision, outcome, issued) = match decision.into_approval() {
            Err(refusal) => (refusal.decision, Err(refusal.reasons), None),
            Ok(approval) => {
                let (id, terms) = (approval.decision(), approval.terms().clone());
                let preflighted = match head.service_account {
                    Some(of) => self.sign_bound(approval, of.claims, profile, now)?.into(),
                    None => self.preflighted(approval, head.kind, profile, now)?,
                };
                match preflighted {
                    Preflighted::Accepted => (id, Ok(terms), None),
                    Preflighted::Signed(issued, issued_record) => {
                        record.issued = Some(issued_record);
                        (id, Ok(terms), Some(*issued))
                    }
                    Preflighted::Bound(bound, issued_record) => {
                        record.issued = Some(issued_record);
                        signature = Some(bound);
                        (id, Ok(terms), None)
                    }
                    Preflighted::Rejected(violations) => {
                        let reasons = violations.iter().map(reason).collect();
                        record.preflight = violations;
                        (id, Err(reasons), None)
                    }
                }
            }
        };
        if let (None, Some(of)) = (&signature, head.service_account.filter(|of| of.in_shadow)) {
            let (shadowed, issued_record) = self.sign_shadowed(of.claims, profile, now)?;
            record.issued = Some(issued_record);
            signature = Some(shadowed);
        }
        let bytes = record.with(&json)?;
        let decided =
            Decided { decision, policy_set, subject, outcome, preflight: record.preflight };
        let kind = head.kind;
        Ok(PendingDecision {
            kind,
            record: bytes,
            faults,
            json,
            decided,
            issued,
            signature,
            decided_at,
        })
    }

    /// The token of an approval, if one is requested; or the violations for which its cloud would reject it.
    fn preflighted(
        &self,
        approval: Approval,
        kind: RecordKind,
        profile: SubjectFormat,
        now: u64,
    ) -> Result<Preflighted, ConcludeError> {
        let clouds = &self.context.clouds;
        let (decision, expires_in) = (approval.decision(), approval.terms().ttl_seconds);
        // By the audiences that were approved, which may be fewer than those requested.
        let issuer = self.issuers.issuer_for(&approval.terms().audiences, now);
        let issuer = issuer.ok_or(ConcludeError::NoKey)?;
        if kind == RecordKind::Decision {
            return match issuer.check(&approval, clouds) {
                Ok(()) => Ok(Preflighted::Accepted),
                Err(IssueError::Preflight(violations)) => Ok(Preflighted::Rejected(violations)),
                Err(error) => Err(ConcludeError::Issue(error)),
            };
        }
        let id = TokenId::random().ok_or(ConcludeError::NoRandomness)?;
        let token = match issuer.sign(approval, &id, clouds) {
            Ok(token) => token,
            Err(IssueError::Preflight(violations)) => {
                return Ok(Preflighted::Rejected(violations));
            }
            Err(error) => return Err(ConcludeError::Issue(error)),
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
}

impl PendingDecision {
    /// The kind of its record.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// The codes of the faults in its trace.
    pub fn faults(&self) -> &[&'static str] {
        &self.faults
    }

    /// Takes the decision's own record, which nothing else needs any more.
    pub(crate) fn take_json(&mut self) -> String {
        std::mem::take(&mut self.json)
    }

    /// The time at which policies had decided, and the rest began.
    pub(crate) fn decided_at(&self) -> Instant {
        self.decided_at
    }

    /// Digest of the policy set that decided.
    pub(crate) fn policy_set(&self) -> Digest {
        self.decided.policy_set
    }

    /// Queues the record, and gives the decision to `done` when the record is durable; or an error when it is not, as far
    /// as is known, and the token is dropped. `done` must not block.
    pub fn commit(
        self,
        log: &LogWriter,
        done: impl FnOnce(Result<CommittedDecision, NotDurable>) + Send + 'static,
    ) {
        let Self { record, decided, issued, signature, .. } = self;
        log.append(record, move |written| {
            done(written.map(|position| {
                let position = Some(position);
                CommittedDecision { decided, issued, signature, position }
            }));
        });
    }

    /// [`PendingDecision::commit`], waiting for it.
    ///
    /// # Errors
    /// When the record is not durable as far as is known.
    pub fn commit_blocking(self, log: &LogWriter) -> Result<CommittedDecision, NotDurable> {
        let (done, committed) = mpsc::channel();
        self.commit(log, move |result| drop(done.send(result)));
        committed.recv().unwrap_or(Err(NotDurable::Closed))
    }

    /// Returns the decision without a record. The caller must tell the recipient of the token so.
    pub fn without_record(self) -> CommittedDecision {
        let Self { decided, issued, signature, .. } = self;
        CommittedDecision { decided, issued, signature, position: None }
    }
}

impl Issued {
    /// The labels that tokens are counted by.
    pub(crate) fn labels(&self) -> [&'static str; 2] {
        [self.profile.as_str(), self.algorithm.as_str()]
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
