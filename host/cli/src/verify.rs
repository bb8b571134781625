//! `countersign verify`

use std::io::{self, Read};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use countersign_issuer::{Jwks, MAX_TOKEN_BYTES, verified_claims};

use crate::clock;
use crate::output::{self, Exit};
use countersign_deployment::files;

/// Verify a token as a cloud does, and print its claims
#[derive(Args)]
#[command(after_help = "\
Examples:
  curl -s http://127.0.0.1:8080/jwks.json > jwks.json
  countersign verify --key-set jwks.json --issuer https://oidc.example.com \\
      --audience aws-workload-identity-provider:demo < token

Verifies the signature against the key set, the issuer, the audience (which must be the only one), and the
times. The token is read from stdin.

Exit status: 0 verified, 1 anything else.")]
pub(crate) struct Verify {
    /// The key set that the issuer publishes (`jwks.json`)
    #[arg(long, short, value_name = "FILE")]
    key_set: PathBuf,

    /// The expected issuer (`iss`)
    #[arg(long, value_name = "URL")]
    issuer: String,

    /// The expected audience (`aud`)
    #[arg(long, short, value_name = "AUDIENCE")]
    audience: String,

    /// The time of verification, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    now: Option<u64>,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<Exit> {
        let keys = files::read(&self.key_set, 1 << 20)?;
        let keys = Jwks::parse(&keys).with_context(|| self.key_set.display().to_string())?;
        let mut token = String::new();
        io::stdin()
            .take(MAX_TOKEN_BYTES as u64 + 2)
            .read_to_string(&mut token)
            .context("standard input")?;
        let token = token.trim_end_matches(['\r', '\n']);
        if token.is_empty() {
            bail!("no token on standard input");
        }
        let now = clock::now(self.now)?;
        let claims = verified_claims(token, &keys, &self.issuer, &self.audience, now)?;
        output::print_json(&claims)?;
        Ok(Exit::Success)
    }
}
