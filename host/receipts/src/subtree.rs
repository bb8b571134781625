//! Proofs of a Merkle tree (RFC 6962 section 2.1, RFC 9162 section 2.1), made of the hashes of its subtrees.

use countersign_decision_log::TreeHash;

/// The maximum number of hashes in a proof: the height of the largest tree.
pub(crate) const MAX_HASHES: usize = 64;

/// The full subtrees of a tree, as far as they are known.
pub trait Subtrees {
    /// The root of the full subtree of height `level` over the leaves from `index << level` on; `None` if it is not known.
    ///
    /// # Errors
    /// Returns an error if it cannot be read.
    fn node(&mut self, level: u32, index: u64) -> Result<Option<TreeHash>, TreeError>;
}

/// A proof that cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// A hash is needed that is not known.
    #[error("the hash of leaf {leaf} is not there")]
    Missing {
        /// The leaf, from 0.
        leaf: u64,
    },
    /// The leaf or the earlier tree is not within the tree.
    #[error("{given} is not within a tree of {size} leaves")]
    Range {
        /// The leaf, or the size of the earlier tree.
        given: u64,
        /// The number of leaves.
        size: u64,
    },
    /// A file could not be read.
    #[error("{file}")]
    Io {
        /// The file.
        file: String,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the proof that the leaf `index` is in the tree of `size` leaves: the siblings on its way to the root, from the
/// leaf's on.
///
/// # Errors
/// Returns an error if the leaf is not within the tree, or a hash is not known.
pub fn inclusion_proof(
    subtrees: &mut dyn Subtrees,
    index: u64,
    size: u64,
) -> Result<Vec<TreeHash>, TreeError> {
    if index >= size {
        return Err(TreeError::Range { given: index, size });
    }
    let (mut first, mut end, mut siblings) = (0, size, Vec::new());
    while end - first > 1 {
        let middle = first + split(end - first);
        if index < middle {
            siblings.push((middle, end));
            end = middle;
        } else {
            siblings.push((first, middle));
            first = middle;
        }
    }
    siblings.into_iter().rev().map(|(first, end)| range(subtrees, first, end)).collect()
}

/// Makes the proof that the tree of `size` leaves goes on from that of its first `from` leaves. It is empty for the tree
/// without leaves, which every tree goes on from.
///
/// # Errors
/// Returns an error if `from` is larger than `size`, or a hash is not known.
pub fn consistency_proof(
    subtrees: &mut dyn Subtrees,
    from: u64,
    size: u64,
) -> Result<Vec<TreeHash>, TreeError> {
    if from > size {
        return Err(TreeError::Range { given: from, size });
    }
    if from == 0 || from == size {
        return Ok(Vec::new());
    }
    // `SUBPROOF` of RFC 6962: `from` is always within what is left.
    let (mut first, mut end, mut hashes, mut is_whole) = (0, size, Vec::new(), true);
    while end != from {
        let middle = first + split(end - first);
        if from <= middle {
            hashes.push((middle, end));
            end = middle;
        } else {
            hashes.push((first, middle));
            first = middle;
            is_whole = false;
        }
    }
    if !is_whole {
        hashes.push((first, end));
    }
    hashes.into_iter().rev().map(|(first, end)| range(subtrees, first, end)).collect()
}

/// Verifies that a leaf is the one at `index` in the tree of `size` leaves with this root (RFC 9162 section 2.1.3.2).
pub fn verify_inclusion(
    leaf: TreeHash,
    index: u64,
    size: u64,
    proof: &[TreeHash],
    root: TreeHash,
) -> bool {
    if index >= size {
        return false;
    }
    let (mut index, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            hash = TreeHash::of_node(*sibling, hash);
            while index & 1 == 0 && index != 0 {
                (index, last) = (index >> 1, last >> 1);
            }
        } else {
            hash = TreeHash::of_node(hash, *sibling);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    last == 0 && hash == root
}

/// Verifies that the tree of `size` leaves with the root `root` goes on from that of `from` leaves with the root
/// `from_root` (RFC 9162 section 2.1.4.2).
pub fn verify_consistency(
    from: u64,
    from_root: TreeHash,
    size: u64,
    root: TreeHash,
    proof: &[TreeHash],
) -> bool {
    if from == 0 {
        return proof.is_empty() && from_root == TreeHash::empty();
    }
    if from == size {
        return proof.is_empty() && from_root == root;
    }
    if from > size {
        return false;
    }
    // A full tree is the first hash itself.
    let own = from.is_power_of_two().then_some(from_root);
    let mut hashes = own.into_iter().chain(proof.iter().copied());
    let (mut index, mut last) = (from - 1, size - 1);
    while index & 1 == 1 {
        (index, last) = (index >> 1, last >> 1);
    }
    let Some(mut before) = hashes.next() else { return false };
    let mut after = before;
    for hash in hashes {
        if last == 0 {
            return false;
        }
        if index & 1 == 1 || index == last {
            before = TreeHash::of_node(hash, before);
            after = TreeHash::of_node(hash, after);
            while index & 1 == 0 && index != 0 {
                (index, last) = (index >> 1, last >> 1);
            }
        } else {
            after = TreeHash::of_node(after, hash);
        }
        (index, last) = (index >> 1, last >> 1);
    }
    last == 0 && before == from_root && after == root
}

/// The number of leaves on the left of a tree of `size` leaves, which has at least two: the largest power of two below.
fn split(size: u64) -> u64 {
    1 << (u64::BITS - 1 - (size - 1).leading_zeros())
}

/// The root of the leaves from `first` to before `end`, of which there is at least one, on a way that [`split`] leads.
fn range(subtrees: &mut dyn Subtrees, first: u64, end: u64) -> Result<TreeHash, TreeError> {
    let size = end - first;
    if size.is_power_of_two() {
        let level = size.trailing_zeros();
        return full(subtrees, level, first >> level);
    }
    let middle = first + split(size);
    let left = range(subtrees, first, middle)?;
    Ok(TreeHash::of_node(left, range(subtrees, middle, end)?))
}

/// The root of a full subtree, of its halves where it is not known itself.
pub(crate) fn full(
    subtrees: &mut dyn Subtrees,
    level: u32,
    index: u64,
) -> Result<TreeHash, TreeError> {
    match subtrees.node(level, index)? {
        Some(hash) => Ok(hash),
        None if level == 0 => Err(TreeError::Missing { leaf: index }),
        None => {
            let left = full(subtrees, level - 1, 2 * index)?;
            Ok(TreeHash::of_node(left, full(subtrees, level - 1, 2 * index + 1)?))
        }
    }
}
