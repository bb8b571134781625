//! Explains a decision on record: decides again on its claims, and on each claim changed.

use countersign::{DecisionReader, Outcome as OfDecision, RecordedDecision};
use countersign_authoring::{
    Change, Claim, DecisionInput, DeterminedBy, EvaluationBudget, Explanation, StoppedBy, explain,
};
use serde::Serialize;

use crate::policies::KnownPolicies;
use crate::text::{Number, Text};

/// Units of fuel for all evaluations of one page: a few seconds of a processor.
const MAX_FUEL: u64 = 5_000_000_000;

/// Milliseconds of the wall-clock limits of evaluations that these ended.
const MAX_DEADLINE_MS: u64 = 5_000;

/// The values of one claim that a page shows. JSON has all of them.
const MAX_VALUES: usize = 8;

/// An explanation. Its members are those of `countersign explain --format json`, and `is_same`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ExplanationView {
    pub(crate) outcome: &'static str,
    pub(crate) decision: String,
    /// The decision that was made again has the bytes of the record.
    pub(crate) is_same: bool,
    #[serde(flatten)]
    pub(crate) claims: ClaimsView,
    pub(crate) counterfactuals: Vec<Vec<ChangeView>>,
    pub(crate) bindings: Vec<BindingView>,
    pub(crate) evaluations: Number,
    pub(crate) evaluations_planned: Number,
    pub(crate) stopped_by: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ClaimsView {
    claims: Vec<ClaimView>,
    grant_claims: Vec<ClaimView>,
    reason_claims: Vec<ClaimView>,
}

/// A claim: in JSON its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ClaimView(Claim);

#[derive(Debug, Clone, Serialize)]
pub(crate) struct ChangeView {
    pub(crate) claim: ClaimView,
    pub(crate) from: Text,
    pub(crate) to: Text,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) outcome: Option<&'static str>,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct BindingView {
    pub(crate) binding: Text,
    pub(crate) outcome: &'static str,
    #[serde(flatten)]
    pub(crate) claims: ClaimsView,
    pub(crate) counterfactuals: Vec<ChangeView>,
}

/// A claim that determined something, with the values that would change it.
#[derive(Debug, Clone)]
pub(crate) struct Determined {
    pub(crate) claim: ClaimView,
    pub(crate) from: Text,
    /// The values in its place, some of them, by the outcome that they lead to.
    pub(crate) to: Vec<(Option<&'static str>, Vec<Text>)>,
    /// The values that are not shown.
    pub(crate) more: usize,
}

impl Serialize for ClaimView {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.path())
    }
}

impl ClaimView {
    pub(crate) fn path(self) -> &'static str {
        self.0.path()
    }

    pub(crate) fn title(self) -> &'static str {
        self.0.title()
    }
}

/// Explains the decision of a record, by the policy set that made it. Takes up to some seconds.
///
/// # Errors
/// When the decision is not read, or is of a form that no claims have.
pub(crate) fn explain_decision(
    decision: &str,
    policies: &KnownPolicies,
) -> Result<ExplanationView, String> {
    let recorded = read(decision)?;
    let input = DecisionInput::of(&recorded.claims).map_err(|error| error.to_string())?;
    let mut budget = EvaluationBudget::new(MAX_FUEL).with_max_deadline_ms(MAX_DEADLINE_MS);
    let explained = explain(&policies.policies, &input, &policies.literals(), &mut budget)
        .map_err(|error| error.to_string())?;
    Ok(ExplanationView::new(&explained, decision))
}

/// Reads the decision of a record.
///
/// # Errors
/// When this version does not read it.
pub(crate) fn read(decision: &str) -> Result<RecordedDecision, String> {
    DecisionReader::new().read(decision).map_err(|error| error.to_string())
}

