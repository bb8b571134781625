//! `countersign replicas`

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use countersign_deployment::{forget_replica, replicas};
use countersign_issuer::ReplicaEntry;
use serde::Serialize;

use crate::output::{self, Exit, Format};

/// List the replicas of a service, and forget those that are gone for good
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign replicas list --config issuer.toml
  countersign replicas forget issuer-3 --config issuer.toml")]
pub(crate) struct Replicas {
    #[command(subcommand)]
    command: ReplicasCommand,
}

#[derive(Subcommand)]
enum ReplicasCommand {
    List(List),
    Forget(Forget),
}

/// List the replicas that share the database
#[derive(Args)]
#[command(after_help = "\
The JSON is a list with `name`, `age_seconds` (since it was last here), `stopped` (in order), `plan_version` (of the keys
that it publishes), `policy_set` and `access` (digests), `log_sequence` and `log_hash` (of the record that its log had
reached).")]
struct List {
    /// The configuration of a replica, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// Forget a replica that is gone for good
#[derive(Args)]
#[command(after_help = "\
A replica that was killed counts for as long as its keys may be served: the next key waits until then to sign. One that is
forgotten does not; its name can be used with another log. Keep the log of one that is gone: records of tokens are in it.
One that runs is not forgotten.

Exit status: 0 forgotten, 1 anything else.")]
struct Forget {
    /// The name of the replica
    #[arg(value_name = "NAME")]
    name: String,

    /// The configuration of another replica, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,
}

#[derive(Serialize)]
struct Printed<'r> {
    name: &'r str,
    age_seconds: u64,
    stopped: bool,
    plan_version: u64,
    policy_set: &'r str,
    access: &'r str,
    log_sequence: u64,
    log_hash: &'r str,
}

impl<'r> Printed<'r> {
    fn new(entry: &'r ReplicaEntry) -> Self {
        Self {
            name: &entry.name,
            age_seconds: entry.age_seconds,
            stopped: entry.stopped,
            plan_version: entry.beat.plan_version,
            policy_set: &entry.beat.policy_set,
            access: &entry.beat.access,
            log_sequence: entry.beat.log_sequence,
            log_hash: &entry.beat.log_hash,
        }
    }
}

impl Replicas {
    pub(crate) fn run(&self) -> Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("failed to start")?;
        match &self.command {
            ReplicasCommand::List(list) => {
                let entries = runtime.block_on(replicas(&list.config))?;
                let printed: Vec<_> = entries.iter().map(Printed::new).collect();
                match list.format {
                    Format::Json => output::print_json(&printed)?,
                    Format::Human => output::print(&text(&printed))?,
                }
            }
            ReplicasCommand::Forget(forget) => {
                if !runtime.block_on(forget_replica(&forget.config, &forget.name))? {
                    let name = countersign::visible(&forget.name);
                    bail!("replica `{name}`: there is none, or it runs; stop it first");
                }
                output::status(&format!("forgot replica {}", forget.name));
            }
        }
        Ok(Exit::Success)
    }
}

fn text(replicas: &[Printed<'_>]) -> String {
    let mut text = String::new();
    for replica in replicas {
        let state = match replica.stopped {
            true => "stopped".to_owned(),
            false => format!("here {} s ago", replica.age_seconds),
        };
        let (name, policy_set) =
            (countersign::visible(replica.name), countersign::visible(replica.policy_set));
        let _ = writeln!(
            text,
            "{name} {state}: log at {}, keys of plan {}, policy set {policy_set}",
            replica.log_sequence, replica.plan_version
        );
    }
    text
}
