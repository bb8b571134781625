//! Inputs that nobody sent: made of a few given ones, the literals of settings, and the words of the contract.

use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use crate::claim_mutation::claim_mutations;
use crate::decision_input::DecisionInput;
use crate::settings_literals::SettingsLiterals;

/// Claims that are changed in one input, at most: more of them meet the same rules again.
const MAX_CHANGES: u64 = 4;

/// Inputs that are taken from the changes of one input: making these takes longer than deciding on them.
const TAKEN_OF_ONE: usize = 48;

/// Walks in a row that lead to nothing new, after which no more is made.
const MAX_FRUITLESS: usize = 64;

/// Makes decision inputs without an end, each once: the given ones, then those with one claim changed, then those with
/// two to four changed, by a generator that gives the same for the same seed.
///
/// Values are those of [`claim_mutations`]: nearby ones, literals of settings, every word of the contract, and values that
/// no installation has.
#[derive(Debug)]
pub struct GeneratedInputs<'l> {
    bases: Vec<DecisionInput>,
    literals: &'l SettingsLiterals,
    /// The bases whose single changes were not made yet.
    next_base: usize,
    /// Made, and not given yet; the next one last.
    ready: Vec<DecisionInput>,
    seen: HashSet<u64>,
    random: u64,
}

impl<'l> GeneratedInputs<'l> {
    /// Makes inputs of `bases`, with the literals of all settings that decide on them.
    pub fn new(bases: Vec<DecisionInput>, literals: &'l SettingsLiterals, seed: u64) -> Self {
        let mut inputs = Self {
            bases: Vec::new(),
            literals,
            next_base: 0,
            ready: Vec::new(),
            seen: HashSet::new(),
            random: seed,
        };
        inputs.ready =
            bases.iter().rev().filter(|base| inputs.seen.insert(hash(base))).cloned().collect();
        inputs.bases = bases;
        inputs
    }

    /// A number below `bound`, which is not 0. SplitMix64: no part of what is decided, and the same on every machine.
    fn below(&mut self, bound: usize) -> usize {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % (bound.max(1) as u64)).unwrap_or(0)
    }

    /// Takes inputs that were not there before.
    fn take(&mut self, inputs: impl IntoIterator<Item = DecisionInput>) {
        for input in inputs {
            if self.seen.insert(hash(&input)) {
                self.ready.push(input);
            }
        }
    }

    /// Changes one claim of the next base in every way.
    fn single_changes(&mut self) -> bool {
        let Some(base) = self.bases.get(self.next_base) else { return false };
        self.next_base += 1;
        let mutations = claim_mutations(base, self.literals);
        self.take(mutations.into_iter().rev().map(|mutation| mutation.input));
        true
    }

    /// Changes claims of any base one after the other, and takes some of the last changes.
    fn walk(&mut self) {
        let at = self.below(self.bases.len());
        let Some(mut input) = self.bases.get(at).cloned() else { return };
        let before_last = 1 + self.below(usize::try_from(MAX_CHANGES - 1).unwrap_or(1));
        for _ in 0..before_last {
            let mutations = claim_mutations(&input, self.literals);
            let at = self.below(mutations.len());
            if let Some(mutation) = mutations.into_iter().nth(at) {
                input = mutation.input;
            }
        }
        let mut last = claim_mutations(&input, self.literals);
        for _ in 0..TAKEN_OF_ONE.min(last.len()) {
            let at = self.below(last.len());
            let taken = last.swap_remove(at);
            self.take([taken.input]);
        }
    }
}

impl Iterator for GeneratedInputs<'_> {
    type Item = DecisionInput;

    fn next(&mut self) -> Option<DecisionInput> {
        let mut fruitless = 0;
        while self.ready.is_empty() {
            if self.single_changes() {
                continue;
            }
            self.walk();
            fruitless += 1;
            if self.ready.is_empty() && fruitless == MAX_FRUITLESS {
                return None;
            }
        }
        self.ready.pop()
    }
}

/// A number that tells inputs apart. Two that share one would be taken for the same, which leaves one of 2^64 out.
fn hash(input: &DecisionInput) -> u64 {
    let mut hasher = DefaultHasher::new();
    format!("{input:?}").hash(&mut hasher);
    hasher.finish()
}
