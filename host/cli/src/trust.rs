//! `countersign trust`

mod lint;
mod write;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::output::Exit;

/// Write the trust that a cloud needs, or look through trust that there is
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign trust aws --policies countersign.toml \\
      --definition my-workspace/b23cfb9a-6974-444f-9d33-62134a632373 > trust.tf
  countersign trust lint backplane/*.tf role.json")]
pub struct Trust {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Subcommand)]
enum TrustCommand {
    /// Write the trust policy of a role
    Aws(write::Write),
    /// Write the federated credentials of an identity
    Azure(write::Write),
    /// Write a provider of a workload identity pool, and what its principals may
    Gcp(write::Write),
    /// Write the federated identity providers of a service account
    Stackit(write::Write),
    Lint(lint::Lint),
}

impl Trust {
    pub fn run(&self) -> Result<Exit> {
        use countersign_clouds::Cloud;
        match &self.command {
            TrustCommand::Aws(write) => write.run(Cloud::Aws),
            TrustCommand::Azure(write) => write.run(Cloud::Azure),
            TrustCommand::Gcp(write) => write.run(Cloud::Gcp),
            TrustCommand::Stackit(write) => write.run(Cloud::Stackit),
            TrustCommand::Lint(lint) => lint.run(),
        }
    }
}

pub use lint::{read as read_trust, read_with_digest as read_trust_with_digest};
