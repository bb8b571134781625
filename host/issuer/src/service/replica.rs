//! A service among other replicas: whether tokens may leave it, and its checkpoints in their logs.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};
use countersign::Digest;
use countersign_decision_log::{Position, SignedCheckpoint};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

use super::Service;
use crate::problem::{Problem, with_sources};
use crate::replica::{
    Anchor, CLOCK_TOLERANCE, Replica, ReplicaProblem, Standing, anchor_record, displaced_record,
    is_spread, release_problem, standing, told_checkpoint,
};
use crate::store::{Beat, Register, ReplicaEntry, StoreError, TakenReleases};

/// The time between two anchors of another replica's log.
const ANCHOR_EVERY: Duration = Duration::from_secs(10);

/// A replica, and what it knows of the others.
pub(super) struct ReplicaState {
    parts: Replica,
    /// The beginning of the last beat that was answered.
    seen: ArcSwapOption<Instant>,
    standing: ArcSwap<Standing>,
    /// The last record of this log that is no anchor: those of idle replicas would call forth one another.
    reached: Mutex<Option<Position>>,
    anchors: Mutex<Anchors>,
    /// Held during a beat; true once the register was left.
    left: AsyncMutex<bool>,
    /// The releases that were taken here.
    taken: ArcSwap<TakenReleases>,
    /// The last step of releases that could not be taken here; 0 before any.
    failed_step: AtomicU64,
    /// The last step of releases in the database, as the last beat has seen it.
    shared_step: AtomicU64,
}

struct Anchors {
    last: BTreeMap<String, SignedCheckpoint>,
    made: Option<Instant>,
    /// The replicas whose logs have lost what was anchored.
    cut: Vec<String>,
}

impl ReplicaState {
    pub(super) fn new(parts: Replica, reached: Option<Position>) -> Self {
        let anchors = Anchors { last: parts.anchors.clone(), made: None, cut: Vec::new() };
        Self {
            parts,
            seen: ArcSwapOption::empty(),
            standing: ArcSwap::default(),
            reached: Mutex::new(reached),
            anchors: Mutex::new(anchors),
            left: AsyncMutex::new(false),
            taken: ArcSwap::default(),
            failed_step: AtomicU64::new(0),
            shared_step: AtomicU64::new(0),
        }
    }

    fn since_seen(&self) -> Option<Duration> {
        self.seen.load().as_ref().map(|seen| seen.elapsed())
    }

    /// The reason for which no token may leave now.
    fn problem(&self) -> Option<(ReplicaProblem, String)> {
        if self.since_seen().is_none_or(|since| since > self.parts.poll) {
            let said = "this replica has lost the database".to_owned();
            return Some((ReplicaProblem::CutOff, said));
        }
        self.standing.load().problem.clone()
    }
}

