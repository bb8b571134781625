//! Explanations for people: one line a claim.

use std::fmt::{Result, Write as _};

use countersign::visible;
use countersign_authoring::{
    BindingExplanation, Change, Claim, DeterminedBy, Explanation, Outcome,
};

use super::outcome;
use crate::bounds;
use crate::output::{DIM, FAILURE, STRONG, SUCCESS, Styled};

/// Values that are shown of one claim.
const MAX_VALUES: usize = 5;

/// Writes an explanation.
pub(super) fn of(explained: &Explanation) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write(&mut text, explained);
    text
}

fn write(text: &mut String, explained: &Explanation) -> Result {
    let word = outcome(explained);
    let (style, other) = match word {
        "approved" => (SUCCESS, "refused"),
        _ => (FAILURE, "approved"),
    };
    writeln!(text, "{}, determined by", Styled(style, word))?;
    let DeterminedBy { outcome: determined, grant, reasons } = &explained.claims;
    let singles = explained.counterfactuals.iter().filter_map(|changes| match changes.as_slice() {
        [one] => Some(one),
        _ => None,
    });
    let singles: Vec<_> = singles.collect();
    for claim in determined {
        let path = Styled(DIM, claim.path());
        let changes = values(singles.iter().copied().filter(|change| change.claim == *claim));
        writeln!(text, "  {} {path}: {other} with {changes}", Styled(STRONG, claim.title()))?;
    }
    if determined.is_empty() {
        writeln!(text, "  no claim alone: no change of one that was tried is {other}")?;
    }
    for (what, claims) in [
        ("its grant alone is determined by", grant),
        ("its reasons, and not the outcome, also depend on", reasons),
    ] {
        if !claims.is_empty() {
            writeln!(text, "{what} {}", titles(claims))?;
        }
    }
    if determined.is_empty() {
        pairs(text, &explained.counterfactuals, other)?;
    }
    writeln!(text)?;
    explained.bindings.iter().try_for_each(|of| of_binding(text, of))?;
    let (count, decision) = (explained.evaluations, Styled(DIM, explained.decision.id()));
    if count.is_complete() {
        return writeln!(text, "\n{} {decision}", Styled(DIM, count));
    }
    writeln!(text, "\n{} {decision}", Styled(FAILURE, count))?;
    let remedy = bounds::remedy(&count).unwrap_or_default();
    writeln!(text, "claims and changes may be missing above; {remedy}")
}

/// Writes pairs of changes, those that share the first one on one line.
fn pairs(text: &mut String, counterfactuals: &[Vec<Change>], other: &str) -> Result {
    let pairs = counterfactuals.iter().filter_map(|changes| match changes.as_slice() {
        [first, second] => Some((first, second)),
        _ => None,
    });
    let mut groups: Vec<(&Change, Claim, Vec<&Change>)> = Vec::new();
    for (first, second) in pairs {
        match groups.iter_mut().find(|(one, claim, _)| *one == first && *claim == second.claim) {
            Some((_, _, seconds)) => seconds.push(second),
            None => groups.push((first, second.claim, vec![second])),
        }
    }
    match groups.is_empty() {
        true => writeln!(text, "no two changes that were tried are {other} together"),
        false => writeln!(text, "{other} with two changes together:"),
    }?;
    for (first, second, seconds) in groups {
        let (one, two) = (values([first].into_iter()), values(seconds.into_iter()));
        writeln!(text, "  {} {one}, and {} {two}", first.claim.title(), second.title())?;
    }
    Ok(())
}

fn of_binding(text: &mut String, of: &BindingExplanation) -> Result {
    write!(text, "{} {}, determined by", Styled(STRONG, &of.binding), word_of(of.outcome))?;
    if of.claims.is_empty() {
        return writeln!(text, " no claim that was tried");
    }
    writeln!(text)?;
    for claim in &of.claims.outcome {
        let mut outcomes: Vec<_> = of
            .counterfactuals
            .iter()
            .filter(|(change, _)| change.claim == *claim)
            .map(|(_, outcome)| *outcome)
            .collect();
        outcomes.sort_unstable();
        outcomes.dedup();
        let lead_to = outcomes.iter().map(|outcome| {
            let changes = of.counterfactuals.iter();
            let changes = changes.filter(|(change, to)| change.claim == *claim && to == outcome);
            format!("{} with {}", word_of(*outcome), values(changes.map(|(change, _)| change)))
        });
        let lead_to: Vec<_> = lead_to.collect();
        writeln!(text, "  {}: {}", claim.title(), lead_to.join("; "))?;
    }
    for (what, claims) in [("grant", &of.claims.grant), ("reasons", &of.claims.reasons)] {
        if !claims.is_empty() {
            writeln!(text, "  its {what} alone: {}", titles(claims))?;
        }
    }
    Ok(())
}

/// The values of changes of one claim: `a, b or 3 more instead of c`.
fn values<'c>(changes: impl Iterator<Item = &'c Change>) -> String {
    let changes: Vec<_> = changes.collect();
    let mut shown: Vec<_> =
        changes.iter().take(MAX_VALUES).map(|change| visible(&change.to)).collect();
    if changes.len() > MAX_VALUES {
        shown.push(format!("{} more", changes.len() - MAX_VALUES));
    }
    let from = changes.first().map(|change| visible(&change.from)).unwrap_or_default();
    let last = shown.pop().unwrap_or_else(|| "another value".to_owned());
    match shown.as_slice() {
        [] => format!("{last} instead of {from}"),
        others => format!("{} or {last} instead of {from}", others.join(", ")),
    }
}

fn titles(claims: &[Claim]) -> String {
    claims.iter().map(|claim| claim.title()).collect::<Vec<_>>().join(", ")
}

fn word_of(outcome: Outcome) -> &'static str {
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
