//! `countersign subjects`

mod admission;
mod report;
mod steps;
mod unused;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::output::Exit;

/// Migrate definitions from the subject of their runner to one of their own, step by step
#[derive(Args)]
#[command(after_help = "\
The manifest names the file of the steps: `subject-migrations` under `[issuer]`. A running service
reloads it when it has changed, and records the formats of all subjects.

  begin      trust must accept both subjects; tokens have the runner's as before
  cut-over   tokens get the definition's, if the given trust accepts it
  roll-back  tokens get the runner's again
  finish     trust accepts the definition's alone, when the last token with the other has expired
  abandon    cancels a migration; trust accepts the runner's alone

Examples:
  countersign subjects begin --create --policies countersign.toml --runner \"$RUNNER\" \\
      --definition my-workspace/b23cfb9a-6974-444f-9d33-62134a632373
  countersign trust aws --policies countersign.toml > trust.tf    # both; apply it
  countersign subjects report --policies countersign.toml --log state/log --trust trust.tf
  countersign subjects cut-over --policies countersign.toml --trust trust.tf \\
      --definition my-workspace/b23cfb9a-6974-444f-9d33-62134a632373
  countersign subjects finish --policies countersign.toml --log state/log \\
      --definition my-workspace/b23cfb9a-6974-444f-9d33-62134a632373
  countersign trust aws --policies countersign.toml > trust.tf    # the new one alone")]
pub(crate) struct Subjects {
    #[command(subcommand)]
    command: SubjectsCommand,
}

#[derive(Subcommand)]
enum SubjectsCommand {
    Report(report::Report),
    Begin(steps::Begin),
    CutOver(steps::CutOver),
    RollBack(steps::RollBack),
    Finish(steps::Finish),
    Abandon(steps::Abandon),
}

impl Subjects {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            SubjectsCommand::Report(command) => command.run(),
            SubjectsCommand::Begin(command) => command.run(),
            SubjectsCommand::CutOver(command) => command.run(),
            SubjectsCommand::RollBack(command) => command.run(),
            SubjectsCommand::Finish(command) => command.run(),
            SubjectsCommand::Abandon(command) => command.run(),
        }
    }
}
