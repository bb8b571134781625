//! `countersign api-key`

use anyhow::{Context, Result};
use clap::Args;
use countersign::Digest;
use countersign_issuer::ApiKeyText;
use serde::Serialize;

use crate::output::{self, Exit, Format};

/// Generate an API key for the control plane of a service
#[derive(Args)]
#[command(after_help = "\
Examples:
  (umask 077; countersign api-key > control-plane.key)

The key is printed to stdout and stored nowhere; its entry for `issuer.toml` is printed to stderr. With `--format json`, stdout has `key` and `sha256`.")]
pub(crate) struct ApiKey {
    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed<'k> {
    key: &'k str,
    sha256: String,
}

impl ApiKey {
    pub(crate) fn run(&self) -> Result<Exit> {
        let key = ApiKeyText::generate().context("the system's random number generator failed")?;
        let sha256 = Digest::of(key.expose().as_bytes()).to_string();
        match self.format {
            Format::Json => output::print_json(&Printed { key: key.expose(), sha256 })?,
            Format::Human => {
                output::print(&format!("{}\n", key.expose()))?;
                output::status(&format!(
                    "# for issuer.toml\n[[api-key]]\nname = \"control-plane\"\nsha256 = \
                     \"{sha256}\"\nmay = [\"runs\", \"decisions\", \"metrics\"]"
                ));
            }
        }
        Ok(Exit::Success)
    }
}
