//! `countersign cache`, and the arguments that say where it is.

mod place;

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use countersign::{Digest, EntryOf, visible};
use countersign_preparation::{CacheFolder, KeptEntry};
use serde::Serialize;

pub use self::place::{CacheArguments, CachePlace};
use crate::output::{self, DIM, Exit, FAILURE, Format, Styled};

/// Look at what was prepared and kept, and remove what is not needed
#[derive(Args)]
#[command(after_help = "\
A policy is compiled once, and kept: so is what it became with its settings. Both are machine
code, so each entry is sealed with a secret that is in another folder; one that does not fit its
seal is not used, and is prepared again.

Examples:
  countersign cache list
  countersign cache prune --unused-days 30")]
pub struct Cache {
    #[command(subcommand)]
    command: CacheCommand,
}

#[derive(Subcommand)]
enum CacheCommand {
    List(List),
    Prune(Prune),
}

/// List what is kept, the most recently used first
#[derive(Args)]
#[command(after_help = "\
The JSON has `folder`, `bytes`, `most_bytes` (the bound of the command line), and `entries` with
`key`, `bytes`, `used` (seconds since 1970) and `of`: `component`, `settings` (null for a policy
before it has taken any), `evaluator`, the version that made it, and `optimized`. `of` is null when
the entry does not fit its seal, or is another version's; it will not be used.")]
struct List {
    #[command(flatten)]
    place: CachePlace,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Remove what does not fit its seal or another version made, and what is told
#[derive(Args)]
#[command(after_help = "\
Examples:
  # What this version cannot use
  countersign cache prune

  # Everything
  countersign cache prune --most-bytes 0

Another secret than the one that a cache was made with fits none of its entries: then all are
removed.

The JSON has `removed`, `removed_bytes`, `left` and `left_bytes`.")]
struct Prune {
    #[command(flatten)]
    place: CachePlace,

    /// Also what was not used for so many days
    #[arg(long, value_name = "DAYS")]
    unused_days: Option<u32>,

    /// And then what was not used for longest, until so many bytes are left
    #[arg(long, value_name = "BYTES", default_value_t = CacheFolder::MOST_BYTES)]
    most_bytes: u64,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// What `list --format json` prints.
#[derive(Serialize)]
struct ListJson {
    folder: String,
    bytes: u64,
    most_bytes: u64,
    entries: Vec<EntryJson>,
}

#[derive(Serialize)]
struct EntryJson {
    key: Digest,
    bytes: u64,
    used: u64,
    of: Option<EntryOf>,
}

/// What `prune --format json` prints.
#[derive(Serialize)]
struct PruneJson {
    removed: u64,
    removed_bytes: u64,
    left: u64,
    left_bytes: u64,
}

impl Cache {
    pub fn run(&self) -> Result<Exit> {
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
        let list = ListJson { folder, bytes, most_bytes: CacheFolder::MOST_BYTES, entries };
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
            .prune(self.most_bytes, unwanted)
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

/// What an entry is of, when this version can use it.
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
            size(self.most_bytes)
        );
        for entry in &self.entries {
            let used = UNIX_EPOCH + Duration::from_secs(entry.used);
            let ago = ago(SystemTime::now().duration_since(used).unwrap_or_default());
            let what = match &entry.of {
                Some(of) => {
                    let optimized = if of.optimized { "optimized" } else { "as it is" };
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

/// A span of time in its largest unit.
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
