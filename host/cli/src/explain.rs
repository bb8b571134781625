//! `countersign explain`

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use countersign::{Optimization, visible};
use countersign_authoring::{Change, Claim, Explanation, SettingsLiterals, StoppedBy, explain};
use serde::Serialize;

use crate::bounds::{self, TotalFuel, TotalPrepareTime};
use crate::output::{self, DIM, Exit, FAILURE, Format, STRONG, SUCCESS, Styled};
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

The decision is repeated with each claim changed: to similar values, to literals of the bindings' settings, and
to values that no installation has. A claim that is reported did determine the decision; any other claim
may still do so for another value. Counterfactuals are the smallest changes that reverse the decision: single
ones, or if there are none, pairs.

The JSON has `outcome`, `decision` (its id), `claims` (paths of the contract, wit/policy.wit), `counterfactuals`
(a list of lists of `claim`, `from` and `to`), `bindings` (each with `binding`, `outcome`: permit, restrict,
deny, abstain or fault, `claims` and `counterfactuals`, which also have the `outcome` that they lead to),
`evaluations`, `evaluations_planned` and `stopped_by`. A permit of a binding with `may-permit = false` is a restrict.

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
    claims: Vec<&'static str>,
    counterfactuals: Vec<Vec<PrintedChange<'e>>>,
    bindings: Vec<PrintedBinding<'e>>,
    evaluations: usize,
    evaluations_planned: usize,
    stopped_by: Option<&'static str>,
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
    claims: Vec<&'static str>,
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
        let engine = self.request.engine(&bundle, Optimization::Speed)?;
        let policies = self.total_prepare_time.prepare(&bundle, manifest, &engine)?;
        let explained = progress::with_progress("changing claims", "evaluations", |progress| {
            let mut budget = self.total_fuel.budget(progress);
            explain(&policies, &input, &literals, &mut budget)
        })?;
        match self.format {
            Format::Human => output::print(&text(&explained))?,
            Format::Json => output::print_json(&printed(&explained))?,
        }
        Ok(if explained.evaluations.is_complete() { Exit::Success } else { Exit::Failed })
    }
}

fn outcome(explained: &Explanation) -> &'static str {
    match explained.decision.outcome() {
        countersign::Outcome::Approved(_) => "approved",
        countersign::Outcome::Refused(_) => "refused",
    }
}

fn printed(explained: &Explanation) -> Printed<'_> {
    let paths = |claims: &[Claim]| claims.iter().map(|claim| claim.path()).collect();
    Printed {
        outcome: outcome(explained),
        decision: explained.decision.id().to_string(),
        claims: paths(&explained.claims),
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
                claims: paths(&of.claims),
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

fn text(explained: &Explanation) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, explained);
    text
}

fn write(text: &mut String, explained: &Explanation) -> std::fmt::Result {
    let word = outcome(explained);
    let style = if word == "approved" { SUCCESS } else { FAILURE };
    writeln!(text, "{}, determined by", Styled(style, word))?;
    for claim in &explained.claims {
        writeln!(text, "  {} {}", Styled(STRONG, claim.title()), Styled(DIM, claim.path()))?;
    }
    if explained.claims.is_empty() {
        writeln!(text, "  no claim: no change that was tried reverses the decision")?;
    }
    let other = if word == "approved" { "refuse" } else { "approve" };
    match explained.counterfactuals.first().map(Vec::len) {
        None => writeln!(text, "\nno one or two changes that were tried would {other} it")?,
        Some(1) => writeln!(text, "\neach of these alone would {other} it")?,
        Some(_) => writeln!(text, "\neach of these pairs would {other} it")?,
    }
    for changes in &explained.counterfactuals {
        let changes: Vec<_> = changes.iter().map(shown).collect();
        writeln!(text, "  {}", changes.join(", and "))?;
    }
    writeln!(text)?;
    for of in &explained.bindings {
        let claims: Vec<_> = of.claims.iter().map(|claim| claim.title()).collect();
        let claims = if claims.is_empty() {
            "no claim that was tried".to_owned()
        } else {
            claims.join(", ")
        };
        writeln!(
            text,
            "{} {}, determined by {claims}",
            Styled(STRONG, &of.binding),
            word_of(of.outcome)
        )?;
        for (change, outcome) in &of.counterfactuals {
            writeln!(text, "  {} if {}", word_of(*outcome), shown(change))?;
        }
    }
    let (count, decision) = (explained.evaluations, Styled(DIM, explained.decision.id()));
    if count.is_complete() {
        return writeln!(text, "\n{} {decision}", Styled(DIM, count));
    }
    writeln!(text, "\n{} {decision}", Styled(FAILURE, count))?;
    let remedy = bounds::remedy(&count).unwrap_or_default();
    writeln!(text, "claims and changes may be missing above; {remedy}")
}

fn shown(change: &Change) -> String {
    let (from, to) = (visible(&change.from), visible(&change.to));
    format!("{} were {to} instead of {from}", change.claim.title())
}

fn word_of(outcome: countersign_authoring::Outcome) -> &'static str {
    use countersign_authoring::Outcome;
    match outcome {
        Outcome::Permit => "permits",
        Outcome::Restrict => "restricts",
        Outcome::Deny => "denies",
        Outcome::Abstain => "abstains",
        Outcome::Fault => "faults",
        Outcome::Approved => "approves",
        Outcome::Refused => "refuses",
    }
}
