//! The keys of a service: the plan in a place of ours, the private halves in somebody's custody.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::Arc;

use countersign::IssuerUrl;
use countersign_signing::{Algorithm, Issuer, KeySet};

use super::custody::{CustodyError, KeyCustody};
use super::folder::{KeyFolder, private};
use super::plan::{KeyPlan, KeyTimes, Phase, RotateError};
use super::plans::{FilePlans, KeyPlans, LoadedPlan};
use crate::store::StoreError;

/// Held while the plan is changed.
const LOCK: &str = "keys.lock";
/// The number of times that a change is tried again when other processes were first.
const ATTEMPTS: usize = 8;

/// The keys of a service over time: their times in [`KeyPlans`], the keys in a [`KeyCustody`]. The services that share them
/// and `countersign keys rotate` use it alike.
#[derive(Clone)]
pub struct KeyRing {
    plans: Arc<dyn KeyPlans>,
    custody: Arc<dyn KeyCustody>,
}

/// The keys that are published or sign, as they were loaded.
pub struct Keys {
    version: u64,
    plan: KeyPlan,
    issuers: HashMap<String, Issuer>,
}

/// A key ring that cannot be loaded or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// The plan could not be read or written.
    #[error("{file}")]
    Io {
        /// The file, or the folder.
        file: String,
        /// The error of the system.
        #[source]
        source: io::Error,
    },
    /// There is no plan.
    #[error(
        "{folder}: no keys of a service here; `countersign serve` makes them when it is first started"
    )]
    NoPlan {
        /// The folder.
        folder: String,
    },
    /// The plan is malformed.
    #[error("{file}: not a plan of keys: {problem}")]
    Plan {
        /// The file.
        file: String,
        /// The reason.
        problem: String,
    },
    /// The database with the plan did not answer.
    #[error("failed to read or change the plan of keys")]
    Store(#[from] StoreError),
    /// Other processes changed the plan each time.
    #[error("the plan of keys was changed by others meanwhile; try again")]
    Changed,
    /// The custody did not give, make or destroy a key.
    #[error(transparent)]
    Custody(#[from] CustodyError),
    /// The custody has another key than the plan.
    #[error(
        "key {kid} of the plan signs {algorithm}, and the custody has {found} under its name",
        algorithm = .algorithm.as_str()
    )]
    OtherKey {
        /// The key of the plan.
        kid: String,
        /// The algorithm that the plan has for it.
        algorithm: Algorithm,
        /// The public half in the custody.
        found: String,
    },
    /// The rotation is not made.
    #[error(transparent)]
    Rotate(#[from] RotateError),
}

