//! The log whose decisions are decided again, shared by `replay` and `impact`.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::UNIX_EPOCH;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::{DefinitionId, Engine, Optimization, PolicySet, Workspace, visible};
use countersign_decision_log::VerifiedReader;
use countersign_deployment::{ManifestBundle, engine, files};
use countersign_issuer::{CHECKPOINT_KEY_FILE, CheckpointVerifier};
use countersign_replay::{Filter, SourceError};

use crate::bounds::TotalPrepareTime;
use crate::cache::CacheArguments;
use crate::log::folder_of;
use crate::output;

/// The decisions of a log that are looked at.
#[derive(Args)]
pub(crate) struct DecisionFilter {
    /// Only decisions from this time on (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<u64>,

    /// Only decisions before this time (RFC 3339, or seconds since 1970)
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<u64>,

    /// Only runs that concern this workspace: it owns the building block or the definition
    #[arg(long, value_name = "WORKSPACE")]
    workspace: Option<Workspace>,

    /// Only runs of this definition
    #[arg(long, value_name = "UUID")]
    definition: Option<DefinitionId>,
}

/// The preparing of the policies that decide.
#[derive(Args)]
pub(crate) struct PolicyArguments {
    #[command(flatten)]
    total_prepare_time: TotalPrepareTime,

    #[command(flatten)]
    cache: CacheArguments,
}

impl DecisionFilter {
    pub(crate) fn filter(&self) -> Result<Filter> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            bail!("--since is not before --until: no decision is between them");
        }
        let (workspace, definition) = (self.workspace.clone(), self.definition.clone());
        Ok(Filter { since: self.since, until: self.until, workspace, definition })
    }
}

impl PolicyArguments {
    /// Makes the engine that evaluates the policies of a manifest.
    pub(crate) fn engine(
        &self,
        bundle: &ManifestBundle,
        optimization: Optimization,
    ) -> Result<Engine> {
        let (entry, cache) = (bundle.manifest.preparation, self.cache.open()?);
        Ok(engine::engine_with(optimization, entry, cache, output::warn_or_log)?)
    }

    /// Prepares the policies of a manifest, which is at this path.
    pub(crate) fn prepare(
        &self,
        bundle: &ManifestBundle,
        manifest: &Path,
        engine: &Engine,
    ) -> Result<PolicySet> {
        self.total_prepare_time.prepare(bundle, manifest, engine)
    }
}

/// The key that verifies the checkpoints of a log.
pub(crate) struct LogKey {
    folder: PathBuf,
    verifier: CheckpointVerifier,
}

impl LogKey {
    /// Reads the key of the log in a folder: the one that was given, or the one beside it.
    pub(crate) fn read(folder: &Path, given: Option<&PathBuf>) -> Result<Self> {
        let folder = folder_of(folder)?.to_owned();
        let default = || folder.join(CHECKPOINT_KEY_FILE);
        let file = given.cloned().unwrap_or_else(default);
        let verifier = CheckpointVerifier::parse(&files::read(&file, 1 << 16)?)
            .with_context(|| file.display().to_string())?;
        Ok(Self { folder, verifier })
    }

    /// Opens the log, of which everything is verified that is read.
    pub(crate) fn open(&self) -> Result<VerifiedReader<'_>> {
        VerifiedReader::open(&self.folder, &self.verifier)
            .with_context(|| self.folder.display().to_string())
    }
}

/// The number of threads that decide: one for each processor.
pub(crate) fn workers() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// The end of a source before its last record, in words: where it is damaged, and how far it was read.
pub(crate) fn ended_text(error: &SourceError, last: u64) -> String {
    let mut problem = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        problem = format!("{problem}: {cause}");
        source = cause.source();
    }
    let before = match last {
        0 => "no record before it was read".to_owned(),
        last => format!("records up to {last} are intact and counted"),
    };
    visible(&format!("{problem}; {before}"))
}

/// Parses a time: RFC 3339, or seconds since 1970.
pub(crate) fn time(text: &str) -> Result<u64, String> {
    if let Ok(seconds) = text.parse() {
        return Ok(seconds);
    }
    let expected = "expected RFC 3339, such as 2026-11-01T00:00:00Z, or seconds since 1970";
    let time = humantime::parse_rfc3339_weak(text).map_err(|_| expected.to_owned())?;
    let since = time.duration_since(UNIX_EPOCH).map_err(|_| expected.to_owned())?;
    Ok(since.as_secs())
}
