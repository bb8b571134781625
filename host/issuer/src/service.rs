//! What the requests of a service share.

mod decide;
mod exchange;
mod registration;
mod slot;

use std::num::{NonZero, NonZeroU32};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use arc_swap::{ArcSwap, ArcSwapOption};
use countersign::{Digest, PolicySet, RunId, RunnerId, SubjectFormats};
use countersign_clouds::AudienceClouds;
use countersign_decision_log::LogWriter;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::clock::{Clock, ClockError};
use crate::config::Settings;
use crate::identity::{Identity, IdentityError, Permission, Verified, said_by};
use crate::key::Algorithm;
use crate::keys::{KeyFolder, KeyFolderError, Keys, Phase};
use crate::metrics::Metrics;
use crate::problem::{Problem, ProblemKind};
use crate::record;
use crate::store::Store;
use crate::url::IssuerUrl;

pub(crate) use decide::{Issued, Question};
pub(crate) use exchange::{ExchangeRequest, SubjectToken};
pub(crate) use registration::Registration;
pub(crate) use slot::Slot;

/// What decides: replaced whole, and never while a request uses it.
pub struct Deciding {
    /// The policies.
    pub policies: PolicySet,
    /// Which form each subject has.
    pub subjects: SubjectFormats,
    /// Which cloud takes the tokens of an audience.
    pub clouds: AudienceClouds,
}

