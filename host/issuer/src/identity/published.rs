//! Keys that an issuer publishes: fetched when they are needed, kept for a while, and asked for by few at a time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use countersign::check_json;
use serde::Deserialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use super::IdentityError;
use super::jwks::{Jwks, MAX_KEY_SET_BYTES, NoKey};
use super::key_source::{Fetch, FetchError, FetchErrorKind, FoundKey, WantedKey, is_secure};
use super::verification_key::VerificationKey;

/// The maximum of seconds after which a key set is fetched again when it is needed; less where its server says so.
const MAX_FRESH: u64 = 3600;
/// The seconds for which a key set is used that cannot be fetched again.
const USABLE: u64 = 24 * 3600;
/// The minimum of seconds between two attempts, and for which a key set is used whatever its server says: a token with
/// an unknown `kid` costs its issuer no more than this.
const PAUSE: u64 = 10;
/// The minimum of seconds between two attempts that no request needs.
const MAINTENANCE_PAUSE: u64 = 60;
/// The maximum of requests that wait for one issuer. They hold connections, which others need.
const MAX_WAITING: usize = 16;
/// The time within which discovery document and key set must be there.
const FETCH: Duration = Duration::from_secs(10);

/// The keys that an issuer publishes, as of the last fetch.
///
/// A fetch runs by itself, and not within the request that needs it: one that goes away does not end it for the
/// others.
pub struct Published {
    issuer: String,
    /// The URL of the key set; found by discovery where not given.
    jwks_url: Option<String>,
    fetch: Arc<dyn Fetch>,
    known: ArcSwapOption<Known>,
    attempts: Mutex<Attempts>,
    waiting: Semaphore,
}

struct Known {
    keys: Jwks,
    fetched: u64,
    /// The seconds after which it is fetched again when it is needed.
    fresh: u64,
}

#[derive(Default)]
struct Attempts {
    /// The time of the last one.
    last: Option<u64>,
    /// Closed when the one that runs has ended.
    running: Option<watch::Receiver<()>>,
    /// The reason that the last one failed.
    failed: Option<FetchError>,
    statistics: FetchStatistics,
}

/// The fetches of an issuer's keys since the start.
#[derive(Debug, Clone, Default)]
pub(crate) struct FetchStatistics {
    pub(crate) succeeded: u64,
    /// By the kinds of [`FetchErrorKind::ALL`].
    pub(crate) failed: [u64; FetchErrorKind::ALL.len()],
    pub(crate) last_failure: Option<u64>,
}

/// An attempt to fetch.
enum Attempt {
    /// One was begun.
    Begun(watch::Receiver<()>),
    /// Another one runs.
    Joined(watch::Receiver<()>),
    /// There was one just before.
    NotYet,
}

/// The end of an attempt, however it ends.
struct Ended {
    published: Arc<Published>,
    _done: watch::Sender<()>,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.published.attempts().running = None;
    }
}

impl Known {
    fn age(&self, now: u64) -> u64 {
        // Also where the clock was ahead when they were fetched.
        now.abs_diff(self.fetched)
    }
}

