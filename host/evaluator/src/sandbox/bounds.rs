//! Bounds that are the same for every policy.
//!
//! They are counted when a component is checked, and again when it is instantiated: both read them here.

use std::time::Duration;

/// The maximum of core instances of a policy. `componentize-py` makes 38.
pub(crate) const CORE_INSTANCES: u32 = 64;

/// The maximum of component instances of a policy, those made of exports included.
pub(crate) const COMPONENT_INSTANCES: u32 = 128;

/// The maximum of memories and tables of a policy, counted over all instances.
pub(crate) const MEMORIES_AND_TABLES: u32 = 16;

/// The maximum of elements of all tables of a component together when they are made. An instance may have
/// fewer: [`MAX_TABLE_ELEMENTS`](crate::limits::MAX_TABLE_ELEMENTS).
pub(crate) const MAX_LOADED_TABLE_ELEMENTS: usize = 1_000_000;

/// The interval at which the wall-clock limit is checked.
pub(crate) const TICK: Duration = Duration::from_millis(10);
