//! What was prepared, kept for the next process.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::compile::CompiledCode;
use crate::digest::Digest;
use crate::engine::{Engine, Optimization, stack_of};
use crate::limits::Limits;
use crate::sandbox::Taken;

/// Raised whenever the same key would have to mean another entry.
const FORMAT: u32 = 3;

/// Keeps what was prepared, so that another process need not prepare it again.
///
/// An entry is machine code that is run, so an implementation gives back only what it can tell was put
/// there by somebody as trusted as this process: [`CacheEntry::from_bytes`] says what that takes. What it
/// cannot tell, cannot read or has lost is `None`, and prepared anew; it never fails.
pub trait Cache: Send + Sync {
    /// The entry of a key.
    fn get(&self, key: &Digest) -> Option<CacheEntry>;

    /// Keeps an entry, or does not.
    fn put(&self, key: &Digest, entry: &CacheEntry);
}

/// What a [`Cache`] keeps: bytes that mean something to this build of this crate only.
pub struct CacheEntry(Vec<u8>);

/// What an entry is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryOf {
    /// Digest of the component.
    pub component: Digest,
    /// Digest of the settings; `None` when it is the policy before it has taken any.
    pub settings: Option<Digest>,
    /// The version of this crate that made it.
    pub evaluator: String,
    /// Whether it was [optimised](Optimization::Speed).
    pub optimized: bool,
}

/// What an entry is kept under, and what it must be of.
pub(crate) struct Key {
    digest: Digest,
    of: EntryOf,
}

/// The first line of an entry.
#[derive(Serialize, Deserialize)]
struct Heading<A> {
    of: EntryOf,
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

    /// What the entry is of, or `None` when this version of the crate cannot tell.
    #[must_use]
    pub fn of(&self) -> Option<EntryOf> {
        Some(self.heading::<IgnoredAny>()?.0.of)
    }

    /// A line of JSON, and then the code.
    fn new(heading: &Heading<impl Serialize>, code: &[u8]) -> Self {
        let mut bytes = serde_json::to_vec(heading).unwrap_or_default();
        bytes.push(b'\n');
        bytes.extend_from_slice(code);
        Self(bytes)
    }

    /// The heading, and where the code begins.
    fn heading<A: for<'de> Deserialize<'de>>(&self) -> Option<(Heading<A>, usize)> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        Some((serde_json::from_slice(self.0.get(..end)?).ok()?, end + 1))
    }

    fn parts<A: for<'de> Deserialize<'de>>(mut self, of: &EntryOf) -> Option<(A, CompiledCode)> {
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

/// What is kept of a policy beside its code.
#[derive(Serialize, Deserialize)]
pub(crate) struct PolicyEntry {
    /// Why its state cannot be read: the code is the component's as it is.
    pub(crate) no_snapshot: Option<String>,
}

/// What is kept of a binding beside its code.
#[derive(Serialize, Deserialize)]
pub(crate) struct BindingEntry {
    pub(crate) taken: Taken,
    /// Why there is no code: the policy is configured in each evaluation.
    pub(crate) no_snapshot: Option<String>,
}

/// What an engine has kept, if it has a cache.
pub(crate) fn get<A: for<'de> Deserialize<'de>>(
    engine: &Engine,
    key: &Key,
) -> Option<(A, CompiledCode)> {
    engine.cache()?.get(&key.digest)?.parts(&key.of)
}

/// Keeps what was prepared, if the engine has a cache.
pub(crate) fn put(engine: &Engine, key: &Key, about: impl Serialize, code: &[u8]) {
    if let Some(cache) = engine.cache() {
        let heading = Heading { of: key.of.clone(), about };
        cache.put(&key.digest, &CacheEntry::new(&heading, code));
    }
}

pub(crate) fn policy_key(engine: &Engine, component: Digest) -> Key {
    Key::new(engine, component, None, "")
}

pub(crate) fn binding_key(
    engine: &Engine,
    component: Digest,
    settings: Digest,
    limits: &Limits,
) -> Key {
    // That the settings were taken depends on them, and whether there is a snapshot on the last one.
    let matter = [
        limits.configure_fuel,
        limits.memory_bytes,
        stack_of(limits.stack_bytes).into(),
        limits.wall_clock_ms.into(),
        limits.prepare_memory_bytes,
    ];
    Key::new(engine, component, Some(settings), &format!("{settings} {matter:?}"))
}

impl Key {
    /// Of everything that what is kept depends on; `binding` is empty for a policy.
    fn new(engine: &Engine, component: Digest, settings: Option<Digest>, binding: &str) -> Self {
        let evaluator = env!("CARGO_PKG_VERSION");
        let optimized = engine.optimization() == Optimization::Speed;
        let engine = engine.compatibility();
        // None of them has a line break, so no two keys are written alike.
        let key = format!("{FORMAT}\n{evaluator}\n{engine}\n{optimized}\n{component}\n{binding}");
        let of = EntryOf { component, settings, evaluator: evaluator.to_owned(), optimized };
        Self { digest: Digest::of(key.as_bytes()), of }
    }
}

/// What compiled code of an engine is compatible with: the compiler's version, the processor, and all
/// that the code depends on. Not a secret, and not what keeps forged code out.
pub(crate) fn compatibility(engine: &wasmtime::Engine) -> u64 {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
