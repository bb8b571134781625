//! Runs cases through the real component in the real sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, BindingName, Engine, EvaluationUsage, Fault, Limits,
    LoadError, Mode, Policy, PolicySet, Scope, Settings, SettingsValidator, Verdict,
};
use serde_json::Value;

use crate::budget::EvaluationBudget;
use crate::cases::{Case, Cases, CasesError};
use crate::claim_mutation::claim_mutations;
use crate::decision_input::DecisionInput;
use crate::mutation::Mutations;
use crate::settings_literals::SettingsLiterals;
use crate::test_report::{CaseOutcome, SettingsOutcome, TestReport};
use crate::verdict_text::{detail, expected, found};

/// Runs the cases of a policy through its component.
pub struct CaseRunner<'c> {
    policy: Arc<Policy>,
    pub(crate) cases: &'c Cases,
    /// The run object that cases change.
    pub(crate) run: &'c Value,
    /// The settings of cases that have none.
    pub(crate) settings: Settings,
    limits: Limits,
    /// The name of the binding that cases are evaluated by.
    name: BindingName,
    /// The check that settings of cases must pass before the policy takes them.
    check: Option<Arc<dyn SettingsValidator>>,
}

/// Reasons for which cases cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaseRunnerError {
    /// The component is not a policy.
    #[error("the component does not load: {problem} ({})", .problem.code())]
    Load {
        /// The reason, which the message has: it is no source.
        problem: LoadError,
    },
    /// A case makes no valid request.
    #[error(transparent)]
    Cases(#[from] CasesError),
    /// The policy does not take the settings of a case.
    #[error("case `{case}`: {problem}")]
    Binding {
        /// The case.
        case: String,
        /// The reason.
        problem: BindingError,
    },
    /// The sandbox did not do what this crate relies on.
    #[error("case `{case}`: {problem}")]
    Other {
        /// The case.
        case: String,
        /// The error.
        problem: String,
    },
}

impl CaseRunnerError {
    /// Returns the name of the case that it is about, if it is about one.
    pub fn case(&self) -> Option<&str> {
        match self {
            Self::Cases(CasesError::Case { case, .. }) | Self::Binding { case, .. } => Some(case),
            Self::Other { case, .. } => {
                Some(case).filter(|case| !case.is_empty()).map(String::as_str)
            }
            Self::Load { .. } | Self::Cases(_) => None,
        }
    }

    /// Returns the code of the load error or the fault, if it is one.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Load { problem }
            | Self::Binding { problem: BindingError::Policy { problem, .. }, .. } => {
                Some(problem.code())
            }
            Self::Binding { problem: BindingError::Configure { fault, .. }, .. } => {
                Some(fault.code())
            }
            Self::Binding { .. } | Self::Cases(_) | Self::Other { .. } => None,
        }
    }
}

impl<'c> CaseRunner<'c> {
    /// Loads a component under the given limits. `run` is the run object that the cases change, and `settings` are those
    /// of cases that have none.
    ///
    /// # Errors
    /// When the component is not a policy.
    pub fn new(
        engine: &Engine,
        component: &[u8],
        limits: Limits,
        cases: &'c Cases,
        run: &'c Value,
        settings: Settings,
    ) -> Result<Self, CaseRunnerError> {
        let policy = Policy::load(engine, component, &limits);
        let policy = Arc::new(policy.map_err(|problem| CaseRunnerError::Load { problem })?);
        let name = BindingName::parse("case").map_err(|error| CaseRunnerError::Other {
            case: String::new(),
            problem: error.to_string(),
        })?;
        Ok(Self { policy, cases, run, settings, limits, name, check: None })
    }

    /// Checks the settings of cases as a host does before the policy takes them. Settings that the policy must reject go
    /// to the policy alone.
    #[must_use]
    pub fn checked_by(mut self, check: Arc<dyn SettingsValidator>) -> Self {
        self.check = Some(check);
        self
    }

    /// The policy.
    pub fn policy(&self) -> &Arc<Policy> {
        &self.policy
    }

    /// Runs all cases and, where they pass, each again with each claim changed, as far as the budget goes.
    ///
    /// # Errors
    /// When a case makes no valid request, or the policy does not take its settings.
    pub fn run(&self, budget: &mut EvaluationBudget<'_>) -> Result<TestReport, CaseRunnerError> {
        let prepared_cases = self.prepare_cases(budget)?;
        let mut cases = Vec::new();
        for case in &prepared_cases {
            if budget.stopped_by().is_some() {
                break;
            }
            let (result, used) = case.verdict(&case.input, budget)?;
            cases.push(CaseOutcome {
                name: case.case.name.clone(),
                expected: expected(&case.case.expect),
                found: found(&result),
                detail: detail(&result),
                used,
            });
        }
        let mut settings = Vec::new();
        for case in &self.cases.settings {
            if budget.stopped_by().is_some() {
                break;
            }
            settings.push(self.settings_case(case, budget)?);
        }
        let all = self.cases.case.len() + self.cases.settings.len();
        let cases_left = all - cases.len() - settings.len();
        let mut left = cases_left;
        let mutations = if cases_left == 0 && cases.iter().all(CaseOutcome::passed) {
            let (mutations, unevaluated) = self.mutations(&prepared_cases, &cases, budget)?;
            left = unevaluated;
            Some(mutations)
        } else {
            None
        };
        let evaluations = budget.counted(left);
        Ok(TestReport { cases, settings, cases_left, mutations, evaluations })
    }

