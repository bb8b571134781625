//! What an instance has taken of its limits.

use wasmtime::ResourceLimiter;

use crate::limits::Limits;

/// The most elements that the tables of one instance may have, summed.
const MAX_TABLE_ELEMENTS: usize = 20_000;

/// The most core instances, memories and tables of one guest, each.
const MAX_ITEMS: usize = 32;

/// Sums what an instance takes over all its memories and tables, and ends it at the limit.
pub(crate) struct Ledger {
    pub(super) limits: Limits,
    /// The fuel that the running call began with.
    pub(super) fuel_limit: u64,
    memory_bytes: u64,
    table_elements: usize,
}

/// The guest asked for more memory or table elements than it may have.
#[derive(Debug, thiserror::Error)]
#[error("the memory limit is reached")]
pub(super) struct Exceeded;

impl Ledger {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: *limits,
            fuel_limit: limits.configure_fuel,
            memory_bytes: 0,
            table_elements: 0,
        }
    }
}

// A refused growth could also be told to the guest (`memory.grow` gives -1), which may then go on
// to answer. It is a fault all the same: an answer that depends on the limit is not the policy's.
impl ResourceLimiter for Ledger {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current) as u64;
        self.memory_bytes = self.memory_bytes.saturating_add(more);
        if self.memory_bytes > self.limits.memory_bytes {
            return Err(Exceeded.into());
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let more = desired.saturating_sub(current);
        self.table_elements = self.table_elements.saturating_add(more);
        if self.table_elements > MAX_TABLE_ELEMENTS {
            return Err(Exceeded.into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        MAX_ITEMS
    }

    fn tables(&self) -> usize {
        MAX_ITEMS
    }

    fn memories(&self) -> usize {
        MAX_ITEMS
    }
}