impl Published {
    pub(super) fn new(issuer: String, jwks_url: Option<String>, fetch: Arc<dyn Fetch>) -> Self {
        Self {
            issuer,
            jwks_url,
            fetch,
            known: ArcSwapOption::empty(),
            attempts: Mutex::default(),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }

    /// The key for a token. Waits for the issuer where it may be one that is not known yet.
    pub(super) async fn key(
        self: &Arc<Self>,
        wanted: WantedKey<'_>,
        now: u64,
    ) -> Result<FoundKey, IdentityError> {
        let known = self.usable(now);
        let is_fresh = known.as_ref().is_some_and(|known| known.age(now) < known.fresh);
        let found = match known.map(|known| known.keys.select(wanted)) {
            // A `kid` that is not known may have been published since.
            None | Some(Err(NoKey::Unknown)) => None,
            Some(found) => Some(found.map(|key| FoundKey { key, is_current: false })),
        };
        let found = match found {
            Some(found) if is_fresh => return Ok(found?),
            found => found,
        };
        let (running, is_own, found) = match (self.attempt(now, PAUSE), found) {
            (Attempt::Begun(running), found) => (running, true, found),
            // One caller finds out if it is still published; the others need not wait.
            (Attempt::Joined(_) | Attempt::NotYet, Some(found)) => return Ok(found?),
            (Attempt::Joined(running), None) => (running, false, None),
            (Attempt::NotYet, None) => return Err(self.unavailable(now)),
        };
        if let Err(error) = self.wait(running).await {
            return found.map_or(Err(error), |found| Ok(found?));
        }
        let known = self.usable(now).ok_or_else(|| self.unavailable(now))?;
        // Without an answer to this very question, a key that is not known may be published all the same.
        let is_current = is_own && !self.has_failed();
        match known.keys.select(wanted) {
            Err(NoKey::Unknown) if !is_current => Err(self.unavailable(now)),
            found => Ok(FoundKey { key: found?, is_current }),
        }
    }

    /// The key for a token whose signature is not that of the key that is known. `None` where that is the only one.
    pub(super) async fn newer_key(
        self: &Arc<Self>,
        wanted: WantedKey<'_>,
        known: &VerificationKey,
        now: u64,
    ) -> Result<Option<Arc<VerificationKey>>, IdentityError> {
        let (running, is_own) = match self.attempt(now, PAUSE) {
            Attempt::Begun(running) => (running, true),
            Attempt::Joined(running) => (running, false),
            Attempt::NotYet => return Err(self.unavailable(now)),
        };
        self.wait(running).await?;
        let found = self.usable(now).ok_or_else(|| self.unavailable(now))?.keys.select(wanted)?;
        if !found.is_same_key(known) {
            return Ok(Some(found));
        }
        if is_own && !self.has_failed() { Ok(None) } else { Err(self.unavailable(now)) }
    }

    /// Fetches the keys now.
    pub(crate) async fn refetch(self: &Arc<Self>, now: u64) -> Result<Jwks, FetchError> {
        loop {
            match self.attempt(now, 0) {
                Attempt::Begun(mut running) => {
                    // An error is its end.
                    let _ = running.changed().await;
                    break;
                }
                // It may have begun before what is asked for now.
                Attempt::Joined(mut running) => {
                    let _ = running.changed().await;
                }
                Attempt::NotYet => break,
            }
        }
        match (self.attempts().failed.clone(), self.known.load_full()) {
            (Some(error), _) => Err(error),
            (None, Some(known)) => Ok(known.keys.clone()),
            (None, None) => Err(self.interrupted()),
        }
    }

    /// True when there are keys. Begins to fetch them where there are none.
    pub(crate) fn has_keys(self: &Arc<Self>, now: u64) -> bool {
        let is_known = self.known.load().is_some();
        if !is_known {
            drop(self.attempt(now, PAUSE));
        }
        is_known
    }

    /// Begins a fetch, where keys are missing or old and there was no attempt just before.
    pub(crate) fn keep_fresh(self: &Arc<Self>, now: u64) {
        let is_fresh = self.known.load().as_ref().is_some_and(|known| known.age(now) < known.fresh);
        if !is_fresh {
            drop(self.attempt(now, MAINTENANCE_PAUSE));
        }
    }

    /// The issuer's identifier.
    pub(crate) fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The number of keys that are known, the time when they were fetched, and the fetches since the start.
    pub(crate) fn statistics(&self) -> (usize, Option<u64>, FetchStatistics) {
        let known = self.known.load();
        let statistics = self.attempts().statistics.clone();
        let keys = known.as_ref().map_or(0, |known| known.keys.usable().len());
        (keys, known.as_ref().map(|known| known.fetched), statistics)
    }

    /// The keys that are known, unless they are too old.
    fn usable(&self, now: u64) -> Option<Arc<Known>> {
        self.known.load_full().filter(|known| known.age(now) < USABLE)
    }

    fn attempts(&self) -> MutexGuard<'_, Attempts> {
        self.attempts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to fetch, unless a fetch runs or there was an attempt less than `pause` seconds before.
    fn attempt(self: &Arc<Self>, now: u64, pause: u64) -> Attempt {
        let mut attempts = self.attempts();
        if let Some(running) = &attempts.running {
            return Attempt::Joined(running.clone());
        }
        // Also where the clock was ahead at the last one.
        if attempts.last.is_some_and(|last| now.abs_diff(last) < pause) {
            return Attempt::NotYet;
        }
        let (done, running) = watch::channel(());
        attempts.last = Some(now);
        attempts.running = Some(running.clone());
        // Until it has an answer.
        attempts.failed = Some(self.interrupted());
        drop(attempts);
        let ended = Ended { published: Arc::clone(self), _done: done };
        tokio::spawn(async move {
            let published = &ended.published;
            let answer = timeout(FETCH, published.fetch_keys(now)).await;
            published.note(now, answer.unwrap_or_else(|_| Err(published.too_slow())));
        });
        Attempt::Begun(running)
    }

    fn note(&self, now: u64, answer: Result<Known, FetchError>) {
        let mut attempts = self.attempts();
        match answer {
            Ok(known) => {
                attempts.statistics.succeeded += 1;
                attempts.failed = None;
                let before = self.known.swap(Some(Arc::new(known)));
                let after = self.known.load();
                let unusable = after.as_ref().map_or(&[] as &[_], |known| known.keys.unusable());
                let is_new = before.is_none_or(|before| before.keys.unusable() != unusable);
                for key in unusable.iter().filter(|_| is_new) {
                    let reason = key.to_string();
                    tracing::info!(issuer = %self.issuer, reason, "passed over a published key");
                }
            }
            Err(error) => {
                for (kind, count) in FetchErrorKind::ALL.iter().zip(&mut attempts.statistics.failed)
                {
                    *count += u64::from(*kind == error.kind);
                }
                attempts.statistics.last_failure = Some(now);
                tracing::warn!(
                    issuer = %self.issuer, problem = %error, kind = error.kind.as_str(),
                    "failed to fetch the JWKS of a trusted issuer"
                );
                attempts.failed = Some(error);
            }
        }
    }

    /// Waits for the end of an attempt, as one of few.
    async fn wait(&self, mut running: watch::Receiver<()>) -> Result<(), IdentityError> {
        let Ok(_permit) = self.waiting.try_acquire() else {
            let reason = format!("{MAX_WAITING} requests wait for the issuer's JWKS");
            return Err(IdentityError::Unavailable { retry_after: 1, reason });
        };
        // An error is its end: nothing is sent.
        let _ = running.changed().await;
        Ok(())
    }

    /// The error of a request that may succeed when the issuer may be asked again.
    fn unavailable(&self, now: u64) -> IdentityError {
        let attempts = self.attempts();
        let since = attempts.last.map_or(PAUSE, |last| now.abs_diff(last));
        let reason = match &attempts.failed {
            Some(error) => format!("the issuer's JWKS could not be fetched {since} s ago: {error}"),
            None => format!("the issuer's JWKS was fetched {since} s ago, without the token's key"),
        };
        IdentityError::Unavailable { retry_after: PAUSE.saturating_sub(since).max(1), reason }
    }

    fn has_failed(&self) -> bool {
        self.attempts().failed.is_some()
    }

    fn interrupted(&self) -> FetchError {
        let problem = "the fetch has not ended".to_owned();
        FetchError { url: self.issuer.clone(), kind: FetchErrorKind::Broken, problem }
    }

    fn too_slow(&self) -> FetchError {
        let problem = format!("no keys within {} s", FETCH.as_secs());
        FetchError { url: self.issuer.clone(), kind: FetchErrorKind::Timeout, problem }
    }

    async fn fetch_keys(&self, now: u64) -> Result<Known, FetchError> {
        let url = match &self.jwks_url {
            Some(url) => url.clone(),
            None => self.discover().await?,
        };
        let document = self.fetch.fetch(&url, MAX_KEY_SET_BYTES).await?;
        let keys = Jwks::parse(&document.bytes).map_err(|problem| FetchError {
            url,
            kind: FetchErrorKind::Document,
            problem: problem.to_string(),
        })?;
        let fresh = document.fresh_seconds.unwrap_or(MAX_FRESH).clamp(PAUSE, MAX_FRESH);
        Ok(Known { keys, fetched: now, fresh })
    }

    async fn discover(&self) -> Result<String, FetchError> {
        #[derive(Deserialize)]
        struct Document {
            issuer: String,
            jwks_uri: String,
        }
        const LIMIT: usize = 64 << 10;
        // Section 4.1: a slash at the end is removed before.
        let issuer = self.issuer.strip_suffix('/').unwrap_or(&self.issuer);
        let url = format!("{issuer}/.well-known/openid-configuration");
        let error = |problem: &str| FetchError {
            url: url.clone(),
            kind: FetchErrorKind::Document,
            problem: problem.to_owned(),
        };
        let text = self.fetch.fetch(&url, LIMIT).await?.bytes;
        check_json(&text, LIMIT, 16).map_err(|problem| error(&problem.to_string()))?;
        let document: Document = serde_json::from_slice(&text)
            .map_err(|_| error("not a discovery document: `issuer` or `jwks_uri` is missing"))?;
        // Section 4.3: otherwise one issuer could speak for another.
        if document.issuer != self.issuer {
            return Err(error("the document has another `issuer`"));
        }
        // Plain HTTP to this machine is for whoever configured it, and not for a document from elsewhere to choose.
        let is_local = self.issuer.starts_with("http://");
        if !is_secure(&document.jwks_uri)
            || (!is_local && !document.jwks_uri.starts_with("https://"))
        {
            return Err(error("its `jwks_uri` is not https"));
        }
        Ok(document.jwks_uri)
    }
}
