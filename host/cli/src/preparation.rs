//! Where this program compiles policies: in a child process with limits.

use std::sync::Arc;

use anyhow::{Context, Result};
use countersign::{Engine, EngineConfig, Optimization, Preparation};
use countersign_preparation::ChildProcess;

/// The subcommand that makes this program a child that compiles.
pub const CHILD: &str = "compile-for-parent";

/// An engine that compiles in a child process.
pub fn engine(optimization: Optimization) -> Result<Engine> {
    let child = ChildProcess::of_this_program([CHILD]).context("the path of this program")?;
    let preparation = Preparation::Elsewhere(Arc::new(child));
    Ok(Engine::with(EngineConfig { optimization, preparation, ..EngineConfig::default() })?)
}
