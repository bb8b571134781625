//! From a component's bytes to machine code that can be instantiated.

pub(crate) mod cache;
pub(crate) mod compile;
pub(crate) mod component;
pub(crate) mod engine;
pub(crate) mod guarded;
pub(crate) mod load_error;
mod metered;
pub(crate) mod pipeline;
mod precheck;
pub(crate) mod snapshot;
mod template;
