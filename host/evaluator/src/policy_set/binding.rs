//! One use of a policy, prepared.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock};

use super::description::{ProblemList, SettingsProblem, rejection_problems, sanitise};
use super::identity::BindingIdentity;
use super::policy::Policy;
use super::scope::{Mode, Scope};
use super::settings::Settings;
use crate::contract::{self, Arguments};
use crate::decision::fault::{Fault, GrantFault};
use crate::decision::outcome::BindingTrace;
use crate::decision::verdict::{Grant, MAX_REASONS, PolicyReason, RawGrant, Verdict};
use crate::limits::{ConfigureUsage, EvaluationUsage, Limits};
use crate::prepare::load_error::LoadError;
use crate::prepare::pipeline::{PrepareError, Prepared};
use crate::request::claims::{Claims, is_reserved_claim};
use crate::request::identifier::{BindingName, ClaimName};
use crate::sandbox::code_cache::CodeSlot;
use crate::sandbox::evaluation_outcome::EvaluationOutcome;
use crate::sandbox::failure::ConfigureFault;
use crate::sandbox::fairness::FairShare;
use crate::sandbox::guest::{Guest, Rejection};
use crate::sandbox::scheduler::WorkerSlot;
use crate::text::escape;

/// The configuration of one use of a policy.
#[derive(Debug, Clone)]
pub struct BindingConfig {
    /// The binding's name, once in a policy set.
    pub name: BindingName,
    /// The policy's settings.
    pub settings: Settings,
    /// The runs that it applies to.
    pub scope: Scope,
    /// Its mode: enforcing or shadow.
    pub mode: Mode,
    /// Counts a permit of the policy as one; if false, it counts as a restriction.
    pub may_permit: bool,
    /// The limits of an evaluation.
    pub limits: Limits,
    /// The claims that the policy may add to a token.
    pub claims: Vec<ClaimName>,
}

/// One use of a policy.
pub struct Binding {
    identity: Arc<BindingIdentity>,
    /// By worker slot, a copy for the traces of the evaluations there, which write to its reference count.
    identities: OnceLock<Box<[OnceLock<Arc<BindingIdentity>>]>>,
    policy: Arc<Policy>,
    settings: Settings,
    /// The result of the first preparing: later ones have the same.
    prepared: OnceLock<Result<Prepared, BindingError>>,
    guest: CodeSlot<Guest>,
    share: FairShare,
}

/// The reason why a binding does not become active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// The policy rejects the settings, or they do not fit its schema.
    #[error("the settings do not fit the policy `{policy}`:{}", ProblemList(.problems))]
    Settings {
        /// The policy's own name.
        policy: String,
        /// The problems: at least one, at most 32.
        problems: Vec<SettingsProblem>,
        /// The policy's usage until it had found them; `None` where it was not given the settings.
        used: Option<ConfigureUsage>,
    },
    /// The policy faulted while it took the settings.
    #[error(
        "policy `{policy}`: `configure` failed: {fault}{}",
        .stage.as_ref().map_or_else(String::new, |stage| format!(", {stage}"))
    )]
    Configure {
        /// The policy's own name.
        policy: String,
        /// The fault.
        fault: Fault,
        /// What the policy was about, by its own word, where it says so: escaped and cut.
        stage: Option<String>,
    },
    /// The policy cannot be run with the binding's stack.
    #[error("the policy `{policy}` cannot be prepared: {problem}")]
    Policy {
        /// The policy's own name.
        policy: String,
        /// The problem.
        problem: LoadError,
    },
    /// The binding allows a claim that only the host sets.
    #[error("`claims` lists `{claim}`, which only the host sets")]
    ReservedClaim {
        /// The claim.
        claim: ClaimName,
    },
}

impl BindingError {
    /// The error of preparing for a policy by that name.
    fn new(policy: &str, error: PrepareError) -> Self {
        let policy = policy.to_owned();
        match error {
            PrepareError::Load(problem) => Self::Policy { policy, problem },
            PrepareError::Configure(ConfigureFault { fault, stage }) => {
                Self::Configure { policy, fault, stage }
            }
            PrepareError::Settings(Rejection { problems, usage }) => Self::Settings {
                policy,
                problems: rejection_problems(&problems),
                used: Some(usage),
            },
        }
    }

