//! The releases of a running service: it starts from the active one, and follows each step.
//!
//! A step is put on record, and then taken. The policies of the active release, of the one before and of the candidate are
//! kept prepared, so that promoting and rolling back change a pointer. Steps that other replicas made are seen by the next beat,
//! and come into the folder before anything else is done about them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use countersign::{Digest, PolicySet};
use countersign_deployment::{
    CandidateNote, Deployment, Loader, ReleaseError, ReleaseState, ReleaseStore, ServiceHold,
    ServiceNote, Snapshot,
};
use countersign_issuer::{PostgresStore, Service, TakenReleases, TrialCounts, WatchedRelease};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::spawn_blocking;

use crate::clock;

/// The interval at which the next step is looked for, which is a look at one name.
const INTERVAL: Duration = Duration::from_millis(200);

/// The time after which a release that could not be prepared is tried again.
const AGAIN: Duration = Duration::from_secs(10);

/// The time after which a database that did not answer is asked for steps again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The interval at which the trial of a candidate is reported.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);

/// The releases of a running service.
pub(super) struct Releases {
    loader: Arc<Loader>,
    store: Arc<ReleaseStore>,
    taken: Mutex<Followed>,
    _hold: ServiceHold,
}

/// The state that the service decides by. Held while the context is replaced.
pub(super) struct Followed {
    /// The steps that are on record.
    state: ReleaseState,
    /// The release whose policies decide; `None` for the manifest's.
    active: Option<Digest>,
    /// The step since which they do; 0 for the manifest's.
    deciding: u64,
    note: ServiceNote,
    prepared: HashMap<Digest, Arc<PolicySet>>,
    /// The releases that could not be prepared, and when.
    failed: HashMap<Digest, Instant>,
    /// The candidate as an earlier process has seen it.
    earlier: Option<CandidateNote>,
    /// The time at which the trial was reported last.
    reported: Instant,
}

/// Takes the steps of releases as they come.
pub(super) fn watch(service: Arc<Service>, releases: Arc<Releases>) {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = releases.follow(&service).await {
                let is_unanswered = error.downcast_ref().is_some_and(ReleaseError::is_unanswered);
                let error = countersign::visible(&format!("{error:#}"));
                tracing::error!(error, "failed to follow releases; what decides stays");
                tokio::time::sleep(if is_unanswered { ASK_AGAIN } else { AGAIN }).await;
            }
        }
    });
}

impl Releases {
    /// Reads the releases of a service, and makes its deployment: with the policies of the active release, where there is
    /// one.
    pub(super) fn open(
        loader: &Arc<Loader>,
        snapshot: &Snapshot,
        shared: Option<Arc<PostgresStore>>,
    ) -> Result<(Self, Deployment)> {
        let store = loader.releases(shared);
        let hold = store.hold().context("releases")?;
        // Before anything decides: others may have promoted one while this replica was away.
        store.compare().context("releases")?;
        let state = store.state().context("releases")?;
        // The service writes it anew; what is lost is told twice.
        let note = store.note().unwrap_or_else(|error| {
            let error = countersign::visible(&error.to_string());
            tracing::warn!(error, "the last report about releases is lost");
            ServiceNote::default()
        });
        let (active, mut prepared) = (state.active, HashMap::new());
        let deployment = match active {
            None => loader.deployment(snapshot)?,
            Some(release) => {
                let policies = loader.prepare_release(&store, release).with_context(|| {
                    format!(
                        "the active release {release}; `countersign release rollback` makes the one before active"
                    )
                })?;
                prepared.insert(release, Arc::clone(&policies));
                loader.deployment_with(snapshot, policies)?
            }
        };
        let (failed, earlier, reported) = (HashMap::new(), note.candidate.clone(), Instant::now());
        let deciding = state.active_step;
        let taken = Followed { state, active, deciding, note, prepared, failed, earlier, reported };
        let (loader, store) = (Arc::clone(loader), Arc::new(store));
        Ok((Self { loader, store, taken: Mutex::new(taken), _hold: hold }, deployment))
    }

    pub(super) fn loader(&self) -> &Arc<Loader> {
        &self.loader
    }

    /// The releases on disk.
    pub(super) fn store(&self) -> &Arc<ReleaseStore> {
        &self.store
    }

