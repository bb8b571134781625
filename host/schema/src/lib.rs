//! What the JSON Schema that a policy gives of its settings is good for: [settings are checked](SchemaCheck) against
//! it before the policy sees them, and [editors](manifest_schema) get it as a part of the schema of
//! `countersign.toml`.
//!
//! The schema comes from a policy, so it may be made to cost much. What it can cost is known before it is
//! used: [`SettingsSchema`] says which ones are not used, and why that is never an error.
//!
//! It does no I/O: nothing is fetched, whatever a schema refers to.

#![forbid(unsafe_code)]

mod check;
mod document;
mod draft7;
mod keywords;
mod patterns;
mod problems;
mod read;
mod settings;
mod unusable;
mod words;

pub use check::SchemaCheck;
pub use patterns::{MAX_PATTERN_BYTES, MAX_PATTERN_KIB};
pub use settings::{
    MAX_DEPTH, MAX_NODES, MAX_PATTERN_WORK, MAX_PATTERNS, MAX_SCHEMA_BYTES, MAX_WORK,
    SettingsSchema,
};
pub use unusable::Unusable;
