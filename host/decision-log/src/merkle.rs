//! The Merkle tree over a log's records (RFC 6962 section 2, SHA-256), as far as a writer needs it: leaves, and the roots of
//! its largest full subtrees.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};

use crate::frame::ChainHash;

/// The length of an [`entry`], in bytes.
pub const ENTRY_BYTES: usize = 72;

/// A hash of the tree: of a leaf, or of a subtree.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TreeHash(pub [u8; 32]);

impl TreeHash {
    /// The root of the tree without leaves.
    pub fn empty() -> Self {
        Self(Sha256::digest([]).into())
    }

    /// The hash of a leaf.
    pub fn of_leaf(entry: &[u8]) -> Self {
        Self(Sha256::new_with_prefix([0]).chain_update(entry).finalize().into())
    }

    /// The hash of the leaf of a record, which is of its [`entry`].
    pub fn of_record(sequence: u64, record: &[u8], hash: ChainHash) -> Self {
        Self::of_leaf(&entry(sequence, record, hash))
    }

    /// The hash of a subtree by those of its halves.
    #[must_use]
    pub fn of_node(left: Self, right: Self) -> Self {
        let hasher = Sha256::new_with_prefix([1]).chain_update(left.0).chain_update(right.0);
        Self(hasher.finalize().into())
    }

    /// Parses the text form. Only the text that [`Display`](fmt::Display) writes is accepted.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = BASE64_STANDARD.decode(text).ok()?;
        Some(Self(bytes.try_into().ok()?))
    }
}

/// Base64 (RFC 4648 section 4), as in C2SP's formats.
impl fmt::Display for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for TreeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The entry of a record in the tree: its sequence (big-endian), its SHA-256, and its hash in the chain. It shows nothing of
/// the record, so the tree can be published.
pub fn entry(sequence: u64, record: &[u8], hash: ChainHash) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    let fields = sequence.to_be_bytes().into_iter().chain(Sha256::digest(record)).chain(hash.0);
    entry.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
    entry
}

/// The root of a full subtree: that of the leaves from `index << level` on, `1 << level` of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// The height: 0 for a leaf.
    pub level: u32,
    /// The place among those of its level, from 0.
    pub index: u64,
    /// The hash.
    pub hash: TreeHash,
}

/// The roots of the largest full subtrees of a tree, from the left: all that adding leaves and computing the root need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Peaks {
    size: u64,
    hashes: Vec<TreeHash>,
}

impl Peaks {
    /// The peaks of a tree of this size; `None` if a tree of this size has another number of them.
    pub fn new(size: u64, hashes: Vec<TreeHash>) -> Option<Self> {
        (hashes.len() == size.count_ones() as usize).then_some(Self { size, hashes })
    }

    /// The number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hashes, from the left.
    pub fn hashes(&self) -> &[TreeHash] {
        &self.hashes
    }

    /// The nodes, from the left.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        let levels = (0..u64::BITS).rev().filter(|level| self.size >> level & 1 == 1);
        levels.zip(&self.hashes).map(|(level, hash)| {
            // All bits above the level's are of the peaks before it.
            let index = (self.size >> level) - 1;
            Node { level, index, hash: *hash }
        })
    }

    /// Adds a leaf. `seen` gets every full subtree that it completes, the leaf first.
    pub fn push(&mut self, leaf: TreeHash, mut seen: impl FnMut(Node)) {
        let (mut hash, mut level, mut index) = (leaf, 0, self.size);
        seen(Node { level, index, hash });
        while index & 1 == 1 {
            let Some(left) = self.hashes.pop() else { break };
            hash = TreeHash::of_node(left, hash);
            (level, index) = (level + 1, index >> 1);
            seen(Node { level, index, hash });
        }
        self.hashes.push(hash);
        self.size += 1;
    }

    /// The root of the tree.
    pub fn root(&self) -> TreeHash {
        let mut hashes = self.hashes.iter().rev().copied();
        let Some(last) = hashes.next() else { return TreeHash::empty() };
        hashes.fold(last, |right, left| TreeHash::of_node(left, right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of RFC 6962, section 2.1, word for word.
    fn defined(leaves: &[TreeHash]) -> TreeHash {
        match leaves {
            [] => TreeHash::empty(),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
                TreeHash::of_node(defined(left), defined(right))
            }
        }
    }

    #[test]
    fn the_root_is_the_one_that_the_standard_defines() {
        let leaves: Vec<_> = (0..200_u64).map(|n| TreeHash::of_leaf(&n.to_be_bytes())).collect();
        let mut peaks = Peaks::default();
        for size in 0..=leaves.len() {
            assert_eq!(peaks.root(), defined(&leaves[..size]), "{size}");
            for node in peaks.nodes() {
                let first = usize::try_from(node.index << node.level).unwrap();
                assert_eq!(node.hash, defined(&leaves[first..first + (1 << node.level)]));
            }
            let again = Peaks::new(peaks.size(), peaks.hashes().to_vec());
            assert_eq!(again.as_ref(), Some(&peaks));
            let mut shorter = peaks.hashes().to_vec();
            shorter.push(TreeHash::empty());
            assert_eq!(Peaks::new(peaks.size(), shorter), None);
            if let Some(leaf) = leaves.get(size) {
                peaks.push(*leaf, |node| {
                    let first = usize::try_from(node.index << node.level).unwrap();
                    assert_eq!(node.hash, defined(&leaves[first..first + (1 << node.level)]));
                });
            }
        }
    }

    /// Of the tree in RFC 6962's own test data (certificate-transparency's `merkle_tree_test`): eight leaves.
    #[test]
    fn roots_are_those_of_the_reference() {
        const LEAVES: [&[u8]; 4] = [b"", &[0], &[0x10], &[0x20, 0x21]];
        const ROOTS: [&str; 4] = [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        let mut peaks = Peaks::default();
        for (leaf, root) in LEAVES.iter().zip(ROOTS) {
            peaks.push(TreeHash::of_leaf(leaf), |_| {});
            let hex: String = peaks.root().0.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, root);
        }
    }

    #[test]
    fn only_the_canonical_text_of_a_hash_is_read() {
        let text = TreeHash::of_leaf(b"one").to_string();
        assert_eq!(TreeHash::parse(&text), Some(TreeHash::of_leaf(b"one")));
        let unpadded = text.trim_end_matches('=');
        for other in [unpadded, "", "AAAA", &format!("{text}\n"), &format!(" {text}")] {
            assert_eq!(TreeHash::parse(other), None, "{other:?}");
        }
        // The last character has two bits that belong to no byte.
        let mut flipped = text.into_bytes();
        flipped[42] ^= 1;
        assert_eq!(TreeHash::parse(std::str::from_utf8(&flipped).unwrap()), None);
    }
}
