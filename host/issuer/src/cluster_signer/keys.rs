//! The keys that an API server has seen, and the one that signs for it.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use countersign::{Audience, IssuerUrl};
use countersign_signing::{Algorithm, Issuer, KeyError};

use crate::config::ServiceConfig;
use crate::decider::SelectIssuer;
use crate::keys::{KeyEntry, KeyRing, KeyRingError, Keys, Phase};

/// A key as an API server gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKey {
    /// Its id.
    pub kid: String,
    /// PKIX in DER.
    pub der: Vec<u8>,
    /// True while its time to be published has not come. It signs nothing then.
    pub excluded: bool,
}

/// The keys that an API server gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedKeys {
    /// In the order in which they were made.
    pub keys: Vec<PublishedKey>,
    /// From when on they are as they are, in seconds since 1970.
    pub since: u64,
    /// The seconds after which to fetch them again.
    pub refresh_hint_seconds: u64,
}

/// Keys that are shown, replaced as a whole.
pub(super) struct ShownKeys {
    ring: KeyRing,
    refresh_hint_seconds: u64,
    loaded: ArcSwap<LoadedKeys>,
}

/// The keys of one look at the plan. What signs is in what is shown, since both are of one such value.
pub(crate) struct LoadedKeys {
    keys: Keys,
    config: ServiceConfig,
    /// From when on each key is shown, for those that came since the start.
    shown_since: HashMap<String, u64>,
    refresh_hint_seconds: u64,
    changed_at: u64,
}

impl ShownKeys {
    /// Loads keys, and makes the first ones of an issuer.
    ///
    /// The schedule is the service's: it knows how far its log has reached, and a clock that is behind that would retire keys
    /// for good.
    pub(super) fn open(
        ring: KeyRing,
        url: &IssuerUrl,
        config: &ServiceConfig,
        refresh_hint_seconds: u64,
        now: u64,
    ) -> Result<Self, KeyRingError> {
        if ring.plan()?.keys.is_empty() {
            ring.keep_schedule(config.algorithms(), &config.key_times, now, now)?;
        }
        let loaded = LoadedKeys {
            keys: ring.load(url, now)?,
            config: config.clone(),
            shown_since: HashMap::new(),
            refresh_hint_seconds,
            changed_at: now,
        };
        Ok(Self { ring, refresh_hint_seconds, loaded: ArcSwap::from_pointee(loaded) })
    }

    /// Loads keys again, where the plan has changed.
    pub(super) fn reload(&self, url: &IssuerUrl, now: u64) -> Result<(), KeyRingError> {
        let before = self.loaded.load_full();
        if self.ring.plan()? == *before.keys.plan() {
            return Ok(());
        }
        let keys = self.ring.load(url, now)?;
        let mut shown_since = before.shown_since.clone();
        for entry in &keys.plan().keys {
            if before.keys.plan().keys.iter().all(|known| known.kid != entry.kid) {
                shown_since.insert(entry.kid.clone(), now);
            }
        }
        shown_since.retain(|kid, _| keys.plan().keys.iter().any(|entry| entry.kid == *kid));
        let (config, refresh_hint_seconds) = (before.config.clone(), self.refresh_hint_seconds);
        let next = LoadedKeys { keys, config, shown_since, refresh_hint_seconds, changed_at: now };
        self.loaded.store(Arc::new(next));
        Ok(())
    }

    pub(super) fn loaded(&self) -> Arc<LoadedKeys> {
        self.loaded.load_full()
    }

    pub(super) fn published(&self, now: u64) -> Result<PublishedKeys, KeyError> {
        let loaded = self.loaded();
        let plan = loaded.keys.plan();
        let keys = plan.published(now).filter_map(|entry| {
            let issuer = loaded.keys.issuer(&entry.kid)?;
            Some(issuer.signer().public().to_pkix_der().map(|der| PublishedKey {
                kid: entry.kid.clone(),
                der,
                excluded: is_excluded(entry, now),
            }))
        });
        // Also when time alone takes a key away or shows it.
        let past = |time: u64| (time <= now).then_some(time);
        let changes = plan.keys.iter().flat_map(|entry| {
            [past(entry.published), entry.removed.and_then(past)].into_iter().flatten()
        });
        let since = changes.fold(loaded.changed_at, u64::max);
        let refresh_hint_seconds = self.refresh_hint_seconds;
        Ok(PublishedKeys { keys: keys.collect::<Result<_, _>>()?, since, refresh_hint_seconds })
    }
}

impl LoadedKeys {
    /// The key of an algorithm: the one that became active last, among those that were shown for as long as an API server
    /// takes to fetch them again. Where a key was replaced at once there is no other than the new one.
    fn key(&self, algorithm: Algorithm, now: u64) -> Option<&Issuer> {
        let plan = self.keys.plan();
        let may_sign = |entry: &&KeyEntry| {
            let in_time = matches!(entry.phase(now), Phase::Active | Phase::Retired);
            let since = self.shown_since.get(&entry.kid);
            let seen = since.is_none_or(|since| since + self.refresh_hint_seconds <= now);
            entry.algorithm == algorithm && in_time && seen && !is_excluded(entry, now)
        };
        let seen = plan.keys.iter().filter(may_sign).max_by_key(|entry| entry.active);
        let entry = seen.or_else(|| plan.active(algorithm, now))?;
        self.keys.issuer(&entry.kid)
    }
}

impl SelectIssuer for LoadedKeys {
    fn issuer_for(&self, audiences: &[Audience], now: u64) -> Option<&Issuer> {
        self.key(self.config.algorithm_of(audiences), now)
            .or_else(|| self.key(Algorithm::Rs256, now))
    }
}

fn is_excluded(entry: &KeyEntry, now: u64) -> bool {
    entry.published > now
}