    /// Makes the input of each case, in the order of the file, with the policy set that decides on it. Settings that
    /// several cases share are prepared once. Those after the end of the budget are left out.
    pub(crate) fn prepare_cases(
        &self,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<Vec<PreparedCase<'c>>, CaseRunnerError> {
        let mut prepared: BTreeMap<String, Arc<PolicySet>> = BTreeMap::new();
        let mut prepared_cases = Vec::new();
        for case in &self.cases.case {
            let input = case.input(self.run)?;
            let settings = case.settings(&self.settings)?;
            let json = settings.as_json().to_owned();
            let set = match prepared.get(&json) {
                Some(set) => Arc::clone(set),
                None if budget.stopped_by().is_some() => break,
                None => {
                    let error =
                        |problem| CaseRunnerError::Binding { case: case.name.clone(), problem };
                    self.check(&settings).map_err(error)?;
                    let binding = self.bind(settings).map_err(error)?;
                    budget.spend(binding.prepared().map_or(0, |prepared| prepared.usage.fuel));
                    let set =
                        PolicySet::new(vec![binding]).map_err(|error| CaseRunnerError::Other {
                            case: case.name.clone(),
                            problem: error.to_string(),
                        })?;
                    let set = Arc::new(set);
                    prepared.insert(json.clone(), Arc::clone(&set));
                    set
                }
            };
            prepared_cases.push(PreparedCase { case, input, settings: json, set });
        }
        Ok(prepared_cases)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs the cases with each claim changed, and counts the mutations that are left when the budget ends.
    fn mutations(
        &self,
        prepared_cases: &[PreparedCase<'_>],
        outcomes: &[CaseOutcome],
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<(Mutations, usize), CaseRunnerError> {
        let mut mutations = Mutations::new(self.cases.depends_on.clone());
        let mut left = 0;
        for (case, outcome) in prepared_cases.iter().zip(outcomes) {
            let mut literals = SettingsLiterals::default();
            literals.add(&case.settings);
            for mutation in claim_mutations(&case.input, &literals) {
                if budget.stopped_by().is_some() {
                    left += 1;
                    continue;
                }
                let changed = found(&case.verdict(&mutation.input, budget)?.0);
                mutations.add(&case.case.name, &mutation, changed != outcome.found);
            }
        }
        if left > 0 {
            mutations.set_incomplete();
        }
        Ok((mutations, left))
    }

    fn settings_case(
        &self,
        case: &crate::SettingsCase,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<SettingsOutcome, CaseRunnerError> {
        let outcome = |found, detail| SettingsOutcome {
            name: case.name.clone(),
            expected: case.pointer.clone(),
            found,
            detail,
        };
        match self.bind(case.settings()?) {
            Ok(binding) => {
                budget.count_fuel(binding.prepared().map_or(0, |prepared| prepared.usage.fuel));
                Ok(outcome(None, Vec::new()))
            }
            Err(BindingError::Settings { problems, used, .. }) => {
                budget.count_fuel(used.map_or(0, |used| used.fuel));
                let detail = problems.iter().map(|p| format!("{}: {}", p.pointer, p.message));
                let first = problems.first().map(|problem| problem.pointer.clone());
                Ok(outcome(first, detail.collect()))
            }
            Err(problem) => Err(CaseRunnerError::Binding { case: case.name.clone(), problem }),
        }
    }

    fn check(&self, settings: &Settings) -> Result<(), BindingError> {
        let description = self.policy.description();
        let problems = self.check.as_ref().map(|check| check.check(description, settings));
        match problems.unwrap_or_default() {
            none if none.is_empty() => Ok(()),
            problems => {
                let policy = description.name.clone();
                Err(BindingError::Settings { policy, problems, used: None })
            }
        }
    }

    fn bind(&self, settings: Settings) -> Result<Binding, BindingError> {
        let config = BindingConfig {
            name: self.name.clone(),
            settings,
            scope: Scope::All,
            mode: Mode::Enforce,
            may_permit: true,
            limits: self.limits,
            claims: self.cases.claims.clone(),
        };
        Binding::prepare(Arc::clone(&self.policy), config)
    }
}

/// A case, ready to be decided on.
pub(crate) struct PreparedCase<'c> {
    pub(crate) case: &'c Case,
    pub(crate) input: DecisionInput,
    /// The settings, as JSON.
    settings: String,
    pub(crate) set: Arc<PolicySet>,
}

impl PreparedCase<'_> {
    fn verdict(
        &self,
        input: &DecisionInput,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<(Result<Verdict, Fault>, EvaluationUsage), CaseRunnerError> {
        let claims = input.claims().map_err(|error| self.problem(error.to_string()))?;
        let decision = self.set.evaluate(claims);
        budget.count(&self.set, &decision);
        let entry = decision.trace().first();
        let entry = entry.ok_or_else(|| self.problem("the policy was not evaluated".to_owned()))?;
        Ok((entry.result.clone(), entry.used))
    }

    pub(crate) fn problem(&self, problem: String) -> CaseRunnerError {
        CaseRunnerError::Other { case: self.case.name.clone(), problem }
    }
}
