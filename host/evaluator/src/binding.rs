//! One use of a policy, prepared.

use std::fmt;
use std::sync::{Arc, OnceLock};

use crate::cache::{self, BindingEntry};
use crate::claims::{Claims, is_reserved_claim};
use crate::compile::{CompileError, CompiledCode};
use crate::contract;
use crate::decision::{BindingTrace, Used};
use crate::digest::Digest;
use crate::fault::{Fault, GrantFault};
use crate::identifier::{BindingName, ClaimName};
use crate::lane::Lane;
use crate::limits::Limits;
use crate::policy::{LoadError, Policy};
use crate::resident::Resident;
use crate::sandbox::{Answer, Guest, Taken};
use crate::scope::{Mode, Scope};
use crate::settings::Settings;
use crate::snapshot::State;
use crate::text::escape;
use crate::verdict::{Grant, PolicyReason, RawGrant, Verdict};

/// The most problems with settings that are kept.
const MAX_PROBLEMS: usize = 32;

/// What an operator says of one use of a policy.
#[derive(Debug, Clone)]
pub struct BindingConfig {
    /// The binding's name, once in a policy set.
    pub name: BindingName,
    /// The policy's settings.
    pub settings: Settings,
    /// Which runs it applies to.
    pub scope: Scope,
    /// Whether it decides.
    pub mode: Mode,
    /// Whether a permit of the policy counts as one; where not, it narrows and no more.
    pub may_permit: bool,
    /// What an evaluation may use.
    pub limits: Limits,
    /// The claims that the policy may add to a token.
    pub claims: Vec<ClaimName>,
}

/// One use of a policy.
pub struct Binding {
    identity: Arc<BindingIdentity>,
    /// Those of the identity, whose counter every evaluation writes to.
    limits: Limits,
    policy: Arc<Policy>,
    settings: Settings,
    /// What the first preparing came to: later ones come to the same.
    prepared: OnceLock<Result<Prepared, BindingError>>,
    guest: Resident,
    lane: Lane,
}

/// What preparing a binding came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What the policy took of its limits when it was given its settings.
    pub taken: Taken,
    /// Why there is no snapshot of the policy with its settings, where there is none: it works all the
    /// same, and is given its settings in each evaluation. The reason is for people: escaped and cut.
    pub no_snapshot: Option<String>,
}

/// What a binding is known by in decisions and records.
#[derive(Debug, Clone, PartialEq, Eq)]
// Apart from the counter that it is shared by, which every evaluation writes to.
#[repr(align(128))]
pub struct BindingIdentity {
    /// The binding's name.
    pub name: BindingName,
    /// The policy's own name.
    pub policy_name: String,
    /// The policy's own version.
    pub policy_version: String,
    /// Digest of the component.
    pub policy: Digest,
    /// Digest of the settings.
    pub settings: Digest,
    /// Which runs it applies to.
    pub scope: Scope,
    /// Whether it decides.
    pub mode: Mode,
    /// Whether a permit of the policy counts as one; where not, it narrows and no more.
    pub may_permit: bool,
    /// What an evaluation may use.
    pub limits: Limits,
    /// The claims that the policy may add.
    pub claims: Vec<ClaimName>,
}

/// Why a binding does not become active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// The policy does not take the settings, or they do not fit its schema.
    #[error("the settings do not fit the policy `{policy}`:{}", ProblemList(.problems))]
    Settings {
        /// The policy's own name.
        policy: String,
        /// What is wrong: at least one, at most 32.
        problems: Vec<SettingsProblem>,
    },
    /// The policy faulted while it took the settings.
    #[error("the policy `{policy}` could not take its settings: it {fault}")]
    Configure {
        /// The policy's own name.
        policy: String,
        /// The fault.
        fault: Fault,
    },
    /// The policy cannot be run with the binding's stack.
    #[error("the policy `{policy}` cannot be readied: {problem}")]
    Policy {
        /// The policy's own name.
        policy: String,
        /// Why not.
        problem: LoadError,
    },
    /// The binding allows a claim that only the host sets.
    #[error("`claims` lists `{claim}`, which only the host sets")]
    ReservedClaim {
        /// The claim.
        claim: ClaimName,
    },
}

/// One thing wrong with settings, as the policy or a [check](crate::CheckSettings) before it says it. In a
/// [`BindingError`] escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// JSON pointer (RFC 6901) into the settings, at most 256 bytes; empty for the whole.
    pub pointer: String,
    /// What is wrong there and what was expected, at most 512 bytes.
    pub message: String,
}