impl ExplanationView {
    fn new(explained: &Explanation, recorded: &str) -> Self {
        let changes = |changes: &Vec<Change>| changes.iter().map(|one| change(one, None)).collect();
        let binding = |of: &countersign_authoring::BindingExplanation| BindingView {
            binding: of.binding.as_str().into(),
            outcome: of.outcome.as_str(),
            claims: ClaimsView::new(&of.claims),
            counterfactuals: of
                .counterfactuals
                .iter()
                .map(|(one, outcome)| change(one, Some(outcome.as_str())))
                .collect(),
        };
        Self {
            outcome: match explained.decision.outcome() {
                OfDecision::Approved(_) => "approved",
                OfDecision::Refused(_) => "refused",
            },
            decision: explained.decision.id().to_string(),
            is_same: explained.decision.json() == recorded,
            claims: ClaimsView::new(&explained.claims),
            counterfactuals: explained.counterfactuals.iter().map(changes).collect(),
            bindings: explained.bindings.iter().map(binding).collect(),
            evaluations: Number(explained.evaluations.made as u64),
            evaluations_planned: Number(explained.evaluations.planned as u64),
            stopped_by: explained.evaluations.stopped_by.map(StoppedBy::as_str),
        }
    }

    /// The outcome that counterfactuals lead to.
    pub(crate) fn other(&self) -> &'static str {
        if self.outcome == "approved" { "refused" } else { "approved" }
    }

    /// The claims that determined the outcome.
    pub(crate) fn determined(&self) -> Vec<Determined> {
        let singles = self.counterfactuals.iter().filter_map(|changes| match changes.as_slice() {
            [one] => Some(one),
            _ => None,
        });
        let singles: Vec<_> = singles.collect();
        self.claims.claims.iter().map(|claim| Determined::of(*claim, &singles)).collect()
    }

    /// Two changes that reverse the outcome only together.
    pub(crate) fn pairs(&self) -> Vec<(&ChangeView, &ChangeView)> {
        let pairs = self.counterfactuals.iter().filter_map(|changes| match changes.as_slice() {
            [one, other] => Some((one, other)),
            _ => None,
        });
        pairs.collect()
    }
}

impl ClaimsView {
    fn new(claims: &DeterminedBy) -> Self {
        let views = |claims: &[Claim]| claims.iter().map(|claim| ClaimView(*claim)).collect();
        let DeterminedBy { outcome, grant, reasons } = claims;
        Self { claims: views(outcome), grant_claims: views(grant), reason_claims: views(reasons) }
    }

    pub(crate) fn outcome(&self) -> &[ClaimView] {
        &self.claims
    }

    pub(crate) fn grant(&self) -> &[ClaimView] {
        &self.grant_claims
    }

    pub(crate) fn reasons(&self) -> &[ClaimView] {
        &self.reason_claims
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.claims.is_empty() && self.grant_claims.is_empty() && self.reason_claims.is_empty()
    }
}

impl BindingView {
    /// The claims that determined the kind of its verdict.
    pub(crate) fn determined(&self) -> Vec<Determined> {
        let changes: Vec<_> = self.counterfactuals.iter().collect();
        self.claims.claims.iter().map(|claim| Determined::of(*claim, &changes)).collect()
    }
}

impl Determined {
    fn of(claim: ClaimView, changes: &[&ChangeView]) -> Self {
        let changes: Vec<_> = changes.iter().filter(|change| change.claim == claim).collect();
        let from = changes.first().map(|change| change.from.clone()).unwrap_or_default();
        let mut to: Vec<(Option<&'static str>, Vec<Text>)> = Vec::new();
        for change in changes.iter().take(MAX_VALUES) {
            match to.iter_mut().find(|(outcome, _)| *outcome == change.outcome) {
                Some((_, values)) => values.push(change.to.clone()),
                None => to.push((change.outcome, vec![change.to.clone()])),
            }
        }
        Self { claim, from, to, more: changes.len().saturating_sub(MAX_VALUES) }
    }
}

fn change(change: &Change, outcome: Option<&'static str>) -> ChangeView {
    let (from, to) = (change.from.as_str().into(), change.to.as_str().into());
    ChangeView { claim: ClaimView(change.claim), from, to, outcome }
}
