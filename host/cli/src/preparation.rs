//! Where this program compiles policies, in a child process with limits; and where it keeps them.

use std::sync::Arc;

use anyhow::{Context, Result};
use countersign::{Engine, EngineConfig, Optimization, Preparation, PreparationEntry};
use countersign_preparation::{CacheFolder, ChildProcess};

/// The subcommand that makes this program a child that compiles.
pub const CHILD: &str = "compile-for-parent";

/// An engine that compiles in a child process.
pub fn engine(optimization: Optimization) -> Result<Engine> {
    engine_with(optimization, PreparationEntry::default(), None)
}

/// The same, as a manifest has it, with what was kept.
pub fn engine_with(
    optimization: Optimization,
    entry: PreparationEntry,
    cache: Option<CacheFolder>,
) -> Result<Engine> {
    let child = ChildProcess::of_this_program([CHILD]).context("the path of this program")?;
    Ok(Engine::with(EngineConfig {
        optimization,
        preparation: Preparation::Elsewhere(Arc::new(child)),
        cache: cache.map(|cache| Arc::new(cache) as _),
        resident_bytes: entry.resident_bytes,
    })?)
}
