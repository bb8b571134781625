//! Explains which claims determined a decision, by deciding again with each claim changed.

use std::collections::BTreeMap;

use countersign::{BindingName, Decision, Outcome as OfDecision, PolicySet, SubjectError, Verdict};

use crate::budget::{EvaluationBudget, EvaluationCount};
use crate::claim_mutation::{Claim, ClaimMutation, claim_mutations};
use crate::decision_input::DecisionInput;
use crate::settings_literals::SettingsLiterals;

/// Changes that are tried two at a time, so that pairs stay in the ten thousands.
const MAX_IN_PAIRS: usize = 160;

/// Counterfactuals that are returned.
const MAX_COUNTERFACTUALS: usize = 16;

/// The kind of a verdict or a decision, without its reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A binding permits.
    Permit,
    /// A binding restricts: its policy does, or permits while the binding may not permit.
    Restrict,
    /// A binding denies.
    Deny,
    /// A binding has nothing to say.
    Abstain,
    /// A binding gave no valid verdict.
    Fault,
    /// The set approves.
    Approved,
    /// The set refuses.
    Refused,
}

impl Outcome {
    /// Returns the word for JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Restrict => "restrict",
            Self::Deny => "deny",
            Self::Abstain => "abstain",
            Self::Fault => "fault",
            Self::Approved => "approved",
            Self::Refused => "refused",
        }
    }

    fn of(decision: &Decision) -> Self {
        match decision.outcome() {
            OfDecision::Approved(_) => Self::Approved,
            OfDecision::Refused(_) => Self::Refused,
        }
    }
}

/// One claim with another value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The claim.
    pub claim: Claim,
    /// The value that the decision was made on.
    pub from: String,
    /// The value in its place.
    pub to: String,
}

/// The claims that determined a decision.
#[derive(Debug)]
pub struct Explanation {
    /// The decision that is explained.
    pub decision: Decision,
    /// The claims that determined the outcome or the terms, in the order of [`Claim::ALL`].
    pub claims: Vec<Claim>,
    /// The smallest changes that make the other outcome: each alone, or where none does, two together. At most 16.
    pub counterfactuals: Vec<Vec<Change>>,
    /// The explanation of each binding that applied, in the order of names.
    pub bindings: Vec<BindingExplanation>,
    /// The decisions made.
    pub evaluations: EvaluationCount,
}

/// The claims that determined the verdict of one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindingExplanation {
    /// The binding.
    pub binding: BindingName,
    /// The kind of its verdict.
    pub outcome: Outcome,
    /// The claims that determined the verdict, its reasons and grant included. One that takes the run out of the
    /// binding's scope is not among them.
    pub claims: Vec<Claim>,
    /// Changes of one claim that make another kind of verdict, each with that kind. At most 16.
    pub counterfactuals: Vec<(Change, Outcome)>,
}

/// Decides, and decides again with each claim changed, as far as the budget goes: what it finds then was found, and more
/// may be there.
///
/// Values are those near the input, the `literals` of settings, and ones that no installation has. So a claim that is
/// found did determine the decision; one that is not found may still do so for another value.
///
/// # Errors
/// When the subject is the runner's, and there is none.
pub fn explain(
    policies: &PolicySet,
    input: &DecisionInput,
    literals: &SettingsLiterals,
    budget: &mut EvaluationBudget<'_>,
) -> Result<Explanation, SubjectError> {
    let decision = decide(policies, input, budget)?;
    let base = Compared::of(&decision);
    let mut tried = Vec::new();
    let mut left = 0;
    for mutation in claim_mutations(input, literals) {
        if budget.stopped_by().is_some() {
            left += 1;
            continue;
        }
        let compared = Compared::of(&decide(policies, &mutation.input, budget)?);
        tried.push((mutation, compared));
    }
    let mut counterfactuals: Vec<Vec<Change>> = tried
        .iter()
        .filter(|(_, compared)| compared.outcome != base.outcome)
        .map(|(mutation, _)| vec![change(mutation)])
        .collect();
    // A single change that was left out may be the smallest one.
    if counterfactuals.is_empty() && left == 0 {
        (counterfactuals, left) = pairs(policies, &base, &tried, literals, budget)?;
    }
    counterfactuals.truncate(MAX_COUNTERFACTUALS);
    let mut claims: Vec<_> = tried
        .iter()
        .filter(|(_, compared)| compared.outcome != base.outcome || compared.terms != base.terms)
        .map(|(mutation, _)| mutation.claim)
        .chain(counterfactuals.iter().flatten().map(|change| change.claim))
        .collect();
    claims.sort_unstable();
    claims.dedup();
    let bindings = base.verdicts.iter().map(|(name, verdict)| of_binding(name, verdict, &tried));
    let bindings = bindings.collect();
    let evaluations = budget.counted(left);
    Ok(Explanation { claims, counterfactuals, bindings, evaluations, decision })
}

