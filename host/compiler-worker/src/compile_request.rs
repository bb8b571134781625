//! The protocol between parent and child.
//!
//! The parent writes one line of JSON, a [`CompileRequest`], then the component, then the memory state to compile it
//! with, if any. The child writes one byte, [`COMPILED`] or [`REFUSED`], then the code or a `CompileError` as JSON, and
//! exits with status 0.

use countersign::Optimization;
use serde::{Deserialize, Serialize};

pub(crate) const COMPILED: u8 = b'C';
pub(crate) const REFUSED: u8 = b'R';

/// The exit status of a child that ran out of memory.
pub(crate) const OUT_OF_MEMORY: i32 = 86;

/// The header of a request: options, limits, and the lengths of the parts that follow.
#[derive(Serialize, Deserialize)]
pub(crate) struct CompileRequest {
    pub(crate) optimize: bool,
    pub(crate) observable: bool,
    /// The length of the memory state that follows the component, if any.
    pub(crate) state_bytes: Option<u64>,
    /// The length of the component.
    pub(crate) bytes: u64,
    pub(crate) component_bytes: u64,
    pub(crate) memory_bytes: u64,
    pub(crate) processor_seconds: u64,
}

impl CompileRequest {
    pub(crate) fn optimization(&self) -> Optimization {
        if self.optimize { Optimization::Speed } else { Optimization::None }
    }
}
