//! `countersign log`

mod records;
mod show;
mod subjects;
mod verify;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::output::Done;

/// Look at the log of decisions, and check that nothing in it was changed
#[derive(Args)]
#[command(after_help = "\
The log is the folder `log` in the state of `countersign serve`. It can be looked at while the
service writes it.

Examples:
  countersign log verify state/log
  countersign log show state/log --run b3116611-e08b-4b00-91c5-10365b25a6ef
  countersign log tail state/log --follow
  countersign log subjects state/log")]
pub struct LogCommands {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand)]
enum LogCommand {
    Verify(verify::Verify),
    Show(show::Show),
    Tail(show::Tail),
    Subjects(subjects::Subjects),
}

/// The folder of a log.
#[derive(Args)]
struct LogPlace {
    /// The folder of the log
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

impl LogCommands {
    pub fn run(&self) -> Result<Done> {
        match &self.command {
            LogCommand::Verify(command) => command.run(),
            LogCommand::Show(command) => command.run(),
            LogCommand::Tail(command) => command.run(),
            LogCommand::Subjects(command) => command.run(),
        }
    }
}
