//! The ids that are certainly not in the database, known without reading it.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// The bits for each id, and those of them that one sets: fewer than one in a thousand ids that are not there is read.
const BITS_PER_ID: usize = 16;
const HASHES: u64 = 8;

/// The minimum of ids that there is room for.
const MIN_IDS: usize = 1 << 20;

/// A Bloom filter of the ids of runs, in 2 MiB or more.
///
/// Anybody can ask for runs that are not there, and each would be a read of the database. An id that was added is found
/// from then on, however full the filter is, so it hides no run; with more ids than there is room for, more are read in
/// vain. Ids are never taken out: those of forgotten runs go with the next start.
#[derive(Debug)]
pub(super) struct IdFilter {
    /// A power of two of words.
    words: Box<[AtomicU64]>,
    /// Random, so that nobody can choose ids that collide.
    hashers: [RandomState; 2],
}

impl IdFilter {
    /// An empty filter with room for twice as many ids.
    pub(super) fn new(ids: usize) -> Self {
        let bits = (ids.saturating_mul(2)).max(MIN_IDS).saturating_mul(BITS_PER_ID);
        let words = (0..(bits / 64).next_power_of_two()).map(|_| AtomicU64::new(0)).collect();
        Self { words, hashers: [RandomState::new(), RandomState::new()] }
    }

    /// Adds an id.
    pub(super) fn add(&self, id: &str) {
        for (word, bit) in self.bits(id) {
            word.fetch_or(bit, Ordering::AcqRel);
        }
    }

    /// False for an id that was not added.
    pub(super) fn may_have(&self, id: &str) -> bool {
        self.bits(id).all(|(word, bit)| word.load(Ordering::Acquire) & bit != 0)
    }

    /// The bits of an id, by two hashes (Kirsch and Mitzenmacher 2006).
    fn bits(&self, id: &str) -> impl Iterator<Item = (&AtomicU64, u64)> {
        let [first, step] = self.hashers.each_ref().map(|hasher| hasher.hash_one(id));
        let mask = self.words.len() * 64 - 1;
        (0..HASHES).filter_map(move |number| {
            let hash = first.wrapping_add(number.wrapping_mul(step | 1));
            let place = usize::try_from(hash >> 8).unwrap_or(usize::MAX) & mask;
            Some((self.words.get(place / 64)?, 1 << (place % 64)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_was_added_is_always_found() {
        let filter = IdFilter::new(0);
        let id = |number: usize| format!("{number:032x}");
        for number in 0..50_000 {
            filter.add(&id(number));
        }
        assert!((0..50_000).all(|number| filter.may_have(&id(number))));
        let in_vain = (50_000..100_000).filter(|number| filter.may_have(&id(*number))).count();
        assert!(in_vain < 50, "{in_vain} of 50,000 would be read");
    }
}
