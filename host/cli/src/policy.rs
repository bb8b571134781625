//! `countersign policy`

mod bench;
mod build;
mod coverage;
mod eval;
mod folder;
mod freshness;
mod language;
mod modules;
mod new;
mod python_files;
mod rego;
mod rust;
mod sources;
mod test;

pub(crate) use folder::Profile;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::output::Exit;

/// Create, build, test, evaluate and measure a policy
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy new who-may && cd who-may
  countersign policy build
  countersign policy test --watch
  countersign policy eval --case 'a stranger is denied'
  countersign policy bench

A policy's folder has its test cases in `cases.toml`; docs/policies.md describes the format.")]
pub(crate) struct PolicyCommands {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    New(new::New),
    Build(build::Build),
    Test(test::Test),
    Eval(eval::Eval),
    Bench(bench::Bench),
}

impl PolicyCommands {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            PolicyCommand::New(command) => command.run(),
            PolicyCommand::Build(command) => command.run(),
            PolicyCommand::Test(command) => command.run(),
            PolicyCommand::Eval(command) => command.run(),
            PolicyCommand::Bench(command) => command.run(),
        }
    }
}
