//! What a decision turned on, by deciding again with each claim changed.

use std::collections::BTreeMap;

use countersign::{BindingName, Decision, Outcome as OfDecision, PolicySet, SubjectError, Verdict};

use crate::claim_mutation::{Claim, Variation, variations};
use crate::decision_input::Asked;
use crate::settings_literals::Hints;

/// The most changes that are tried two at a time.
const MOST_IN_PAIRS: usize = 160;

/// The most changes that are given.
const MOST_CHANGES: usize = 16;

/// How a verdict or a decision ends, without its reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// A binding permits.
    Permit,
    /// A binding denies.
    Deny,
    /// A binding has nothing to say.
    Abstain,
    /// A binding gave no valid answer.
    Fault,
    /// The set approves.
    Approved,
    /// The set refuses.
    Refused,
}

impl Outcome {
    /// The word that the JSON has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
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

/// One claim, and what it would have to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// The claim.
    pub claim: Claim,
    /// What it is.
    pub from: String,
    /// What it would be.
    pub to: String,
}

/// What a decision turned on.
#[derive(Debug)]
pub struct Explanation {
    /// The decision that is explained.
    pub decision: Decision,
    /// The claims that the outcome or the terms turn on, in the order of [`Claim::ALL`].
    pub claims: Vec<Claim>,
    /// The smallest changes that flip the outcome: each alone, or where none does, two together. At most 16.
    pub flips: Vec<Vec<Change>>,
    /// The same for each binding that applied, in the order of names.
    pub bindings: Vec<OfBinding>,
    /// How often it was decided.
    pub evaluations: usize,
}

/// What the verdict of one binding turned on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfBinding {
    /// The binding.
    pub binding: BindingName,
    /// Its verdict.
    pub outcome: Outcome,
    /// The claims that the verdict turns on, its reasons and grant included. One that takes the run out of the binding's
    /// scope is not among them.
    pub claims: Vec<Claim>,
    /// Changes of one claim that flip it, and to what. At most 16.
    pub flips: Vec<(Change, Outcome)>,
}

/// Decides, and decides again with each claim changed.
///
/// Values are those near to what was asked, those that `hints` has, and ones that nothing knows. So what is found is
/// true, and what is not found may be there for another value.
///
/// # Errors
/// When the subject is the runner's, and there is none.
pub fn explain(
    policies: &PolicySet,
    asked: &Asked,
    hints: &Hints,
) -> Result<Explanation, SubjectError> {
    let decision = policies.evaluate(asked.claims()?);
    let base = Answer::of(&decision);
    let mut evaluations = 1;
    let mut tried = Vec::new();
    for variation in variations(asked, hints) {
        let answer = Answer::of(&policies.evaluate(variation.asked.claims()?));
        evaluations += 1;
        tried.push((variation, answer));
    }
    let mut flips: Vec<Vec<Change>> = tried
        .iter()
        .filter(|(_, answer)| answer.outcome != base.outcome)
        .map(|(variation, _)| vec![change(variation)])
        .collect();
    if flips.is_empty() {
        let of_pairs;
        (flips, of_pairs) = pairs(policies, &base, &tried, hints)?;
        evaluations += of_pairs;
    }
    flips.truncate(MOST_CHANGES);
    let mut claims: Vec<_> = tried
        .iter()
        .filter(|(_, answer)| answer.outcome != base.outcome || answer.terms != base.terms)
        .map(|(variation, _)| variation.claim)
        .chain(flips.iter().flatten().map(|change| change.claim))
        .collect();
    claims.sort_unstable();
    claims.dedup();
    let bindings = base.verdicts.iter().map(|(name, verdict)| of_binding(name, verdict, &tried));
    let bindings = bindings.collect();
    Ok(Explanation { claims, flips, bindings, evaluations, decision })
}

/// What is compared of a decision.
struct Answer {
    outcome: Outcome,
    /// The terms, or the reasons, as they would be written.
    terms: String,
    verdicts: BTreeMap<BindingName, OfVerdict>,
}

