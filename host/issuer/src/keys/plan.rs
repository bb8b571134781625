//! The plan of keys: from when on each is published, active, retired and removed.

use serde::{Deserialize, Serialize};

use countersign_signing::Algorithm;

/// The seconds by which a key that is postponed signs later than it must.
const POSTPONED_BY: u64 = 30;

/// The phase of a key at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// In the key set, so that verifiers have it before it signs.
    Published,
    /// Signs.
    Active,
    /// In the key set, for tokens that it signed.
    Retired,
    /// No longer in the key set.
    Removed,
}

impl Phase {
    /// All of them, in their order.
    pub const ALL: [Self; 4] = [Self::Published, Self::Active, Self::Retired, Self::Removed];

    /// The word of the phase.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Removed => "removed",
        }
    }
}

/// One key's times, in seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyEntry {
    /// The key's id.
    pub kid: String,
    /// The algorithm of its signatures.
    pub algorithm: Algorithm,
    /// From when on it is published: when it was made.
    pub published: u64,
    /// From when on it signs.
    pub active: u64,
    /// From when on its successor signs.
    pub retired: Option<u64>,
    /// From when on it is not published.
    pub removed: Option<u64>,
}

impl KeyEntry {
    /// The phase of the key at `now`.
    pub fn phase(&self, now: u64) -> Phase {
        match (self.retired, self.removed) {
            (_, Some(removed)) if now >= removed => Phase::Removed,
            (Some(retired), _) if now >= retired => Phase::Retired,
            _ if now >= self.active => Phase::Active,
            _ => Phase::Published,
        }
    }
}

/// The durations that a plan follows from. All in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyTimes {
    /// The time for which verifiers may keep a key set. A key is published for as long before it signs; clouds keep
    /// one for up to a day.
    pub verifier_cache: u64,
    /// The maximum lifetime of a token.
    pub max_token_lifetime: u64,
    /// The time for which a key is active before its successor is; `None` leaves that to `countersign keys rotate`.
    pub rotate_every: Option<u64>,
}

impl KeyTimes {
    /// The time for which a key is published after its successor has begun to sign: until the last token that it
    /// signed has expired, and nobody keeps a key set of before.
    pub fn overlap(&self) -> u64 {
        self.max_token_lifetime + self.verifier_cache
    }
}

/// A rotation that is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// The next key is there, and is not active yet.
    #[error("{algorithm} key {kid} is already published, and signs from {active} (seconds since 1970) on", algorithm = .algorithm.as_str())]
    Pending {
        /// The algorithm of its signatures.
        algorithm: Algorithm,
        /// The next key.
        kid: String,
        /// From when on it signs.
        active: u64,
    },
}

/// The keys of an issuer with their times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyPlan {
    /// In the order in which they were made.
    pub keys: Vec<KeyEntry>,
}

impl KeyPlan {
    /// The key that signs with an algorithm at `now`: the one that became active last.
    pub fn active(&self, algorithm: Algorithm, now: u64) -> Option<&KeyEntry> {
        self.keys
            .iter()
            .filter(|key| key.algorithm == algorithm && key.phase(now) == Phase::Active)
            .max_by_key(|key| key.active)
    }

    /// The keys that are published at `now`.
    pub fn published(&self, now: u64) -> impl Iterator<Item = &KeyEntry> {
        self.keys.iter().filter(move |key| key.phase(now) != Phase::Removed)
    }

    /// The next key of an algorithm, where it is published and not active.
    pub fn pending(&self, algorithm: Algorithm, now: u64) -> Option<&KeyEntry> {
        self.keys
            .iter()
            .find(|key| key.algorithm == algorithm && key.phase(now) == Phase::Published)
    }