impl KeyRing {
    /// The plan in the folder at `path`, which is made where there is none, and the keys in `custody`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(path: &Path, custody: Arc<dyn KeyCustody>) -> Result<Self, KeyRingError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(path).map_err(io_error(path))?;
        Ok(Self::new(Arc::new(FilePlans(path.to_owned())), custody))
    }

    /// A plan in any place, and the keys in `custody`.
    pub fn new(plans: Arc<dyn KeyPlans>, custody: Arc<dyn KeyCustody>) -> Self {
        Self { plans, custody }
    }

    /// The plan beside the keys of a folder.
    pub fn in_folder(keys: &KeyFolder) -> Self {
        Self::beside(keys, Arc::new(keys.clone()))
    }

    /// The plan in a folder of keys, and the keys in `custody`.
    pub fn beside(keys: &KeyFolder, custody: Arc<dyn KeyCustody>) -> Self {
        Self::new(Arc::new(FilePlans(keys.path().to_owned())), custody)
    }

    /// Fails where no service has made a plan yet: rotating keys that nobody publishes helps nobody.
    ///
    /// # Errors
    /// When there is no plan.
    pub fn require_plan(self) -> Result<Self, KeyRingError> {
        if self.plan()?.keys.is_empty() {
            return Err(KeyRingError::NoPlan { folder: self.plans.place() });
        }
        Ok(self)
    }

    /// The custody of the keys.
    pub fn custody(&self) -> &dyn KeyCustody {
        &*self.custody
    }

    /// The times of all keys.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn plan(&self) -> Result<KeyPlan, KeyRingError> {
        Ok(self.plans.load()?.plan)
    }

    /// The keys of the custody that the plan does not name. A crash in the middle of a rotation leaves one, and a
    /// rotation that is under way has one for a moment; others may own them as well, so nothing here destroys them.
    ///
    /// # Errors
    /// When plan or custody cannot be read.
    pub fn unplanned(&self) -> Result<Vec<String>, KeyRingError> {
        let mut kids = self.custody.list()?;
        let plan = self.plan()?;
        kids.retain(|kid| plan.keys.iter().all(|key| key.kid != *kid));
        kids.sort_unstable();
        Ok(kids)
    }

    /// Loads every key that is not removed at `now`.
    ///
    /// # Errors
    /// When the plan or a key cannot be read, or the custody has another key than the plan: an issuer that cannot
    /// use a key that it publishes does not start.
    pub fn load(&self, url: &IssuerUrl, now: u64) -> Result<Keys, KeyRingError> {
        let LoadedPlan { version, plan, .. } = self.plans.load()?;
        let mut issuers = HashMap::new();
        for entry in plan.published(now) {
            let signer = self.custody.signer(&entry.kid)?;
            let public = signer.public();
            if (public.kid(), public.algorithm()) != (&entry.kid, entry.algorithm) {
                return Err(KeyRingError::OtherKey {
                    kid: entry.kid.clone(),
                    algorithm: entry.algorithm,
                    found: format!("{public:?}"),
                });
            }
            issuers.insert(entry.kid.clone(), Issuer::new(url.clone(), signer));
        }
        Ok(Keys { version, plan, issuers })
    }

    /// Makes the next key of an algorithm, which signs from the time on that [`KeyPlan::rotate`] sets. Gives its
    /// `kid`.
    ///
    /// # Errors
    /// When the next one is there already, or it cannot be made.
    pub fn rotate(
        &self,
        algorithm: Algorithm,
        times: &KeyTimes,
        at_once: bool,
        now: u64,
    ) -> Result<String, KeyRingError> {
        let _lock = self.plans.lock()?;
        for _ in 0..ATTEMPTS {
            let loaded = self.plans.load()?;
            let now = loaded.now.unwrap_or(now);
            if let Some(kid) = self.try_rotate(loaded, algorithm, times, at_once, now)? {
                return Ok(kid);
            }
        }
        Err(KeyRingError::Changed)
    }

    /// Makes the keys of `algorithms` that are due at `now`, and destroys those that are removed at `settled`, a time that
    /// is not taken back ([`Clock::settled`](crate::Clock::settled)). True when anything changed. Where other processes
    /// share the plan, what one of them does first is left to it.
    ///
    /// # Errors
    /// When a key cannot be made or destroyed.
    pub fn keep_schedule(
        &self,
        algorithms: &[Algorithm],
        times: &KeyTimes,
        now: u64,
        settled: u64,
    ) -> Result<bool, KeyRingError> {
        let is_due = |loaded: &LoadedPlan| {
            let (plan, now) = (&loaded.plan, loaded.now.unwrap_or(now));
            let gone = plan.keys.iter().any(|key| key.phase(settled) == Phase::Removed);
            gone || algorithms.iter().any(|algorithm| plan.is_due(*algorithm, times, now))
        };
        let loaded = self.plans.load()?;
        if !is_due(&loaded) {
            return Ok(false);
        }
        // One time for all of them: the first keys of an issuer are those that are made at one.
        let now = loaded.now.unwrap_or(now);
        let _lock = self.plans.lock()?;
        // Another process may have been first.
        for algorithm in algorithms {
            let loaded = self.plans.load()?;
            if loaded.plan.is_due(*algorithm, times, now) {
                self.try_rotate(loaded, *algorithm, times, false, now)?;
            }
        }
        let LoadedPlan { version, mut plan, now: own } = self.plans.load()?;
        // By the earlier of the clocks: what is destroyed is not there again.
        let settled = own.map_or(settled, |own| own.min(settled));
        let gone: Vec<_> =
            plan.keys.extract_if(.., |key| key.phase(settled) == Phase::Removed).collect();
        // The plan before the keys: a plan never names a key that is not there.
        if !gone.is_empty() && self.plans.replace(version, &plan)? {
            for key in gone {
                self.custody.destroy(&key.kid)?;
            }
        }
        Ok(true)
    }

    /// Has keys that are published and do not sign yet sign later, so that each is published for as long as verifiers keep
    /// a key set from `now` on: not every replica publishes it. True when that changed the plan.
    ///
    /// # Errors
    /// When the plan cannot be read, or may have been changed, or not.
    pub fn postpone(&self, times: &KeyTimes, now: u64) -> Result<bool, KeyRingError> {
        let LoadedPlan { version, mut plan, now: own } = self.plans.load()?;
        Ok(plan.postpone(times, own.unwrap_or(now)) && self.plans.replace(version, &plan)?)
    }

    /// [`KeyRing::rotate`] from a plan that was loaded; `None` where another process changed it meanwhile.
    fn try_rotate(
        &self,
        loaded: LoadedPlan,
        algorithm: Algorithm,
        times: &KeyTimes,
        at_once: bool,
        now: u64,
    ) -> Result<Option<String>, KeyRingError> {
        let LoadedPlan { version, mut plan, .. } = loaded;
        plan.check_rotation(algorithm, at_once, now)?;
        // The key before its times: a plan never names a key that is not there.
        let public = self.custody.make(algorithm)?;
        let kid = public.kid().to_owned();
        let planned = if public.algorithm() == algorithm {
            plan.rotate(kid.clone(), algorithm, times, at_once, now)
                .map_err(KeyRingError::from)
                .and_then(|()| self.plans.replace(version, &plan))
        } else {
            Err(KeyRingError::OtherKey {
                kid: kid.clone(),
                algorithm,
                found: format!("{public:?}"),
            })
        };
        match planned {
            Ok(true) => Ok(Some(kid)),
            Ok(false) => {
                self.discard(&kid);
                Ok(None)
            }
            // A commit whose answer is lost may still come: the plan would name a key that is not there, and no replica
            // would start. `unplanned` has the key if it does not come.
            Err(error @ KeyRingError::Store(_)) => Err(error),
            Err(error) => {
                self.discard(&kid);
                Err(error)
            }
        }
    }

    /// Destroys a new key that did not come into the plan, since nobody would ever use it. Where it cannot be
    /// destroyed either, `unplanned` has it.
    fn discard(&self, kid: &str) {
        // A write can fail when the file is already in its place: then the plan names the key, and an issuer
        // whose plan names a key that is not there does not start.
        if self.plan().is_ok_and(|plan| plan.keys.iter().all(|key| key.kid != kid)) {
            let _ = self.custody.destroy(kid);
        }
    }
}

