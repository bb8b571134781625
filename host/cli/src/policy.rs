//! `countersign policy`

mod ask;
mod bench;
mod build;
mod coverage;
mod eval;
mod fmt;
mod folder;
mod freshness;
mod language;
mod modules;
mod new;
mod python_files;
mod registry;
mod rego;
mod rust;
mod sources;
mod test;

pub(crate) use folder::Profile;
pub(crate) use registry::Fetch;

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::output::Exit;

/// Create, build, test, evaluate, measure and publish a policy; pin and verify published ones
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign policy new who-may && cd who-may
  countersign policy build
  countersign policy test --watch
  countersign policy eval --case 'a stranger is denied'
  countersign policy bench
  countersign policy push . oci://registry.example/policies/who-may:1.0.0
  countersign policy lock

A policy's folder has its test cases in `cases.toml`; docs/policies.md describes the format. docs/shipping-a-policy.md
leads from a new policy to a token that another installation issues by it.")]
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
    Fmt(fmt::Fmt),
    Push(Box<registry::Push>),
    Sign(registry::Sign),
    Verify(registry::Verify),
    Inspect(registry::Inspect),
    Pull(registry::Pull),
    Lock(registry::Lock),
    Outdated(registry::Outdated),
    Update(registry::Update),
    Export(registry::Export),
    Import(registry::Import),
}

impl PolicyCommands {
    pub(crate) fn run(&self) -> Result<Exit> {
        match &self.command {
            PolicyCommand::New(command) => command.run(),
            PolicyCommand::Build(command) => command.run(),
            PolicyCommand::Test(command) => command.run(),
            PolicyCommand::Eval(command) => command.run(),
            PolicyCommand::Bench(command) => command.run(),
            PolicyCommand::Fmt(command) => command.run(),
            PolicyCommand::Push(command) => command.run(),
            PolicyCommand::Sign(command) => command.run(),
            PolicyCommand::Verify(command) => command.run(),
            PolicyCommand::Inspect(command) => command.run(),
            PolicyCommand::Pull(command) => command.run(),
            PolicyCommand::Lock(command) => command.run(),
            PolicyCommand::Outdated(command) => command.run(),
            PolicyCommand::Update(command) => command.run(),
            PolicyCommand::Export(command) => command.run(),
            PolicyCommand::Import(command) => command.run(),
        }
    }
}
