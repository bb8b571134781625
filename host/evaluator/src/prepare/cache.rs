//! A cache of prepared policies, for the next process.

use std::fmt;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::compile::CompiledCode;
use crate::digest::Digest;

/// Keeps prepared policies, so that another process need not prepare them again.
///
/// An entry is machine code that is run, so an implementation returns only entries that were certainly put
/// there by somebody as trusted as this process: [`CacheEntry::from_bytes`] says what that takes. Any other
/// entry, also one that cannot be read, is `None` and prepared anew; a cache never fails.
pub trait Cache: Send + Sync {
    /// The entry of a key.
    fn get(&self, key: &Digest) -> Option<CacheEntry>;

    /// Keeps an entry, or does not.
    fn put(&self, key: &Digest, entry: &CacheEntry);
}

/// An entry of a [`Cache`]: bytes that mean something to this build of this crate only.
pub struct CacheEntry(Vec<u8>);

/// The origin of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryOf {
    /// Digest of the component.
    pub component: Digest,
    /// Digest of the settings; `None` when it is the policy before it has taken any, or for whichever it takes.
    pub settings: Option<Digest>,
    /// The version of this crate that made it.
    pub evaluator: String,
    /// `true` when it was [optimised](crate::Optimization::Speed).
    pub optimized: bool,
}

/// The first line of an entry.
#[derive(Serialize, Deserialize)]
struct Heading<O, A> {
    of: O,
    about: A,
}

impl CacheEntry {
    /// Takes back what [`CacheEntry::as_bytes`] gave for the same key.
    ///
    /// # Safety
    /// The bytes are run as machine code. They must be what `as_bytes` gave for this key, in a process
    /// as trusted as this one, and authenticated since: nobody else may have been able to change them.
    #[expect(unsafe_code, reason = "the caller vouches for machine code")]
    #[must_use]
    pub unsafe fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The entry as bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The origin of the entry, or `None` when this version of the crate cannot tell.
    #[must_use]
    pub fn of(&self) -> Option<EntryOf> {
        Some(self.heading::<IgnoredAny>()?.0.of)
    }

    /// A line of JSON, and then the code.
    pub(super) fn new(of: &EntryOf, about: impl Serialize, code: &[u8]) -> Self {
        let mut bytes = serde_json::to_vec(&Heading { of, about }).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(code);
        Self(bytes)
    }

    /// The heading, and the offset of the code.
    fn heading<A: for<'de> Deserialize<'de>>(&self) -> Option<(Heading<EntryOf, A>, usize)> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        Some((serde_json::from_slice(self.0.get(..end)?).ok()?, end + 1))
    }

    /// The facts and the code, where it is an entry of that origin.
    pub(super) fn parts<A: for<'de> Deserialize<'de>>(
        mut self,
        of: &EntryOf,
    ) -> Option<(A, CompiledCode)> {
        let (heading, code) = self.heading()?;
        if heading.of != *of {
            return None;
        }
        let code = self.0.split_off(code);
        // SAFETY: whoever made the entry vouched for it.
        #[expect(unsafe_code, reason = "the code of an entry")]
        let code = unsafe { CompiledCode::from_bytes(code) };
        Some((heading.about, code))
    }
}

impl fmt::Debug for CacheEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheEntry({} bytes)", self.0.len())
    }
}
