//! Runs cases through the real component in the real sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, BindingName, Engine, EvaluationUsage, Fault, Grant,
    Limits, LoadError, Mode, Policy, PolicySet, Scope, Settings, SettingsValidator, Verdict,
};
use serde_json::Value;

use crate::cases::{Case, Cases, CasesError, Expectation, ExpectedGrant};
use crate::claim_mutation::claim_mutations;
use crate::decision_input::DecisionInput;
use crate::mutation::Mutations;
use crate::settings_literals::SettingsLiterals;

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
        /// The reason.
        #[from]
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

/// The outcomes of all cases.
#[derive(Debug)]
pub struct TestReport {
    /// The outcome of each case, in the order of the file.
    pub cases: Vec<CaseOutcome>,
    /// The outcome of each case of settings, in the order of the file.
    pub settings: Vec<SettingsOutcome>,
    /// The mutations of claims; `None` where cases failed, since they would show nothing then.
    pub mutations: Option<Mutations>,
}

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseOutcome {
    /// Its name.
    pub name: String,
    /// The expected verdict, as the file has it.
    pub expected: String,
    /// The verdict found, in the same form.
    pub found: String,
    /// The messages of a denial or the description of a fault, for people.
    pub detail: Vec<String>,
    /// The usage of its limits.
    pub used: EvaluationUsage,
}

impl CaseOutcome {
    /// Tells whether the verdict is the expected one.
    pub fn passed(&self) -> bool {
        self.expected == self.found
    }
}

/// The outcome of a case of settings that do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsOutcome {
    /// Its name.
    pub name: String,
    /// The expected pointer of the first problem.
    pub expected: String,
    /// The pointer of the first problem that the policy found; `None` where it took the settings.
    pub found: Option<String>,
    /// The problems, for people.
    pub detail: Vec<String>,
}

impl SettingsOutcome {
    /// Tells whether the first problem is the expected one.
    pub fn passed(&self) -> bool {
        self.found.as_ref() == Some(&self.expected)
    }
}

impl TestReport {
    /// Tells whether all cases passed, those of settings included.
    pub fn cases_passed(&self) -> bool {
        self.cases.iter().all(CaseOutcome::passed)
            && self.settings.iter().all(SettingsOutcome::passed)
    }