impl Service {
    /// Tells the other replicas that this one is there, takes over what they changed, and anchors their logs in its own.
    /// It is to be called several times within [`Replica::poll`]. Does nothing in a service that is alone.
    ///
    /// # Errors
    /// When the database did not answer, or keys could not be taken over. Once that has lasted for longer than the poll
    /// time, no token leaves.
    pub async fn beat(self: &Arc<Self>) -> Result<(), Problem> {
        let Some(replica) = &self.replica else { return Ok(()) };
        let left = replica.left.lock().await;
        if *left {
            return Ok(());
        }
        let begun = Instant::now();
        let beat = self.beat_of(replica)?;
        let told = replica.parts.store.beat(&replica.parts.member, &beat).await;
        let register = match told {
            Ok(register) => register,
            Err(error) => {
                if let StoreError::Displaced { found, expected } = error
                    && self.store.check_place().is_ok()
                {
                    self.displaced(replica, found, expected).await;
                }
                return Err(self.store_failed(&error));
            }
        };
        self.take_over_keys(&register).await?;
        let now = self.now()?;
        let mut seen = Standing::default();
        if now.abs_diff(register.now) > CLOCK_TOLERANCE {
            let said = format!(
                "the clock of this replica differs from the database's by {} s",
                now.abs_diff(register.now)
            );
            seen.problem = Some((ReplicaProblem::Clock, said));
        } else {
            let is_there = |entry: &&ReplicaEntry| {
                !entry.stopped && entry.age_seconds <= 3 * replica.parts.poll.as_secs().max(1)
            };
            let there: Vec<_> = register.replicas.iter().filter(is_there).collect();
            // A replica learns of a step with its next beat, and tells with the one after it that it was taken.
            let (shared, spreads) = (&register.releases, replica.parts.poll * 2);
            seen = standing(&replica.parts.member.name, &there, is_spread(shared, spreads));
            let failed = replica.failed_step.load(Ordering::Acquire);
            let problem = release_problem(&beat.releases, failed, shared, spreads);
            seen.problem = problem.or(seen.problem);
            let number = i64::try_from(there.len()).unwrap_or(i64::MAX);
            self.metrics.replicas.set(number);
        }
        if **replica.standing.load() != seen {
            let (problem, remarks) = (seen.problem.as_ref(), seen.remarks.join("; "));
            match problem {
                Some((code, said)) => {
                    tracing::error!(code = code.as_str(), said, "no token leaves this replica");
                }
                None => tracing::warn!(remarks, "the standing among replicas has changed"),
            }
        }
        replica.shared_step.store(register.releases.step, Ordering::Release);
        replica.standing.store(Arc::new(seen));
        replica.seen.store(Some(Arc::new(begun)));
        self.anchor(replica, &register.replicas, now);
        Ok(())
    }

    /// Puts on record that this replica is none any more, and ends it: the records say so at the next start.
    async fn displaced(&self, replica: &ReplicaState, found: i64, expected: i64) {
        tracing::error!(
            found,
            expected,
            "no token leaves this replica any more: another process has its name, or the database was put back to an \
             earlier time"
        );
        let now = self.now().unwrap_or_else(|_| self.last_now.load(Ordering::Relaxed));
        let (done, durable) = oneshot::channel();
        if let (Some(log), Ok(record)) =
            (self.log.load().as_ref(), displaced_record(found, expected, now))
        {
            log.append(record, move |result| drop(done.send(result)));
        } else {
            drop(done);
        }
        // It ends also where that could not be recorded.
        let _ = durable.await;
        replica.parts.store.displace();
    }

    /// Tells the other replicas, with the next beat, the releases that were taken here. Nothing in a service that is alone.
    pub fn tell_releases(&self, taken: TakenReleases) {
        if let Some(replica) = &self.replica {
            replica.taken.store(Arc::new(taken));
        }
    }

    /// Notes that a step of releases could not be taken here, so that the policies before stay.
    pub fn tell_failed_release(&self, step: u64) {
        if let Some(replica) = &self.replica {
            replica.failed_step.store(step, Ordering::Release);
        }
    }

    /// The last step of releases in the database that replicas share, as the last beat has seen it; 0 in a service that is
    /// alone.
    pub fn shared_release_step(&self) -> u64 {
        self.replica.as_ref().map_or(0, |replica| replica.shared_step.load(Ordering::Acquire))
    }

