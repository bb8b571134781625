//! The outcomes of cases.

use countersign::EvaluationUsage;

use crate::budget::EvaluationCount;
use crate::mutation::Mutations;

/// The outcomes of all cases.
#[derive(Debug)]
pub struct TestReport {
    /// The outcome of each case, in the order of the file.
    pub cases: Vec<CaseOutcome>,
    /// The outcome of each case of settings, in the order of the file.
    pub settings: Vec<SettingsOutcome>,
    /// Number of cases, those of settings included, that were not run.
    pub cases_left: usize,
    /// Says that the cases are some of the file's, so that no claim was changed.
    pub is_selection: bool,
    /// The mutations of claims; `None` where cases failed, were not run or not selected, since they would show nothing
    /// then.
    pub mutations: Option<Mutations>,
    /// The evaluations: of cases, and of cases with a claim changed. Those of settings count as one each.
    pub evaluations: EvaluationCount,
}

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseOutcome {
    /// Its name.
    pub name: String,
    /// The expected verdict, as the file has it.
    pub expected: String,
    /// The verdict found, in the same form; empty where there is an error.
    pub found: String,
    /// The messages of a denial, the description of a fault or the lines of the error, for people.
    pub detail: Vec<String>,
    /// The usage of its limits.
    pub used: EvaluationUsage,
    /// The reason that the case could not be run, if it could not.
    pub error: Option<CaseProblem>,
}

/// The reason that a case could not be run: it makes no request, or the policy does not take its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseProblem {
    /// The code of the load error or the fault, if it is one.
    pub code: Option<&'static str>,
    /// The problem, in one line or several.
    pub message: String,
}

impl CaseProblem {
    pub(crate) fn lines(&self) -> Vec<String> {
        self.message.lines().map(str::to_owned).collect()
    }
}

impl CaseOutcome {
    /// Tells whether the verdict is the expected one.
    pub fn passed(&self) -> bool {
        self.error.is_none() && self.expected == self.found
    }
}

/// The outcome of a case of settings that do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsOutcome {
    /// Its name.
    pub name: String,
    /// The expected pointer of the first problem.
    pub expected: String,
    /// The pointer of the first problem that the policy found; `None` where it took the settings, or there is an error.
    pub found: Option<String>,
    /// The problems, or the lines of the error, for people.
    pub detail: Vec<String>,
    /// The reason that the settings could not be given to the policy, if they could not.
    pub error: Option<CaseProblem>,
}

impl SettingsOutcome {
    /// Tells whether the first problem is the expected one.
    pub fn passed(&self) -> bool {
        self.error.is_none() && self.found.as_ref() == Some(&self.expected)
    }
}

impl TestReport {
    /// Tells whether all cases were run and passed, those of settings included.
    pub fn cases_passed(&self) -> bool {
        self.cases_left == 0
            && self.cases.iter().all(CaseOutcome::passed)
            && self.settings.iter().all(SettingsOutcome::passed)
    }

    /// Tells whether all cases passed and the policy depends on the declared claims, with nothing left out and no fault
    /// found.
    pub fn passed(&self) -> bool {
        self.cases_passed()
            && self.evaluations.is_complete()
            && self.mutations.as_ref().is_none_or(Mutations::passed)
    }
}
