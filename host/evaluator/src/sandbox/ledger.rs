//! The account of what an instance takes of its limits.

use wasmtime::ResourceLimiter;

use super::bounds::MAX_LOADED_TABLE_ELEMENTS;
use crate::limits::{Limits, MAX_TABLE_ELEMENTS};

/// Instances, memories and tables are counted before a component is compiled, under a code of their
/// own; Wasmtime's count is a second net.
const MAX_ITEMS: usize = 1_000;

/// Sums what an instance takes over all its memories and tables, and ends it at the limit.
pub(crate) struct Ledger {
    pub(super) limits: Limits,
    /// The fuel that the running call began with.
    pub(super) fuel_limit: u64,
    memory_bytes: u64,
    table_elements: usize,
    /// A growth was granted and is under way.
    granted: bool,
}

/// The host could not give what the limits allow.
#[derive(Debug, thiserror::Error)]
#[error("the host has no memory left")]
pub(super) struct HostExhausted;

/// The guest requested more memory or table elements than it may have.
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
            granted: false,
        }
    }

    /// The memory taken so far in bytes: it only grows, so this is its peak.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Allows a page for each of so many memories beyond the limit: reading a memory needs one.
    pub(super) fn allow_more(&mut self, memories: u64) {
        self.limits.memory_bytes = self.limits.memory_bytes.saturating_add(memories << 16);
    }

    /// After a grant only the host can have failed. Without one, the guest requested more than a
    /// memory of its type can have, on any host: it is told so.
    fn grow_failed(&mut self) -> wasmtime::Result<()> {
        if std::mem::take(&mut self.granted) { Err(HostExhausted.into()) } else { Ok(()) }
    }
}

// A refused growth could also be told to the guest (`memory.grow` gives -1), which may then go on
// to answer. It is a fault all the same: an answer that depends on the limit is not the policy's.
impl ResourceLimiter for Ledger {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.granted = false;
        if maximum.is_some_and(|maximum| desired > maximum) {
            // The guest's own maximum: it is told so, and nothing is taken.
            return Ok(false);
        }
        let more = desired.saturating_sub(current) as u64;
        self.memory_bytes = self.memory_bytes.saturating_add(more);
        if self.memory_bytes > self.limits.memory_bytes {
            return Err(Exceeded.into());
        }
        self.granted = true;
        Ok(true)
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.granted = false;
        // A pool has a maximum of its own for tables that have none: that is no guest's.
        let own = maximum.filter(|maximum| *maximum < MAX_LOADED_TABLE_ELEMENTS);
        if own.is_some_and(|maximum| desired > maximum) {
            return Ok(false);
        }
        let more = desired.saturating_sub(current);
        self.table_elements = self.table_elements.saturating_add(more);
        if self.table_elements > MAX_TABLE_ELEMENTS {
            return Err(Exceeded.into());
        }
        self.granted = true;
        Ok(true)
    }

    // The host has no memory left, which must not become an answer either.
    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed()
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.grow_failed()
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