    /// The fault of a binding that is prepared lazily.
    fn into_fault(self) -> Fault {
        match self {
            Self::Settings { .. } => Fault::Configure,
            Self::Configure { fault, .. } => fault,
            other => Fault::Host { problem: escape(&other.to_string(), 512) },
        }
    }
}

impl Binding {
    /// Configures a policy with its settings, once.
    ///
    /// With [`Optimization::Speed`](crate::Optimization) the state that they lead to is what each
    /// evaluation begins with, where there can be a snapshot; [`Prepared::no_snapshot`] says where not.
    ///
    /// # Errors
    /// When the policy does not take the settings or faults over them, or a claim is allowed that
    /// only the host sets.
    pub fn prepare(policy: Arc<Policy>, config: BindingConfig) -> Result<Self, BindingError> {
        let binding = Self::prepare_lazily(policy, config)?;
        binding.ensure_prepared()?;
        Ok(binding)
    }

    /// Binds a policy, which is given its settings when a run first needs it: for sets of so many
    /// bindings that few of them are ever needed.
    ///
    /// Settings that the policy rejects are a fault then, which refuses: `configure`, or the code of the
    /// fault that ended the policy. A [`SettingsValidator`](crate::SettingsValidator) sees them now.
    ///
    /// # Errors
    /// When a claim is allowed that only the host sets, or the engine's validator finds a problem with the
    /// settings.
    pub fn prepare_lazily(
        policy: Arc<Policy>,
        config: BindingConfig,
    ) -> Result<Self, BindingError> {
        if let Some(claim) = config.claims.iter().find(|claim| is_reserved_claim(claim)) {
            return Err(BindingError::ReservedClaim { claim: claim.clone() });
        }
        let description = policy.description();
        if let Some(check) = policy.engine().settings_check() {
            let problems = check.check(description, &config.settings);
            if !problems.is_empty() {
                let problems = problems.iter().map(|p| (p.pointer.as_str(), p.message.as_str()));
                let policy = description.name.clone();
                let problems = sanitise(problems);
                return Err(BindingError::Settings { policy, problems, used: None });
            }
        }
        let identity = BindingIdentity {
            name: config.name,
            policy_name: description.name.clone(),
            policy_version: description.version.clone(),
            policy: policy.digest(),
            settings: config.settings.digest(),
            scope: config.scope,
            mode: config.mode,
            may_permit: config.may_permit,
            limits: config.limits,
            claims: config.claims,
        };
        Ok(Self {
            identity: Arc::new(identity),
            identities: OnceLock::new(),
            guest: policy.engine().new_code_slot(),
            policy,
            settings: config.settings,
            prepared: OnceLock::new(),
            share: FairShare::new(),
        })
    }

    /// The identity of the binding in decisions and records.
    pub fn identity(&self) -> &BindingIdentity {
        &self.identity
    }

    /// The identity, to be shared by what outlives the binding.
    pub(super) fn shared_identity(&self) -> &Arc<BindingIdentity> {
        &self.identity
    }

    /// The policy that it binds.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Prepares the binding now, unless that has been done.
    ///
    /// # Errors
    /// Those of [`Binding::prepare`].
    pub fn ensure_prepared(&self) -> Result<&Prepared, BindingError> {
        self.guest()?;
        match self.prepared.get() {
            Some(prepared) => prepared.as_ref().map_err(Clone::clone),
            None => Err(BindingError::Policy {
                policy: self.identity.policy_name.clone(),
                problem: LoadError::PrepareFailed { problem: "it was not prepared".to_owned() },
            }),
        }
    }

    /// The result of preparing, once it has been done.
    pub fn prepared(&self) -> Option<&Prepared> {
        self.prepared.get()?.as_ref().ok()
    }

