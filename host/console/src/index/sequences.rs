//! Sets of sequences, a block of 65,536 at a time: what a filter selects of a block.

/// The sequences of a block.
pub(crate) const BLOCK: u64 = 1 << 16;

/// Members as a list take two bytes each: a longer one would take as much as a bit for each sequence of the block.
const MAX_LISTED: usize = 4095;

/// The words of a bit for each sequence.
const WORDS: usize = 1024;

/// A set of sequences of one block, by their place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sequences {
    /// Members in ascending order.
    Listed(Vec<u16>),
    /// A bit for each sequence.
    Bits(Box<[u64; WORDS]>),
}

/// The block of a sequence.
pub(crate) fn block_of(sequence: u64) -> u64 {
    sequence / BLOCK
}

/// The place of a sequence in its block.
pub(crate) fn place_of(sequence: u64) -> u16 {
    u16::try_from(sequence % BLOCK).unwrap_or_default()
}

impl Default for Sequences {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl Sequences {
    /// The places from `from` up to and including `to`.
    pub(crate) fn range(from: u16, to: u16) -> Self {
        let mut bits = Box::new([0; WORDS]);
        for place in from..=to {
            set(&mut bits, place);
        }
        Self::Bits(bits)
    }

    /// Adds a place that is not before any other.
    pub(crate) fn push(&mut self, place: u16) {
        match self {
            Self::Listed(listed) if listed.last() == Some(&place) => {}
            Self::Listed(listed) if listed.len() < MAX_LISTED => listed.push(place),
            Self::Listed(_) => {
                let mut bits = self.bits();
                set(&mut bits, place);
                *self = Self::Bits(bits);
            }
            Self::Bits(bits) => set(bits, place),
        }
    }

    /// Adds places in any order.
    pub(crate) fn add(&mut self, places: impl IntoIterator<Item = u16>) {
        let mut bits = self.bits();
        places.into_iter().for_each(|place| set(&mut bits, place));
        *self = Self::Bits(bits);
    }

    /// Keeps what `other` has as well.
    pub(crate) fn intersect(&mut self, other: &Self) {
        match (&mut *self, other) {
            (Self::Listed(listed), _) => listed.retain(|place| other.contains(*place)),
            (Self::Bits(_), Self::Listed(listed)) => {
                let kept = listed.iter().copied().filter(|place| self.contains(*place)).collect();
                *self = Self::Listed(kept);
            }
            (Self::Bits(bits), Self::Bits(others)) => {
                bits.iter_mut().zip(others.iter()).for_each(|(word, other)| *word &= other);
            }
        }
    }

    /// Tells whether a place is a member.
    pub(crate) fn contains(&self, place: u16) -> bool {
        match self {
            Self::Listed(listed) => listed.binary_search(&place).is_ok(),
            Self::Bits(bits) => {
                bits.get(usize::from(place / 64)).is_some_and(|word| word >> (place % 64) & 1 == 1)
            }
        }
    }

    /// The number of members.
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Listed(listed) => listed.len() as u64,
            Self::Bits(bits) => bits.iter().map(|word| u64::from(word.count_ones())).sum(),
        }
    }

    /// Tells whether there is no member.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Listed(listed) => listed.is_empty(),
            Self::Bits(bits) => bits.iter().all(|word| *word == 0),
        }
    }

    /// The largest member.
    pub(crate) fn last(&self) -> Option<u16> {
        match self {
            Self::Listed(listed) => listed.last().copied(),
            Self::Bits(_) => self.places().last().copied(),
        }
    }

    /// The members in ascending order.
    pub(crate) fn places(&self) -> Vec<u16> {
        match self {
            Self::Listed(listed) => listed.clone(),
            Self::Bits(bits) => {
                let mut places = Vec::new();
                for (index, word) in (0_u16..).zip(bits.iter()) {
                    let mut word = *word;
                    while word != 0 {
                        let bit = u16::try_from(word.trailing_zeros()).unwrap_or_default();
                        places.push(index * 64 + bit);
                        word &= word - 1;
                    }
                }
                places
            }
        }
    }

    /// The bytes to be kept: those of a list, or of all bits.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Listed(listed) => listed.iter().flat_map(|place| place.to_le_bytes()).collect(),
            Self::Bits(bits) => bits.iter().flat_map(|word| word.to_le_bytes()).collect(),
        }
    }

    /// Reads what was kept. A length tells which form it is: a list is shorter than all bits.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        if bytes.len() == WORDS * 8 {
            let mut bits = Box::new([0; WORDS]);
            for (word, chunk) in bits.iter_mut().zip(bytes.as_chunks::<8>().0) {
                *word = u64::from_le_bytes(*chunk);
            }
            return Self::Bits(bits);
        }
        Self::Listed(
            bytes.as_chunks::<2>().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect(),
        )
    }

    fn bits(&self) -> Box<[u64; WORDS]> {
        match self {
            Self::Bits(bits) => bits.clone(),
            Self::Listed(listed) => {
                let mut bits = Box::new([0; WORDS]);
                listed.iter().for_each(|place| set(&mut bits, *place));
                bits
            }
        }
    }
}

fn set(bits: &mut [u64; WORDS], place: u16) {
    if let Some(word) = bits.get_mut(usize::from(place / 64)) {
        *word |= 1 << (place % 64);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::*;

    fn of(places: &BTreeSet<u16>) -> Sequences {
        let mut sequences = Sequences::default();
        places.iter().for_each(|place| sequences.push(*place));
        sequences
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

        /// Lists and bits are the same sets: whatever is done with them.
        #[test]
        fn they_are_sets(
            few in btree_set(any::<u16>(), 0..50),
            many in btree_set(any::<u16>(), 4000..9000),
        ) {
            for (one, other) in [(&few, &many), (&many, &few), (&many, &many), (&few, &few)] {
                let mut both = of(one);
                both.intersect(&of(other));
                let expected: Vec<_> = one.intersection(other).copied().collect();
                prop_assert_eq!(both.places(), expected.clone());
                prop_assert_eq!(both.len(), expected.len() as u64);
                prop_assert_eq!(both.is_empty(), expected.is_empty());
            }
            for places in [&few, &many] {
                let kept = of(places);
                prop_assert_eq!(Sequences::from_bytes(&kept.to_bytes()).places(), kept.places());
                let mut added = Sequences::default();
                added.add(places.iter().rev().copied());
                prop_assert_eq!(added.places(), kept.places());
            }
        }
    }

    #[test]
    fn a_range_has_both_ends() {
        assert_eq!(Sequences::range(3, 5).places(), [3, 4, 5]);
        assert_eq!(Sequences::range(0, u16::MAX).len(), BLOCK);
    }
}
