//! `countersign release`

mod cases;
mod diff;
mod evidence;
mod prepare;
mod promote;
mod show;
mod stage;
mod taken;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use countersign_deployment::ReleaseStore;

pub(crate) use self::cases::run as run_cases;
use crate::output::Exit;

/// Stage, try, promote and roll back policy sets of a service
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Prepare a changed manifest beside the one that decides, and try it on live runs
  countersign release stage --config issuer.toml --policies next/countersign.toml
  countersign release status --config issuer.toml
  countersign release diff --config issuer.toml

  # Let it decide, and go back
  countersign impact state/log --candidate next/countersign.toml --format json > impact.json
  countersign release promote --config issuer.toml --evidence impact.json
  countersign release rollback --config issuer.toml --reason 'team-b has no tokens'

A release is a policy set with its components and settings, kept by digest in the state of the service. Its digest is
that of the policy set, which every decision names (`policy_set`). Before the first promotion the manifest of the
configuration decides; from then on its bindings are a draft, and releases decide. `[issuer]` stays with the manifest.

Replicas share releases in their database: each of these commands, at any of them, asks it first.")]
pub(crate) struct Release {
    #[command(subcommand)]
    command: ReleaseCommand,
}

#[derive(Subcommand)]
enum ReleaseCommand {
    Stage(stage::Stage),
    Status(show::Status),
    Promote(promote::Promote),
    Rollback(promote::Rollback),
    List(show::List),
    Diff(diff::Diff),
}

/// The service whose releases these are.
#[derive(Args)]
struct ServiceArgument {
    /// The configuration of the service, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

/// A number of things, for people.
fn count(number: u64, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

impl ServiceArgument {
    fn store(&self) -> Result<ReleaseStore> {
        Ok(ReleaseStore::open(&self.config)?)
    }
}

impl Release {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            ReleaseCommand::Stage(command) => command.run(),
            ReleaseCommand::Status(command) => command.run(),
            ReleaseCommand::Promote(command) => command.run(),
            ReleaseCommand::Rollback(command) => command.run(),
            ReleaseCommand::List(command) => command.run(),
            ReleaseCommand::Diff(command) => command.run(),
        }
    }
}
