//! One use of a policy, prepared.

use std::fmt;
use std::sync::Arc;

use crate::claims::{Claims, is_reserved_claim};
use crate::contract;
use crate::decision::BindingTrace;
use crate::digest::Digest;
use crate::fault::Fault;
use crate::identifier::{BindingName, ClaimName};
use crate::lane::Lane;
use crate::limits::Limits;
use crate::policy::{LoadError, Policy};
use crate::sandbox::{Guest, Taken};
use crate::scope::{Mode, Scope};
use crate::settings::Settings;
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
    /// What an evaluation may use.
    pub limits: Limits,
    /// The claims that the policy may add to a token.
    pub claims: Vec<ClaimName>,
}

/// One use of a policy whose settings the policy has accepted.
pub struct Binding {
    identity: Arc<BindingIdentity>,
    policy: Arc<Policy>,
    settings: Settings,
    guest: Arc<Guest>,
    lane: Lane,
    configured: Taken,
}

/// What a binding is known by in decisions and records.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What an evaluation may use.
    pub limits: Limits,
    /// The claims that the policy may add.
    pub claims: Vec<ClaimName>,
}

/// Why a binding does not become active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindingError {
    /// The policy does not take the settings.
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

/// One thing wrong with settings, as the policy says it: escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsProblem {
    /// JSON pointer (RFC 6901) into the settings, at most 256 bytes; empty for the whole.
    pub pointer: String,
    /// What is wrong there and what was expected, at most 512 bytes.
    pub message: String,
}

impl Binding {
    /// Gives a policy its settings, once.
    ///
    /// # Errors
    /// When the policy does not take the settings or faults over them, or a claim is allowed that
    /// only the host sets.
    pub fn prepare(policy: Arc<Policy>, config: BindingConfig) -> Result<Self, BindingError> {
        if let Some(claim) = config.claims.iter().find(|claim| is_reserved_claim(claim)) {
            return Err(BindingError::ReservedClaim { claim: claim.clone() });
        }
        let description = policy.description();
        let name = || description.name.clone();
        let guest = policy
            .guest(&config.limits)
            .map_err(|problem| BindingError::Policy { policy: name(), problem })?;
        let turn = policy.engine().turns().take_to_prepare();
        let configured = guest
            .configure(&config.limits, config.settings.as_json())
            .map_err(|fault| BindingError::Configure { policy: name(), fault })?
            .map_err(|problems| BindingError::Settings {
                policy: name(),
                problems: safe(&problems),
            })?;
        drop(turn);
        let identity = BindingIdentity {
            name: config.name,
            policy_name: description.name.clone(),
            policy_version: description.version.clone(),
            policy: policy.digest(),
            settings: config.settings.digest(),
            scope: config.scope,
            mode: config.mode,
            limits: config.limits,
            claims: config.claims,
        };
        let (identity, lane) = (Arc::new(identity), Lane::new());
        Ok(Self { identity, policy, settings: config.settings, guest, lane, configured })
    }

    /// What the binding is known by.
    pub fn identity(&self) -> &BindingIdentity {
        &self.identity
    }

    /// The policy that it binds.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What the policy took of its limits when it was given its settings.
    pub fn configured(&self) -> Taken {
        self.configured
    }

    /// Evaluates in a fresh instance. `run` and `token` are `claims` as the guest sees them.
    pub(crate) fn evaluate(
        &self,
        run: &contract::Run<'_>,
        token: &contract::Token<'_>,
        claims: &Claims,
    ) -> BindingTrace {
        let settings = self.settings.as_json();
        let turns = self.policy.engine().turns();
        let answer = self.lane.run(&self.identity.limits, turns, |limits| {
            self.guest.evaluate(limits, settings, run, token)
        });
        BindingTrace {
            binding: Arc::clone(&self.identity),
            result: answer.result.and_then(|verdict| self.check(verdict, claims)),
            used: answer.used,
        }
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
            contract::Verdict::Permit(grant) => {
                let raw = RawGrant {
                    max_ttl: grant.max_ttl,
                    audiences: grant.audiences.as_deref(),
                    claims: &mut grant.claims.iter().map(|c| (c.name.as_str(), c.value.as_str())),
                };
                Verdict::Permit(Grant::check(raw, claims.token(), &self.identity.claims)?)
            }
        })
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Binding({} of {:?})", self.identity.name, self.policy)
    }
}

/// A policy's problems with its settings, made safe to show. None is one too: it was refused.
fn safe(problems: &[contract::Problem]) -> Vec<SettingsProblem> {
    if problems.is_empty() {
        let message = "refused, and the policy does not say why".to_owned();
        return vec![SettingsProblem { pointer: String::new(), message }];
    }
    problems
        .iter()
        .take(MAX_PROBLEMS)
        .map(|problem| SettingsProblem {
            pointer: escape(&problem.pointer, 256),
            message: escape(&problem.message, 512),
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
