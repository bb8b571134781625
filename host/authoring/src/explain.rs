//! Explains which claims determined a decision, by deciding again with each claim changed.

use std::collections::BTreeMap;

use countersign::{BindingName, Decision, Outcome as OfDecision, PolicySet, SubjectError, Verdict};

use crate::budget::{EvaluationBudget, EvaluationCount};
use crate::claim_mutation::{Claim, ClaimMutation, ValueOrigin, claim_mutations};
use crate::decision_input::DecisionInput;
use crate::settings_literals::SettingsLiterals;

/// Changes that are tried two at a time, so that pairs stay in the ten thousands.
const MAX_IN_PAIRS: usize = 160;

/// Counterfactuals that are returned: of a decision or of a binding.
const MAX_COUNTERFACTUALS: usize = 64;

/// Pairs that are returned: each is tried, until there are enough.
const MAX_PAIRS: usize = 16;

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

/// Claims by what a change of one of them alone does. Each is in one list only, in the order of [`Claim::ALL`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeterminedBy {
    /// The claims that determined the outcome: with another value it is another one.
    pub outcome: Vec<Claim>,
    /// The claims that determined the grant alone: with another value the outcome is the same, with other terms.
    pub grant: Vec<Claim>,
    /// The claims that only add or drop a reason of a refusal, or make another fault of one.
    pub reasons: Vec<Claim>,
}

/// The claims that determined a decision.
#[derive(Debug)]
pub struct Explanation {
    /// The decision that is explained.
    pub decision: Decision,
    /// The claims that determined it.
    pub claims: DeterminedBy,
    /// The smallest changes that make the other outcome: each alone, or where none does, two together. At most 64, and 16
    /// pairs. Of a claim, values of settings and of the run come first, and others only where none of those is found.
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
    /// The claims that determined the verdict. One that takes the run out of the binding's scope is not among them.
    pub claims: DeterminedBy,
    /// Changes of one claim that make another kind of verdict, each with that kind, as those of a decision.
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
    let flips = tried.iter().filter(|(_, compared)| compared.outcome != base.outcome);
    let flips = telling(flips.map(|(mutation, compared)| (mutation, compared.outcome)).collect());
    let singles = flips.into_iter().map(|(mutation, _)| vec![change(mutation)]);
    let mut counterfactuals: Vec<Vec<Change>> = singles.collect();
    // A single change that was left out may be the smallest one.
    if counterfactuals.is_empty() && left == 0 {
        (counterfactuals, left) = pairs(policies, &base, &tried, literals, budget)?;
    }
    let differences = tried
        .iter()
        .filter_map(|(mutation, compared)| Some((mutation.claim, difference(&base, compared)?)));
    let claims = DeterminedBy::of(differences);
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

/// The part of a decision or a verdict that a change changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    Outcome,
    Grant,
    Reasons,
}

impl DeterminedBy {
    /// Sorts claims by the most that a change of each does.
    fn of(differences: impl Iterator<Item = (Claim, Difference)>) -> Self {
        let mut most: BTreeMap<Claim, Difference> = BTreeMap::new();
        for (claim, difference) in differences {
            let known = most.entry(claim).or_insert(difference);
            *known = difference.min(*known);
        }
        let of = |wanted| {
            let claims = most.iter().filter(|(_, difference)| **difference == wanted);
            claims.map(|(claim, _)| *claim).collect()
        };
        Self {
            outcome: of(Difference::Outcome),
            grant: of(Difference::Grant),
            reasons: of(Difference::Reasons),
        }
    }

    /// Tells whether no claim is known.
    pub fn is_empty(&self) -> bool {
        self.outcome.is_empty() && self.grant.is_empty() && self.reasons.is_empty()
    }
}

fn difference(base: &Compared, other: &Compared) -> Option<Difference> {
    if other.outcome != base.outcome {
        Some(Difference::Outcome)
    } else if other.terms == base.terms {
        None
    } else if base.outcome == Outcome::Approved {
        Some(Difference::Grant)
    } else {
        Some(Difference::Reasons)
    }
}

