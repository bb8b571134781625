//! Readings of what a policy used of its limits.

use serde::{Deserialize, Serialize};

/// Usage of a policy before it evaluates, when it describes itself or takes its settings: the same on
/// every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigureUsage {
    /// Fuel, of [`Limits::configure_fuel`](crate::Limits).
    pub fuel: u64,
    /// Linear memory in bytes, of [`Limits::memory_bytes`](crate::Limits).
    pub memory_bytes: u64,
}

/// Usage of one evaluation, where the reading can be trusted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EvaluationUsage {
    /// Fuel that `evaluate` used, without that of `configure`: after a verdict, a panic or another `unreachable`, and when
    /// fuel ran out.
    pub fuel: Option<u64>,
    /// Linear memory at its peak in bytes, summed over all memories: after a verdict.
    pub memory_bytes: Option<u64>,
    /// Size of the verdict in bytes, as [`Limits::output_bytes`](crate::Limits) counts it: after a
    /// verdict.
    pub output_bytes: Option<u64>,
}
