//! `countersign log archive` and `countersign log prune`

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign::visible;
use countersign_decision_log::Reader;
use countersign_deployment::{checkpoint_signer, files};
use countersign_issuer::{CHECKPOINT_KEY_FILE, VERIFIER_KEYS_FILE};
use serde::Serialize;

use super::LogPlace;
use crate::clock;
use crate::output::{self, Exit, Format};
use crate::progress;

/// Copy full segments of a log to a folder, compressed; the service may be writing the log
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign log archive state/log --to /archive/log
  countersign log verify /archive/log

Segments that the archive has are not copied again, so this can run as often as you like. Each copy is a
gzip file (RFC 1952) that is read back and compared before it gets its name. The last segment, which is
being written, is not copied. `log verify`, `show`, `tail` and `subjects` read the archive as they read a log.

The JSON has `copied` (files), `bytes`, `compressed`, and `last` (the last record in the archive).

Exit status: 0 every full segment is in the archive, 1 anything else.")]
pub(super) struct Archive {
    #[command(flatten)]
    place: LogPlace,

    /// The folder of the archive, which is created if missing
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Remove old segments of a service's log, up to one before which a checkpoint was signed
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign log archive state/log --to /archive/log
  countersign log prune --config issuer.toml --archived /archive/log
  countersign log verify state/log --after /archive/log

With `--archived`, only what the archive has is removed, and only after all of the archive is verified. With
`--before`, segments are removed all of whose records come before that one, archived or not. The last segment
always stays. The service may be writing the log. A signed statement of what was removed stays beside the
log (`pruned.json`), so that `log verify` tells a log that was pruned from one whose beginning was lost.

The JSON has `removed` (files), `bytes`, and `first` (the first record that is left).

Exit status: 0 done, also if there was nothing to remove; 1 anything else.")]
pub(super) struct Prune {
    /// The configuration of the service, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The archive: what is in it is removed
    #[arg(long, value_name = "FOLDER", required_unless_present = "before")]
    archived: Option<PathBuf>,

    /// The record before which everything is removed, whether it is archived or not
    #[arg(long, value_name = "SEQUENCE", conflicts_with = "archived")]
    before: Option<u64>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct ArchivedJson<'r> {
    copied: &'r [String],
    bytes: u64,
    compressed: u64,
    last: u64,
}

#[derive(Serialize)]
struct PrunedJson<'r> {
    removed: &'r [String],
    bytes: u64,
    first: u64,
}

impl Archive {
    pub(super) fn run(&self) -> Result<Exit> {
        let folder = self.place.folder()?;
        files::private_folder(&self.to)?;
        let key = files::read(&folder.join(CHECKPOINT_KEY_FILE), 1 << 16)?;
        let copy = self.to.join(CHECKPOINT_KEY_FILE);
        if copy.exists() && files::read(&copy, 1 << 16)? != key {
            bail!("{}: the archive of another log", self.to.display());
        }
        files::replace(&copy, &key, true)?;
        // For whoever verifies proofs of the archive; a log of another version has none.
        let verifier_keys = folder.join(VERIFIER_KEYS_FILE);
        if verifier_keys.exists() {
            let keys = files::read(&verifier_keys, 1 << 20)?;
            files::replace(&self.to.join(VERIFIER_KEYS_FILE), &keys, true)?;
        }
        let report = progress::with_spinner("archiving the log", || {
            countersign_decision_log::archive(folder, &self.to)
        });
        let report = report.with_context(|| self.to.display().to_string())?;
        match self.format {
            Format::Json => output::print_json(&ArchivedJson {
                copied: &report.copied,
                bytes: report.bytes,
                compressed: report.compressed,
                last: report.last,
            })?,
            Format::Human => output::print(&format!(
                "{} segments copied, {} bytes in {}; the last record in the archive is {}\n",
                report.copied.len(),
                report.bytes,
                report.compressed,
                report.last
            ))?,
        }
        Ok(Exit::Success)
    }
}

impl Prune {
    pub(super) fn run(&self) -> Result<Exit> {
        let (folder, key) = checkpoint_signer(&self.config)?;
        let before = match (&self.archived, self.before) {
            (Some(archive), _) => self.archived_before(archive, &folder)?,
            (None, before) => before.unwrap_or(0),
        };
        let now = clock::now(None)?;
        let report = progress::with_spinner("removing segments", || {
            countersign_decision_log::prune(&folder, before, &key, now)
        });
        let report = report.with_context(|| folder.display().to_string())?;
        match self.format {
            Format::Json => output::print_json(&PrunedJson {
                removed: &report.removed,
                bytes: report.bytes,
                first: report.first,
            })?,
            Format::Human => {
                let text = format!(
                    "{}: {} segments removed, {} bytes; the first record is now {}\n",
                    folder.display(),
                    report.removed.len(),
                    report.bytes,
                    report.first
                );
                output::print(&visible(&text))?;
            }
        }
        Ok(Exit::Success)
    }

    /// The record after the last one of an archive that is whole and of the same log.
    fn archived_before(&self, archive: &Path, log: &Path) -> Result<u64> {
        let report = super::verify::verified(archive)?;
        let name = archive.display();
        if let Some(damage) = report.damage.first() {
            bail!("{name}: nothing was removed: the archive is damaged: {damage}");
        }
        let first = Reader::new(log, 1).read()?.map_or(1, |entry| entry.sequence);
        super::verify::continues(archive, &report, log, first, None)?;
        Ok(report.last + 1)
    }
}