/// What a service is made of.
pub struct ServiceParts {
    /// The issuer identifier.
    pub url: IssuerUrl,
    /// How it is run.
    pub settings: Settings,
    /// What decides.
    pub deciding: Deciding,
    /// Who may ask.
    pub access: Access,
    /// Where the keys are.
    pub keys: KeyFolder,
    /// Where runs are.
    pub store: Arc<dyn Store>,
    /// Where decisions are recorded.
    pub log: LogWriter,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// A service that issues tokens: what its requests share.
pub struct Service {
    url: IssuerUrl,
    settings: Settings,
    deciding: ArcSwap<Deciding>,
    access: ArcSwap<Access>,
    key_folder: KeyFolder,
    keys: ArcSwap<Keys>,
    store: Arc<dyn Store>,
    log: ArcSwapOption<LogWriter>,
    clock: Arc<dyn Clock>,
    runner_rate: DefaultKeyedRateLimiter<RunnerId>,
    run_rate: DefaultKeyedRateLimiter<RunId>,
    /// Lets as many decide at a time as there are processors, as long as that is quick.
    gate: Semaphore,
    /// The time when it was last told.
    last_now: AtomicU64,
    stopping: AtomicBool,
    /// How many requests have a slot.
    in_flight: AtomicUsize,
    pub(crate) metrics: Metrics,
}

/// Why a service cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its keys cannot be read or made.
    #[error("the keys")]
    Keys(#[from] KeyFolderError),
    /// The time cannot be told.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The log takes no record.
    #[error("the form of subjects cannot be put on record: {0:?}")]
    Record(Problem),
    /// There are no counters.
    #[error("the metrics")]
    Metrics(#[from] prometheus::Error),
}

impl Service {
    /// Puts a service together, and makes keys that are due.
    ///
    /// # Errors
    /// When there are no keys.
    pub fn start(parts: ServiceParts) -> Result<Arc<Self>, ServiceError> {
        let now = parts.clock.now()?;
        let settings = parts.settings;
        parts.keys.keep_schedule(settings.algorithms(), &settings.key_times, now)?;
        let keys = parts.keys.load(&parts.url, now)?;
        let service = Self {
            url: parts.url,
            deciding: ArcSwap::from_pointee(parts.deciding),
            access: ArcSwap::from_pointee(parts.access),
            key_folder: parts.keys,
            keys: ArcSwap::from_pointee(keys),
            store: parts.store,
            log: ArcSwapOption::from_pointee(parts.log),
            clock: parts.clock,
            runner_rate: RateLimiter::keyed(quota(
                settings.runner_per_second,
                settings.runner_burst,
            )),
            run_rate: RateLimiter::keyed(quota(settings.run_per_second, settings.run_burst)),
            gate: Semaphore::new(thread::available_parallelism().map_or(1, NonZero::get)),
            last_now: AtomicU64::new(now),
            stopping: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            metrics: Metrics::new()?,
            settings,
        };
        service.show_policies();
        service.show_keys(now);
        // It may have changed while nothing ran.
        let subjects = service.deciding.load().subjects.clone();
        service.record_subjects(&subjects).map_err(ServiceError::Record)?;
        Ok(Arc::new(service))
    }

    /// The issuer identifier.
    pub fn url(&self) -> &IssuerUrl {
        &self.url
    }

    /// Digest of the policy set that decides.
    pub fn policy_set(&self) -> Digest {
        self.deciding.load().policies.digest()
    }

    /// How it is run.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A route without the issuer's path.
    pub(crate) fn route_of(&self, matched: &str) -> String {
        let path = self.url.path();
        matched
            .strip_prefix(path)
            .filter(|rest| rest.starts_with('/'))
            .unwrap_or(matched)
            .to_owned()
    }

    /// Replaces what decides, for the requests that come from now on.
    ///
    /// Where the form of a subject changes, that is on record before any token of the new form: records are
    /// durable in their order.
    ///
    /// # Errors
    /// When that cannot be put on record; what decided goes on deciding.
    pub fn replace(&self, deciding: Deciding) -> Result<(), Problem> {
        if deciding.subjects != self.deciding.load().subjects {
            self.record_subjects(&deciding.subjects)?;
        }
        self.deciding.store(Arc::new(deciding));
        self.metrics.reloads.with_label_values(&["replaced"]).inc();
        self.show_policies();
        Ok(())
    }

    /// Puts the form of subjects on record. That it is durable is not waited for: no token after it is given before
    /// it is.
    fn record_subjects(&self, subjects: &SubjectFormats) -> Result<(), Problem> {
        let time = self.now()?;
        let log = self.log.load();
        let log = log.as_ref().ok_or_else(|| Problem::unavailable("stopping"))?;
        let kept = |kept: Result<_, _>| {
            if let Err(error) = kept {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "the form of subjects is not on record");
            }
        };
        log.append(record::subjects_record(subjects, time), kept).map_err(Problem::failed)
    }

    /// Replaces who may ask.
    pub fn replace_access(&self, access: Access) {
        self.access.store(Arc::new(access));
    }

    /// Counts a reload that failed: what decided goes on deciding.
    pub fn kept(&self) {
        self.metrics.reloads.with_label_values(&["failed"]).inc();
    }

    /// Does what is due: keys by their schedule, those that another process made, and forgetting.
    ///
    /// # Errors
    /// When keys could not be made or read, or the store did not answer; those before stay in use.
    pub async fn keep_house(self: &Arc<Self>) -> Result<(), Problem> {
        self.runner_rate.retain_recent();
        self.run_rate.retain_recent();
        let now = self.now()?;
        let ended_before = now.saturating_sub(self.settings.keep_runs_seconds);
        let forgotten = self.store.forget(ended_before, now).await;
        // It makes keys and waits for another process that does.
        let service = Arc::clone(self);
        tokio::task::spawn_blocking(move || service.keep_keys(now))
            .await
            .map_err(Problem::failed)?
            .map_err(Problem::failed)?;
        forgotten.map(drop).map_err(Problem::failed)
    }

    fn keep_keys(&self, now: u64) -> Result<(), KeyFolderError> {
        let folder = &self.key_folder;
        folder.keep_schedule(self.settings.algorithms(), &self.settings.key_times, now)?;
        if folder.plan()? != *self.keys.load().plan() {
            self.keys.store(Arc::new(folder.load(&self.url, now)?));
            tracing::info!("the keys were read again");
        }
        self.show_keys(now);
        Ok(())
    }

    /// How many requests that have arrived whole are being answered.
    pub fn requests_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Takes no requests any more, as far as `/readyz` says.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Writes what waits, and closes log and store. No request may be left.
    pub async fn close(&self) {
        let log = self.log.swap(None);
        // It waits for its thread.
        let closed = tokio::task::spawn_blocking(move || drop(log)).await;
        if closed.is_err() {
            tracing::error!("the decision log was not closed");
        }
        self.store.close().await;
    }

    /// Whether a token could be issued now, or why not.
    pub(crate) async fn ready(&self) -> Result<(), Problem> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Problem::unavailable("stopping"));
        }
        let now = self.now()?;
        if self.keys.load().active(Algorithm::Rs256, now).is_none() {
            return Err(Problem::unavailable("no key is active"));
        }
        if self.log_has_failed() {
            let log = self.log.load();
            let why = log.as_ref().and_then(|log| log.failure()).unwrap_or("it is closed");
            return Err(Problem::unavailable(format!("the decision log: {why}")));
        }
        self.store.ready().await.map_err(Problem::failed)
    }

    /// The counters, in Prometheus' text format.
    pub(crate) fn metrics_text(&self) -> Result<Vec<u8>, Problem> {
        self.metrics.log_failed.set(self.log_has_failed().into());
        self.metrics.text().map_err(Problem::failed)
    }

    fn log_has_failed(&self) -> bool {
        self.log.load().as_ref().is_none_or(|log| log.has_failed())
    }

    /// The key set, as it is published now; or as it was when the time could last be told.
    pub(crate) fn key_set(&self) -> Result<Vec<u8>, Problem> {
        let now = self.now().unwrap_or_else(|_| self.last_now.load(Ordering::Relaxed));
        serde_json::to_vec(&self.keys.load().key_set(now)).map_err(Problem::failed)
    }

    pub(crate) fn now(&self) -> Result<u64, Problem> {
        let now = self.clock.now().map_err(Problem::failed)?;
        self.last_now.store(now, Ordering::Relaxed);
        Ok(now)
    }

    /// Who holds a bearer token, if they may do this.
    pub(crate) async fn control_plane(
        &self,
        bearer: &str,
        permission: Permission,
    ) -> Result<String, Problem> {
        let access = self.access.load_full();
        let (name, may) = if Access::is_api_key(bearer) {
            let key = access.api_key(bearer).ok_or_else(|| {
                Problem::new(ProblemKind::Unauthenticated, "the API key is not known here")
            })?;
            (key.name.clone(), key.may.clone())
        } else if bearer.split('.').count() != 3 {
            let description = "neither an API key (`csk_…`) nor a signed JWT";
            return Err(Problem::new(ProblemKind::Unauthenticated, description));
        } else {
            let believed = async {
                let verified = self.verify(&access, bearer).await?;
                self.use_once(&verified).await?;
                Ok(verified)
            };
            let verified = believed.await.map_err(|error| {
                let problem = identity_problem(&error, bearer);
                match problem.kind {
                    ProblemKind::InvalidRequest => {
                        Problem { kind: ProblemKind::Unauthenticated, ..problem }
                    }
                    _ => problem,
                }
            })?;
            match verified.identity {
                Identity::ControlPlane(may) => (verified.subject, may),
                Identity::Runner(_) => (verified.subject, Vec::new()),
            }
        };
        if !may.contains(&permission) {
            let word = permission.as_str();
            let description =
                format!("the caller may not do this: it needs the permission `{word}`");
            return Err(Problem::new(ProblemKind::Forbidden, description).detail(name));
        }
        Ok(name)
    }

    /// Whom a token stands for.
    async fn verify(&self, access: &Access, token: &str) -> Result<Verified, IdentityError> {
        let now = self.clock.now().map_err(|_| IdentityError::Unavailable)?;
        access.trusted.verify(token, now).await
    }

    /// Notes the use of a token that may be used once: when nothing else keeps it from being used.
    async fn use_once(&self, verified: &Verified) -> Result<(), IdentityError> {
        let Some((id, expires_at)) = &verified.once else { return Ok(()) };
        let first = self.store.use_once(&verified.issuer, id, *expires_at).await;
        if first.map_err(|_| IdentityError::Unavailable)? {
            Ok(())
        } else {
            Err(IdentityError::Used)
        }
    }

    /// Lets a runner ask, or says when it may again.
    fn admit_runner(&self, runner: &RunnerId) -> Result<(), Problem> {
        self.runner_rate.check_key(runner).map_err(|until| {
            too_many("the runner asks for too many tokens", &until)
                .detail(format!("runner {runner}"))
        })
    }

    /// Lets whoever holds a run's token ask, or says when they may again. Before the runner is: one run
    /// must not use up what all runs of its runner share.
    fn admit_run(&self, run: &RunId) -> Result<(), Problem> {
        self.run_rate.check_key(run).map_err(|until| {
            too_many("too many tokens are asked for by the run token", &until)
                .detail(format!("run {run}"))
        })
    }

    fn show_policies(&self) {
        let deciding = self.deciding.load();
        self.metrics.policy_set.reset();
        let digest = deciding.policies.digest().to_string();
        self.metrics.policy_set.with_label_values(&[&digest]).set(1);
        let bindings = i64::try_from(deciding.policies.bindings().len()).unwrap_or(i64::MAX);
        self.metrics.bindings.set(bindings);
    }

    fn show_keys(&self, now: u64) {
        self.metrics.keys.reset();
        for key in &self.keys.load().plan().keys {
            let phase: Phase = key.phase(now);
            let labels = [key.algorithm.as_str(), phase.as_str()];
            self.metrics.keys.with_label_values(&labels).inc();
        }
    }
}

/// What a requester is told of a token that is not believed.
fn identity_problem(error: &IdentityError, token: &str) -> Problem {
    let detail = || match said_by(token) {
        Some(said) => format!("{error}; it says {said}"),
        None => error.to_string(),
    };
    match error {
        IdentityError::Unavailable => Problem::unavailable(detail()),
        _ => Problem::invalid(error.to_string()).detail(detail()),
    }
}

fn too_many(
    description: &str,
    until: &NotUntil<<DefaultClock as governor::clock::Clock>::Instant>,
) -> Problem {
    let wait = until.wait_time_from(DefaultClock::default().now());
    Problem::new(ProblemKind::TooManyRequests, description).retry_after(wait.as_secs() + 1)
}

fn quota(per_second: u32, burst: u32) -> Quota {
    let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_second)).allow_burst(at_least_one(burst))
}
