//! The service: the state that its requests share.

mod administration;
mod decide;
mod deciders;
mod exchange;
mod principal;
mod rates;
mod readiness;
mod recording;
mod registration;
mod registries;
mod release_watch;
mod releases;
mod replica;
mod service_account;
mod slot;
mod traces;
mod trial;
mod trusted_keys;

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use countersign::{Audience, Digest, IssuerUrl, RunId, RunnerId, SubjectFormats};
use countersign_decision_log::{LogWriter, NotDurable};
use countersign_signing::Issuer;
use governor::{DefaultKeyedRateLimiter, RateLimiter};
use tokio::sync::Semaphore;

use self::deciders::Deciders;
use self::rates::quota;
use self::release_watch::ReleaseWatch;
use self::replica::ReplicaState;
use self::traces::Traces;
use self::trial::CandidateTrial;
use crate::access::Authorizer;
use crate::clock::{Clock, ClockError};
use crate::config::ServiceConfig;
use crate::decider::{DecisionContext, SelectIssuer};
use crate::keys::{CustodyHealth, KeyEntry, KeyRing, KeyRingError, Keys, Phase};
use crate::metrics::{ALGORITHMS, Metrics, RateLimit};
use crate::problem::Problem;
use crate::record;
use crate::replica::Replica;
use crate::store::Store;

pub use decide::RegisteredQuestion;
pub use exchange::{ExchangeRequest, SubjectToken};
pub use principal::Principal;
pub use registration::Registration;
pub use release_watch::WatchedRelease;
pub(crate) use service_account::{ServiceAccountOutcome, ServiceAccountQuestion};
pub use slot::Slot;
pub use trial::TrialCounts;
pub(crate) use trial::class_words;

/// The parts of a service.
pub struct ServiceParts {
    /// The issuer identifier.
    pub url: IssuerUrl,
    /// Its configuration.
    pub config: ServiceConfig,
    /// Policies, subjects and clouds.
    pub context: DecisionContext,
    /// The principals that may call it.
    pub authorizer: Authorizer,
    /// The plan of keys, and their custody.
    pub keys: KeyRing,
    /// The store of runs.
    pub store: Arc<dyn Store>,
    /// The decision log.
    pub log: LogWriter,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Its place among other replicas, where the store is shared.
    pub replica: Option<Replica>,
}

/// A service that issues tokens: the state that its requests share.
pub struct Service {
    url: IssuerUrl,
    config: ServiceConfig,
    context: ArcSwap<DecisionContext>,
    authorizer: ArcSwap<Authorizer>,
    key_ring: KeyRing,
    keys: ArcSwap<Keys>,
    /// That of the private keys' custody.
    custody: Arc<CustodyHealth>,
    store: Arc<dyn Store>,
    log: ArcSwapOption<LogWriter>,
    clock: Arc<dyn Clock>,
    runner_rate: DefaultKeyedRateLimiter<RunnerId>,
    run_rate: DefaultKeyedRateLimiter<RunId>,
    deciders: Arc<Deciders>,
    /// The last time that the clock gave.
    last_now: AtomicU64,
    started_at: u64,
    /// True once it was said that keys are missing.
    ready_without_keys: AtomicBool,
    stopping: AtomicBool,
    /// The number of requests that have a slot.
    in_flight: AtomicUsize,
    /// The places of requests whose callers have proved nothing.
    candidates: Arc<Semaphore>,
    metrics: Metrics,
    /// The candidate that is tried beside the policies.
    trial: ArcSwapOption<CandidateTrial>,
    /// The watch over a release that was promoted.
    release_watch: ArcSwapOption<ReleaseWatch>,
    /// Held while the metrics are written: some are made anew for it.
    scraping: Mutex<()>,
    /// The last time that the store said that it is ready.
    store_answered: ArcSwapOption<Instant>,
    replica: Option<ReplicaState>,
    started: Instant,
    /// The lines of the process's own log that were dropped since this was last read.
    dropped_log_lines: OnceLock<Arc<AtomicU64>>,
    traces: OnceLock<Traces>,
}

