//! `countersign backup` and `countersign restore`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign::visible;
use countersign_deployment::Backup as Description;
use serde::Serialize;
use tokio::runtime::Builder;

use crate::clock;
use crate::output::{self, Exit, Format};
use crate::progress;

/// Back up the state of a service while it runs: database, decision log and keys; of a replica, what is its own
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign backup --config issuer.toml --to /backups/2026-11-29
  countersign restore --config issuer.toml --from /backups/2026-11-29

The backup has every run, finish, single use and record that was acknowledged before it began, and the
private keys: only its owner can read it, and it is worth as much as the keys. The configuration and the
policies are not in it; their SHA-256 are, so that `restore` can tell what has changed since.

Of a replica, it has the log and the keys of its checkpoints; PostgreSQL's own means copy the database, before.

The JSON has `version`, `time`, `changes` (of the database), `last` and `hash` (of the log's last record),
`files` and `configuration` (a SHA-256 each), as `backup.json` in the folder; of a replica also `database`:
its name (`replica`), and the position of the database (`time`, `lsn`) that it goes with, or any before.

Exit status: 0 the backup is whole, 1 anything else; a folder without `backup.json` is no backup.")]
pub(crate) struct Backup {
    /// The configuration, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The folder to write, which does not exist or is empty
    #[arg(long, value_name = "FOLDER")]
    to: PathBuf,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Make the state of a service from a backup
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign restore --config issuer.toml --from /backups/2026-11-29
  countersign check --config issuer.toml && countersign serve --config issuer.toml

The state that the configuration names must not exist, or be an empty folder: move the old one away, and keep
it. Every file is compared with its SHA-256 and all of the log is verified before the state is there.

What happened after the backup began is forgotten: runs that were registered since are unknown and are
registered again; runs that were finished since are live until they expire, so finish them again; tokens
that may be used once and were used since can be used once more until they expire; tokens that were
issued since stay valid at the clouds until they expire, and are on no record here. docs/state.md has the
steps.

Of a replica, restore the database first. Its log ends where the database has it; it must not be of later than
the backup. Later records are in the backup alone, so keep that.

The JSON has `state`, `time`, `changes`, `last`, `hash`, `restored` (the last record of the restored log), and
`changed`: the files of the configuration that are not as they were when the backup was made.

Exit status: 0 restored, 1 anything else.")]
pub(crate) struct Restore {
    /// The configuration, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The folder of the backup
    #[arg(long, value_name = "FOLDER")]
    from: PathBuf,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct RestoredJson<'r> {
    state: String,
    time: u64,
    changes: u64,
    last: u64,
    hash: &'r str,
    restored: u64,
    changed: &'r [String],
}

impl Backup {
    pub(crate) fn run(&self) -> Result<Exit> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let now = clock::now(None)?;
        let backup = progress::with_spinner("copying the state", || {
            runtime
                .block_on(countersign_deployment::backup(&self.config, &self.to, now))
                .map_err(Box::new)
        });
        let backup = backup.context("no backup was made")?;
        match self.format {
            Format::Json => output::print_json(&backup)?,
            Format::Human => {
                let text = format!("{}: {}", self.to.display(), of(&backup));
                output::print(&format!("{}\n", visible(&text)))?;
            }
        }
        Ok(Exit::Success)
    }
}

impl Restore {
    pub(crate) fn run(&self) -> Result<Exit> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let restored = progress::with_spinner("verifying the backup", || {
            runtime
                .block_on(countersign_deployment::restore(&self.from, &self.config))
                .map_err(Box::new)
        });
        let restored = restored.context("nothing was restored")?;
        let backup = &restored.backup;
        match self.format {
            Format::Json => output::print_json(&RestoredJson {
                state: restored.state.display().to_string(),
                time: backup.time,
                changes: backup.changes,
                last: backup.last,
                hash: &backup.hash,
                restored: restored.last,
                changed: &restored.changed,
            })?,
            Format::Human => {
                let time = output::time(backup.time);
                let mut text =
                    format!("{}: as it was at {time}: {}\n", restored.state.display(), of(backup));
                for file in &restored.changed {
                    let _ = writeln!(text, "changed since: {file}");
                }
                output::print(&visible(&text))?;
            }
        }
        if restored.last < backup.last {
            output::status(&format!(
                "Records {} to {} are of later than the database, and in the backup alone: keep it.",
                restored.last.saturating_add(1),
                backup.last
            ));
        }
        let since = match backup.database {
            None => output::time(backup.time),
            Some(_) => "the time of the database".to_owned(),
        };
        output::status(&format!(
            "What happened since {since} is forgotten: finish again the runs that were finished since, and register \
             those that were registered."
        ));
        Ok(Exit::Success)
    }
}

fn of(backup: &Description) -> String {
    let Description { changes, last, files, .. } = backup;
    if let Some(position) = &backup.database {
        let (replica, time, lsn) = (&position.replica, output::time(position.time), &position.lsn);
        return format!(
            "{last} records of replica {replica}, {} files; the database up to {time} ({lsn})",
            files.len()
        );
    }
    format!("{last} records, {changes} changes of the database, {} files", files.len())
}
