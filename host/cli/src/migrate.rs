//! `countersign migrate`

use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use countersign_deployment::{MigrateOptions, migrate};
use serde::Serialize;

use crate::output::{self, Exit, Format};
use crate::progress;

/// Make or change the tables of the database that replicas share
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign migrate --config issuer.toml
  countersign migrate --config issuer.toml --grant issuer --password-file owner-password \\
      --url postgres://owner@db.example.com/countersign

The tables are in the schema `countersign` of the database that `store` names. They are made or changed in one
transaction: all of it, or nothing. Again, it changes nothing; two at a time wait for each other. A service changes no
tables: it does not start on those of an earlier version, nor on those of a later one that no longer serves it. So migrate
first, then replace the replicas one by one.

The role that migrates owns the tables. `--grant` gives another one the rights that a service needs, and no more.

The JSON has `from` and `to`, the version of the tables before and now.

Exit status: 0 the tables are of this version, 1 anything else.")]
pub(crate) struct Migrate {
    /// The configuration of the service, `issuer.toml`
    #[arg(long, short, value_name = "FILE")]
    config: PathBuf,

    /// The database by another role, or past a pooler [default: `store` of the configuration]
    #[arg(long, value_name = "URL")]
    url: Option<String>,

    /// The file with the password of that role
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,

    /// The role that services use
    #[arg(long, value_name = "ROLE")]
    grant: Option<String>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed {
    from: i32,
    to: i32,
}

impl Migrate {
    pub(crate) fn run(&self) -> Result<Exit> {
        let options = MigrateOptions {
            url: self.url.clone(),
            password_file: self.password_file.clone(),
            grant: self.grant.clone(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("failed to start")?;
        let migrated = progress::with_spinner("migrating the database", || {
            runtime.block_on(migrate(&self.config, &options))
        })?;
        match self.format {
            Format::Json => {
                output::print_json(&Printed { from: migrated.from, to: migrated.to })?;
            }
            Format::Human if migrated.from == migrated.to => {
                output::print(&format!("the tables are of version {}\n", migrated.to))?;
            }
            Format::Human => {
                let (from, to) = (migrated.from, migrated.to);
                output::print(&format!("the tables are of version {to}, and were of {from}\n"))?;
            }
        }
        Ok(Exit::Success)
    }
}
