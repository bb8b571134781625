//! `countersign evaluate`

use anyhow::Result;
use clap::Args;
use countersign::Outcome;

use crate::decision_text::decision_text;
use crate::output::{self, Exit, Format};
use crate::request::RequestArguments;

/// Decide on a run, and show the terms of its token or the reasons of a refusal
#[derive(Args)]
#[command(after_help = "\
Examples:
  # May this run have a token for AWS, for 15 minutes?
  countersign evaluate --policies countersign.toml --run run.json \\
      --audience aws-workload-identity-provider:demo --ttl 900

  # The same as JSON, at a given time: the same bytes on every machine
  countersign evaluate -p countersign.toml -r run.json -a api://AzureADTokenExchange \\
      --ttl 900 --now 1790000000 --format json

  # What if another workspace owned the building block?
  jq '.spec.buildingBlock.spec.workspaceIdentifier = \"team-b\"' run.json |
      countersign evaluate -p countersign.toml -r - -a api://AzureADTokenExchange --ttl 900

The JSON is the decision's record: `outcome` (\"approved\" or \"refused\"), `reasons` or `terms`,
`policy_set`, `claims`, and `trace` with every binding's verdict, digests, and resource
usage. Its `id` is the SHA-256 digest of the other members as compact JSON. Within `version` 1,
members are only added. The limits of the audience's cloud are not checked here, but by `countersign check`
and `countersign sign`.

Exit status: 0 approved, 2 refused, 1 anything else.")]
pub(crate) struct Evaluate {
    #[command(flatten)]
    request: RequestArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

impl Evaluate {
    pub(crate) fn run(&self) -> Result<Exit> {
        let (bundle, _) = self.request.load()?;
        let decision = self.request.decide(&bundle)?;
        match self.format {
            Format::Human => output::print(&decision_text(&decision))?,
            Format::Json => output::print_json(&decision.record())?,
        }
        Ok(match decision.outcome() {
            Outcome::Approved(_) => Exit::Success,
            Outcome::Refused(_) => Exit::Refused,
        })
    }
}