impl Keys {
    /// The issuer that signs with an algorithm at `now`. Where that is ES256 and no such key is active yet, the one
    /// that signs with RS256, which every verifier accepts.
    pub fn active(&self, algorithm: Algorithm, now: u64) -> Option<&Issuer> {
        self.plan
            .active(algorithm, now)
            .or_else(|| self.plan.active(Algorithm::Rs256, now))
            .and_then(|entry| self.issuers.get(&entry.kid))
    }

    /// The issuer that signs with a key.
    pub(crate) fn issuer(&self, kid: &str) -> Option<&Issuer> {
        self.issuers.get(kid)
    }

    /// The key set that is published at `now`.
    pub fn key_set(&self, now: u64) -> KeySet {
        let published = self.plan.published(now).filter_map(|entry| self.issuers.get(&entry.kid));
        KeySet::new(published.map(|issuer| issuer.signer().public()))
    }

    /// The version of their plan, where it has one.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The times of keys.
    pub fn plan(&self) -> &KeyPlan {
        &self.plan
    }
}

/// Waits for the lock of a folder of keys, and holds it for as long as the file is open.
pub(super) fn lock(folder: &Path) -> io::Result<File> {
    let file = private().write(true).create(true).truncate(false).open(folder.join(LOCK))?;
    file.lock()?;
    Ok(file)
}

pub(super) fn io_error(path: &Path) -> impl Fn(io::Error) -> KeyRingError {
    let file = path.display().to_string();
    move |source| KeyRingError::Io { file: file.clone(), source }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const TIMES: KeyTimes =
        KeyTimes { rotate_every: Some(1_000), verifier_cache: 10, max_token_lifetime: 10 };

    /// As after a write of the plan that failed once the file was in its place.
    #[test]
    fn a_key_that_the_plan_names_is_not_discarded() {
        let folder = tempfile::tempdir().unwrap();
        let keys = KeyFolder::open(folder.path()).unwrap();
        let ring = KeyRing::in_folder(&keys);
        let planned = ring.rotate(Algorithm::Es256, &TIMES, false, 1_000).unwrap();
        let other = keys.make(Algorithm::Es256).unwrap().kid().to_owned();
        ring.discard(&planned);
        ring.discard(&other);
        assert_eq!(keys.list().unwrap(), [planned]);
        // Nothing is destroyed by a plan that cannot be read.
        let other = keys.make(Algorithm::Es256).unwrap().kid().to_owned();
        fs::write(folder.path().join(crate::keys::plans::PLAN), "{").unwrap();
        ring.discard(&other);
        assert!(keys.list().unwrap().contains(&other));
    }
}
