//! `countersign explain`

use std::fmt::Write as _;

use anyhow::Result;
use clap::Args;
use countersign::{Optimization, visible};
use countersign_authoring::{Change, Claim, Explanation, Hints, explain};
use serde::Serialize;

use crate::output::{self, FAILURE, DIM, Exit, Format, SUCCESS, STRONG, Styled};
use crate::progress;
use crate::request::RequestArguments;

/// Decide on a run, and say what the decision turned on: which claims, and what would flip it
#[derive(Args)]
#[command(after_help = "\
Examples:
  countersign explain --policies countersign.toml --run run.json \\
      --audience aws-workload-identity-provider:demo --ttl 900
  countersign explain -p countersign.toml -r run.json -a api://AzureADTokenExchange --ttl 900 \\
      --format json | jq '.flips'

It decides again with each claim changed: to what is near, to what the settings of the bindings name,
and to what nothing knows. So what it finds is true, and a value that is none of these it does not
find. The smallest changes that flip the decision are single ones; where there is none, two together.

The JSON has `outcome`, `decision` (its id), `claims` (paths of the contract, wit/policy.wit), `flips`
(a list of lists of `claim`, `from` and `to`), `bindings` (each with `binding`, `outcome`, `claims`
and `flips`, which also have the `outcome` that they lead to) and `evaluations`.

Exit status: 0 explained, 1 anything else.")]
pub struct Explain {
    #[command(flatten)]
    request: RequestArguments,

    /// The form of the output
    #[arg(long, value_enum, default_value_t = Format::Human)]
    format: Format,
}

#[derive(Serialize)]
struct Printed<'e> {
    outcome: &'static str,
    decision: String,
    claims: Vec<&'static str>,
    flips: Vec<Vec<PrintedChange<'e>>>,
    bindings: Vec<PrintedBinding<'e>>,
    evaluations: usize,
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
    flips: Vec<PrintedChange<'e>>,
}

impl Explain {
    pub fn run(&self) -> Result<Exit> {
        let (bundle, _) = self.request.load()?;
        let asked = self.request.asked(&bundle)?;
        let mut hints = Hints::default();
        for entry in &bundle.manifest.bindings {
            hints.add(bundle.settings_of(entry)?);
        }
        let policies = self.request.prepare(&bundle, Optimization::Speed)?;
        let explained = progress::with_spinner("changing claims", || explain(&policies, &asked, &hints))?;
        match self.format {
            Format::Human => output::print(&text(&explained))?,
            Format::Json => output::print_json(&printed(&explained))?,
        }
        Ok(Exit::Success)
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
        flips: explained
            .flips
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
                flips: of
                    .flips
                    .iter()
                    .map(|(change, outcome)| of_change(change, Some(outcome.as_str())))
                    .collect(),
            })
            .collect(),
        evaluations: explained.evaluations,
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
    writeln!(text, "{}, and it turned on", Styled(style, word))?;
    for claim in &explained.claims {
        writeln!(text, "  {} {}", Styled(STRONG, claim.title()), Styled(DIM, claim.path()))?;
    }
    if explained.claims.is_empty() {
        writeln!(text, "  nothing: no change that was tried makes another decision")?;
    }
    let other = if word == "approved" { "refuse" } else { "approve" };
    match explained.flips.first().map(Vec::len) {
        None => writeln!(text, "\nno one or two changes that were tried would {other} it")?,
        Some(1) => writeln!(text, "\neach of these alone would {other} it")?,
        Some(_) => writeln!(text, "\neach of these pairs would {other} it")?,
    }
    for changes in &explained.flips {
        let changes: Vec<_> = changes.iter().map(shown).collect();
        writeln!(text, "  {}", changes.join(", and "))?;
    }
    writeln!(text)?;
    for of in &explained.bindings {
        let claims: Vec<_> = of.claims.iter().map(|claim| claim.title()).collect();
        let claims =
            if claims.is_empty() { "nothing that was tried".to_owned() } else { claims.join(", ") };
        writeln!(
            text,
            "{} {}: it turned on {claims}",
            Styled(STRONG, &of.binding),
            word_of(of.outcome)
        )?;
        for (change, outcome) in &of.flips {
            writeln!(text, "  {} if {}", word_of(*outcome), shown(change))?;
        }
    }
    let tried = format!("{} evaluations", explained.evaluations);
    writeln!(text, "\n{} {}", Styled(DIM, tried), Styled(DIM, explained.decision.id()))
}

fn shown(change: &Change) -> String {
    let (from, to) = (visible(&change.from), visible(&change.to));
    format!("{} were {to} instead of {from}", change.claim.title())
}

fn word_of(outcome: countersign_authoring::Outcome) -> &'static str {
    use countersign_authoring::Outcome;
    match outcome {
        Outcome::Permit => "permits",
        Outcome::Deny => "denies",
        Outcome::Abstain => "abstains",
        Outcome::Fault => "faults",
        Outcome::Approved => "approves",
        Outcome::Refused => "refuses",
    }
}
