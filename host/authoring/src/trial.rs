//! Cases, run through the real component in the real sandbox.

use std::collections::BTreeMap;
use std::sync::Arc;

use countersign::{
    Binding, BindingConfig, BindingError, BindingName, Engine, EvaluationUsage, Fault, Grant,
    Limits, LoadError, Mode, Policy, PolicySet, Scope, Settings, SettingsValidator, Verdict,
};
use serde_json::Value;

use crate::asked::Asked;
use crate::cases::{Case, Cases, CasesError, Expectation, ExpectedGrant};
use crate::hints::Hints;
use crate::mutation::Mutations;
use crate::variation::variations;

/// A component, and the cases that it is to answer.
pub struct Trial<'c> {
    policy: Arc<Policy>,
    pub(crate) cases: &'c Cases,
    /// The run object that cases change.
    pub(crate) run: &'c Value,
    /// The settings of cases that have none.
    pub(crate) settings: Settings,
    limits: Limits,
    /// What the binding is called.
    name: BindingName,
    /// What the settings of cases must pass beside the policy.
    check: Option<Arc<dyn SettingsValidator>>,
}

/// Why cases cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrialError {
    /// The component is no policy.
    #[error("the component does not load: {problem} ({})", .problem.code())]
    Load {
        /// Why not.
        #[from]
        problem: LoadError,
    },
    /// A case cannot be asked.
    #[error(transparent)]
    Cases(#[from] CasesError),
    /// The policy does not take the settings of a case.
    #[error("case `{case}`: {problem}")]
    Binding {
        /// The case.
        case: String,
        /// Why not.
        problem: BindingError,
    },
    /// What cannot be.
    #[error("case `{case}`: {problem}")]
    Other {
        /// The case.
        case: String,
        /// What.
        problem: String,
    },
}

/// What came of all cases.
#[derive(Debug)]
pub struct TrialReport {
    /// Each case, in its order.
    pub cases: Vec<CaseOutcome>,
    /// Each case of settings, in its order.
    pub settings: Vec<SettingsOutcome>,
    /// What became of changed claims; `None` where cases failed, since then it says nothing.
    pub mutations: Option<Mutations>,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseOutcome {
    /// Its name.
    pub name: String,
    /// What was expected, as it is written in the file.
    pub expected: String,
    /// The verdict, in the same form.
    pub found: String,
    /// The messages of a denial, or what a fault says, for people.
    pub detail: Vec<String>,
    /// What it used of its limits.
    pub used: EvaluationUsage,
}

impl CaseOutcome {
    /// Whether the verdict is the one that was expected.
    pub fn passed(&self) -> bool {
        self.expected == self.found
    }
}

/// What came of settings that do not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsOutcome {
    /// Its name.
    pub name: String,
    /// Where a problem was expected.
    pub expected: String,
    /// Where the policy found the first one; `None` where it took the settings.
    pub found: Option<String>,
    /// What it says of them.
    pub detail: Vec<String>,
}

impl SettingsOutcome {
    /// Whether the first problem is where it was expected.
    pub fn passed(&self) -> bool {
        self.found.as_ref() == Some(&self.expected)
    }
}

impl TrialReport {
    /// Whether all cases are as they were expected, those of settings included.
    pub fn cases_passed(&self) -> bool {
        self.cases.iter().all(CaseOutcome::passed)
            && self.settings.iter().all(SettingsOutcome::passed)
    }

    /// Whether everything is as it was expected.
    pub fn passed(&self) -> bool {
        self.cases_passed() && self.mutations.as_ref().is_none_or(Mutations::passed)
    }
}

impl<'c> Trial<'c> {
    /// Loads a component under the limits that it is to have. `run` is the run object that the cases change, and
    /// `settings` are those of cases that have none.
    ///
    /// # Errors
    /// When it is no policy.
    pub fn new(
        engine: &Engine,
        component: &[u8],
        limits: Limits,
        cases: &'c Cases,
        run: &'c Value,
        settings: Settings,
    ) -> Result<Self, TrialError> {
        let policy = Arc::new(Policy::load(engine, component, &limits)?);
        let name = BindingName::parse("case").map_err(|error| TrialError::Other {
            case: String::new(),
            problem: error.to_string(),
        })?;
        Ok(Self { policy, cases, run, settings, limits, name, check: None })
    }

    /// Has the settings of cases checked as a host does before the policy is given them. Those that the policy must
    /// not take are its own matter: for them there is no check.
    #[must_use]
    pub fn checked_by(mut self, check: Arc<dyn SettingsValidator>) -> Self {
        self.check = Some(check);
        self
    }

    /// The policy.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Runs all cases, and, where they pass, each with each claim changed.
    ///
    /// # Errors
    /// When a case cannot be asked, or the policy does not take its settings.
    pub fn run(&self) -> Result<TrialReport, TrialError> {
        let questions = self.questions()?;
        let mut outcomes = Vec::new();
        for question in &questions {
            let (result, used) = question.verdict(&question.asked)?;
            outcomes.push(CaseOutcome {
                name: question.case.name.clone(),
                expected: expected(&question.case.expect),
                found: found(&result),
                detail: detail(&result),
                used,
            });
        }
        let settings = self.cases.settings.iter().map(|case| self.settings_case(case));
        let settings = settings.collect::<Result<_, TrialError>>()?;
        let mutations = if outcomes.iter().all(CaseOutcome::passed) {
            Some(self.mutations(&questions, &outcomes)?)
        } else {
            None
        };
        Ok(TrialReport { cases: outcomes, settings, mutations })
    }

