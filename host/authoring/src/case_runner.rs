//! Runs cases through the real component in the real sandbox.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, BindingName, Engine, EvaluationUsage, Fault, Limits,
    LoadError, Mode, Policy, PolicySet, Scope, Settings, SettingsValidator, Verdict,
};
use serde_json::Value;

use crate::budget::EvaluationBudget;
use crate::cases::{Case, Cases, CasesError, Expectation};
use crate::claim_mutation::claim_mutations;
use crate::decision_input::DecisionInput;
use crate::mutation::Mutations;
use crate::settings_literals::SettingsLiterals;
use crate::test_report::{CaseOutcome, CaseProblem, SettingsOutcome, TestReport};
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

/// An evaluation of a case by other settings than its own.
#[derive(Debug, Clone)]
pub struct Observed {
    /// The name of the case.
    pub case: String,
    /// The answer.
    pub result: Result<Verdict, Fault>,
    /// Usage of the limits.
    pub used: EvaluationUsage,
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

    /// The problem alone, for the place of its case.
    fn of_case(&self) -> CaseProblem {
        let message = match self {
            Self::Cases(CasesError::Case { problem, .. }) | Self::Other { problem, .. } => {
                problem.clone()
            }
            Self::Binding { problem, .. } => problem.to_string(),
            Self::Load { .. } | Self::Cases(_) => self.to_string(),
        };
        CaseProblem { code: self.code(), message }
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

    /// Runs all cases and, where they pass, each again with each claim changed, as far as the budget goes. A case that
    /// cannot be run fails, and the others are run.
    ///
    /// # Errors
    /// When the sandbox does not do what this crate relies on while claims are changed.
    pub fn run(&self, budget: &mut EvaluationBudget<'_>) -> Result<TestReport, CaseRunnerError> {
        let prepared = self.prepare_all(budget);
        let (mut cases, mut runnable) = (Vec::new(), Vec::new());
        for (case, prepared) in prepared {
            if budget.stopped_by().is_some() {
                break;
            }
            let ran = prepared
                .and_then(|prepared| Ok((prepared.verdict(&prepared.input, budget)?, prepared)));
            cases.push(outcome(case, ran.as_ref().map(|((result, used), _)| (result, *used))));
            runnable.extend(ran.map(|(ran, prepared)| (prepared, ran.0)));
        }
        let mut settings = Vec::new();
        for case in &self.cases.settings {
            if budget.stopped_by().is_some() {
                break;
            }
            settings.push(self.settings_case(case, budget));
        }
        let all = self.cases.case.len() + self.cases.settings.len();
        let cases_left = all - cases.len() - settings.len();
        let mut left = cases_left;
        let is_selection = self.cases.is_selection;
        let all_pass = cases_left == 0 && cases.iter().all(CaseOutcome::passed);
        let mutations = if all_pass && !is_selection {
            let (mutations, unevaluated) = self.mutations(&runnable, budget)?;
            left = unevaluated;
            Some(mutations)
        } else {
            None
        };
        let evaluations = budget.counted(left);
        Ok(TestReport { cases, settings, cases_left, is_selection, mutations, evaluations })
    }

    /// Makes the input of each case, in the order of the file, with the policy set that decides on it. Those after the
    /// end of the budget are left out.
    ///
    /// # Errors
    /// When a case makes no valid request, or the policy does not take its settings.
    pub(crate) fn prepare_cases(
        &self,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<Vec<PreparedCase<'c>>, CaseRunnerError> {
        self.prepare_all(budget).into_iter().map(|(_, prepared)| prepared).collect()
    }

    /// Evaluates each case once, in the order of the file, by settings that are made of its own. Those after the end of the
    /// budget are left out.
    ///
    /// # Errors
    /// When a case makes no valid request, or the policy does not take the settings that are made.
    pub fn observe(
        &self,
        change: &dyn Fn(&Settings) -> Result<Settings, String>,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<Vec<Observed>, CaseRunnerError> {
        let (mut sets, mut observed) = (BTreeMap::new(), Vec::new());
        for case in &self.cases.case {
            if budget.stopped_by().is_some() {
                break;
            }
            let changed = change(&case.settings(&self.settings)?);
            let changed = changed
                .map_err(|problem| CaseRunnerError::Other { case: case.name.clone(), problem })?;
            let prepared = self.prepare_case(case, changed, &mut sets, budget)?;
            let (result, used) = prepared.verdict(&prepared.input, budget)?;
            observed.push(Observed { case: case.name.clone(), result, used });
        }
        Ok(observed)
    }

    /// The same, with an error for each case that cannot be run. Settings that several cases share are prepared once.
    fn prepare_all(
        &self,
        budget: &mut EvaluationBudget<'_>,
    ) -> Vec<(&'c Case, Result<PreparedCase<'c>, CaseRunnerError>)> {
        let mut sets = BTreeMap::new();
        let mut all = Vec::new();
        for case in &self.cases.case {
            if budget.stopped_by().is_some() {
                break;
            }
            let settings = case.settings(&self.settings).map_err(CaseRunnerError::from);
            let prepared =
                settings.and_then(|settings| self.prepare_case(case, settings, &mut sets, budget));
            all.push((case, prepared));
        }
        all
    }

    fn prepare_case(
        &self,
        case: &'c Case,
        settings: Settings,
        sets: &mut BTreeMap<String, Result<Arc<PolicySet>, BindingError>>,
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<PreparedCase<'c>, CaseRunnerError> {
        let input = case.input(self.run)?;
        let json = settings.as_json().to_owned();
        let set = match sets.get(&json) {
            Some(set) => set.clone(),
            None => {
                let bound = self.check(&settings).and_then(|()| self.bind(settings));
                budget.spend(self.configure_fuel(&bound));
                let set = match bound {
                    Ok(binding) => match PolicySet::new(vec![binding]) {
                        Ok(set) => Ok(Arc::new(set)),
                        Err(error) => {
                            let (case, problem) = (case.name.clone(), error.to_string());
                            return Err(CaseRunnerError::Other { case, problem });
                        }
                    },
                    Err(problem) => Err(problem),
                };
                sets.insert(json.clone(), set.clone());
                set
            }
        };
        let error = |problem| CaseRunnerError::Binding { case: case.name.clone(), problem };
        Ok(PreparedCase { case, input, settings: json, set: set.map_err(error)? })
    }

    /// The fuel that taking settings used, or all that it had where it faulted.
    fn configure_fuel(&self, bound: &Result<Binding, BindingError>) -> u64 {
        match bound {
            Ok(binding) => binding.prepared().map_or(0, |prepared| prepared.usage.fuel),
            Err(BindingError::Settings { used, .. }) => used.map_or(0, |used| used.fuel),
            Err(BindingError::Configure { .. }) => self.limits.configure_fuel,
            Err(_) => 0,
        }
    }

    /// The limits of evaluations.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Runs the cases with each claim changed, and counts the mutations that are left when the budget ends.
    fn mutations(
        &self,
        cases: &[(PreparedCase<'_>, Result<Verdict, Fault>)],
        budget: &mut EvaluationBudget<'_>,
    ) -> Result<(Mutations, usize), CaseRunnerError> {
        let expected_faults = self.cases.case.iter().filter_map(|case| match &case.expect {
            Expectation::Fault(code) => Some(code.clone()),
            _ => None,
        });
        let expected_faults: BTreeSet<_> = expected_faults.collect();
        let mut mutations = Mutations::new(self.cases.depends_on.clone(), expected_faults);
        let mut left = 0;
        for (case, result) in cases {
            let mut literals = SettingsLiterals::default();
            literals.add(&case.settings);
            for mutation in claim_mutations(&case.input, &literals) {
                if budget.stopped_by().is_some() {
                    left += 1;
                    continue;
                }
                let (changed, _) = case.verdict(&mutation.input, budget)?;
                mutations.add(&case.case.name, &mutation, found(&changed) != found(result));
                if let (Ok(_), Err(fault)) = (result, &changed) {
                    mutations.add_fault(&case.case.name, &mutation, fault);
                }
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
    ) -> SettingsOutcome {
        let outcome = |found, detail, error| SettingsOutcome {
            name: case.name.clone(),
            expected: case.pointer.clone(),
            found,
            detail,
            error,
        };
        let failed = |error: &CaseRunnerError| {
            let problem = error.of_case();
            outcome(None, problem.lines(), Some(problem))
        };
        let settings = match case.settings() {
            Ok(settings) => settings,
            Err(error) => return failed(&error.into()),
        };
        let bound = self.bind(settings);
        budget.count_fuel(self.configure_fuel(&bound));
        match bound {
            Ok(_) => outcome(None, Vec::new(), None),
            Err(BindingError::Settings { problems, .. }) => {
                let detail = problems.iter().map(|p| format!("{}: {}", p.pointer, p.message));
                let first = problems.first().map(|problem| problem.pointer.clone());
                outcome(first, detail.collect(), None)
            }
            Err(problem) => failed(&CaseRunnerError::Binding { case: case.name.clone(), problem }),
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

/// The outcome of a case, by its verdict or the reason that there is none.
fn outcome(
    case: &Case,
    ran: Result<(&Result<Verdict, Fault>, EvaluationUsage), &CaseRunnerError>,
) -> CaseOutcome {
    let (name, expected) = (case.name.clone(), expected(&case.expect));
    match ran {
        Ok((result, used)) => {
            let (found, detail) = (found(result), detail(result));
            CaseOutcome { name, expected, found, detail, used, error: None }
        }
        Err(error) => {
            let error = error.of_case();
            CaseOutcome {
                name,
                expected,
                found: String::new(),
                detail: error.lines(),
                used: EvaluationUsage::default(),
                error: Some(error),
            }
        }
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