    /// Tells whether all cases passed and the policy depends on the declared claims.
    pub fn passed(&self) -> bool {
        self.cases_passed() && self.mutations.as_ref().is_none_or(Mutations::passed)
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
        let policy = Arc::new(Policy::load(engine, component, &limits)?);
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
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Runs all cases and, where they pass, each again with each claim changed.
    ///
    /// # Errors
    /// When a case makes no valid request, or the policy does not take its settings.
    pub fn run(&self) -> Result<TestReport, CaseRunnerError> {
        let prepared_cases = self.prepare_cases()?;
        let mut outcomes = Vec::new();
        for case in &prepared_cases {
            let (result, used) = case.verdict(&case.input)?;
            outcomes.push(CaseOutcome {
                name: case.case.name.clone(),
                expected: expected(&case.case.expect),
                found: found(&result),
                detail: detail(&result),
                used,
            });
        }
        let settings = self.cases.settings.iter().map(|case| self.settings_case(case));
        let settings = settings.collect::<Result<_, CaseRunnerError>>()?;
        let mutations = if outcomes.iter().all(CaseOutcome::passed) {
            Some(self.mutations(&prepared_cases, &outcomes)?)
        } else {
            None
        };
        Ok(TestReport { cases: outcomes, settings, mutations })
    }

    /// Makes the input of each case, in the order of the file, with the policy set that decides on it. Settings that
    /// several cases share are prepared once.
    pub(crate) fn prepare_cases(&self) -> Result<Vec<PreparedCase<'c>>, CaseRunnerError> {
        let mut prepared: BTreeMap<String, Arc<PolicySet>> = BTreeMap::new();
        let mut prepared_cases = Vec::new();
        for case in &self.cases.case {
            let input = case.input(self.run)?;
            let settings = case.settings(&self.settings)?;
            let json = settings.as_json().to_owned();
            let set = match prepared.get(&json) {
                Some(set) => Arc::clone(set),
                None => {
                    let error =
                        |problem| CaseRunnerError::Binding { case: case.name.clone(), problem };
                    self.check(&settings).map_err(error)?;
                    let binding = self.bind(settings).map_err(error)?;
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

    fn mutations(
        &self,
        prepared_cases: &[PreparedCase<'_>],
        outcomes: &[CaseOutcome],
    ) -> Result<Mutations, CaseRunnerError> {
        let mut mutations = Mutations::new(self.cases.depends_on.clone());
        for (case, outcome) in prepared_cases.iter().zip(outcomes) {
            let mut literals = SettingsLiterals::default();
            literals.add(&case.settings);
            for mutation in claim_mutations(&case.input, &literals) {
                let changed = found(&case.verdict(&mutation.input)?.0);
                mutations.add(&case.case.name, &mutation, changed != outcome.found);
            }
        }
        Ok(mutations)
    }

    fn settings_case(
        &self,
        case: &crate::SettingsCase,
    ) -> Result<SettingsOutcome, CaseRunnerError> {
        let outcome = |found, detail| SettingsOutcome {
            name: case.name.clone(),
            expected: case.pointer.clone(),
            found,
            detail,
        };
        match self.bind(case.settings()?) {
            Ok(_) => Ok(outcome(None, Vec::new())),
            Err(BindingError::Settings { problems, .. }) => {
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
            problems => Err(BindingError::Settings { policy: description.name.clone(), problems }),
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
    ) -> Result<(Result<Verdict, Fault>, EvaluationUsage), CaseRunnerError> {
        let claims = input.claims().map_err(|error| self.problem(error.to_string()))?;
        let decision = self.set.evaluate(claims);
        let entry = decision.trace().first();
        let entry = entry.ok_or_else(|| self.problem("the policy was not evaluated".to_owned()))?;
        Ok((entry.result.clone(), entry.used))
    }

    pub(crate) fn problem(&self, problem: String) -> CaseRunnerError {
        CaseRunnerError::Other { case: self.case.name.clone(), problem }
    }
}

/// Writes an expectation as the file has it.
fn expected(expect: &Expectation) -> String {
    match expect {
        Expectation::Permit(grant) => expected_grant("permit", grant),
        Expectation::Restrict(grant) => expected_grant("restrict", grant),
        Expectation::Deny(codes) => deny(codes.as_slice().iter().map(String::as_str)),
        Expectation::Abstain => "abstain".to_owned(),
        Expectation::Fault(code) => format!("fault = {code:?}"),
    }
}

/// Writes a verdict in the same form.
fn found(result: &Result<Verdict, Fault>) -> String {
    match result {
        Ok(Verdict::Permit(grant)) => found_grant("permit", grant),
        Ok(Verdict::Restrict(grant)) => found_grant("restrict", grant),
        Ok(Verdict::Deny(reasons)) => deny(reasons.iter().map(|reason| reason.code.as_str())),
        Ok(Verdict::Abstain) => "abstain".to_owned(),
        Err(fault) => format!("fault = {:?}", fault.code()),
    }
}

fn detail(result: &Result<Verdict, Fault>) -> Vec<String> {
    match result {
        Ok(Verdict::Deny(reasons)) => reasons.iter().map(|reason| reason.message.clone()).collect(),
        Err(fault) => vec![fault.to_string()],
        Ok(Verdict::Permit(_) | Verdict::Restrict(_) | Verdict::Abstain) => Vec::new(),
    }
}

fn expected_grant(verdict: &str, grant: &ExpectedGrant) -> String {
    let ExpectedGrant { max_ttl, audiences, claims } = grant;
    let claims = claims.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    narrowing(verdict, *max_ttl, audiences.clone(), claims)
}

fn found_grant(verdict: &str, grant: &Grant) -> String {
    let Grant { max_ttl, audiences, claims } = grant;
    let audiences = audiences
        .as_ref()
        .map(|kept| kept.iter().map(|audience| audience.as_str().to_owned()).collect());
    let claims = claims.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    narrowing(verdict, *max_ttl, audiences, claims)
}

fn narrowing<'c>(
    verdict: &str,
    max_ttl: Option<u32>,
    audiences: Option<Vec<String>>,
    claims: impl Iterator<Item = (&'c str, &'c str)>,
) -> String {
    let mut members = Vec::new();
    members.extend(max_ttl.map(|seconds| format!("max-ttl = {seconds}")));
    members.extend(audiences.map(|kept| format!("audiences = {kept:?}")));
    let claims: Vec<_> = claims.map(|(name, value)| format!("{name:?} = {value:?}")).collect();
    if !claims.is_empty() {
        members.push(format!("claims = {{ {} }}", claims.join(", ")));
    }
    match members.as_slice() {
        [] => format!("{verdict} = {{}}"),
        members => format!("{verdict} = {{ {} }}", members.join(", ")),
    }
}

fn deny<'c>(codes: impl Iterator<Item = &'c str>) -> String {
    let codes: Vec<_> = codes.collect();
    match codes.as_slice() {
        [one] => format!("deny = {one:?}"),
        several => format!("deny = {several:?}"),
    }
}
