//! Guests in fresh instances: within bounds, scheduled fairly, dropped after one call.

pub(crate) mod bounds;
pub(crate) mod code_cache;
pub(crate) mod evaluation_outcome;
pub(crate) mod failure;
pub(crate) mod fairness;
pub(crate) mod guest;
mod ledger;
mod lowered;
pub(crate) mod scheduler;
pub(crate) mod wasmtime_config;
pub(crate) mod wiping;