    /// True when the schedule asks for the next key of an algorithm: there is none, or the active one will have
    /// been active for long enough when the next one may sign.
    pub fn is_due(&self, algorithm: Algorithm, times: &KeyTimes, now: u64) -> bool {
        if self.pending(algorithm, now).is_some() {
            return false;
        }
        match (self.active(algorithm, now), times.rotate_every) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(active), Some(every)) => {
                now + times.verifier_cache >= active.active.saturating_add(every)
            }
        }
    }

    /// Checks that [`KeyPlan::rotate`] would enter a key, before one is made.
    ///
    /// # Errors
    /// When the next key is there already, unless `at_once`.
    pub fn check_rotation(
        &self,
        algorithm: Algorithm,
        at_once: bool,
        now: u64,
    ) -> Result<(), RotateError> {
        match self.pending(algorithm, now).filter(|_| !at_once) {
            None => Ok(()),
            Some(pending) => Err(RotateError::Pending {
                algorithm,
                kid: pending.kid.clone(),
                active: pending.active,
            }),
        }
    }

    /// Has every key that is published and not active at `now` sign later, where verifiers could have a key set without it
    /// until then. True when that changed anything: by more than is missing, so that it need not change again at once.
    pub fn postpone(&mut self, times: &KeyTimes, now: u64) -> bool {
        let earliest = now + times.verifier_cache;
        let postponed: Vec<_> = self
            .keys
            .iter()
            .filter(|key| key.phase(now) == Phase::Published && key.active < earliest)
            .map(|key| (key.algorithm, key.active))
            .collect();
        for (algorithm, before) in &postponed {
            let active = earliest + POSTPONED_BY;
            for key in self.keys.iter_mut().filter(|key| key.algorithm == *algorithm) {
                // The one before it signs for longer, and is published for as long after that.
                if key.retired == Some(*before) {
                    key.retired = Some(active);
                    key.removed = Some(active + times.overlap());
                }
                if key.active == *before && key.phase(now) == Phase::Published {
                    key.active = active;
                }
            }
        }
        !postponed.is_empty()
    }

    /// Enters the next key of an algorithm, made at `now`.
    ///
    /// It signs when it has been published for as long as verifiers keep a key set; the first keys of an
    /// issuer at once, since nobody has one. `at_once` has any key sign at once, for when the one before is
    /// in other hands: then the key before is removed, so that its tokens verify nowhere once caches
    /// turn over, and until they do some verifiers do not know the new one.
    ///
    /// # Errors
    /// When the next key is there already, unless `at_once`.
    pub fn rotate(
        &mut self,
        kid: String,
        algorithm: Algorithm,
        times: &KeyTimes,
        at_once: bool,
        now: u64,
    ) -> Result<(), RotateError> {
        self.check_rotation(algorithm, at_once, now)?;
        let first = self.keys.iter().all(|key| key.published == now && key.algorithm != algorithm);
        let active = if first || at_once { now } else { now + times.verifier_cache };
        for before in self.keys.iter_mut().filter(|key| key.algorithm == algorithm) {
            if at_once {
                before.retired = Some(before.retired.map_or(now, |retired| retired.min(now)));
                before.removed = Some(before.removed.map_or(now, |removed| removed.min(now)));
            } else if before.retired.is_none() {
                before.retired = Some(active);
                before.removed = Some(active + times.overlap());
            }
        }
        let entry =
            KeyEntry { kid, algorithm, published: now, active, retired: None, removed: None };
        self.keys.push(entry);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const TIMES: KeyTimes =
        KeyTimes { verifier_cache: DAY, max_token_lifetime: 7200, rotate_every: Some(30 * DAY) };

    #[test]
    fn a_key_is_published_before_it_signs_and_after() {
        let mut plan = KeyPlan::default();
        let rotate = |plan: &mut KeyPlan, kid: &str, now| {
            plan.rotate(kid.to_owned(), Algorithm::Rs256, &TIMES, false, now)
        };
        let phases = |plan: &KeyPlan, now| -> Vec<_> {
            plan.keys.iter().map(|key| key.phase(now)).collect()
        };
        use Phase::{Active, Published, Removed, Retired};
        rotate(&mut plan, "a", 1000).unwrap();
        assert_eq!(phases(&plan, 1000), [Active]);

        let made = 1000 + 29 * DAY;
        assert!(!plan.is_due(Algorithm::Rs256, &TIMES, made - 1));
        assert!(plan.is_due(Algorithm::Rs256, &TIMES, made));
        rotate(&mut plan, "b", made).unwrap();
        assert!(!plan.is_due(Algorithm::Rs256, &TIMES, made));
        assert!(rotate(&mut plan, "c", made + 1).is_err());
        for (after, expected) in [
            (0, [Active, Published]),
            (DAY - 1, [Active, Published]),
            (DAY, [Retired, Active]),
            (DAY + 7200 + DAY - 1, [Retired, Active]),
            (DAY + 7200 + DAY, [Removed, Active]),
        ] {
            assert_eq!(phases(&plan, made + after), expected, "{after}");
        }
    }

    #[test]
    fn a_further_algorithm_waits_for_caches_too() {
        let mut plan = KeyPlan::default();
        plan.rotate("a".to_owned(), Algorithm::Rs256, &TIMES, false, 0).unwrap();
        let mut together = plan.clone();
        together.rotate("b".to_owned(), Algorithm::Es256, &TIMES, false, 0).unwrap();
        assert!(together.active(Algorithm::Es256, 0).is_some());
        plan.rotate("b".to_owned(), Algorithm::Es256, &TIMES, false, 10).unwrap();
        assert!(plan.active(Algorithm::Es256, 10 + DAY - 1).is_none());
        assert!(plan.active(Algorithm::Es256, 10 + DAY).is_some());
    }

    #[test]
    fn a_key_that_is_postponed_leaves_no_gap() {
        let mut plan = KeyPlan::default();
        let algorithm = Algorithm::Rs256;
        plan.rotate("a".to_owned(), algorithm, &TIMES, false, 0).unwrap();
        let before = plan.clone();
        assert!(!plan.postpone(&TIMES, 5) && plan == before, "the active one is none");
        plan.rotate("b".to_owned(), algorithm, &TIMES, false, 10).unwrap();
        assert!(!plan.postpone(&TIMES, 10));
        let late = 10 + DAY - 1;
        assert!(plan.postpone(&TIMES, late));
        assert!(!plan.postpone(&TIMES, late + POSTPONED_BY), "not again at once");
        let active = late + DAY + POSTPONED_BY;
        for now in [late, active - 1] {
            assert_eq!(plan.active(algorithm, now).unwrap().kid, "a", "{now}");
        }
        assert_eq!(plan.active(algorithm, active).unwrap().kid, "b");
        // It is published until the last token that it signed has expired, and caches have turned over.
        let end = active + TIMES.overlap();
        assert_eq!(plan.published(end - 1).count(), 2);
        assert_eq!(plan.published(end).count(), 1);
        assert!(!plan.postpone(&TIMES, active), "one that signs goes on");
    }

    #[test]
    fn a_key_in_other_hands_is_gone_at_once() {
        let mut plan = KeyPlan::default();
        plan.rotate("a".to_owned(), Algorithm::Rs256, &TIMES, false, 0).unwrap();
        plan.rotate("b".to_owned(), Algorithm::Rs256, &TIMES, false, DAY).unwrap();
        plan.rotate("c".to_owned(), Algorithm::Rs256, &TIMES, true, DAY + 1).unwrap();
        assert_eq!(plan.active(Algorithm::Rs256, DAY + 1).unwrap().kid, "c");
        assert_eq!(plan.published(DAY + 1).count(), 1);
        assert_eq!(plan.active(Algorithm::Rs256, 3 * DAY).unwrap().kid, "c");
    }
}
