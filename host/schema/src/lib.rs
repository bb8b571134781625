//! Checks settings against the JSON Schema that a policy has for them ([`SchemaCheck`]), before the policy sees them,
//! and translates that schema to draft-07 for editors ([`SettingsSchema::draft7_definitions`]).
//!
//! The schema comes from a policy, so it may be made to cost much. The cost is known before the schema is used:
//! [`SettingsSchema`] refuses the ones that are too expensive, and a schema that is refused is never an error of the
//! settings.
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