#[derive(PartialEq, Eq)]
struct OfVerdict {
    outcome: Outcome,
    /// Reasons and grant.
    all: String,
}

impl Answer {
    fn of(decision: &Decision) -> Self {
        let verdicts = decision.trace().iter().map(|entry| {
            let outcome = match &entry.result {
                Ok(Verdict::Permit(_)) => Outcome::Permit,
                Ok(Verdict::Deny(_)) => Outcome::Deny,
                Ok(Verdict::Abstain) => Outcome::Abstain,
                Err(_) => Outcome::Fault,
            };
            let all = match &entry.result {
                Ok(Verdict::Permit(grant)) => format!("{grant:?}"),
                // Messages repeat claims; codes say what was decided.
                Ok(Verdict::Deny(reasons)) => {
                    reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(" ")
                }
                Ok(Verdict::Abstain) => String::new(),
                Err(fault) => fault.code().to_owned(),
            };
            (entry.binding.name.clone(), OfVerdict { outcome, all })
        });
        let terms = match decision.outcome() {
            OfDecision::Approved(terms) => {
                // What was asked for is in the terms by itself; what is narrowed counts.
                let asked = decision.claims().token();
                let narrowed = terms.audiences.len() != asked.audiences().len();
                let ttl = (terms.ttl_seconds != asked.ttl_seconds()).then_some(terms.ttl_seconds);
                format!("{narrowed} {ttl:?} {:?}", terms.claims)
            }
            OfDecision::Refused(reasons) => {
                reasons.iter().map(|reason| reason.code.as_str()).collect::<Vec<_>>().join(" ")
            }
        };
        Self { outcome: Outcome::of(decision), terms, verdicts: verdicts.collect() }
    }
}

fn change(variation: &Variation) -> Change {
    let Variation { claim, from, to, .. } = variation;
    Change { claim: *claim, from: from.clone(), to: to.clone() }
}

/// Two changes together that flip the outcome, where no one does; and how often it was decided. Of two, one at least
/// changes a verdict alone.
fn pairs(
    policies: &PolicySet,
    base: &Answer,
    tried: &[(Variation, Answer)],
    hints: &Hints,
) -> Result<(Vec<Vec<Change>>, usize), SubjectError> {
    let mut flips = Vec::new();
    let mut evaluations = 0;
    let matters = tried.iter().filter(|(_, answer)| answer.verdicts != base.verdicts);
    let firsts: Vec<_> = matters.map(|(variation, _)| variation).take(MOST_IN_PAIRS).collect();
    for (at, first) in firsts.iter().enumerate() {
        // The same two the other way round are one pair.
        let was_first = |second: &Variation| {
            let before = firsts.iter().take(at);
            before.into_iter().any(|one| one.claim == second.claim && one.to == second.to)
        };
        for second in variations(&first.asked, hints) {
            if second.claim == first.claim || was_first(&second) {
                continue;
            }
            let decision = policies.evaluate(second.asked.claims()?);
            evaluations += 1;
            if Outcome::of(&decision) != base.outcome {
                flips.push(vec![change(first), change(&second)]);
                if flips.len() == MOST_CHANGES {
                    return Ok((flips, evaluations));
                }
            }
        }
    }
    Ok((flips, evaluations))
}

fn of_binding(name: &BindingName, verdict: &OfVerdict, tried: &[(Variation, Answer)]) -> OfBinding {
    let others = tried.iter().filter_map(|(variation, answer)| {
        let other = answer.verdicts.get(name).filter(|other| *other != verdict)?;
        Some((variation, other.outcome))
    });
    let mut claims: Vec<_> = others.clone().map(|(variation, _)| variation.claim).collect();
    claims.sort_unstable();
    claims.dedup();
    let flips = others
        .filter(|(_, outcome)| *outcome != verdict.outcome)
        .map(|(variation, outcome)| (change(variation), outcome))
        .take(MOST_CHANGES)
        .collect();
    OfBinding { binding: name.clone(), outcome: verdict.outcome, claims, flips }
}
