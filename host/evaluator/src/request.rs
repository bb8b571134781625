//! The request that is decided on: a run, and the token that is requested for it.

pub(crate) mod claims;
pub(crate) mod fact_reader;
pub(crate) mod facts;
pub(crate) mod fields;
pub(crate) mod identifier;
pub(crate) mod object_facts;
pub(crate) mod reader;
pub(crate) mod record;
pub(crate) mod run;
pub(crate) mod run_object;
pub(crate) mod subject;
