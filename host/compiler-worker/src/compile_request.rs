//! What parent and child say to each other.
//!
//! The parent writes one line of JSON, a [`Job`], and then the component, followed by the
//! state that it is to be in, if any. The child writes one byte,
//! [`COMPILED`] or [`REFUSED`], and then the code or a `CompileError` as JSON, and exits with status 0.

use countersign::Optimization;
use serde::{Deserialize, Serialize};

pub(crate) const COMPILED: u8 = b'C';
pub(crate) const REFUSED: u8 = b'R';

/// The status of a child that had no memory left.
pub(crate) const EXHAUSTED: i32 = 86;

/// What is to be done with the component that follows, and within which limits.
#[derive(Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) optimize: bool,
    pub(crate) observable: bool,
    /// Length of the state that follows the component, if one does.
    pub(crate) state_bytes: Option<u64>,
    /// Length of the component.
    pub(crate) bytes: u64,
    pub(crate) component_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) processor_seconds: u64,
}

impl Job {
    pub(crate) fn optimization(&self) -> Optimization {
        if self.optimize { Optimization::Speed } else { Optimization::None }
    }
}