    /// Evaluates in a fresh instance. `arguments` are `claims` as the guest sees them.
    pub(crate) fn evaluate(&self, arguments: &Arguments<'_>, claims: &Claims) -> BindingTrace {
        let worker = Cell::default();
        let outcome = self.attempt(None, arguments, &worker).map_or_else(
            // The slot does not hold it: no permit is held while it is made.
            || {
                let guest = self.guest().map_err(BindingError::into_fault)?;
                self.attempt(Some(&guest), arguments, &worker).ok_or_else(missing_guest)
            },
            Ok,
        );
        let (result, used) = match outcome {
            Ok(EvaluationOutcome { result, usage, .. }) => (result, usage),
            Err(fault) => (Err(fault), EvaluationUsage::default()),
        };
        let result = result.and_then(|verdict| self.check(verdict, claims));
        BindingTrace { binding: self.identity_at(worker.get()), result, used }
    }

    /// The identity, for a trace of an evaluation on a worker slot.
    fn identity_at(&self, worker: WorkerSlot) -> Arc<BindingIdentity> {
        let slots = self.policy.engine().worker_slots();
        let copies = self.identities.get_or_init(|| vec![OnceLock::new(); slots].into());
        let copy = copies.get(worker.0);
        Arc::clone(copy.map_or(&self.identity, |copy| {
            copy.get_or_init(|| Arc::new(BindingIdentity::clone(&self.identity)))
        }))
    }

    /// Evaluates with a permit, with the guest of its worker slot or else with a copy of `made`; `None`
    /// when there is neither. Stores the slot in `at`.
    fn attempt(
        &self,
        made: Option<&Arc<Guest>>,
        arguments: &Arguments<'_>,
        at: &Cell<WorkerSlot>,
    ) -> Option<EvaluationOutcome> {
        let settings = self.settings.as_json();
        let engine = self.policy.engine();
        self.share.run(&self.identity.limits, engine.scheduler(), |limits, worker| {
            at.set(worker);
            let slot = engine.code_slot(worker);
            if let Some(guest) = self.guest.at(slot) {
                return Some(guest.evaluate(limits, settings, arguments));
            }
            Some(match self.policy.instantiate_for(made?, slot) {
                Ok(guest) => {
                    self.guest.put(slot, &guest);
                    guest.evaluate(limits, settings, arguments)
                }
                Err(problem) => {
                    let problem = escape(&problem.to_string(), 512);
                    EvaluationOutcome::fault(Fault::Host { problem })
                }
            })
        })
    }

    /// The guest to be evaluated, on any worker slot, which is made when none is held.
    fn guest(&self) -> Result<Arc<Guest>, BindingError> {
        self.guest.any_or_make(|| {
            // A policy that rejected its settings once would do so again; and a host that failed is not
            // tried again in every evaluation either.
            if let Some(Err(error)) = self.prepared.get() {
                return Err(error.clone());
            }
            let made = self.policy.bind(&self.settings, &self.identity.limits);
            let (prepared, guest) = made.map_or_else(
                |error| {
                    let error = BindingError::new(&self.identity.policy_name, error);
                    (Err(error.clone()), Err(error))
                },
                |(prepared, guest)| (Ok(prepared), Ok((guest.slot(), guest))),
            );
            self.prepared.get_or_init(|| prepared);
            guest
        })
    }

    fn check(&self, verdict: contract::Verdict, claims: &Claims) -> Result<Verdict, Fault> {
        Ok(match verdict {
            contract::Verdict::Abstain => Verdict::Abstain,
            contract::Verdict::Deny(reasons) => Verdict::Deny(
                reasons
                    .iter()
                    .take(MAX_REASONS)
                    .map(|reason| PolicyReason::new(&reason.code, &reason.message))
                    .collect(),
            ),
            contract::Verdict::Permit(grant) => Verdict::Permit(self.check_grant(&grant, claims)?),
            contract::Verdict::Restrict(grant) => {
                Verdict::Restrict(self.check_grant(&grant, claims)?)
            }
        })
    }

    fn check_grant(&self, grant: &contract::Grant, claims: &Claims) -> Result<Grant, GrantFault> {
        let raw = RawGrant {
            max_ttl: grant.max_ttl,
            audiences: grant.audiences.as_deref(),
            claims: &mut grant.claims.iter().map(|c| (&*c.name, &*c.value)),
        };
        Grant::check(raw, claims.token(), &self.identity.claims)
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({} of {:?})", self.identity.name, self.policy)
    }
}

/// The fault of a guest that was made and is nowhere, which cannot happen.
fn missing_guest() -> Fault {
    Fault::Host { problem: "the policy is not available".to_owned() }
}
