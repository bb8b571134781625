//! Adapts an author's functions to those of the contract.

use std::sync::OnceLock;

use serde::de::DeserializeOwned;

use crate::bindings::exports::countersign::policy::policy::{Description, Problem};
use crate::{Run, Token, Verdict};

/// The prepared settings of a policy, kept between `configure` and `evaluate`.
pub struct Configured<P>(OnceLock<P>);

impl<P> Configured<P> {
    /// Not configured yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }
}

impl<P> Default for Configured<P> {
    fn default() -> Self {
        Self::new()
    }
}

/// A policy's description, taken from its crate.
#[derive(Debug, Clone, Copy)]
pub struct Meta {
    /// `name` of the crate.
    pub name: &'static str,
    /// `version` of the crate.
    pub version: &'static str,
    /// `description` of the crate.
    pub summary: &'static str,
    /// The file `settings.schema.json` beside the crate's `Cargo.toml`.
    pub settings_schema: &'static str,
}

/// `describe` of the contract.
pub fn describe(meta: Meta) -> Description {
    begin();
    Description {
        name: meta.name.to_owned(),
        version: meta.version.to_owned(),
        summary: meta.summary.to_owned(),
        settings_schema: meta.settings_schema.to_owned(),
    }
}

/// Prepares nothing, for policies that evaluate with their settings unmodified.
///
/// # Errors
/// Never; the signature is that of any `prepare` function.
pub fn unprepared<S>(settings: S) -> Result<S, Vec<Problem>> {
    Ok(settings)
}

/// `configure` of the contract.
pub fn configure<S: DeserializeOwned, P>(
    configured: &Configured<P>,
    prepare: impl Fn(S) -> Result<P, Vec<Problem>>,
    json: &str,
) -> Result<(), Vec<Problem>> {
    begin();
    let settings = crate::settings::parse(json).map_err(|error| {
        vec![Problem { pointer: error.pointer(), message: error.message().to_owned() }]
    })?;
    configured.0.set(prepare(settings)?).map_err(|_| {
        vec![Problem { pointer: String::new(), message: "configured twice".to_owned() }]
    })?;
    #[cfg(target_arch = "wasm32")]
    crate::arena::reserve();
    Ok(())
}

/// `evaluate` of the contract.
pub fn evaluate<P>(
    configured: &Configured<P>,
    author: impl Fn(&P, &Run, &Token) -> Verdict,
    run: &Run,
    token: &Token,
) -> Verdict {
    begin();
    match configured.0.get() {
        Some(prepared) => author(prepared, run, token),
        // A host that does this breaks the contract, and gets a fault.
        #[expect(clippy::panic, reason = "there is no verdict without settings")]
        None => panic!("evaluated before it was configured"),
    }
}

fn begin() {
    #[cfg(target_arch = "wasm32")]
    crate::panic::report_to_host();
}
