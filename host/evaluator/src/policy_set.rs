//! Policies, bound to settings and scopes, that decide together.

pub(crate) mod binding;
pub(crate) mod description;
pub(crate) mod identity;
pub(crate) mod policy;
pub(crate) mod projection;
pub mod reach;
pub(crate) mod scope;
mod scope_index;
pub(crate) mod set;
pub(crate) mod settings;
pub(crate) mod settings_check;
