//! The mutations of claims that cases notice.

use std::collections::{BTreeMap, BTreeSet};

use countersign::Fault;

use crate::claim_mutation::{Claim, ClaimMutation, changeable};

/// The mutations of claims over all cases, and the claims that `depends-on` declares.
#[derive(Debug)]
pub struct Mutations {
    /// The claims of `depends-on`, if given.
    declared: Option<Vec<Claim>>,
    claims: BTreeMap<Claim, ClaimReport>,
    /// Codes of faults that a case expects: whoever wrote it knows that the policy ends so.
    expected_faults: BTreeSet<String>,
    faults: Vec<MutationFault>,
    /// Every mutation was evaluated.
    complete: bool,
}

/// The mutations of one claim.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClaimReport {
    /// Number of mutations over all cases.
    pub changes: usize,
    /// Number of mutations that changed the verdict of a case.
    pub noticed: usize,
    /// One of them: the case and the change.
    pub example: Option<(String, String)>,
}

/// A fault that a policy ends in for a run that a case does not have: a token that nobody gets, found before the first such
/// run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MutationFault {
    /// The claim that was changed.
    pub claim: Claim,
    /// The case in which it was changed.
    pub case: String,
    /// The change.
    pub change: String,
    /// The fault's code.
    pub code: &'static str,
    /// The fault, for people.
    pub detail: String,
    /// Number of mutations of this claim that end in a fault of this code, over all cases.
    pub count: usize,
}

impl Mutations {
    pub(crate) fn new(declared: Option<Vec<Claim>>, expected_faults: BTreeSet<String>) -> Self {
        let claims = changeable().map(|claim| (claim, ClaimReport::default())).collect();
        Self { declared, claims, expected_faults, faults: Vec::new(), complete: true }
    }

    /// Takes down the fault that a mutation of a case without one ends in.
    pub(crate) fn add_fault(&mut self, case: &str, mutation: &ClaimMutation, fault: &Fault) {
        // Those two are the machine's doing, and not the policy's.
        let is_of_the_machine = matches!(fault, Fault::Deadline { .. } | Fault::Host { .. });
        let (claim, code) = (mutation.claim, fault.code());
        if is_of_the_machine || self.expected_faults.contains(code) {
            return;
        }
        let same = |found: &&mut MutationFault| found.claim == claim && found.code == code;
        match self.faults.iter_mut().find(same) {
            Some(found) => found.count += 1,
            None => self.faults.push(MutationFault {
                claim,
                case: case.to_owned(),
                change: change_of(mutation),
                code,
                detail: fault.to_string(),
                count: 1,
            }),
        }
    }

    /// Returns the faults that mutations end in, one for each claim and code, without those that a case expects.
    pub fn faults(&self) -> &[MutationFault] {
        &self.faults
    }

    pub(crate) fn add(&mut self, case: &str, mutation: &ClaimMutation, noticed: bool) {
        let report = self.claims.entry(mutation.claim).or_default();
        report.changes += 1;
        if noticed {
            report.noticed += 1;
            report.example.get_or_insert_with(|| (case.to_owned(), change_of(mutation)));
        }
    }

    /// Takes down that mutations are left which were not evaluated.
    pub(crate) fn set_incomplete(&mut self) {
        self.complete = false;
    }

    /// Tells whether every mutation was evaluated.
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// Returns every claim with its mutations.
    pub fn claims(&self) -> impl Iterator<Item = (Claim, &ClaimReport)> {
        self.claims.iter().map(|(claim, report)| (*claim, report))
    }

    /// Counts all mutations.
    pub fn changes(&self) -> usize {
        self.claims.values().map(|report| report.changes).sum()
    }

    /// Returns the claims whose mutation no case notices.
    pub fn unnoticed(&self) -> Vec<Claim> {
        self.claims().filter(|(_, report)| report.noticed == 0).map(|(claim, _)| claim).collect()
    }

    /// Returns the declared claims whose mutation no case notices: either the policy does not look at one, or no case
    /// is about it. None is known where not every mutation was evaluated.
    pub fn missed(&self) -> Vec<Claim> {
        if !self.complete {
            return Vec::new();
        }
        let unnoticed = self.unnoticed();
        let declared = self.declared.iter().flatten().copied();
        declared.filter(|claim| unnoticed.contains(claim)).collect()
    }

    /// Returns the claims that the policy depends on and that are not declared.
    pub fn undeclared(&self) -> Vec<Claim> {
        let Some(declared) = &self.declared else { return Vec::new() };
        let noticed = self.claims().filter(|(_, report)| report.noticed > 0);
        noticed.map(|(claim, _)| claim).filter(|claim| !declared.contains(claim)).collect()
    }

    /// Tells whether the cases have `depends-on`.
    pub fn is_declared(&self) -> bool {
        self.declared.is_some()
    }

    /// Tells whether the policy depends on the declared claims and on no others, and ends in no fault. Without a
    /// declaration no claim is wrong. It takes every mutation to tell.
    pub fn passed(&self) -> bool {
        self.complete
            && self.missed().is_empty()
            && self.undeclared().is_empty()
            && self.faults.is_empty()
    }
}

fn change_of(mutation: &ClaimMutation) -> String {
    format!("{} instead of {}", mutation.to, mutation.from)
}
