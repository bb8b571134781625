//! Uses the JSON Schema that a policy provides for its settings: [`SchemaCheck`] checks settings against it before the
//! policy is configured, and [`SettingsSchema::draft7_definitions`] translates it for editors.
//!
//! The schema comes from a policy, so it may be hostile. Its cost is bounded before it is used: [`SettingsSchema`]
//! documents which schemas are not used, and why that is never an error.
//!
//! The crate does no I/O: nothing is fetched, whatever a schema refers to.

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
