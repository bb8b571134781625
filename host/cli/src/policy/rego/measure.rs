//! Measurements of a policy in Rego, which its engine makes: the lines that cases reach, and the fuel of each rule.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use countersign::{Settings, Verdict};
use countersign_authoring::{
    CaseRunner, CodeLine, Coverage, CoverageError, EvaluationBudget, EvaluationCount, Observed,
};
use serde::Serialize;
use serde_json::json;
use serde_json::value::to_raw_value;

use crate::policy::ask::{ask, with};

/// The code of the reasons that have what was measured.
const CODE: &str = "measured";

/// A rule that costs nothing: what is left is the making of the input and of the answer.
const NOTHING: &str = "data.__countersign.ready";

/// A rule and the most fuel that a case takes for it, with the rules that it reads.
#[derive(Serialize)]
pub(in crate::policy) struct RuleFuel {
    /// The path, such as `data.countersign.deny`.
    pub rule: String,
    pub fuel: u64,
}

/// Finds the lines that the cases reach. A case that ends in a fault reaches none.
pub(in crate::policy) fn coverage(
    runner: &CaseRunner<'_>,
    cases: usize,
    budget: &mut EvaluationBudget<'_>,
) -> Result<Coverage> {
    let change = |settings: &Settings| measured(settings, &json!({"coverage": true}));
    let observed = runner.observe(&change, budget)?;
    complete(observed.len(), cases, budget)?;
    let mut lines = BTreeMap::new();
    for Observed { case, result, .. } in observed {
        let Ok(Verdict::Deny(reasons)) = result else { continue };
        let parts = reasons.iter().filter(|reason| reason.code == CODE);
        // The host doubles what escapes.
        let text: String = parts.map(|reason| reason.message.replace("\\\\", "\\")).collect();
        let files: BTreeMap<String, [Vec<u32>; 2]> = serde_json::from_str(&text)
            .with_context(|| format!("case `{case}`: the engine does not say its lines"))?;
        for (file, [covered, missed]) in files {
            let all = covered.into_iter().map(|line| (line, true));
            for (line, is_covered) in all.chain(missed.into_iter().map(|line| (line, false))) {
                *lines.entry(CodeLine { file: file.clone(), line }).or_default() |= is_covered;
            }
        }
    }
    Ok(Coverage::new(lines))
}

/// Measures each rule by itself, the most expensive first.
pub(in crate::policy) fn rules(
    runner: &CaseRunner<'_>,
    settings: &Settings,
    cases: usize,
    budget: &mut EvaluationBudget<'_>,
) -> Result<Vec<RuleFuel>> {
    let limits = runner.limits();
    let rules = ask(runner.policy(), settings, *limits, "rules")?;
    let mut of = |rule: &str| -> Result<Vec<Option<u64>>> {
        let change = |settings: &Settings| measured(settings, &json!({ "rule": rule }));
        let observed = runner.observe(&change, budget)?;
        complete(observed.len(), cases, budget)?;
        Ok(observed.into_iter().map(|observed| observed.used.fuel).collect())
    };
    let nothing = of(NOTHING)?;
    let mut measured = Vec::new();
    for (_, rule) in rules {
        // A fault leaves no fuel to read, and says nothing of the rule.
        let fuel = of(&rule)?.into_iter().zip(&nothing).filter_map(|(fuel, nothing)| {
            fuel.zip(*nothing).map(|(fuel, nothing)| fuel.saturating_sub(nothing))
        });
        measured.push(RuleFuel { fuel: fuel.max().unwrap_or_default(), rule });
    }
    measured.sort_by(|one, other| other.fuel.cmp(&one.fuel).then(one.rule.cmp(&other.rule)));
    Ok(measured)
}

/// The text of a line of a file of the policy.
pub(in crate::policy) fn line(folder: &Path, line: &CodeLine) -> String {
    let text = std::fs::read_to_string(folder.join(&line.file)).unwrap_or_default();
    let at = usize::try_from(line.line).unwrap_or_default();
    text.lines().nth(at.saturating_sub(1)).unwrap_or_default().trim().to_owned()
}

/// Settings that the engine measures by.
fn measured(settings: &Settings, measure: &serde_json::Value) -> Result<Settings, String> {
    let value = to_raw_value(measure).map_err(|error| error.to_string())?;
    with(settings, "measure", value).map_err(|error| error.to_string())
}

fn complete(observed: usize, cases: usize, budget: &EvaluationBudget<'_>) -> Result<()> {
    if observed == cases {
        return Ok(());
    }
    let count: EvaluationCount = budget.counted(cases.saturating_sub(observed));
    bail!(CoverageError::Stopped(count))
}
