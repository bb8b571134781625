//! `countersign trust`

mod files;
mod lint;
mod write;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::output::Exit;

/// Generate a cloud's trust policy, or lint existing ones
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign trust aws --policies countersign.toml \\
      --definition my-workspace/b23cfb9a-6974-444f-9d33-62134a632373 > trust.tf
  countersign trust lint backplane/ role.json")]
pub(crate) struct Trust {
    #[command(subcommand)]
    command: TrustCommand,
}

#[derive(Subcommand)]
enum TrustCommand {
    /// Generate the trust policy of an AWS role
    Aws(write::Write),
    /// Generate the federated credentials of an Azure identity
    Azure(write::Write),
    /// Generate a provider of a GCP workload identity pool, and its principals' IAM bindings
    Gcp(write::Write),
    /// Generate the federated identity providers of a STACKIT service account
    Stackit(write::Write),
    Lint(lint::Lint),
}

impl Trust {
    pub(crate) fn run(&self) -> Result<Exit> {
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

pub(crate) use files::{Read as ReadTrust, read as read_trust};
