//! Each claim of each case changed in turn: which changes the cases notice.

use std::collections::BTreeMap;

use crate::variation::{Claim, Variation, changeable};

/// What became of changed claims.
#[derive(Debug)]
pub struct Mutations {
    /// What was said that the policy decides on, if it was.
    declared: Option<Vec<Claim>>,
    claims: BTreeMap<Claim, ClaimReport>,
}

/// What became of changes of one claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimReport {
    /// How many changes there were, over all cases.
    pub changes: usize,
    /// How many of them changed the verdict of a case.
    pub noticed: usize,
    /// One of those: the case, and the change.
    pub example: Option<(String, String)>,
}

impl Mutations {
    pub(crate) fn new(declared: Option<Vec<Claim>>) -> Self {
        let claims = changeable().map(|claim| (claim, ClaimReport::default())).collect();
        Self { declared, claims }
    }

    pub(crate) fn add(&mut self, case: &str, variation: &Variation, noticed: bool) {
        let report = self.claims.entry(variation.claim).or_default();
        report.changes += 1;
        if noticed {
            report.noticed += 1;
            let change = || format!("{} instead of {}", variation.to, variation.from);
            report.example.get_or_insert_with(|| (case.to_owned(), change()));
        }
    }

    /// Every claim, and what became of its changes.
    pub fn claims(&self) -> impl Iterator<Item = (Claim, &ClaimReport)> {
        self.claims.iter().map(|(claim, report)| (*claim, report))
    }

    /// How many changes there were.
    pub fn changes(&self) -> usize {
        self.claims.values().map(|report| report.changes).sum()
    }

    /// The claims whose change no case notices.
    pub fn unnoticed(&self) -> Vec<Claim> {
        self.claims().filter(|(_, report)| report.noticed == 0).map(|(claim, _)| claim).collect()
    }

    /// The claims that the policy was said to decide on, and whose change no case notices: either the policy has
    /// forgotten one, or the cases have.
    pub fn forgotten(&self) -> Vec<Claim> {
        let unnoticed = self.unnoticed();
        let declared = self.declared.iter().flatten().copied();
        declared.filter(|claim| unnoticed.contains(claim)).collect()
    }

    /// The claims that the policy decides on, and was not said to.
    pub fn surprising(&self) -> Vec<Claim> {
        let Some(declared) = &self.declared else { return Vec::new() };
        let noticed = self.claims().filter(|(_, report)| report.noticed > 0);
        noticed.map(|(claim, _)| claim).filter(|claim| !declared.contains(claim)).collect()
    }

    /// Whether it was said what the policy decides on.
    pub fn is_declared(&self) -> bool {
        self.declared.is_some()
    }

    /// Whether the policy decides on what was said, and on nothing else. Where nothing was said, nothing is wrong.
    pub fn passed(&self) -> bool {
        self.forgotten().is_empty() && self.surprising().is_empty()
    }
}