    /// What is asked by each case, in its order, with the policy set that answers it. Settings that several cases have
    /// are prepared once.
    pub(crate) fn questions(&self) -> Result<Vec<Question<'c>>, TrialError> {
        let mut prepared: BTreeMap<String, Arc<PolicySet>> = BTreeMap::new();
        let mut questions = Vec::new();
        for case in &self.cases.case {
            let asked = case.asked(self.run)?;
            let settings = case.settings(&self.settings)?;
            let json = settings.as_json().to_owned();
            let set = match prepared.get(&json) {
                Some(set) => Arc::clone(set),
                None => {
                    let error = |problem| TrialError::Binding { case: case.name.clone(), problem };
                    self.check(&settings).map_err(error)?;
                    let binding = self.bind(settings).map_err(error)?;
                    let set = PolicySet::new(vec![binding]).map_err(|error| TrialError::Other {
                        case: case.name.clone(),
                        problem: error.to_string(),
                    })?;
                    let set = Arc::new(set);
                    prepared.insert(json.clone(), Arc::clone(&set));
                    set
                }
            };
            questions.push(Question { case, asked, settings: json, set });
        }
        Ok(questions)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    fn mutations(
        &self,
        questions: &[Question<'_>],
        outcomes: &[CaseOutcome],
    ) -> Result<Mutations, TrialError> {
        let mut mutations = Mutations::new(self.cases.decides_on.clone());
        for (question, outcome) in questions.iter().zip(outcomes) {
            let mut hints = Hints::default();
            hints.add(&question.settings);
            for variation in variations(&question.asked, &hints) {
                let changed = found(&question.verdict(&variation.asked)?.0);
                mutations.add(&question.case.name, &variation, changed != outcome.found);
            }
        }
        Ok(mutations)
    }

    fn settings_case(&self, case: &crate::SettingsCase) -> Result<SettingsOutcome, TrialError> {
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
            Err(problem) => Err(TrialError::Binding { case: case.name.clone(), problem }),
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
            limits: self.limits,
            claims: self.cases.claims.clone(),
        };
        Binding::prepare(Arc::clone(&self.policy), config)
    }
}

/// A case, ready to be asked.
pub(crate) struct Question<'c> {
    pub(crate) case: &'c Case,
    pub(crate) asked: Asked,
    /// In JSON.
    settings: String,
    pub(crate) set: Arc<PolicySet>,
}

impl Question<'_> {
    fn verdict(
        &self,
        asked: &Asked,
    ) -> Result<(Result<Verdict, Fault>, EvaluationUsage), TrialError> {
        let claims = asked.claims().map_err(|error| self.problem(error.to_string()))?;
        let decision = self.set.evaluate(claims);
        let entry = decision.trace().first();
        let entry = entry.ok_or_else(|| self.problem("it was not evaluated".to_owned()))?;
        Ok((entry.result.clone(), entry.used))
    }

    pub(crate) fn problem(&self, problem: String) -> TrialError {
        TrialError::Other { case: self.case.name.clone(), problem }
    }
}

/// An expectation, as it is written in the file.
fn expected(expect: &Expectation) -> String {
    match expect {
        Expectation::Permit(ExpectedGrant { max_ttl, audiences, claims }) => {
            let claims = claims.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            permit(*max_ttl, audiences.clone(), claims)
        }
        Expectation::Deny(codes) => deny(codes.as_slice().iter().map(String::as_str)),
        Expectation::Abstain => "abstain".to_owned(),
        Expectation::Fault(code) => format!("fault = {code:?}"),
    }
}

/// A verdict, in the same form.
fn found(result: &Result<Verdict, Fault>) -> String {
    match result {
        Ok(Verdict::Permit(Grant { max_ttl, audiences, claims })) => {
            let audiences = audiences
                .as_ref()
                .map(|kept| kept.iter().map(|audience| audience.as_str().to_owned()).collect());
            let claims = claims.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            permit(*max_ttl, audiences, claims)
        }
        Ok(Verdict::Deny(reasons)) => deny(reasons.iter().map(|reason| reason.code.as_str())),
        Ok(Verdict::Abstain) => "abstain".to_owned(),
        Err(fault) => format!("fault = {:?}", fault.code()),
    }
}

fn detail(result: &Result<Verdict, Fault>) -> Vec<String> {
    match result {
        Ok(Verdict::Deny(reasons)) => reasons.iter().map(|reason| reason.message.clone()).collect(),
        Err(fault) => vec![fault.to_string()],
        Ok(Verdict::Permit(_) | Verdict::Abstain) => Vec::new(),
    }
}

fn permit<'c>(
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
        [] => "permit = {}".to_owned(),
        members => format!("permit = {{ {} }}", members.join(", ")),
    }
}

fn deny<'c>(codes: impl Iterator<Item = &'c str>) -> String {
    let codes: Vec<_> = codes.collect();
    match codes.as_slice() {
        [one] => format!("deny = {one:?}"),
        several => format!("deny = {several:?}"),
    }
}