    fn beat_of(&self, replica: &ReplicaState) -> Result<Beat, Problem> {
        // Before the policies are read: what is told is never later than they are.
        let taken = TakenReleases::clone(&replica.taken.load());
        let reached = *replica.reached.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut checkpoint, mut hash) = (String::new(), String::new());
        if let Some(position) = reached {
            let signed = SignedCheckpoint::sign(position, self.now()?, &replica.parts.key);
            let signed = signed.ok_or_else(|| Problem::unavailable("no checkpoint was signed"))?;
            checkpoint = serde_json::to_string(&signed).map_err(Problem::failed)?;
            hash = position.hash.to_string();
        }
        let context = self.context.load();
        // Everything that a decision, its token and the time from which on a key signs follow from.
        let policies = context.policies.digest();
        let config = &self.config;
        let all = format!(
            "{policies} {:?} {:?} {:?} {} {} {:?}",
            context.subjects,
            context.clouds,
            config.key_times,
            config.max_ttl_seconds,
            config.max_audiences,
            config.es256_audiences
        );
        let access = self.authorizer.load().digest;
        Ok(Beat {
            plan_version: self.keys.load().version(),
            policy_set: crate::replica::compared(&Digest::of(all.as_bytes())),
            access: access.map(|digest| digest.to_string()).unwrap_or_default(),
            log_sequence: reached.map_or(0, |position| position.sequence),
            log_hash: hash,
            checkpoint,
            checkpoint_key: replica.parts.key_set.clone(),
            releases: taken,
        })
    }

    /// Loads the keys where another process changed their plan; and has those that some replica does not publish yet sign
    /// later.
    async fn take_over_keys(self: &Arc<Self>, register: &Register) -> Result<(), Problem> {
        let Some(replica) = &self.replica else { return Ok(()) };
        let lacks_plan = |entry: &ReplicaEntry| {
            entry.name != replica.parts.member.name
                && !entry.stopped
                && entry.age_seconds <= self.publishes_for()
                && entry.beat.plan_version < register.plan_version
        };
        let is_behind = register.plan_version != self.keys.load().version();
        let is_waited_for = register.replicas.iter().any(lacks_plan);
        if !is_behind && !is_waited_for {
            return Ok(());
        }
        let (service, now) = (Arc::clone(self), self.now()?);
        let taken = tokio::task::spawn_blocking(move || {
            if is_behind {
                service.keys.store(Arc::new(service.key_ring.load(&service.url, now)?));
                service.show_keys(now);
                tracing::info!("reloaded signing keys");
            }
            if is_waited_for && service.key_ring.postpone(&service.config.key_times, now)? {
                tracing::info!("a key signs later: not every replica publishes it yet");
            }
            Ok::<_, crate::keys::KeyRingError>(())
        });
        taken.await.map_err(Problem::failed)?.map_err(Problem::failed)
    }

    /// Puts the checkpoints of the others into this log, and says where one of theirs has lost what is anchored here.
    fn anchor(&self, replica: &ReplicaState, register: &[ReplicaEntry], now: u64) {
        let mut anchors = replica.anchors.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new = Vec::new();
        for entry in register.iter().filter(|entry| entry.name != replica.parts.member.name) {
            let Some(told) = told_checkpoint(entry) else { continue };
            let before = anchors.last.get(&entry.name).cloned();
            let is_cut =
                before.as_ref().is_some_and(|before| is_cut(&before.checkpoint, &told.checkpoint));
            if is_cut && !anchors.cut.contains(&entry.name) {
                let (replica, told) = (countersign::visible(&entry.name), told.checkpoint.sequence);
                let anchored = before.as_ref().map(|before| before.checkpoint.sequence);
                tracing::error!(
                    %replica, told, anchored,
                    "the log of a replica has lost records, or is another one: `countersign log verify` compares them"
                );
                anchors.cut.push(entry.name.clone());
            }
            let is_new = before.is_none_or(|before| {
                before.checkpoint.sequence < told.checkpoint.sequence || is_cut
            });
            if is_new {
                new.push(Anchor { replica: entry.name.clone(), checkpoint: told });
            }
        }
        // Until somebody has looked, and forgotten the replica or started this one anew.
        anchors.cut.retain(|name| register.iter().any(|entry| entry.name == *name));
        self.metrics.replica_logs_cut.set(i64::try_from(anchors.cut.len()).unwrap_or(i64::MAX));
        let is_due = anchors.made.is_none_or(|made| made.elapsed() >= ANCHOR_EVERY);
        let log = self.log.load();
        let (false, true, Some(log)) = (new.is_empty(), is_due, log.as_ref()) else { return };
        let Ok(record) = anchor_record(&new, now) else { return };
        // Once it is durable or not: an anchor that is missing is made with the next checkpoint.
        log.append(record, |result| {
            if let Err(error) = result {
                let error: &dyn std::error::Error = &error;
                tracing::error!(error, "failed to record the checkpoints of other replicas");
            }
        });
        anchors.made = Some(Instant::now());
        anchors.last.extend(new.into_iter().map(|anchor| (anchor.replica, anchor.checkpoint)));
    }

    /// Shows the problem of this replica, which is there whether or not anybody asks for a token.
    pub(super) fn show_replica(&self) {
        let problem = self.replica.as_ref().and_then(ReplicaState::problem);
        for code in ReplicaProblem::ALL {
            let is_so = problem.as_ref().is_some_and(|(found, _)| *found == code);
            self.metrics.replica_problem.with_label_values(&[code.as_str()]).set(is_so.into());
        }
    }

    /// Checks that tokens may leave this replica.
    ///
    /// # Errors
    /// When it is cut off from the others, or is not as they are.
    pub(super) fn check_replica(&self) -> Result<(), Problem> {
        match self.replica.as_ref().and_then(ReplicaState::problem) {
            None => Ok(()),
            Some((code, said)) => {
                let problem = Problem::unavailable(format!("{}: {said}", code.as_str()));
                Err(Problem { description: format!("{}: {said}", code.as_str()), ..problem })
            }
        }
    }

    /// The differences of other replicas, for whoever asks if this one is ready: one a line.
    pub fn replica_remarks(&self) -> Vec<String> {
        let standing = self.replica.as_ref().map(|replica| replica.standing.load_full());
        standing.map(|standing| standing.remarks.clone()).unwrap_or_default()
    }

    /// Checks that the key set here is one that verifiers may still be given. One that has not seen the database for
    /// longer than others count on it may lack a key that signs elsewhere; no token that it could verify is valid any more.
    pub(super) fn check_publication(&self) -> Result<(), Problem> {
        let Some(replica) = &self.replica else { return Ok(()) };
        let max = Duration::from_secs(self.publishes_for());
        match replica.since_seen() {
            Some(since) if since < max => Ok(()),
            // It has just loaded them.
            None if self.started.elapsed() < max => Ok(()),
            _ => Err(Problem::unavailable("the keys are too old to be published")),
        }
    }

    /// The seconds for which a replica without the database publishes its keys, and the others wait for it.
    fn publishes_for(&self) -> u64 {
        let times = &self.config.key_times;
        times.verifier_cache.max(times.max_token_lifetime)
    }

    /// Leaves the register: the others do not wait for this replica to publish keys.
    pub(super) async fn leave(&self) {
        let Some(replica) = &self.replica else { return };
        *replica.left.lock().await = true;
        if let Err(error) = replica.parts.store.leave(&replica.parts.member).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "failed to leave the register of replicas");
        }
    }

    /// Notes how far the log has reached with a decision or a change.
    pub(super) fn log_reached(&self, position: Position) {
        self.store.log_reached(position);
        if let Some(replica) = &self.replica {
            let mut reached = replica.reached.lock().unwrap_or_else(PoisonError::into_inner);
            if reached.is_none_or(|before| before.sequence < position.sequence) {
                *reached = Some(position);
            }
        }
    }

    /// Counts a failure of the store, and makes the answer of it: 503, to be asked again.
    pub(super) fn store_failed(&self, error: &StoreError) -> Problem {
        let code = error.failure().as_str();
        self.metrics.store_failures.with_label_values(&[code]).inc();
        Problem::unavailable(format!("{code}: {}", with_sources(error)))
    }
}

/// True if a log that had a checkpoint cannot have a later one that is told.
fn is_cut(
    before: &countersign_decision_log::Checkpoint,
    told: &countersign_decision_log::Checkpoint,
) -> bool {
    told.kid != before.kid
        || told.sequence < before.sequence
        || (told.sequence == before.sequence && told.hash != before.hash)
}
