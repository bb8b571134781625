//! Token exchange (RFC 8693): the runner's own identity, or the run's own token, for a token of the run.

use std::sync::Arc;

use countersign::{Audience, Reason, ReasonSource, RunId};
use zeroize::Zeroizing;

use super::decide::{Issued, Question};
use super::{Service, Slot, identity_problem};
use crate::identity::{Identity, Verified};
use crate::problem::{Problem, ProblemKind};
use crate::record::Requester;
use crate::runs::{Liveness, RegisteredRun, SecretHash};

/// A run may have no token any more: it was finished.
const RUN_FINISHED: &str = "run-finished";
/// A run may have no token any more: it has expired.
const RUN_EXPIRED: &str = "run-expired";

/// What is asked for.
pub(crate) struct ExchangeRequest {
    pub(crate) run: RunId,
    pub(crate) audiences: Vec<Audience>,
    /// The default one unless given.
    pub(crate) ttl_seconds: Option<u32>,
    pub(crate) subject_token: SubjectToken,
}

/// A run that the caller may have a token of.
struct Entitled {
    registered: Arc<RegisteredRun>,
    requester: Requester,
    /// The token that says so, where it is one of a trusted issuer.
    verified: Option<Verified>,
}

/// What says that the caller may have a token of the run.
pub(crate) enum SubjectToken {
    /// A JWT of a trusted issuer: the runner's own identity.
    RunnerIdentity(Zeroizing<String>),
    /// The token that the run object has.
    RunToken(Zeroizing<String>),
}

impl Service {
    /// Issues a token for a run to who may have it.
    ///
    /// # Errors
    /// When the subject token is not believed or is not for this run, with one answer for a run that is
    /// not there and one that is another's; when the run has ended; when policies refuse.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        request: ExchangeRequest,
        id: String,
        slot: Slot,
    ) -> Result<Issued, Problem> {
        let most = self.settings.max_audiences;
        if request.audiences.len() > most {
            let description = match most {
                1 => "one audience a token; ask for a token for each".to_owned(),
                most => format!("at most {most} audiences a token"),
            };
            return Err(Problem::new(ProblemKind::InvalidTarget, description));
        }
        let ttl_seconds = request.ttl_seconds.unwrap_or(self.settings.default_ttl_seconds);
        let longest = self.settings.max_ttl_seconds;
        if !(1..=longest).contains(&ttl_seconds) {
            let description = format!("`ttl_seconds`: expected 1 to {longest}");
            return Err(Problem::invalid(description));
        }
        let Entitled { registered, requester, verified } =
            self.entitled(&request.run, &request.subject_token).await?;
        let now = self.now()?;
        live(&registered, now)?;
        // Before anything is decided, and after it is known whose limit it is.
        if matches!(request.subject_token, SubjectToken::RunToken(_)) {
            self.admit_run(&request.run)?;
        }
        self.admit_runner(&registered.runner)?;
        if let (Some(verified), SubjectToken::RunnerIdentity(token)) =
            (verified, &request.subject_token)
        {
            self.use_once(&verified).await.map_err(|error| identity_problem(&error, token))?;
        }
        let question = Question::of(&registered, request.audiences, ttl_seconds, now);
        let issued = self.issue(question, requester, id, slot).await?;
        // It may have ended meanwhile: no token after that. That one was signed stays on record.
        let registered = self.find(&request.run).await?;
        let registered = registered.ok_or_else(|| Problem::unavailable("the run is gone"))?;
        live(&registered, self.now()?)?;
        self.metrics.tokens.with_label_values(&issued.labels()).inc();
        Ok(issued)
    }

    /// The run, if the subject token is of its runner, or is its own.
    async fn entitled(
        &self,
        run: &RunId,
        subject_token: &SubjectToken,
    ) -> Result<Entitled, Problem> {
        let not_entitled = |detail: &str| {
            let description = "the subject token is not for this run, or there is no such run";
            Problem::new(ProblemKind::NotEntitled, description).detail(format!("{run}: {detail}"))
        };
        match subject_token {
            SubjectToken::RunnerIdentity(token) => {
                let access = self.access.load_full();
                let verified = self
                    .verify(&access, token)
                    .await
                    .map_err(|error| identity_problem(&error, token))?;
                let Identity::Runner(runner) = &verified.identity else {
                    return Err(not_entitled("the token is the control plane's"));
                };
                let registered =
                    self.find(run).await?.ok_or_else(|| not_entitled("no such run"))?;
                if registered.runner != *runner {
                    return Err(not_entitled(&format!("asked for by runner {runner}")));
                }
                let (issuer, subject) = (verified.issuer.clone(), verified.subject.clone());
                let requester = Requester::Runner { runner: runner.to_string(), issuer, subject };
                Ok(Entitled { registered, requester, verified: Some(verified) })
            }
            SubjectToken::RunToken(token) => {
                let hash = SecretHash::of(token.as_bytes());
                let registered =
                    self.find(run).await?.ok_or_else(|| not_entitled("no such run"))?;
                if registered.run_token.as_ref() != Some(&hash) {
                    return Err(not_entitled("another run token"));
                }
                let requester = Requester::RunToken { runner: registered.runner.to_string() };
                Ok(Entitled { registered, requester, verified: None })
            }
        }
    }

    async fn find(&self, run: &RunId) -> Result<Option<Arc<RegisteredRun>>, Problem> {
        self.store.run(run).await.map_err(Problem::failed)
    }
}

/// That a run may have a token at `now`.
fn live(registered: &RegisteredRun, now: u64) -> Result<(), Problem> {
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
    Err(Problem::refused(message, vec![reason], None))
}