/// The keys of a service, selected by the audiences of a token.
struct KeysByAudience<'s> {
    keys: &'s Keys,
    config: &'s ServiceConfig,
}

impl SelectIssuer for KeysByAudience<'_> {
    fn issuer_for(&self, audiences: &[Audience], now: u64) -> Option<&Issuer> {
        self.keys.active(self.config.algorithm_of(audiences), now)
    }
}

/// A service that cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServiceError {
    /// Its keys cannot be read or made.
    #[error("failed to load signing keys")]
    Keys(#[from] KeyRingError),
    /// The clock failed.
    #[error(transparent)]
    Clock(#[from] ClockError),
    /// The log takes no record.
    #[error("failed to record the subject configuration: {0:?}")]
    Record(Problem),
    /// The metrics cannot be registered.
    #[error("failed to register metrics")]
    Metrics(#[from] prometheus::Error),
}

impl Service {
    /// Puts a service together, and makes keys that are due.
    ///
    /// # Errors
    /// When there are no keys.
    pub fn start(parts: ServiceParts) -> Result<Arc<Self>, ServiceError> {
        let now = parts.clock.now()?;
        let config = parts.config;
        let settled = parts.clock.settled()?;
        parts.keys.keep_schedule(config.algorithms(), &config.key_times, now, settled)?;
        let keys = parts.keys.load(&parts.url, now)?;
        let log_end = parts.log.end();
        let waiting = parts.keys.custody().waiting_signatures();
        // The series are there also where keys are in the process, and nothing can fail.
        let custody = match parts.keys.custody().health() {
            Some(custody) => custody,
            None => Arc::new(CustodyHealth::new()?),
        };
        let metrics = Metrics::new(now)?;
        metrics.register_custody(&custody)?;
        let service = Self {
            url: parts.url,
            context: ArcSwap::from_pointee(parts.context),
            authorizer: ArcSwap::from_pointee(parts.authorizer),
            key_ring: parts.keys,
            keys: ArcSwap::from_pointee(keys),
            store: parts.store,
            log: ArcSwapOption::from_pointee(parts.log),
            clock: parts.clock,
            runner_rate: RateLimiter::keyed(quota(config.runner_per_second, config.runner_burst)),
            run_rate: RateLimiter::keyed(quota(config.run_per_second, config.run_burst)),
            deciders: Arc::new(Deciders::new(waiting)),
            last_now: AtomicU64::new(now),
            started_at: now,
            ready_without_keys: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            candidates: Arc::new(Semaphore::new(config.max_unproven_requests)),
            metrics,
            custody,
            trial: ArcSwapOption::empty(),
            release_watch: ArcSwapOption::empty(),
            scraping: Mutex::new(()),
            store_answered: ArcSwapOption::empty(),
            replica: parts.replica.map(|replica| ReplicaState::new(replica, log_end)),
            started: Instant::now(),
            dropped_log_lines: OnceLock::new(),
            traces: OnceLock::new(),
            config,
        };
        service.show_policies();
        service.show_keys(now);
        // It may have changed while nothing ran.
        let subjects = service.context.load().subjects.clone();
        service.record_subjects(&subjects).map_err(ServiceError::Record)?;
        Ok(Arc::new(service))
    }

    /// The issuer identifier.
    pub fn url(&self) -> &IssuerUrl {
        &self.url
    }

    /// Digest of the policy set that decides.
    pub fn policy_set(&self) -> Digest {
        self.context.load().policies.digest()
    }

    /// Its configuration.
    pub fn config(&self) -> &ServiceConfig {
        &self.config
    }

    /// Replaces policies, subjects and clouds for the requests that come from now on.
    ///
    /// A change of a subject's form is recorded before any token of the new form: records are
    /// durable in their order.
    ///
    /// # Errors
    /// When that cannot be put on record; the context before stays in use.
    pub fn replace(&self, context: DecisionContext) -> Result<(), Problem> {
        if context.subjects != self.context.load().subjects {
            self.record_subjects(&context.subjects)?;
        }
        self.context.store(Arc::new(context));
        self.metrics.reloads.with_label_values(&["replaced"]).inc();
        self.show_policies();
        Ok(())
    }

    /// Puts the form of subjects on record, and does not wait until that is durable: no token after it is given
    /// before it is.
    fn record_subjects(&self, subjects: &SubjectFormats) -> Result<(), Problem> {
        let time = self.now()?;
        let log = self.log.load();
        let log = log.as_ref().ok_or_else(|| Problem::unavailable("stopping"))?;
        let (done, at_once) = mpsc::channel();
        log.append(record::subjects_record(subjects, time), move |result| {
            if let Err(error) = &result {
                let error: &dyn std::error::Error = error;
                tracing::error!(error, "failed to record the subject configuration");
            }
            // Nobody waits for what is written.
            let _ = done.send(result);
        });
        match at_once.try_recv() {
            Ok(Err(error @ NotDurable::Queue(_))) => Err(Problem::failed(error)),
            _ => Ok(()),
        }
    }

    /// Replaces the principals that may call the service.
    pub fn replace_authorizer(&self, authorizer: Authorizer) {
        self.authorizer.store(Arc::new(authorizer));
    }

    /// Counts a reload that failed: the context before stays in use.
    pub fn record_reload_failure(&self) {
        self.metrics.reloads.with_label_values(&["failed"]).inc();
    }

    /// Does the work that is due: rotates keys by their schedule, loads those that another process made, fetches keys of
    /// trusted issuers that are old, and forgets runs that ended long ago.
    ///
    /// # Errors
    /// When keys could not be made or read, or the store did not answer; those before stay in use.
    pub async fn run_maintenance(self: &Arc<Self>) -> Result<(), Problem> {
        self.runner_rate.retain_recent();
        self.run_rate.retain_recent();
        let now = self.now()?;
        self.keep_trusted_keys_fresh();
        // What is forgotten or destroyed by a clock that is wrong is not there again when it is right.
        let settled = self.clock.settled().map_err(Problem::failed)?;
        let ended_before = settled.saturating_sub(self.config.keep_runs_seconds);
        // A replica that is not as the others are may have a wrong clock, by which tokens would be forgotten that others
        // still accept once.
        let forgotten = match self.check_replica() {
            Ok(()) => self.store.forget(ended_before, settled).await.map(drop),
            Err(_) => Ok(()),
        };
        // It makes keys, and waits for another process that does.
        let service = Arc::clone(self);
        tokio::task::spawn_blocking(move || service.maintain_keys(now, settled))
            .await
            .map_err(Problem::failed)?
            .map_err(Problem::failed)?;
        forgotten.map_err(|error| self.store_failed(&error))
    }

    fn maintain_keys(&self, now: u64, settled: u64) -> Result<(), KeyRingError> {
        let ring = &self.key_ring;
        ring.keep_schedule(self.config.algorithms(), &self.config.key_times, now, settled)?;
        if ring.plan()? != *self.keys.load().plan() {
            self.keys.store(Arc::new(ring.load(&self.url, now)?));
            tracing::info!("reloaded signing keys");
        }
        self.show_keys(now);
        Ok(())
    }

    /// The number of requests that have arrived whole and are being answered.
    pub fn requests_in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Is not [ready](Service::ready) any more; requests are answered all the same.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// Writes the records that wait, and closes log and store. No request may be left.
    pub async fn close(&self) {
        let log = self.log.swap(None);
        // It waits for its thread.
        let closed = tokio::task::spawn_blocking(move || drop(log)).await;
        if closed.is_err() {
            tracing::error!("failed to close the decision log");
        }
        self.leave().await;
        self.store.close().await;
    }

    /// The metrics, in Prometheus' text format.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn metrics_text(&self) -> Result<Vec<u8>, Problem> {
        let now = self.now().unwrap_or_else(|_| self.last_now.load(Ordering::Relaxed));
        let _alone = self.scraping.lock().unwrap_or_else(PoisonError::into_inner);
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let metrics = &self.metrics;
        if let Some(dropped) = self.dropped_log_lines.get() {
            metrics.log_lines_dropped.inc_by(dropped.swap(0, Ordering::Relaxed));
        }
        self.count_dropped_spans();
        metrics.log_failed.set(self.log_has_failed().into());
        if let Some(log) = self.log.load().as_ref() {
            metrics.log_records.set(number(log.end().map_or(0, |end| end.sequence)));
            if let Some(room) = log.room() {
                metrics.log_room_bytes.set(number(room));
            }
        }
        self.show_replica();
        metrics.clock_failed.set(self.clock.now().is_err().into());
        metrics.clock_unsettled_seconds.set(number(self.clock.unsettled_seconds()));
        self.show_trusted_issuers(now);
        metrics.text().map_err(Problem::failed)
    }

    fn log_has_failed(&self) -> bool {
        self.log.load().as_ref().is_none_or(|log| log.has_failed())
    }

    /// Counts a request by its route and its status; `elapsed` is the time to its answer, where there was one.
    pub fn record_request(&self, route: &str, status: &str, elapsed: Option<Duration>) {
        self.metrics.requests.with_label_values(&[route, status]).inc();
        if let Some(elapsed) = elapsed {
            let seconds = self.metrics.request_seconds.with_label_values(&[route]);
            seconds.observe(elapsed.as_secs_f64());
        }
    }

    /// Counts connections that were closed to make room for others.
    pub fn record_evicted_connections(&self, number: usize) {
        self.metrics.connections_evicted.inc_by(number as u64);
    }

    /// Counts a request that waited, since too many before it on its connection proved nothing.
    pub fn record_paced_request(&self) {
        self.metrics.requests_paced.inc();
    }

    /// Shows the end of the validity of the service's certificate, in seconds since 1970.
    pub fn record_certificate(&self, not_after: u64) {
        self.metrics.certificate_not_after.set(i64::try_from(not_after).unwrap_or(i64::MAX));
    }

    /// Counts the lines of the process's own log that are dropped, from a number that is taken from: whoever writes that
    /// log adds to it. Only the first one is used.
    pub fn count_dropped_log_lines(&self, dropped: Arc<AtomicU64>) {
        self.dropped_log_lines.get_or_init(|| dropped);
    }

    /// Counts a request that was refused for the rate of its client's address.
    pub fn record_rate_limited_client(&self) {
        self.metrics.count_rate_limited(RateLimit::Client);
    }

    /// Counts a connection that ended before or within a request.
    pub fn record_connection_error(&self) {
        self.metrics.connection_errors.inc();
    }

    /// The JWK Set that is published now; or that of the last time that the clock gave, when it fails.
    ///
    /// # Errors
    /// When it cannot be written, or a replica has lost the others for so long that they may have keys that it lacks.
    pub fn key_set(&self) -> Result<Vec<u8>, Problem> {
        self.check_publication()?;
        let now = self.now().unwrap_or_else(|_| self.last_now.load(Ordering::Relaxed));
        serde_json::to_vec(&self.keys.load().key_set(now)).map_err(Problem::failed)
    }

    /// The time, in seconds since 1970.
    ///
    /// # Errors
    /// When the clock fails.
    pub fn now(&self) -> Result<u64, Problem> {
        let now = self.clock.now().map_err(Problem::failed)?;
        self.last_now.store(now, Ordering::Relaxed);
        Ok(now)
    }

    fn show_policies(&self) {
        let context = self.context.load();
        self.metrics.policy_set.reset();
        let digest = context.policies.digest().to_string();
        self.metrics.policy_set.with_label_values(&[&digest]).set(1);
        let bindings = i64::try_from(context.policies.bindings().len()).unwrap_or(i64::MAX);
        self.metrics.bindings.set(bindings);
    }

    fn show_keys(&self, now: u64) {
        let keys = self.keys.load();
        for algorithm in ALGORITHMS {
            for phase in Phase::ALL {
                let of = |key: &&KeyEntry| key.algorithm == algorithm && key.phase(now) == phase;
                let count = keys.plan().keys.iter().filter(of).count();
                let gauge =
                    self.metrics.keys.with_label_values(&[algorithm.as_str(), phase.as_str()]);
                gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
    }
}
