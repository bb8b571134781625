//! `countersign sign`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Args;
use countersign::{Decision, visible};
use countersign_deployment::{Manifest, files};
use countersign_clouds::Violation;
use countersign_issuer::{IssueError, Issuer, IssuerUrl, MAX_PEM_BYTES, SigningKey, TokenId};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::decision_text::decision_text;
use crate::output::{self, FAILURE, Exit, Format, Styled};
use crate::request::RequestArguments;

/// Decide on a run, and sign the token that is approved
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign keys generate --algorithm rs256 --out key.pem
  countersign sign --policies countersign.toml --run run.json --key key.pem \\
      --audience aws-workload-identity-provider:demo --ttl 900 > token

The token goes to stdout, the decision to stderr. With `--format json`, stdout has
`{\"token\": \"…\", \"decision\": {…}}`; a refusal has no `token`. What
the cloud of the audience would not take is not signed either: then there is `preflight`, a list with
`code` and `message` (docs/codes.md). The decision is the one that
`countersign evaluate --format json` prints.

Exit status: 0 signed, 2 refused (nothing is signed), 1 anything else.")]
pub struct Sign {
    #[command(flatten)]
    request: RequestArguments,

    /// The private key: RSA (signs RS256) or EC on P-256 (signs ES256), in PEM
    #[arg(long, short, value_name = "FILE")]
    key: PathBuf,

    /// The issuer identifier (`iss`) [default: `url` under `[issuer]` in the manifest]
    #[arg(long, value_name = "URL")]
    issuer: Option<IssuerUrl>,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

/// The JSON of a signature or a refusal.
#[derive(Serialize)]
struct Signed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    preflight: &'a [Violation],
    decision: &'a RawValue,
}

impl Sign {
    pub fn run(&self) -> Result<Exit> {
        // The key and the issuer first: who has none should not wait for a decision.
        let key = read_key(&self.key)?;
        let (bundle, policies) = self.request.load()?;
        let url = self.issuer_url(&bundle.manifest, policies)?;
        let issuer = Issuer::new(url, Arc::new(key));
        let decision = self.request.decide(&bundle)?;
        let record = record(&decision)?;
        if self.format == Format::Human {
            // Before the signature: no token whose decision could not be shown.
            output::eprint_or_fail(decision_text(&decision).trim_end())?;
        }
        let Ok(approval) = decision.into_approval() else {
            if self.format == Format::Json {
                output::print_json(&Signed { token: None, preflight: &[], decision: &record })?;
            }
            return Ok(Exit::Refused);
        };
        let id = TokenId::random().context("the system gives no randomness")?;
        let entry = bundle.manifest.issuer.as_ref();
        let clouds = entry.map(|entry| entry.audiences.clone()).unwrap_or_default();
        let token = match issuer.sign(approval, &id, &clouds) {
            Ok(token) => token,
            Err(IssueError::Preflight(violations)) => {
                if self.format == Format::Json {
                    let preflight = violations.as_slice();
                    output::print_json(&Signed { token: None, preflight, decision: &record })?;
                } else {
                    for Violation { code, message } in &violations {
                        let text = visible(&format!("{code}: {message}"));
                        output::eprint_or_fail(&format!("{} {text}", Styled(FAILURE, "not signed")))?;
                    }
                }
                return Ok(Exit::Refused);
            }
            Err(error) => return Err(error.into()),
        };
        match self.format {
            Format::Human => output::print(&format!("{}\n", token.expose()))?,
            Format::Json => {
                output::print_json(&Signed {
                    token: Some(token.expose()),
                    preflight: &[],
                    decision: &record,
                })?;
            }
        }
        Ok(Exit::Success)
    }

    fn issuer_url(&self, manifest: &Manifest, policies: &Path) -> Result<IssuerUrl> {
        if let Some(url) = &self.issuer {
            return Ok(url.clone());
        }
        let url = manifest.issuer.as_ref().and_then(|issuer| issuer.url.as_deref());
        let url = url.with_context(|| {
            format!(
                "the token needs an issuer: add `url` under `[issuer]` in {}, or give --issuer",
                policies.display()
            )
        })?;
        IssuerUrl::parse(url).with_context(|| format!("{}: issuer.url", policies.display()))
    }
}

/// A decision's record, indented as a member: its order is kept, since its id depends on it.
fn record(decision: &Decision) -> Result<Box<RawValue>> {
    let text = serde_json::to_string_pretty(&decision.record())?;
    Ok(RawValue::from_string(text.replace('\n', "\n  "))?)
}

/// Reads a private key. Nothing of it is in an error.
pub fn read_key(path: &Path) -> Result<SigningKey> {
    let text = files::read(path, MAX_PEM_BYTES as u64)?;
    SigningKey::from_pem(&text).with_context(|| path.display().to_string())
}
