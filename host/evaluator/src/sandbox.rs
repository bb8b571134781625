//! Guests in fresh instances: within bounds, in turns, thrown away after one call.

pub(crate) mod cache_padded;
pub(crate) mod code_cache;
mod failure;
pub(crate) mod fairness;
mod guest;
mod ledger;
mod lowered;
mod scheduler;

pub use self::guest::Taken;
pub(crate) use self::guest::{Answer, Functions, Guest, Seated};
pub(crate) use self::ledger::MAX_TABLE_ELEMENTS;
