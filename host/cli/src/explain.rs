//! `countersign explain`

mod text;

use anyhow::Result;
use clap::Args;
use countersign::Optimization;
use countersign_authoring::{
    Change, Claim, DeterminedBy, Explanation, SettingsLiterals, StoppedBy, explain,
};
use serde::Serialize;

use crate::bounds::{TotalFuel, TotalPrepareTime};
use crate::output::{self, Exit, Format};
use crate::progress;
use crate::request::RequestArguments;

/// Decide on a run, and explain which claims determined the decision and which changes would reverse it
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign explain --policies countersign.toml --run run.json \\
      --audience aws-workload-identity-provider:demo --ttl 900
  countersign explain -p countersign.toml -r run.json -a api://AzureADTokenExchange --ttl 900 \\
      --format json | jq '.counterfactuals'

The decision is repeated with each claim changed: to similar values, to literals of the bindings' settings and of
the texts of policies in them, and to values that no installation has. A claim determined the outcome if a change of it
alone reverses the decision; others changed the grant, or only add or drop a reason of a refusal. A claim that is not
reported may still do so for another value. Counterfactuals are the smallest changes that reverse the decision: single
ones, or if there are none, pairs. Of a claim, values of settings and of the run are shown where one of them does it.

The JSON has `outcome`, `decision` (its id), `claims`, `grant_claims` and `reason_claims` (paths of the contract,
wit/policy.wit, each in one of the three), `counterfactuals` (a list of lists of `claim`, `from` and `to`), `bindings`
(each with `binding`, `outcome`: permit, restrict, deny, abstain or fault, the three lists of claims for its own
verdict, and `counterfactuals`, which also have the `outcome` that they lead to), `evaluations`, `evaluations_planned`
and `stopped_by`. A permit of a binding with `may-permit = false` is a restrict.

The evaluations stop before the next one when all of them together took --total-fuel, or, for those that ended
by `deadline`, a minute of `wall-clock-ms`. What is reported then is true, and not all: `stopped_by` is `fuel`
or `deadline` (null if all were made), and `evaluations_planned` is how many there would have been, at least.
Each evaluation of a policy counts for its fuel and that of making its instance, or a whole limit where the fuel
cannot be read (a trap), for 1 unit for 16 bytes of its memory and for 10,000 units.

Exit status: 0 explained, 1 anything else, also if the evaluations stopped.")]
pub(crate) struct Explain {
    #[command(flatten)]
    request: RequestArguments,

    #[command(flatten)]
    total_fuel: TotalFuel,

    #[command(flatten)]
    total_prepare_time: TotalPrepareTime,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed<'e> {
    outcome: &'static str,
    decision: String,
    #[serde(flatten)]
    claims: PrintedClaims,
    counterfactuals: Vec<Vec<PrintedChange<'e>>>,
    bindings: Vec<PrintedBinding<'e>>,
    evaluations: usize,
    evaluations_planned: usize,
    stopped_by: Option<&'static str>,
}

#[derive(Serialize)]
struct PrintedClaims {
    claims: Vec<&'static str>,
    grant_claims: Vec<&'static str>,
    reason_claims: Vec<&'static str>,
}

#[derive(Serialize)]
struct PrintedChange<'e> {
    claim: &'static str,
    from: &'e str,
    to: &'e str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
}

#[derive(Serialize)]
struct PrintedBinding<'e> {
    binding: &'e str,
    outcome: &'static str,
    #[serde(flatten)]
    claims: PrintedClaims,
    counterfactuals: Vec<PrintedChange<'e>>,
}

impl Explain {
    pub(crate) fn run(&self) -> Result<Exit> {
        let (bundle, manifest) = self.request.load()?;
        let input = self.request.input(&bundle)?;
        let mut literals = SettingsLiterals::default();
        for entry in &bundle.manifest.bindings {
            literals.add(bundle.settings_of(entry)?);
        }
        for entry in &bundle.manifest.bindings {
            literals.add_texts(bundle.settings_of(entry)?);
        }
        let engine = self.request.engine(&bundle, Optimization::Speed)?;
        let policies = self.total_prepare_time.prepare(&bundle, manifest, &engine)?;
        let explained = progress::with_progress("changing claims", "evaluations", |progress| {
            let mut budget = self.total_fuel.budget(progress);
            explain(&policies, &input, &literals, &mut budget)
        })?;
        match self.format {
            Format::Human => output::print(&text::of(&explained))?,
            Format::Json => output::print_json(&printed(&explained))?,
        }
        Ok(if explained.evaluations.is_complete() { Exit::Success } else { Exit::Failed })
    }
}

impl PrintedClaims {
    fn of(claims: &DeterminedBy) -> Self {
        let paths = |claims: &[Claim]| claims.iter().map(|claim| claim.path()).collect();
        let DeterminedBy { outcome, grant, reasons } = claims;
        Self { claims: paths(outcome), grant_claims: paths(grant), reason_claims: paths(reasons) }
    }
}

fn outcome(explained: &Explanation) -> &'static str {
    match explained.decision.outcome() {
        countersign::Outcome::Approved(_) => "approved",
        countersign::Outcome::Refused(_) => "refused",
    }
}

fn printed(explained: &Explanation) -> Printed<'_> {
    Printed {
        outcome: outcome(explained),
        decision: explained.decision.id().to_string(),
        claims: PrintedClaims::of(&explained.claims),
        counterfactuals: explained
            .counterfactuals
            .iter()
            .map(|changes| changes.iter().map(|change| of_change(change, None)).collect())
            .collect(),
        bindings: explained
            .bindings
            .iter()
            .map(|of| PrintedBinding {
                binding: of.binding.as_str(),
                outcome: of.outcome.as_str(),
                claims: PrintedClaims::of(&of.claims),
                counterfactuals: of
                    .counterfactuals
                    .iter()
                    .map(|(change, outcome)| of_change(change, Some(outcome.as_str())))
                    .collect(),
            })
            .collect(),
        evaluations: explained.evaluations.made,
        evaluations_planned: explained.evaluations.planned,
        stopped_by: explained.evaluations.stopped_by.map(StoppedBy::as_str),
    }
}

fn of_change<'e>(change: &'e Change, outcome: Option<&'static str>) -> PrintedChange<'e> {
    PrintedChange { claim: change.claim.path(), from: &change.from, to: &change.to, outcome }
}
