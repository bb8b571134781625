//! The text of a log's checkpoint (C2SP tlog-checkpoint).

use countersign_decision_log::TreeHash;

/// The origin of a log, and the size and the root of its tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeCheckpoint {
    /// The log's identity.
    pub origin: String,
    /// The number of leaves.
    pub size: u64,
    /// The root.
    pub root: TreeHash,
}

impl TreeCheckpoint {
    /// Parses the text of a note; `None` if it is not a checkpoint. Extension lines are not read.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        if origin.is_empty() || lines.any(str::is_empty) {
            return None;
        }
        let (size, root) = (decimal(size)?, TreeHash::parse(root)?);
        // The tree without leaves has one root.
        (size > 0 || root == TreeHash::empty()).then(|| Self {
            origin: origin.to_owned(),
            size,
            root,
        })
    }
}

/// Parses a decimal without a sign or leading zeros.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let is_canonical =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_canonical)
}