/// Keeps of each claim and outcome the values that tell most: of settings, then others that are known. Values that no
/// installation has are kept where nothing else is found. Of too many, each claim keeps its first ones.
fn telling(mut found: Vec<(&ClaimMutation, Outcome)>) -> Vec<(&ClaimMutation, Outcome)> {
    let known: Vec<_> = found
        .iter()
        .filter(|(mutation, _)| mutation.origin != ValueOrigin::Invented)
        .map(|(mutation, outcome)| (mutation.claim, *outcome))
        .collect();
    found.retain(|(mutation, outcome)| {
        mutation.origin != ValueOrigin::Invented || !known.contains(&(mutation.claim, *outcome))
    });
    // Stable: within one origin in the order of trying.
    found.sort_by_key(|(mutation, _)| (mutation.claim, mutation.origin));
    let mut ranks: BTreeMap<(Claim, Outcome), usize> = BTreeMap::new();
    let mut ranked: Vec<_> = found
        .into_iter()
        .enumerate()
        .map(|(place, (mutation, outcome))| {
            let rank = ranks.entry((mutation.claim, outcome)).or_default();
            *rank += 1;
            (*rank, place, mutation, outcome)
        })
        .collect();
    ranked.sort_by_key(|(rank, place, ..)| (*rank, *place));
    ranked.truncate(MAX_COUNTERFACTUALS);
    ranked.sort_by_key(|(_, place, ..)| *place);
    ranked.into_iter().map(|(_, _, mutation, outcome)| (mutation, outcome)).collect()
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
                if counterfactuals.len() == MAX_PAIRS {
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
    let differences = others.clone().map(|(mutation, outcome)| {
        let difference = match outcome {
            other if other != verdict.outcome => Difference::Outcome,
            Outcome::Permit | Outcome::Restrict => Difference::Grant,
            _ => Difference::Reasons,
        };
        (mutation.claim, difference)
    });
    let claims = DeterminedBy::of(differences);
    let counterfactuals = others.filter(|(_, outcome)| *outcome != verdict.outcome);
    let counterfactuals = telling(counterfactuals.collect())
        .into_iter()
        .map(|(mutation, outcome)| (change(mutation), outcome))
        .collect();
    BindingExplanation { binding: name.clone(), outcome: verdict.outcome, claims, counterfactuals }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::collections::BTreeSet;

    use countersign::{
        Audience, Facts, MeshstackId, Run, SubjectFormat, SubjectTemplate, TokenRequest,
    };

    use super::*;

    /// A list of workspaces does not take the place of what else determined the outcome.
    #[test]
    fn each_claim_that_tells_something_is_kept() {
        let run = Run::parse(include_bytes!("../../../examples/run.json")).unwrap();
        let meshstack_id = MeshstackId::parse("demo").unwrap();
        let subject = SubjectTemplate { profile: SubjectFormat::ByDefinition, meshstack_id };
        let audience = Audience::parse("api://AzureADTokenExchange").unwrap();
        let token = TokenRequest::new(vec![audience], 7200, 1_790_000_000).unwrap();
        let input = DecisionInput { run, runner: None, facts: Facts::default(), subject, token };
        let workspaces: Vec<_> = (0..64).map(|number| format!("\"team-{number}\"")).collect();
        let mut literals = SettingsLiterals::default();
        literals.add(&format!("[{}]", workspaces.join(",")));
        let mutations = claim_mutations(&input, &literals);
        assert!(mutations.len() > MAX_COUNTERFACTUALS);
        let found: Vec<_> =
            mutations.iter().map(|mutation| (mutation, Outcome::Approved)).collect();
        let kept = telling(found);
        assert_eq!(kept.len(), MAX_COUNTERFACTUALS);
        let claims = |all: &mut dyn Iterator<Item = Claim>| all.collect::<BTreeSet<_>>();
        let of_kept = claims(&mut kept.iter().map(|(mutation, _)| mutation.claim));
        assert_eq!(of_kept, claims(&mut mutations.iter().map(|mutation| mutation.claim)));
    }
}
