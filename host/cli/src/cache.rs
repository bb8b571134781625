//! `countersign cache`, and the arguments that locate the cache.

mod place;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use countersign::{Digest, EntryOf, visible};
use countersign_compiler_worker::{CacheFolder, KeptEntry};
use serde::Serialize;

pub(crate) use self::place::{CacheArguments, CachePlace};
use crate::output::{self, DIM, Exit, FAILURE, Format, Styled};

/// List and prune the cache of compiled policies
#[derive(Args)]
#[command(after_help = "\
A policy is compiled once and cached, and once more with its settings. Entries are machine code, so
each one is authenticated with a secret in another folder; an entry that does not verify is not used
but replaced.

Examples:
  countersign cache list
  countersign cache prune --unused-days 30")]
pub(crate) struct Cache {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Subcommand)]
enum CacheCommand {
    List(List),
    Prune(Prune),
}

/// List the entries, the most recently used first
#[derive(Args)]
#[command(after_help = "\
The JSON has `folder`, `bytes`, `max_bytes` (the default limit), and `entries` with `key`, `bytes`,
`used` (seconds since 1970) and `of`: `component`, `settings` (null for a policy without settings yet),
`evaluator`, the version that wrote it, and `optimized`. `of` is null for an entry that does not
verify or that another version wrote; it will not be used.")]
struct List {
    #[command(flatten)]
    place: CachePlace,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Remove entries that this version cannot use, and those that the options select
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Entries that this version cannot use
  countersign cache prune

  # Everything
  countersign cache prune --max-bytes 0

If the secret has changed since the cache was written, no entry verifies and all are removed.

The JSON has `removed`, `removed_bytes`, `left` and `left_bytes`.")]
struct Prune {
    #[command(flatten)]
    place: CachePlace,

    /// Also remove entries that were not used for this many days
    #[arg(long, value_name = "DAYS")]
    unused_days: Option<u32>,

    /// Then remove the least recently used entries until at most this many bytes remain
    #[arg(long, value_name = "BYTES", default_value_t = CacheFolder::DEFAULT_MAX_BYTES)]
    max_bytes: u64,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The JSON of `list`.
#[derive(Serialize)]
struct ListJson {
    folder: String,
    bytes: u64,
    max_bytes: u64,
    entries: Vec<EntryJson>,
}

#[derive(Serialize)]
struct EntryJson {
    key: Digest,
    bytes: u64,
    used: u64,
    of: Option<EntryOf>,
}

/// The JSON of `prune`.
#[derive(Serialize)]
struct PruneJson {
    removed: u64,
    removed_bytes: u64,
    left: u64,
    left_bytes: u64,
}

impl Cache {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            CacheCommand::List(command) => command.run(),
            CacheCommand::Prune(command) => command.run(),
        }
    }
}

impl List {
    fn run(&self) -> Result<Exit> {
        let cache = self.place.open_existing()?;
        let folder = cache.folder().display().to_string();
        let entries = cache.entries().with_context(|| folder.clone())?;
        let entries: Vec<_> = entries.iter().map(EntryJson::new).collect();
        let bytes = entries.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.bytes));
        let list = ListJson { folder, bytes, max_bytes: CacheFolder::DEFAULT_MAX_BYTES, entries };
        match self.format {
            Format::Human => output::print(&list.text())?,
            Format::Json => output::print_json(&list)?,
        }
        Ok(Exit::Success)
    }
}

impl Prune {
    fn run(&self) -> Result<Exit> {
        let cache = self.place.open_existing()?;
        let longest = self.unused_days.map(|days| Duration::from_secs(u64::from(days) * 86_400));
        let unwanted = |entry: &KeptEntry| {
            let unused = entry.used.elapsed().unwrap_or_default();
            of_this_version(entry).is_none() || longest.is_some_and(|longest| unused > longest)
        };
        let pruned = cache
            .prune(self.max_bytes, unwanted)
            .with_context(|| cache.folder().display().to_string())?;
        match self.format {
            Format::Human => output::print(&format!(
                "removed {} ({}), left {} ({})\n",
                count(pruned.removed),
                size(pruned.removed_bytes),
                count(pruned.left),
                size(pruned.left_bytes)
            ))?,
            Format::Json => output::print_json(&PruneJson {
                removed: pruned.removed,
                removed_bytes: pruned.removed_bytes,
                left: pruned.left,
                left_bytes: pruned.left_bytes,
            })?,
        }
        Ok(Exit::Success)
    }
}

/// The origin of an entry that this version can use.
fn of_this_version(entry: &KeptEntry) -> Option<EntryOf> {
    entry.of.clone().filter(|of| of.evaluator == env!("CARGO_PKG_VERSION"))
}

impl EntryJson {
    fn new(entry: &KeptEntry) -> Self {
        let used = entry.used.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self { key: entry.key, bytes: entry.bytes, used, of: of_this_version(entry) }
    }
}

impl ListJson {
    fn text(&self) -> String {
        let folder = visible(&self.folder);
        let mut text = format!(
            "{folder}: {}, {} of at most {}\n",
            count(self.entries.len() as u64),
            size(self.bytes),
            size(self.max_bytes)
        );
        for entry in &self.entries {
            let used = UNIX_EPOCH + Duration::from_secs(entry.used);
            let ago = ago(SystemTime::now().duration_since(used).unwrap_or_default());
            let what = match &entry.of {
                Some(of) => {
                    let optimized = if of.optimized { "optimized" } else { "unoptimized" };
                    match of.settings {
                        Some(settings) => {
                            format!("{optimized}  {} with settings {settings}", of.component)
                        }
                        None => format!("{optimized}  {}", of.component),
                    }
                }
                None => Styled(FAILURE, "not usable").to_string(),
            };
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {:>9}  {} {what}", size(entry.bytes), Styled(DIM, ago));
        }
        text
    }
}

fn count(entries: u64) -> String {
    format!("{entries} {}", if entries == 1 { "entry" } else { "entries" })
}

fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        0..=1023 => return format!("{bytes} B"),
        1024..=1_048_575 => (1 << 10, "KiB"),
        1_048_576..=1_073_741_823 => (1 << 20, "MiB"),
        _ => (1 << 30, "GiB"),
    };
    let tenths = u128::from(bytes) * 10 / unit;
    format!("{}.{} {name}", tenths / 10, tenths % 10)
}

/// Formats a span of time in its largest unit.
fn ago(span: Duration) -> String {
    let seconds = span.as_secs();
    let (number, unit) = match seconds {
        0..=59 => (seconds, "s"),
        60..=3_599 => (seconds / 60, "min"),
        3_600..=86_399 => (seconds / 3_600, "h"),
        _ => (seconds / 86_400, "d"),
    };
    format!("{:>7}", format!("{number} {unit}"))
}