    /// The state that the service decides by; nobody else replaces the context while it is held.
    pub(super) async fn taken(&self) -> MutexGuard<'_, Followed> {
        self.taken.lock().await
    }

    /// Puts the steps on record that were made while no service ran.
    pub(super) async fn begin(&self, service: &Service) -> Result<()> {
        let mut taken = self.taken.lock().await;
        let (from, last) = (taken.note.recorded + 1, taken.state.step);
        // One from another state, such as an older copy of it.
        let from = if from > last + 1 { 1 } else { from };
        if from <= last {
            for step in self.store.steps(from)?.iter().filter(|step| step.step <= last) {
                let recorded = service.record_release(step).await;
                recorded
                    .map_err(|problem| anyhow::anyhow!("no record of a release: {problem:?}"))?;
            }
        }
        taken.note.recorded = last;
        taken.note.taken = last;
        taken.note.problem = None;
        taken.replaced(self, service);
        taken.tell(service);
        if let Some(release) = taken.active {
            tracing::info!(%release, step = last, "decides by the active release");
        }
        Ok(())
    }

    /// Takes the steps that were made since, and prepares the releases that may be needed.
    async fn follow(self: &Arc<Self>, service: &Arc<Service>) -> Result<()> {
        let mut taken = self.taken.lock().await;
        let (next, shared) = (taken.state.step + 1, service.shared_release_step());
        if shared >= next && !self.store.has_step(shared) {
            let store = Arc::clone(&self.store);
            let followed = spawn_blocking(move || store.follow()).await?;
            if followed.as_ref().is_err_and(|error| !error.is_unanswered()) {
                service.tell_failed_release(shared);
            }
            followed?;
        }
        if self.store.has_step(next) {
            let store = Arc::clone(&self.store);
            let steps = spawn_blocking(move || store.steps(next)).await??;
            for step in steps {
                let mut state = taken.state.clone();
                state.add(&step).map_err(|problem| anyhow::anyhow!(problem))?;
                let recorded = service.record_release(&step).await;
                recorded
                    .map_err(|problem| anyhow::anyhow!("no record of a release: {problem:?}"))?;
                let (action, release) = (step.action.as_str(), step.release);
                tracing::info!(step = step.step, action, %release, "a step of releases");
                taken.state = state;
                taken.note.recorded = step.step;
            }
        }
        if taken.note.taken < taken.state.step {
            self.take(&mut taken, service).await;
        }
        self.prepare_others(&mut taken);
        taken.tell(service);
        self.try_candidate(&mut taken, service);
        self.watch_promoted(&taken, service);
        self.roll_back_if_wrong(service).await
    }

    /// Tries the candidate once it is prepared, and reports what was seen of it.
    fn try_candidate(&self, taken: &mut Followed, service: &Arc<Service>) {
        let candidate = taken.state.candidate.and_then(|release| taken.prepared.get(&release));
        let percent = self.loader.config().releases.candidate_percent;
        service.try_candidate(candidate.map(Arc::clone), percent);
        let before = taken.note.candidate.clone();
        match service.trial() {
            None if taken.state.candidate.is_none() => taken.note.candidate = None,
            None => {}
            Some((release, counts)) => taken.tried(release, &counts),
        }
        let is_due = taken.reported.elapsed() > REPORT_INTERVAL;
        if taken.note.candidate != before && (is_due || before.is_none()) {
            taken.reported = Instant::now();
            taken.replaced(self, service);
        } else if taken.note.candidate != before {
            // Told with the next report.
            taken.note.candidate = before;
        }
    }

    /// Watches a release that was promoted, where the operator wants the service to go back by itself.
    fn watch_promoted(&self, taken: &Followed, service: &Service) {
        let entry = &self.loader.config().releases;
        let state = &taken.state;
        let previous = state.previous().and_then(|previous| taken.prepared.get(&previous));
        let now = service.now().unwrap_or(u64::MAX);
        let left = (state.active_since + entry.rollback_within.as_secs()).saturating_sub(now);
        let watched = match (state.active, previous) {
            (Some(release), Some(previous))
                if state.is_promoted
                    && taken.active == Some(release)
                    && entry.rollback_on_faults > 0
                    && left > 0 =>
            {
                Some(WatchedRelease {
                    step: state.active_step,
                    release,
                    previous: Arc::clone(previous),
                    min_faults: entry.rollback_on_faults,
                    during: Duration::from_secs(left),
                })
            }
            _ => None,
        };
        service.watch_release(watched);
    }

    /// Goes back to the release before, where the one that was promoted faults. The next look takes that step.
    async fn roll_back_if_wrong(&self, service: &Service) -> Result<()> {
        let Some((step, reason)) = service.release_fault() else { return Ok(()) };
        let now = service.now().map_err(|problem| anyhow::anyhow!("{problem:?}"))?;
        let store = Arc::clone(&self.store);
        tracing::error!(step, reason, "the promoted release faults; rolling back");
        match spawn_blocking(move || store.rollback(Some(reason), Some(step), now)).await? {
            // Somebody was faster.
            Ok(_) | Err(ReleaseError::Overtaken) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the active release decide.
    async fn take(&self, taken: &mut Followed, service: &Service) {
        if taken.active != taken.state.active
            && let Some(release) = taken.state.active
        {
            match self.prepared(taken, release).await {
                None => return,
                Some(Ok(policies)) => {
                    service.replace_policies(policies);
                    taken.active = Some(release);
                    tracing::info!(%release, "decides by another release");
                }
                Some(Err(error)) => {
                    let problem = countersign::visible(&format!("{error:#}"));
                    service.record_reload_failure();
                    service.tell_failed_release(taken.state.active_step);
                    tracing::error!(
                        %release,
                        error = problem,
                        "failed to prepare the active release; the policies before stay in use"
                    );
                    taken.note.problem = Some(problem);
                    taken.replaced(self, service);
                    return;
                }
            }
        }
        taken.deciding = taken.state.active_step;
        taken.note.taken = taken.state.step;
        taken.note.problem = None;
        taken.replaced(self, service);
    }

    /// The policies of a release; `None` while it is not time to try again.
    async fn prepared(
        &self,
        taken: &mut Followed,
        release: Digest,
    ) -> Option<Result<Arc<PolicySet>>> {
        if let Some(policies) = taken.prepared.get(&release) {
            return Some(Ok(Arc::clone(policies)));
        }
        if taken.failed.get(&release).is_some_and(|at| at.elapsed() < AGAIN) {
            return None;
        }
        let policies = self.prepare(release).await;
        match &policies {
            Ok(policies) => drop(taken.prepared.insert(release, Arc::clone(policies))),
            Err(_) => drop(taken.failed.insert(release, Instant::now())),
        }
        Some(policies)
    }

    async fn prepare(&self, release: Digest) -> Result<Arc<PolicySet>> {
        let (loader, store) = (Arc::clone(&self.loader), Arc::clone(&self.store));
        Ok(spawn_blocking(move || loader.prepare_release(&store, release)).await??)
    }

    /// Prepares the release before and the candidate, in a task of its own: a rollback never waits for it. Forgets what is
    /// none of them.
    fn prepare_others(self: &Arc<Self>, taken: &mut Followed) {
        let wanted = taken.wanted();
        taken.prepared.retain(|release, _| wanted.contains(release));
        for release in wanted {
            let is_known = taken.prepared.contains_key(&release);
            if is_known || taken.failed.get(&release).is_some_and(|at| at.elapsed() < AGAIN) {
                continue;
            }
            // Counts as failed until it is there, so that it is begun once.
            taken.failed.insert(release, Instant::now() + Duration::from_secs(3600));
            let releases = Arc::clone(self);
            tokio::spawn(async move {
                let prepared = releases.prepare(release).await;
                let mut taken = releases.taken.lock().await;
                match prepared {
                    Ok(policies) => {
                        taken.failed.remove(&release);
                        taken.prepared.insert(release, policies);
                    }
                    Err(error) => {
                        let error = countersign::visible(&format!("{error:#}"));
                        tracing::warn!(%release, error, "failed to prepare a release that does not decide");
                        taken.failed.insert(release, Instant::now());
                    }
                }
            });
        }
    }
}

impl Followed {
    /// The policies of the release that decides; `None` where the manifest's do.
    pub(super) fn active(&self) -> Option<Arc<PolicySet>> {
        self.active.and_then(|release| self.prepared.get(&release)).map(Arc::clone)
    }

    /// Reports what the service decides by.
    pub(super) fn replaced(&mut self, releases: &Releases, service: &Service) {
        self.note.deciding = Some(service.policy_set());
        if let Err(error) = releases.store.write_note(&self.note) {
            let error = countersign::visible(&format!("{:#}", anyhow::Error::from(error)));
            tracing::warn!(
                error,
                "failed to report what decides; `countersign release` may wait for it"
            );
        }
    }

    /// Tells the other replicas what was taken, after the policies that decide by it were put in place.
    fn tell(&self, service: &Service) {
        let candidate = self.state.candidate.filter(|release| self.prepared.contains_key(release));
        service.tell_releases(TakenReleases {
            step: self.note.taken,
            deciding: self.deciding,
            candidate: candidate.map(|release| release.to_string()).unwrap_or_default(),
        });
    }

    /// Notes what was seen of a candidate, with what an earlier process saw of it.
    fn tried(&mut self, release: Digest, counts: &TrialCounts) {
        let mut note = match &self.earlier {
            Some(earlier) if earlier.release == release => earlier.clone(),
            _ => CandidateNote {
                release,
                since: self
                    .note
                    .candidate
                    .as_ref()
                    .filter(|note| note.release == release)
                    .map_or_else(|| clock::now(None).unwrap_or_default(), |note| note.since),
                compared: 0,
                skipped: 0,
                classes: BTreeMap::new(),
                faults: 0,
            },
        };
        note.compared += counts.compared;
        note.skipped += counts.skipped;
        note.faults += counts.faults;
        for (class, number) in &counts.classes {
            *note.classes.entry((*class).to_owned()).or_default() += number;
        }
        self.note.candidate = Some(note);
    }

    /// The releases that are kept prepared.
    fn wanted(&self) -> Vec<Digest> {
        let mut wanted: Vec<_> = self.active.into_iter().collect();
        wanted.extend(self.state.active);
        wanted.extend(self.state.previous());
        wanted.extend(self.state.candidate);
        wanted
    }
}
