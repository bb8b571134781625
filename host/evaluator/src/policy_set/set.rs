//! The bindings that decide together.

use std::collections::BTreeSet;

use super::binding::Binding;
use super::projection::{LazyArguments, Projection};
use super::scope_index::ScopeIndex;
use crate::contract::Arguments;
use crate::decision::combine::combine;
use crate::decision::recorded::RecordedTrace;
use crate::decision::{Decision, record};
use crate::digest::Digest;
use crate::request::claims::Claims;
use crate::request::identifier::BindingName;

/// Prepared bindings, ready to decide. Shared freely between threads, and never changed: a change
/// is a new set.
#[derive(Debug)]
pub struct PolicySet {
    /// In the order of names.
    bindings: Vec<Binding>,
    scopes: ScopeIndex,
    digest: Digest,
}

/// The reason why a policy set cannot be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicySetError {
    /// There is no binding, so every run would be refused.
    #[error("the policy set is empty: every run would be refused; add a `[[binding]]`")]
    Empty,
    /// Two bindings have one name.
    #[error("two bindings have the name `{name}`")]
    DuplicateName {
        /// The name.
        name: BindingName,
    },
}

impl PolicySet {
    /// Puts prepared bindings together. Their order does not matter.
    ///
    /// # Errors
    /// When there is none, or two have one name.
    pub fn new(mut bindings: Vec<Binding>) -> Result<Self, PolicySetError> {
        if bindings.is_empty() {
            return Err(PolicySetError::Empty);
        }
        bindings.sort_by(|a, b| a.identity().name.cmp(&b.identity().name));
        let mut names = BTreeSet::new();
        if let Some(twice) = bindings.iter().find(|b| !names.insert(&b.identity().name)) {
            return Err(PolicySetError::DuplicateName { name: twice.identity().name.clone() });
        }
        let digest = record::policy_set_digest(bindings.iter().map(Binding::identity));
        let scopes = ScopeIndex::new(bindings.iter().map(|binding| &binding.identity().scope));
        Ok(Self { bindings, scopes, digest })
    }

    /// Decides on one run.
    ///
    /// Every binding whose scope contains the run is evaluated, each in a fresh instance, also
    /// when an earlier one has denied: a refusal gives every reason. How many bindings there are
    /// whose scope does not contain it does not matter. Nothing survives but the
    /// decision, and the same claims give the same decision.
    pub fn evaluate(&self, claims: Claims) -> Decision {
        let arguments = Arguments::new(&claims);
        let trace: Vec<_> = self
            .scopes
            .about(claims.run())
            .into_iter()
            .filter_map(|place| self.bindings.get(place))
            .map(|binding| binding.evaluate(&arguments, &claims))
            .collect();
        let outcome = combine(claims.token(), &trace);
        Decision::new(claims, self.digest, trace, outcome)
    }

    /// Works out what [`PolicySet::evaluate`] would decide on claims, and evaluates only the bindings for which `recorded`
    /// has no verdict.
    ///
    /// `recorded` is the trace of an earlier decision on the same claims, by any policy set. A verdict in it stands in for
    /// the evaluation of every binding here that [evaluates as](crate::BindingIdentity::evaluates_as) the recorded one;
    /// a recorded fault never does. Without any, all bindings that apply are evaluated.
    ///
    /// The caller vouches for the trace. Nothing can be signed for the result, whatever it says.
    pub fn project(&self, claims: &Claims, recorded: &[RecordedTrace]) -> Projection {
        let arguments = LazyArguments::new(claims);
        let mut reused = 0;
        let trace: Vec<_> = self
            .scopes
            .about(claims.run())
            .into_iter()
            .filter_map(|place| self.bindings.get(place))
            .map(|binding| {
                let (part, is_recorded) = arguments.part_of(binding, recorded);
                reused += usize::from(is_recorded);
                part
            })
            .collect();
        let outcome = combine(claims.token(), &trace);
        Projection { outcome, trace, reused }
    }

    /// Digest of everything that decides: every binding's name, component, settings, scope, mode, `may-permit`,
    /// limits and claims, in the order of names.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The bindings, in the order of names.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }
}
