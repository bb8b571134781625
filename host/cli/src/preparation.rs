//! Where this program compiles policies, in a child process with limits; where it keeps them; and how it looks at
//! their settings before they do.

use std::sync::Arc;

use anyhow::{Context, Result};
use countersign::{
    CheckSettings, Engine, EngineConfig, Optimization, Preparation, PreparationEntry,
};
use countersign_compiler_worker::{CacheFolder, ChildProcess};
use countersign_schema::SchemaCheck;

use crate::output;

/// The subcommand that makes this program a child that compiles.
pub const CHILD: &str = "compile-for-parent";

/// An engine that compiles in a child process.
pub fn engine(optimization: Optimization) -> Result<Engine> {
    engine_with(optimization, PreparationEntry::default(), None)
}

/// The same, as a manifest has it, with what was kept. Settings are checked against their policy's schema.
pub fn engine_with(
    optimization: Optimization,
    entry: PreparationEntry,
    cache: Option<CacheFolder>,
) -> Result<Engine> {
    engine_of(optimization, entry, cache, Some(settings_check()))
}

/// The same, where only the policy itself looks at its settings: to test it.
pub fn engine_without_check(optimization: Optimization) -> Result<Engine> {
    engine_of(optimization, PreparationEntry::default(), None, None)
}

/// Checks settings against their policy's schema, and says which schema it does not use: in the log of a service, and
/// else on stderr.
pub fn settings_check() -> Arc<dyn CheckSettings> {
    Arc::new(SchemaCheck::new(|warning| {
        if tracing::dispatcher::has_been_set() {
            tracing::warn!("{warning}");
        } else {
            output::warn(warning);
        }
    }))
}

fn engine_of(
    optimization: Optimization,
    entry: PreparationEntry,
    cache: Option<CacheFolder>,
    settings_check: Option<Arc<dyn CheckSettings>>,
) -> Result<Engine> {
    let child = ChildProcess::of_this_program([CHILD]).context("the path of this program")?;
    Ok(Engine::with(EngineConfig {
        optimization,
        preparation: Preparation::Elsewhere(Arc::new(child)),
        cache: cache.map(|cache| Arc::new(cache) as _),
        resident_bytes: entry.resident_bytes,
        settings_check,
    })?)
}