impl BindingError {
    /// What it is of a binding that is prepared when it is needed.
    fn into_fault(self) -> Fault {
        match self {
            Self::Settings { .. } => Fault::Configure,
            Self::Configure { fault, .. } => fault,
            other => Fault::Host { problem: escape(&other.to_string(), 512) },
        }
    }
}

impl Binding {
    /// Gives a policy its settings, once.
    ///
    /// With [`Optimization::Speed`](crate::Optimization) the state that they lead to is what each
    /// evaluation begins with, where it can be; [`Prepared::no_snapshot`] says where not.
    ///
    /// # Errors
    /// When the policy does not take the settings or faults over them, or a claim is allowed that
    /// only the host sets.
    pub fn prepare(policy: Arc<Policy>, config: BindingConfig) -> Result<Self, BindingError> {
        let binding = Self::prepare_when_needed(policy, config)?;
        binding.ready()?;
        Ok(binding)
    }

    /// Binds a policy, which is given its settings when a run first needs it: for sets of so many
    /// bindings that few of them are ever needed.
    ///
    /// What the policy finds wrong with the settings is a fault then, which refuses: `configure`, or the code
    /// of what ended the policy. [`CheckSettings`](crate::CheckSettings) looks at them now.
    ///
    /// # Errors
    /// When a claim is allowed that only the host sets, or the engine's check finds something wrong with
    /// the settings.
    pub fn prepare_when_needed(
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
                return Err(BindingError::Settings { policy, problems: safe(problems) });
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
            limits: identity.limits,
            identity: Arc::new(identity),
            guest: Resident::new(policy.engine().residents(), policy.engine().seats()),
            policy,
            settings: config.settings,
            prepared: OnceLock::new(),
            lane: Lane::new(),
        })
    }

    /// What the binding is known by.
    pub fn identity(&self) -> &BindingIdentity {
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
    pub fn ready(&self) -> Result<&Prepared, BindingError> {
        self.guest()?;
        match self.prepared.get() {
            Some(prepared) => prepared.as_ref().map_err(Clone::clone),
            None => Err(BindingError::Policy {
                policy: self.identity.policy_name.clone(),
                problem: LoadError::PrepareFailed { problem: "it was not prepared".to_owned() },
            }),
        }
    }

    /// What preparing came to, once it has been done.
    pub fn prepared(&self) -> Option<&Prepared> {
        self.prepared.get()?.as_ref().ok()
    }

    /// Evaluates in a fresh instance. `run` and `token` are `claims` as the guest sees them.
    pub(crate) fn evaluate(
        &self,
        run: &contract::Run<'_>,
        token: &contract::Token<'_>,
        claims: &Claims,
    ) -> BindingTrace {
        let answer = self.answer(None, run, token).map_or_else(
            // It is not held at the seat: no turn is taken for making it.
            || {
                let guest = self.guest().map_err(BindingError::into_fault)?;
                self.answer(Some(&guest), run, token).ok_or_else(not_there)
            },
            Ok,
        );
        let (result, used) = match answer {
            Ok(Answer { result, used, .. }) => (result, used),
            Err(fault) => (Err(fault), Used::default()),
        };
        let result = result.and_then(|verdict| self.check(verdict, claims));
        BindingTrace { binding: Arc::clone(&self.identity), result, used }
    }

    /// Evaluates in a turn, with the guest of the seat or else with `made` brought there; `None` when
    /// there is neither.
    fn answer(
        &self,
        made: Option<&Arc<Guest>>,
        run: &contract::Run<'_>,
        token: &contract::Token<'_>,
    ) -> Option<Answer> {
        let settings = self.settings.as_json();
        let turns = self.policy.engine().turns();
        self.lane.run(&self.limits, turns, |limits, seat| {
            if let Some(guest) = self.guest.at(seat) {
                return Some(guest.evaluate(limits, settings, run, token));
            }
            Some(match self.policy.bring(made?, seat) {
                Ok(guest) => {
                    self.guest.put(&guest);
                    guest.evaluate(limits, settings, run, token)
                }
                Err(problem) => {
                    let problem = escape(&problem.to_string(), 512);
                    let result = Err(Fault::Host { problem });
                    Answer { result, used: Used::default(), configure_fuel: None }
                }
            })
        })
    }

    /// The guest to be evaluated, at any seat, which is made when it is not there.
    fn guest(&self) -> Result<Arc<Guest>, BindingError> {
        self.guest.get(|| {
            // What the policy said once, it would say again; what the host lacked is not tried for in
            // every evaluation either.
            if let Some(Err(error)) = self.prepared.get() {
                return Err(error.clone());
            }
            let (prepared, guest) = self.make().map_or_else(
                |error| (Err(error.clone()), Err(error)),
                |(prepared, guest)| (Ok(prepared), Ok(guest)),
            );
            self.prepared.get_or_init(|| prepared);
            guest
        })
    }

    /// Prepares the binding, or takes what was kept of it.
    fn make(&self) -> Result<(Prepared, Arc<Guest>), BindingError> {
        let (policy, limits) = (&*self.policy, &self.limits);
        let unready =
            |problem| BindingError::Policy { policy: policy.description().name.clone(), problem };
        let engine = policy.engine();
        let key = cache::binding_key(engine, policy.digest(), self.settings.digest(), limits);
        if let Some((BindingEntry { taken, no_snapshot }, code)) = cache::get(engine, &key) {
            let guest = match no_snapshot {
                None => policy.snapshot(&code, limits),
                Some(_) => policy.as_it_is(limits),
            };
            if let Ok(guest) = guest {
                return Ok((Prepared { taken, no_snapshot }, guest));
            }
        }
        let (taken, state) = self.configure()?;
        let snapshot = state.and_then(|state| match policy.in_state(&state) {
            Ok(code) => Ok(policy.snapshot(&code, limits).map(|guest| (code, guest))),
            Err(CompileError::Load(problem)) => Ok(Err(problem)),
            Err(CompileError::NoSnapshot { reason }) => Err(reason),
        });
        let (no_snapshot, code, guest) = match snapshot {
            Ok(made) => {
                let (code, guest) = made.map_err(unready)?;
                (None, Some(code), guest)
            }
            Err(reason) => (Some(reason), None, policy.as_it_is(limits).map_err(unready)?),
        };
        let entry = BindingEntry { taken, no_snapshot };
        let code = code.as_ref().map(CompiledCode::as_bytes).unwrap_or_default();
        cache::put(engine, &key, &entry, code);
        Ok((Prepared { taken, no_snapshot: entry.no_snapshot }, guest))
    }

    /// Gives the policy its settings, and reads the state that they lead to.
    fn configure(&self) -> Result<(Taken, Result<State, String>), BindingError> {
        let (policy, limits) = (&*self.policy, &self.limits);
        let name = || policy.description().name.clone();
        let (guest, observable) = policy
            .guest(limits)
            .map_err(|problem| BindingError::Policy { policy: name(), problem })?;
        let settings = self.settings.as_json();
        let turn = policy.engine().turns().take_to_prepare();
        let guest = policy
            .bring(&guest, turn.seat)
            .map_err(|problem| BindingError::Policy { policy: name(), problem })?;
        let configured = match observable {
            Ok(()) => guest.configure_and_read(limits, settings),
            Err(reason) => guest
                .configure(limits, settings)
                .map(|answer| answer.map(|taken| (taken, Err(reason.to_owned())))),
        };
        configured.map_err(|fault| BindingError::Configure { policy: name(), fault })?.map_err(
            |problems| BindingError::Settings { policy: name(), problems: refused(&problems) },
        )
    }

    fn check(&self, verdict: contract::Verdict, claims: &Claims) -> Result<Verdict, Fault> {
        Ok(match verdict {
            contract::Verdict::Abstain => Verdict::Abstain,
            contract::Verdict::Deny(reasons) => Verdict::Deny(
                reasons
                    .iter()
                    .take(crate::verdict::MAX_REASONS)
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
            claims: &mut grant.claims.iter().map(|c| (c.name.as_str(), c.value.as_str())),
        };
        Grant::check(raw, claims.token(), &self.identity.claims)
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({} of {:?})", self.identity.name, self.policy)
    }
}

/// What cannot be: a guest that was made is in no place.
fn not_there() -> Fault {
    Fault::Host { problem: "the policy is not at hand".to_owned() }
}

/// A policy's problems with its settings. None is one too: it was refused.
fn refused(problems: &[contract::Problem]) -> Vec<SettingsProblem> {
    if problems.is_empty() {
        let message = "refused, and the policy does not say why".to_owned();
        return vec![SettingsProblem { pointer: String::new(), message }];
    }
    safe(problems.iter().map(|problem| (&*problem.pointer, &*problem.message)))
}

/// The first pointers and messages, made safe to show.
fn safe<'p>(problems: impl Iterator<Item = (&'p str, &'p str)>) -> Vec<SettingsProblem> {
    problems
        .take(MAX_PROBLEMS)
        .map(|(pointer, message)| SettingsProblem {
            pointer: escape(pointer, 256),
            message: escape(message, 512),
        })
        .collect()
}

struct ProblemList<'p>(&'p [SettingsProblem]);

impl fmt::Display for ProblemList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| match problem.pointer.as_str() {
            "" => write!(f, "\n  at the top: {}", problem.message),
            pointer => write!(f, "\n  {pointer}: {}", problem.message),
        })
    }
}
