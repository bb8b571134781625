//! `countersign keys list` and `countersign keys rotate`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use countersign_deployment::{ExistingKeys, existing_keys};
use countersign_issuer::KeyEntry;
use countersign_signing::Algorithm;
use serde::Serialize;

use super::AlgorithmWord;
use crate::clock;
use crate::output::{self, Exit, Format};

/// List the keys of a service, with their phases and times
#[derive(Args)]
#[command(after_help = "\
A key is published before it signs, for as long as verifiers cache a key set, and after it has signed,
until its last token has expired and no verifier caches an older key set. Keys that are in no plan, which a
crash can leave behind, are listed on stderr.

The JSON is a list with `kid`, `algorithm`, `phase` (`published`, `active`, `retired` or
`removed`), and the times `published`, `active`, `retired` and `removed`, in seconds since 1970 or null.")]
pub(super) struct List {
    /// The configuration of the service, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Generate the next key of a service, which signs once every verifier has had time to fetch it
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keys rotate --config issuer.toml

  # The key is compromised: it is no longer published, and a new one signs at once. Verifiers that
  # cache the key set refuse new tokens, and accept old ones, until they fetch it again.
  countersign keys rotate --config issuer.toml --at-once

A running service uses the new key within 15 seconds. A service also rotates by itself
(`rotate-every-seconds` under `[keys]`).")]
pub(super) struct Rotate {
    /// The configuration of the service, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The algorithm of the key [default: rs256; with --at-once, those of all existing keys]
    #[arg(long, value_enum)]
    algorithm: Option<AlgorithmWord>,

    /// Sign with it at once, and withdraw the previous keys
    #[arg(long)]
    at_once: bool,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// A key, as `--format json` prints it.
#[derive(Serialize)]
struct Printed<'k> {
    kid: &'k str,
    algorithm: Algorithm,
    phase: &'static str,
    published: u64,
    active: u64,
    retired: Option<u64>,
    removed: Option<u64>,
}

impl<'k> Printed<'k> {
    fn new(key: &'k KeyEntry, now: u64) -> Self {
        Self {
            kid: &key.kid,
            algorithm: key.algorithm,
            phase: key.phase(now).as_str(),
            published: key.published,
            active: key.active,
            retired: key.retired,
            removed: key.removed,
        }
    }
}

impl List {
    pub(super) fn run(&self) -> Result<Exit> {
        let keys = existing_keys(&self.config)?;
        let ring = &keys.ring;
        let (plan, now) = (ring.plan()?, clock::now(None)?);
        let printed: Vec<_> = plan.keys.iter().map(|key| Printed::new(key, now)).collect();
        match self.format {
            Format::Json => output::print_json(&printed)?,
            Format::Human => output::print(&text(&printed))?,
        }
        for kid in ring.unplanned()? {
            output::status(&format!("key {kid} is there but in no plan: nothing signs with it"));
        }
        Ok(Exit::Success)
    }
}

impl Rotate {
    pub(super) fn run(&self) -> Result<Exit> {
        let ExistingKeys { ring, times, .. } = &existing_keys(&self.config)?;
        let now = clock::now(None)?;
        let mut algorithms = vec![self.algorithm.unwrap_or(AlgorithmWord::Rs256).into()];
        if self.at_once && self.algorithm.is_none() {
            // A leak of one file of the folder may be a leak of all.
            algorithms.extend(ring.plan()?.keys.iter().map(|key| key.algorithm));
            algorithms.sort_unstable();
            algorithms.dedup();
        }
        let mut kids = Vec::new();
        for algorithm in algorithms {
            kids.push(ring.rotate(algorithm, times, self.at_once, now)?);
        }
        let plan = ring.plan()?;
        let made: Vec<_> = plan
            .keys
            .iter()
            .filter(|key| kids.contains(&key.kid))
            .map(|key| Printed::new(key, now))
            .collect();
        match self.format {
            Format::Json => output::print_json(&made)?,
            Format::Human => output::print(&text(&made))?,
        }
        Ok(Exit::Success)
    }
}

fn text(keys: &[Printed<'_>]) -> String {
    let mut text = String::new();
    for key in keys {
        let _ = write!(
            text,
            "{} {} {}: published {}, active from {}",
            key.kid,
            key.algorithm.as_str(),
            key.phase,
            output::time(key.published),
            output::time(key.active)
        );
        if let (Some(retired), Some(removed)) = (key.retired, key.removed) {
            let (retired, removed) = (output::time(retired), output::time(removed));
            let _ = write!(text, ", retired from {retired}, removed from {removed}");
        }
        text.push('\n');
    }
    text
}