fn decide(
    policies: &PolicySet,
    input: &DecisionInput,
    budget: &mut EvaluationBudget<'_>,
) -> Result<Decision, SubjectError> {
    let decision = policies.evaluate(input.claims()?);
    budget.count(policies, &decision);
    Ok(decision)
}

/// The parts of a decision that are compared.
struct Compared {
    outcome: Outcome,
    /// The terms or the codes of the reasons, as text.
    terms: String,
    verdicts: BTreeMap<BindingName, ComparedVerdict>,
}

#[derive(PartialEq, Eq)]
struct ComparedVerdict {
    outcome: Outcome,
    /// Grant, codes of reasons or code of a fault.
    all: String,
}

impl Compared {
    fn of(decision: &Decision) -> Self {
        let verdicts = decision.trace().iter().map(|entry| {
            let outcome = match &entry.result {
                Ok(Verdict::Permit(_)) if entry.permits() => Outcome::Permit,
                Ok(Verdict::Permit(_) | Verdict::Restrict(_)) => Outcome::Restrict,
                Ok(Verdict::Deny(_)) => Outcome::Deny,
                Ok(Verdict::Abstain) => Outcome::Abstain,
                Err(_) => Outcome::Fault,
            };
            let all = match &entry.result {
                Ok(Verdict::Permit(grant) | Verdict::Restrict(grant)) => format!("{grant:?}"),
                // Messages repeat claims, so every change of one would count.
                Ok(Verdict::Deny(reasons)) => {
                    reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(" ")
                }
                Ok(Verdict::Abstain) => String::new(),
                Err(fault) => fault.code().to_owned(),
            };
            (entry.binding.name.clone(), ComparedVerdict { outcome, all })
        });
        let terms = match decision.outcome() {
            OfDecision::Approved(terms) => {
                // The request is in the terms by itself, so only what is narrowed counts.
                let requested = decision.claims().token();
                let narrowed = terms.audiences.len() != requested.audiences().len();
                let ttl =
                    (terms.ttl_seconds != requested.ttl_seconds()).then_some(terms.ttl_seconds);
                format!("{narrowed} {ttl:?} {:?}", terms.claims)
            }
            OfDecision::Refused(reasons) => {
                reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(" ")
            }
        };
        Self { outcome: Outcome::of(decision), terms, verdicts: verdicts.collect() }
    }
}

fn change(mutation: &ClaimMutation) -> Change {
    let ClaimMutation { claim, from, to, .. } = mutation;
    Change { claim: *claim, from: from.clone(), to: to.clone() }
}

/// Finds two changes that together make the other outcome, and counts the pairs that are left when the budget ends. One
/// of the two changes a verdict alone: other pairs are not tried.
fn pairs(
    policies: &PolicySet,
    base: &Compared,
    tried: &[(ClaimMutation, Compared)],
    literals: &SettingsLiterals,
    budget: &mut EvaluationBudget<'_>,
) -> Result<(Vec<Vec<Change>>, usize), SubjectError> {
    let mut counterfactuals = Vec::new();
    let mut left = 0;
    let matters = tried.iter().filter(|(_, compared)| compared.verdicts != base.verdicts);
    let firsts: Vec<_> = matters.map(|(mutation, _)| mutation).take(MAX_IN_PAIRS).collect();
    for (at, first) in firsts.iter().enumerate() {
        // The same two in the other order are the same pair.
        let was_first = |second: &ClaimMutation| {
            let before = firsts.iter().take(at);
            before.into_iter().any(|one| one.claim == second.claim && one.to == second.to)
        };
        for second in claim_mutations(&first.input, literals) {
            if second.claim == first.claim || was_first(&second) {
                continue;
            }
            if budget.stopped_by().is_some() {
                left += 1;
                continue;
            }
            let decision = decide(policies, &second.input, budget)?;
            if Outcome::of(&decision) != base.outcome {
                counterfactuals.push(vec![change(first), change(&second)]);
                if counterfactuals.len() == MAX_COUNTERFACTUALS {
                    return Ok((counterfactuals, left));
                }
            }
        }
    }
    Ok((counterfactuals, left))
}

fn of_binding(
    name: &BindingName,
    verdict: &ComparedVerdict,
    tried: &[(ClaimMutation, Compared)],
) -> BindingExplanation {
    let others = tried.iter().filter_map(|(mutation, compared)| {
        let other = compared.verdicts.get(name).filter(|other| *other != verdict)?;
        Some((mutation, other.outcome))
    });
    let mut claims: Vec<_> = others.clone().map(|(mutation, _)| mutation.claim).collect();
    claims.sort_unstable();
    claims.dedup();
    let counterfactuals = others
        .filter(|(_, outcome)| *outcome != verdict.outcome)
        .map(|(mutation, outcome)| (change(mutation), outcome))
        .take(MAX_COUNTERFACTUALS)
        .collect();
    BindingExplanation { binding: name.clone(), outcome: verdict.outcome, claims, counterfactuals }
}
