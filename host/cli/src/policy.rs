//! `countersign policy`

mod bench;
mod folder;
mod junit;
mod test;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::output::Done;

/// Test and measure a policy, as its author does
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy test guest-policies/same-workspace --component target/policies/same-workspace.wasm
  countersign policy bench guest-policies/same-workspace --component target/policies/same-workspace.wasm

A policy's folder has `cases.toml`: what it is to answer. docs/policies.md says how they are written.")]
pub struct PolicyCommands {
    #[command(subcommand)]
    command: PolicyCommand,
}

#[derive(Subcommand)]
enum PolicyCommand {
    Test(test::Test),
    Bench(bench::Bench),
}

impl PolicyCommands {
    pub fn run(&self) -> Result<Done> {
        match &self.command {
            PolicyCommand::Test(command) => command.run(),
            PolicyCommand::Bench(command) => command.run(),
        }
    }
}
