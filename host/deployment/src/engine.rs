//! The engine that prepares policies: in a child process with limits, with the cache on disk, and with a check of
//! settings before they reach a policy.

use std::sync::Arc;

use countersign::{Engine, EngineConfig, Optimization, Preparation, SettingsValidator};
use countersign_compiler_worker::{CacheFolder, ChildProcess};
use countersign_schema::SchemaCheck;

use crate::error::DeploymentError;
use crate::manifest::PreparationEntry;

/// The subcommand that makes this program a child that compiles.
pub const CHILD: &str = "compile-for-parent";

/// Makes an engine that compiles in a child process of this program, and takes what is in the cache. `warn` is called with
/// each schema that is not used, and why: one line, safe to show.
///
/// # Errors
/// When this program has no path, or the system gives no engine.
pub fn engine(
    optimization: Optimization,
    cache: Option<CacheFolder>,
    warn: fn(&str),
) -> Result<Engine, DeploymentError> {
    engine_with(optimization, PreparationEntry::default(), cache, warn)
}

/// Makes the engine of a manifest, which takes what is in the cache. Settings are checked against the schema of their
/// policy.
///
/// # Errors
/// Those of [`engine`].
pub fn engine_with(
    optimization: Optimization,
    entry: PreparationEntry,
    cache: Option<CacheFolder>,
    warn: fn(&str),
) -> Result<Engine, DeploymentError> {
    engine_of(optimization, entry, cache, Some(settings_check(warn)))
}

/// Makes an engine that takes what is in the cache and leaves the check of settings to the policy itself, to test the
/// policy.
///
/// # Errors
/// Those of [`engine`].
pub fn engine_without_check(
    optimization: Optimization,
    cache: Option<CacheFolder>,
) -> Result<Engine, DeploymentError> {
    engine_of(optimization, PreparationEntry::default(), cache, None)
}

/// Makes the check of settings against the schema of their policy.
pub fn settings_check(warn: fn(&str)) -> Arc<dyn SettingsValidator> {
    Arc::new(SchemaCheck::new(warn))
}

fn engine_of(
    optimization: Optimization,
    entry: PreparationEntry,
    cache: Option<CacheFolder>,
    settings_check: Option<Arc<dyn SettingsValidator>>,
) -> Result<Engine, DeploymentError> {
    let child = ChildProcess::of_this_program([CHILD]).map_err(DeploymentError::Program)?;
    Ok(Engine::with(EngineConfig {
        optimization,
        preparation: Preparation::External(Arc::new(child)),
        cache: cache.map(|cache| Arc::new(cache) as _),
        resident_bytes: entry.resident_bytes,
        settings_check,
    })?)
}
