//! The request that is decided on: a run, and the token that is requested for it.

pub(crate) mod claims;
pub(crate) mod identifier;
pub(crate) mod run;
pub(crate) mod subject;
