//! `countersign log`

mod anchors;
mod export;
mod prove;
mod records;
mod retention;
mod service_accounts;
mod show;
mod subjects;
mod tiles;
mod verify;
mod verify_proof;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use countersign_deployment::files;
use countersign_issuer::{CHECKPOINT_KEY_FILE, CheckpointVerifier};

use crate::output::Exit;

pub(crate) use self::records::RecordView;
pub(crate) use self::verify::verified;

/// The maximum length of a key's file, in bytes.
const MAX_KEY_BYTES: u64 = 1 << 16;

/// Show, verify, prove, export, archive and prune the decision log
#[derive(Args)]
#[command(after_help = "\
The log is the folder `log` in the state of `countersign serve`. It can be read while the
service is writing it.

Examples:
  countersign log verify state/log
  countersign log show state/log --run b3116611-e08b-4b00-91c5-10365b25a6ef
  countersign log tail state/log --follow
  countersign log subjects state/log
  countersign log prove state/log --jti 0b5a3b2e-7a4e-4d55-9a5c-3a1d3c5e7f00 > token.tlog-proof
  countersign log tiles state/log --to /srv/tiles
  countersign log export state/log --to /srv/decisions
  countersign log service-accounts state/log
  countersign log archive state/log --to /archive/log
  countersign log prune --config issuer.toml --archived /archive/log")]
pub(crate) struct LogCommands {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand)]
enum LogCommand {
    Verify(verify::Verify),
    Show(show::Show),
    Tail(show::Tail),
    Subjects(subjects::Subjects),
    Prove(prove::Prove),
    Tiles(tiles::WriteTiles),
    Export(export::Export),
    ServiceAccounts(service_accounts::ServiceAccounts),
    Archive(retention::Archive),
    Prune(retention::Prune),
}

/// The folder of a log.
#[derive(Args)]
struct LogPlace {
    /// The folder of the log
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl LogPlace {
    /// Returns the folder, if it contains a log.
    fn folder(&self) -> Result<&Path> {
        folder_of(&self.folder)
    }
}

/// Returns the folder, if it contains a log. An empty folder must not read as a log without tokens.
pub(crate) fn folder_of(folder: &Path) -> Result<&Path> {
    if folder.join(CHECKPOINT_KEY_FILE).exists() {
        return Ok(folder);
    }
    bail!(
        "{}: no log here ({CHECKPOINT_KEY_FILE} is missing); it is the folder `log` in the state of a \
         service",
        folder.display()
    )
}

/// Reads the key of a log's checkpoints: the one that was given, or the one beside the log.
pub(crate) fn checkpoint_key(folder: &Path, given: Option<&Path>) -> Result<CheckpointVerifier> {
    let beside = folder.join(CHECKPOINT_KEY_FILE);
    let file = given.unwrap_or(&beside);
    CheckpointVerifier::parse(&files::read(file, MAX_KEY_BYTES)?)
        .with_context(|| file.display().to_string())
}

impl LogCommands {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            LogCommand::Verify(command) => command.run(),
            LogCommand::Show(command) => command.run(),
            LogCommand::Tail(command) => command.run(),
            LogCommand::Subjects(command) => command.run(),
            LogCommand::Prove(command) => command.run(),
            LogCommand::Tiles(command) => command.run(),
            LogCommand::Export(command) => command.run(),
            LogCommand::ServiceAccounts(command) => command.run(),
            LogCommand::Archive(command) => command.run(),
            LogCommand::Prune(command) => command.run(),
        }
    }
}
